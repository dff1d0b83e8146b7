"""Muted threads, the same for every engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from echomox.store.engine import Engine, Flag, FlagOp, Target
from echomox.store.names import KEYWORDS_PER_MESSAGE
from tests.contract.stores import ALICE, BOB, add_all, addition

ADD, REMOVE, SET = FlagOp.ADD, FlagOp.REMOVE, FlagOp.SET
SEEN = int(Flag.SEEN)
MUTED = "$Muted"


def mail(name: str, *references: str) -> bytes:
    """With Message-ID and References of these names."""
    told = f"References: {' '.join(f'<{one}@x>' for one in references)}\r\n" if references else ""
    return f"From: a@x\r\nSubject: s\r\nMessage-ID: <{name}@x>\r\n{told}\r\ntext\r\n".encode()


def put(engine: Engine, source: bytes, delivered: bool = True, **target: Any) -> tuple[int, str]:
    """Flags and keywords of the message once it is in INBOX."""
    add_all(engine, [addition(source, [Target(ALICE, "INBOX", **target)], delivered=delivered)])
    return last(engine)


def last(engine: Engine, mailbox: str = "INBOX", account: str = ALICE) -> tuple[int, str]:
    store = engine.open(account)
    *_, row = store.fetch(store.mailbox(mailbox).id, 1, 999, ("flags", "keywords"))
    return row


def told(engine: Engine, uid: int, op: FlagOp, *keywords: str, flags: int = 0) -> None:
    store = engine.open(ALICE)
    store.store_flags(store.mailbox("INBOX").id, [uid], op, flags, keywords)


def test_what_comes_into_a_muted_thread_is_read_at_once(engine: Engine) -> None:
    assert put(engine, mail("a")) == (0, "")
    told(engine, 1, ADD, "$MUTED")
    store = engine.open(ALICE)
    since = store.modseq()
    assert put(engine, mail("b", "a"), keywords=("mine",)) == (SEEN, "$MUTED mine")
    inbox = store.mailbox("INBOX")
    assert (inbox.total, inbox.unread, inbox.unseen) == (2, 1, 1)
    assert [row[:3] for row in store.changes(inbox.id, since).changed] == [(2, SEEN, "$MUTED mine")]
    assert "$MUTED" in store.select(inbox.id, False).keywords
    assert put(engine, mail("c", "b")) == (SEEN, "$MUTED")  # a reply to the reply
    assert put(engine, mail("d")) == (0, "")


STORES: list[tuple[list[tuple[FlagOp, str]], bool]] = [
    ([(ADD, "$muted")], True),
    ([(SET, "$muted")], True),
    ([(ADD, "other")], False),
    ([(ADD, "$mutedx")], False),
    ([(ADD, "$muted"), (REMOVE, "$Muted")], False),
    ([(ADD, "$muted"), (REMOVE, "other")], True),
    ([(ADD, "$muted"), (SET, "other")], False),
    ([(ADD, "$muted"), (SET, "")], False),
    ([(ADD, "$muted"), (SET, "$MUTED")], True),
    ([(REMOVE, "$muted"), (ADD, "$muted")], True),
    ([(SET, "")], False),
]


@pytest.mark.parametrize(("words", "quiet"), STORES)
def test_the_last_word_holds(engine: Engine, words: Sequence[tuple[FlagOp, str]], quiet: bool) -> None:
    put(engine, mail("a"))
    for op, keyword in words:
        told(engine, 1, op, *keyword.split())
    flags, keywords = put(engine, mail("b", "a"))
    assert (flags == SEEN, "$muted" in keywords.lower()) == (quiet, quiet)


def test_any_message_of_the_thread_mutes_and_unmutes(engine: Engine) -> None:
    put(engine, mail("a"))
    put(engine, mail("b", "a"))
    told(engine, 1, ADD, MUTED)
    told(engine, 2, SET, "other")  # had no say, and says nothing
    assert put(engine, mail("c", "a"))[0] == SEEN
    told(engine, 3, REMOVE, MUTED)
    assert put(engine, mail("d", "c")) == (0, "")
    told(engine, 1, ADD, MUTED)  # has it already: a word all the same
    assert put(engine, mail("e", "d"))[0] == SEEN
    told(engine, 4, REMOVE, MUTED)  # has it not
    assert put(engine, mail("f", "e"))[0] == 0


def test_a_conflict_says_nothing(engine: Engine) -> None:
    put(engine, mail("a"))
    store = engine.open(ALICE)
    inbox = store.mailbox("INBOX").id
    assert store.store_flags(inbox, [1], ADD, 0, (MUTED,), unchanged_since=1).conflicts == [1]
    assert put(engine, mail("b", "a")) == (0, "")


def test_only_deliveries_are_quiet(engine: Engine) -> None:
    put(engine, mail("a"))
    told(engine, 1, ADD, MUTED)
    assert put(engine, mail("b", "a"), delivered=False) == (0, "")
    assert put(engine, mail("c", "b")) == (SEEN, MUTED)
    told(engine, 3, REMOVE, MUTED)
    assert put(engine, mail("d", "a"), delivered=False, keywords=("$muted",)) == (0, MUTED)
    assert put(engine, mail("e", "a")) == (SEEN, MUTED)  # that was appended as muted


def test_the_thread_is_muted_for_one_account_in_all_mailboxes(engine: Engine) -> None:
    put(engine, mail("a"))
    told(engine, 1, ADD, MUTED)
    both = [Target(ALICE, "Archive"), Target(BOB, "INBOX")]
    add_all(engine, [addition(mail("b", "a"), both, delivered=True)])
    assert last(engine, "Archive") == (SEEN, MUTED) and last(engine, "INBOX", BOB) == (0, "")


def test_a_batch_has_its_own_replies(engine: Engine) -> None:
    put(engine, mail("a"))
    told(engine, 1, ADD, MUTED)
    sources = [mail("b", "a"), mail("c", "b"), mail("d"), mail("e", "d")]
    add_all(engine, [addition(source, [Target(ALICE, "INBOX")], delivered=True) for source in sources])
    store = engine.open(ALICE)
    rows = store.fetch(store.mailbox("INBOX").id, 2, 99, ("flags", "keywords"))
    assert list(rows) == [(SEEN, MUTED), (SEEN, MUTED), (0, ""), (0, "")]


def test_copies_and_virtual_mailboxes_speak_for_the_thread(engine: Engine) -> None:
    put(engine, mail("a"))
    store = engine.open(ALICE)
    archive = store.mailbox("Archive").id
    store.copy(store.mailbox("INBOX").id, [1], archive)
    store.store_flags(archive, [1], ADD, 0, (MUTED,))
    assert put(engine, mail("b", "a"))[0] == SEEN
    every = store.define_virtual("All", "ALL").id
    store.store_flags(every, list(store.select(every, False).uids), REMOVE, 0, (MUTED,))
    assert put(engine, mail("c", "a"))[0] == 0


def test_it_outlives_messages_and_repairs(engine: Engine) -> None:
    for source in (mail("a"), mail("b", "a"), mail("quiet"), mail("loud")):
        put(engine, source)
    store = engine.open(ALICE)
    inbox = store.mailbox("INBOX").id
    told(engine, 1, ADD, MUTED)
    told(engine, 3, ADD, MUTED)
    told(engine, 4, ADD, MUTED)
    told(engine, 4, REMOVE, MUTED)
    store.remove(inbox, [1, 3])  # one thread loses its first message, one all
    store.tidy_texts(lambda: False)
    store.repair("reassignthreads")
    assert put(engine, mail("c", "a"))[0] == SEEN
    assert put(engine, mail("d", "quiet"))[0] == SEEN
    assert put(engine, mail("e", "loud"))[0] == 0
    store.repair("reassignthreads")
    told(engine, 6, REMOVE, MUTED)
    assert put(engine, mail("f", "quiet"))[0] == 0
    assert put(engine, mail("g", "c"))[0] == SEEN


def test_mail_is_not_refused_for_want_of_keywords(engine: Engine) -> None:
    put(engine, mail("a"))
    told(engine, 1, ADD, MUTED)
    many = tuple(f"k{n}" for n in range(KEYWORDS_PER_MESSAGE))
    flags, keywords = put(engine, mail("b", "a"), keywords=many)
    assert flags == SEEN and len(keywords.split()) == KEYWORDS_PER_MESSAGE
