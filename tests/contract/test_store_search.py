"""SEARCH keys over a store, the same for every engine."""

from __future__ import annotations

from datetime import date

import pytest

from echomox.imap.search import (
    Age,
    All,
    And,
    Body,
    HasFlag,
    Header,
    Key,
    Modseq,
    Not,
    Or,
    Sequence,
    Size,
    Text,
    When,
)
from echomox.store import search, translate
from echomox.store.engine import Engine, FlagOp, Target
from tests.contract.stores import ALICE, add_all, addition, message

DAY = 86_400
NOON = 1_604_232_000.0  # 2020-11-01 12:00 UTC
QP = "Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n"
B64 = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n"
MESSAGES = [
    message("plain", "Some Words here.\r\n", "X-Spice: Cinnamon and\r\n clove\r\n"),
    message("quoted", "Gr=FC=DFe aus K=F6ln, soft=\r\nened\r\n", QP),
    message("base", "R3LDvMOfZSBBdXMgV2llbg==\r\n", B64),  # "Grüße Aus Wien"
    message("=?utf-8?Q?Gr=C3=BC=C3=9Fe?=", "x" * 3000 + "\r\n"),
    message("Zeta", "nothing\r\n", "Cc: Carol <carol@example.net>\r\n"),
]
FLAGS = [(1, ("Work",)), (0, ()), (4, ("work", "Home")), (9, ()), (64, ())]


def uid(*numbers: int) -> Sequence:
    return Sequence(tuple((n, n) for n in numbers), True)


CASES: list[tuple[Key, list[int]]] = [
    (All(), [1, 2, 3, 4, 5]),
    (uid(2, 4, 9), [2, 4]),
    (Sequence(((2, 3), (5, 0xFFFFFFFF)), False), [2, 3, 5]),
    (Sequence(((9, 12),), False), []),
    (HasFlag("\\sEEN"), [1, 4]),
    (Not(HasFlag("\\Seen")), [2, 3, 5]),
    (HasFlag("WORK"), [1, 3]),
    (HasFlag("wor"), []),
    (HasFlag("$junk"), [5]),
    (HasFlag("\\Unknown"), []),
    (Size(3000, True), [4]),
    (Size(3000, False), [1, 2, 3, 5]),
    (Header("subject", "PLAIN"), [1]),
    (Header("subject", "GRÜSSE".replace("SS", "ß")), [4]),
    (Header("subject", "gr"), [4]),
    (Header("from", "ann@EXAMPLE"), [1, 2, 3, 4, 5]),
    (Header("cc", "carol"), [5]),
    (Header("cc", ""), [5]),
    (Header("x-spice", "and clove"), [1]),
    (Header("x-spice", ""), [1]),
    (Header("x-nothing", ""), []),
    (Header("message-id", f"<{b'Zeta'.hex()}@example.org>"), [5]),
    (Header("delivered-to", "alice"), [1, 2, 3, 4, 5]),
    (Body("some WORDS"), [1]),
    (Body("plain"), []),
    (Body("köln"), [2]),
    (Body("softened"), [2]),
    (Body("aus"), [2, 3]),
    (Body("GRÜ"), [2, 3]),
    (Body("wien"), [3]),
    (Text("grü"), [2, 3, 4]),
    (Text("cinnamon"), [1]),
    (Text("delivered-to: alice"), [1, 2, 3, 4, 5]),
    (Text("no such text"), []),
    (Text(""), [1, 2, 3, 4, 5]),
    (When("received", "on", date(2020, 11, 3)), [3]),
    (When("received", "before", date(2020, 11, 3)), [1, 2]),
    (When("received", "since", date(2020, 11, 3)), [3, 4, 5]),
    (When("sent", "on", date(2026, 11, 1)), [1, 2, 3, 4, 5]),
    (When("sent", "before", date(2026, 11, 1)), []),
    (When("saved", "since", date(2001, 1, 1)), [1, 2, 3, 4, 5]),
    (Age(DAY, True), []),
    (Age(DAY, False), [1, 2, 3, 4, 5]),
    (And((HasFlag("work"), Size(100, True))), [1, 3]),
    (And((HasFlag("work"), Body("wien"))), [3]),
    (And(()), [1, 2, 3, 4, 5]),
    (Or(HasFlag("\\Flagged"), Body("some words")), [1, 3]),
    (Or(Header("subject", "zeta"), HasFlag("\\Deleted")), [4, 5]),
    (Not(Text("grü")), [1, 5]),
    (Not(Not(And((Not(Body("wien")), uid(2, 3))))), [2]),
    (Not(Or(HasFlag("work"), Body("köln"))), [4, 5]),
]


@pytest.fixture
def filled(engine: Engine) -> Engine:
    made = [
        addition(source, [Target(ALICE, "INBOX", b"Delivered-To: alice\r\n", *flags)], received=NOON + n * DAY)
        for n, (source, flags) in enumerate(zip(MESSAGES, FLAGS))
    ]
    add_all(engine, made)
    return engine


@pytest.mark.parametrize("indexed", [False, True])
def test_every_key(filled: Engine, indexed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    store = filled.open(ALICE)
    if indexed:
        monkeypatch.setattr(search, "FEW", 0)
        store.index_texts(1, lambda: False)
    inbox = store.mailbox("INBOX").id
    uids = store.select(inbox, False).uids
    wrong = {}
    for key, expected in CASES:
        found = store.search(inbox, key, uids)
        if found != expected:
            wrong[repr(key)] = found, expected
    assert not wrong


def test_searching_in_steps_gives_the_same(filled: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translate, "SLICE", -1.0)
    store = filled.open(ALICE)
    inbox = store.mailbox("INBOX").id
    uids = store.select(inbox, False).uids
    steps = store.searching(inbox, Text("grü"), uids)
    next(steps)
    store.remove(inbox, [4])  # others may write in between
    found = []
    while not found:
        try:
            next(steps)
        except StopIteration as end:
            found = end.value
    assert set(found) - {4} == {2, 3}
    assert store.search(inbox, Text("grü"), uids) == [2, 3]


def test_modseq_and_the_view_of_the_caller(filled: Engine) -> None:
    store = filled.open(ALICE)
    inbox = store.mailbox("INBOX").id
    uids = store.select(inbox, False).uids
    modseq = store.store_flags(inbox, [2], FlagOp.ADD, 2, ()).modseq
    assert store.search(inbox, Modseq(modseq), uids) == [2]
    store.remove(inbox, [1])
    assert store.search(inbox, Not(HasFlag("\\Answered")), uids) == [3, 4, 5]
    # Sequence numbers are positions in the caller's list, in which UID 1 still stands first.
    assert store.search(inbox, Sequence(((3, 3),), False), uids) == [3]
    assert store.search(inbox, Text("grü"), uids[:2]) == [2]
    assert store.search(inbox, All(), uids[:0]) == []
