"""Sorting, threading and object ids over a store, the same for every engine."""

from __future__ import annotations

from array import array
from collections.abc import Generator
from typing import Any, TypeVar

import pytest

from echomox.imap import threads
from echomox.imap.search import ObjectId
from echomox.imap.sorting import Criterion
from echomox.store import sorting
from echomox.store.engine import AccountStore, Engine, Target
from tests.contract.stores import ALICE, add_all, addition

T = TypeVar("T")
HEADERS = [
    'From: Zoe <ann@a.example>\r\nTo: bob@x.example\r\nCc: "C" <carl@x.example>\r\nSubject: Re: beta\r\n'
    "Date: Tue, 03 Nov 2026 10:00:00 +0000\r\nMessage-ID: <a@x>\r\n",
    "From: Ann Lee <zed@a.example>\r\nTo: Team: dora@x.example, eve@x.example;\r\nSubject: alpha\r\n"
    "Date: Mon, 02 Nov 2026 10:00:00 +0000\r\nMessage-ID: <b@x>\r\nReferences: <a@x>\r\n",
    "From: mid@a.example\r\nSubject: [list] BETA (fwd)\r\nMessage-ID: <c@x>\r\nIn-Reply-To: <b@x>\r\n",
    "From: =?utf-8?Q?=C3=89mile?= <bea@a.example>\r\nCc: abe@x.example\r\nSubject: =?utf-8?Q?=C3=84rger?=\r\n"
    "Date: Wed, 04 Nov 2026 10:00:00 +0000\r\n",
    "From: emil <cy@a.example>\r\nTo: Bert <zzz@x.example>\r\nSubject: arm\r\n"
    "Date: Wed, 04 Nov 2026 10:00:00 +0000\r\nMessage-ID: <d@x>\r\nReferences: <gone@x> <z@x>\r\n",
]
RECEIVED = [1_700_000_500.0, 1_700_000_400.0, 1_793_688_000.0, 1_700_000_200.9, 1_700_000_200.1]


def run(steps: Generator[None, None, T]) -> T:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: T = end.value
            return found


@pytest.fixture
def filled(engine: Engine) -> AccountStore:
    sources = [f"{header}\r\n{'x' * n}\r\n".encode() for n, header in enumerate(HEADERS)]
    made = [
        addition(source, [Target(ALICE, "INBOX")], received=received) for source, received in zip(sources, RECEIVED)
    ]
    for one in made:
        add_all(engine, [one])
    return engine.open(ALICE)


CASES: list[tuple[str, list[int]]] = [
    ("ARRIVAL", [4, 5, 2, 1, 3]),  # whole seconds: 4 and 5 go by number
    ("REVERSE ARRIVAL", [3, 1, 2, 4, 5]),
    ("SUBJECT", [2, 5, 4, 1, 3]),
    ("SUBJECT REVERSE DATE", [2, 5, 4, 1, 3]),
    ("DATE", [2, 3, 1, 4, 5]),  # 3 has none: its internal date, 2026-11-03 06:40
    ("REVERSE DATE", [4, 5, 1, 3, 2]),
    ("FROM", [1, 4, 5, 3, 2]),
    ("TO", [3, 4, 1, 2, 5]),
    ("CC", [2, 3, 5, 4, 1]),
    ("DISPLAYFROM", [2, 5, 4, 3, 1]),
    ("DISPLAYTO", [3, 4, 5, 1, 2]),
    ("REVERSE DISPLAYTO REVERSE SIZE", [2, 1, 5, 4, 3]),
    ("RELEVANCY", [5, 1, 2, 3, 4]),
    ("REVERSE RELEVANCY", [3, 4, 2, 1, 5]),
]
SCORES = {1: 50, 2: 20, 5: 100}


def criteria(text: str) -> list[Criterion]:
    found, reverse = [], False
    for word in text.split():
        if word == "REVERSE":
            reverse = True
        else:
            found.append(Criterion(word, reverse))
            reverse = False
    return found


@pytest.mark.parametrize("one_by_one", [False, True])
def test_every_criterion(filled: AccountStore, one_by_one: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not one_by_one:
        monkeypatch.setattr(sorting, "FEW", 0)
        monkeypatch.setattr(sorting, "PIECE", 2)
    inbox = filled.mailbox("INBOX").id
    table = {}
    for text, _ in CASES:
        if text == "DATE":
            assert run(filled.ordering(inbox, [2, 3, 4], criteria(text), {})) == [2, 3, 4]
        table[text] = run(filled.ordering(inbox, [1, 2, 3, 4, 5], criteria(text), SCORES))
    assert table == dict(CASES)


def test_what_is_gone_keeps_a_place_at_the_end(filled: AccountStore) -> None:
    inbox = filled.mailbox("INBOX").id
    filled.remove(inbox, [2])
    assert run(filled.ordering(inbox, [1, 2, 3, 5], criteria("SUBJECT"), {})) == [5, 1, 3, 2]
    assert run(filled.ordering(inbox, [], criteria("SUBJECT"), {})) == []


def threaded(store: AccountStore, uids: list[int], algorithm: str) -> bytes:
    items = run(store.thread_items(store.mailbox("INBOX").id, uids))
    return run(threads.ALGORITHMS[algorithm](items))


@pytest.mark.parametrize("pieces", [False, True])
def test_threads(filled: AccountStore, pieces: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if pieces:
        monkeypatch.setattr(sorting, "FEW", 0)
        monkeypatch.setattr(sorting, "PIECE", 2)
    every = [1, 2, 3, 4, 5]
    assert threaded(filled, every, "REFERENCES") == b"(1 2 3)(4)(5)"
    assert threaded(filled, every, "REFS") == b"(1 2 3)(4)(5)"
    assert threaded(filled, every, "ORDEREDSUBJECT") == b"(2)(3 1)(4)(5)"
    assert threaded(filled, [1, 3, 5], "REFERENCES") == b"((3)(1))(5)"
    filled.remove(filled.mailbox("INBOX").id, [1])
    assert threaded(filled, every, "REFERENCES") == b"(2 3)(4)(5)"
    assert threaded(filled, [], "REFERENCES") == b""


def ids(store: AccountStore, mailbox: str = "INBOX") -> list[tuple[Any, ...]]:
    return list(store.fetch(store.mailbox(mailbox).id, 1, 99, ("uid", "email_id", "thread_id")))


def test_object_ids(filled: AccountStore) -> None:
    rows = ids(filled)
    assert len({row[1] for row in rows}) == 5
    known = {row[0]: row[2] for row in rows}
    assert known[1] == known[2] == known[3] and len(set(known.values())) == 3
    assert all(row[1].startswith(filled.instance()[:8] + "-") for row in rows)
    inbox, archive = filled.mailbox("INBOX").id, filled.mailbox("Archive").id
    filled.copy(inbox, [2], archive)
    filled.move(inbox, [3], archive)
    assert [row[1:] for row in ids(filled, "Archive")] == [rows[1][1:], rows[2][1:]]
    thread, content = (int(rows[1][place].partition("-")[2]) for place in (2, 1))
    uids = array("I", [1, 2, 4, 5])
    assert filled.search(inbox, ObjectId("thread", "", thread), uids) == [1, 2]
    assert filled.search(inbox, ObjectId("content", "", content), uids) == [2]
    assert filled.search(inbox, ObjectId("content", "", -1), uids) == []


def test_a_thread_stays_when_its_first_message_goes(engine: Engine, filled: AccountStore) -> None:
    before = {row[0]: row[2] for row in ids(filled)}
    inbox = filled.mailbox("INBOX").id
    filled.remove(inbox, [1])
    late = b"Message-ID: <e@x>\r\nReferences: <a@x> <b@x>\r\nSubject: late\r\n\r\n.\r\n"
    answer = b"Message-ID: <f@x>\r\nReferences: <z@x>\r\nSubject: late\r\n\r\n.\r\n"
    for source in (late, answer):
        add_all(engine, [addition(source, [Target(ALICE, "INBOX")])])
    after = {row[0]: row[2] for row in ids(filled)}
    assert after[6] == before[2]
    assert after[7] == before[5]  # both refer to one that never came
    assert all(after[uid] == before[uid] for uid in after.keys() & before.keys())
