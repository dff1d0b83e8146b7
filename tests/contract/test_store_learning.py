"""Learning, secrets and logins: the same for every engine."""

from __future__ import annotations

import pytest

from echomox.store.engine import Engine, Flag, FlagOp, Login, Target
from tests.contract.stores import ALICE, add, add_all, addition, message

JUNK, NOTJUNK, ANSWERED = int(Flag.JUNK), int(Flag.NOTJUNK), int(Flag.ANSWERED)
ADD, REMOVE, SET = FlagOp.ADD, FlagOp.REMOVE, FlagOp.SET


def labels(engine: Engine) -> list[str]:
    return [item.label for item in engine.open(ALICE).learn_outbox(0, 100)]


BY_FLAG = [
    (0, ADD, JUNK, ["spam"]),
    (0, ADD, NOTJUNK, ["ham"]),
    (0, ADD, JUNK | NOTJUNK, []),
    (NOTJUNK, ADD, JUNK, ["spam"]),
    (JUNK, ADD, NOTJUNK, ["ham"]),
    (JUNK, REMOVE, JUNK, [""]),
    (JUNK, SET, 0, [""]),
    (JUNK, ADD, 1, []),
    (JUNK, ADD, JUNK, []),
    (JUNK, SET, JUNK | NOTJUNK, [""]),
    (0, ADD, ANSWERED, ["ham"]),
    (0, SET, ANSWERED | 1, ["ham"]),
    (ANSWERED, REMOVE, ANSWERED, [""]),
    (ANSWERED, ADD, NOTJUNK, []),
    (ANSWERED, ADD, JUNK, ["spam"]),
    (JUNK, ADD, ANSWERED, []),
    (JUNK | ANSWERED, REMOVE, JUNK, ["ham"]),
]


@pytest.mark.parametrize("before, op, flags, expected", BY_FLAG)
def test_flags_teach(engine: Engine, before: int, op: FlagOp, flags: int, expected: list[str]) -> None:
    added = add(engine, flags=before)
    engine.open(ALICE).store_flags(added.mailbox_id, [added.uid], op, flags, ())
    items = engine.open(ALICE).learn_outbox(0, 10)
    assert [item.label for item in items] == expected
    assert all(item.message_id == added.message_id for item in items)


BY_MOVE = [
    ("INBOX", 0, "Junk", JUNK, ["spam"]),
    ("INBOX", NOTJUNK, "Junk", JUNK, ["spam"]),
    ("INBOX", JUNK, "Junk", JUNK, []),
    ("Junk", JUNK, "INBOX", 0, [""]),
    ("Junk", 0, "INBOX", NOTJUNK, ["ham"]),
    ("Junk", 0, "Trash", 0, []),
    ("Junk", JUNK, "Trash", JUNK, []),
    ("INBOX", 0, "Archive", 0, []),
    ("Rejects", 0, "INBOX", 0, []),
    ("INBOX", ANSWERED, "Archive", ANSWERED, []),
    ("INBOX", ANSWERED, "Junk", ANSWERED | JUNK, ["spam"]),
    ("Junk", ANSWERED | JUNK, "INBOX", ANSWERED, ["ham"]),
]


@pytest.mark.parametrize("source, flags, target, expected_flags, expected", BY_MOVE)
def test_moves_teach(
    engine: Engine, source: str, flags: int, target: str, expected_flags: int, expected: list[str]
) -> None:
    added = add(engine, source, flags=flags)
    store = engine.open(ALICE)
    store.move(added.mailbox_id, [added.uid], store.mailbox(target).id)
    assert [row[0] for row in store.fetch(store.mailbox(target).id, 1, 99, ["flags"])] == [expected_flags]
    assert labels(engine) == expected


def test_copy_into_junk_teaches_and_copy_out_does_not(engine: Engine) -> None:
    added = add(engine)
    store = engine.open(ALICE)
    junk = store.mailbox("Junk").id
    store.copy(added.mailbox_id, [added.uid], junk)
    assert labels(engine) == ["spam"]
    store.copy(junk, [1], added.mailbox_id)
    assert labels(engine) == ["spam"]


def test_append_into_junk_teaches_and_delivery_does_not(engine: Engine) -> None:
    add(engine, "Junk")
    assert labels(engine) == []
    add(engine, "Junk", learn=True)
    assert labels(engine) == ["spam"]
    store = engine.open(ALICE)
    assert [row[0] for row in store.fetch(store.mailbox("Junk").id, 1, 9, ["flags"])] == [0, JUNK]


def test_outbox_is_read_in_order_and_forgotten(engine: Engine) -> None:
    added = add(engine)
    store = engine.open(ALICE)
    for flag in (JUNK, NOTJUNK, JUNK):
        store.store_flags(added.mailbox_id, [added.uid], ADD, flag, ())
    items = store.learn_outbox(0, 2)
    assert [item.label for item in items] == ["spam", "ham"]
    store.learned(items[-1].id)
    assert labels(engine) == ["spam"]
    assert store.learn_outbox(items[-1].id, 10)[0].id > items[-1].id


def test_secrets_are_replaced_and_their_generation_grows(engine: Engine) -> None:
    store = engine.open(ALICE)
    assert store.secrets() == {}
    store.set_secrets({"bcrypt": "x", "cram-md5": "y"})
    assert store.secrets() == {"bcrypt": "x", "cram-md5": "y", "generation": "1"}
    store.set_secrets({"bcrypt": "z", "generation": "77"})
    assert store.secrets() == {"bcrypt": "z", "generation": "2"}


def test_logins_are_listed_newest_first_and_kept_thirty_days(engine: Engine) -> None:
    store = engine.open(ALICE)
    now = 1_800_000_000.0
    for n in range(130):
        store.log_login(Login(now + n, "alice@example.test", "imap", "plain", "ok", "192.0.2.1"))
    found = store.logins()
    assert (found[0].time, len(found), len(store.logins(limit=3))) == (now + 129, 130, 3)
    for n in range(70):
        store.log_login(Login(now + 40 * 86_400 + n, "alice@example.test", "imap", "plain", "bad", "192.0.2.1"))
    assert min(login.time for login in store.logins()) == now + 40 * 86_400


BY_NAME = {"Archive": "ham", "Spam": "spam", "INBOX": "", "Trash": "ham"}
"""What the options of the account say (F07); of other mailboxes nothing."""
BY_OPTION = [
    ("INBOX", 0, "Archive", NOTJUNK, ["ham"]),
    ("INBOX", JUNK, "Archive", NOTJUNK, ["ham"]),
    ("Archive", NOTJUNK, "INBOX", 0, [""]),
    ("Archive", NOTJUNK, "Spam", JUNK, ["spam"]),
    ("INBOX", 0, "Junk", JUNK, ["spam"]),
    ("Junk", JUNK, "INBOX", 0, [""]),
    ("Junk", JUNK, "Drafts", 0, [""]),
    ("INBOX", 0, "Sent", 0, []),
]


@pytest.mark.parametrize("move", [True, False])
@pytest.mark.parametrize("source, flags, target, expected_flags, expected", BY_OPTION)
def test_mailboxes_say_what_the_options_say(
    engine: Engine, source: str, flags: int, target: str, expected_flags: int, expected: list[str], move: bool
) -> None:
    if source == "Junk" and not move:  # a copy takes nothing out of Junk
        expected_flags = 0 if target == "INBOX" else JUNK
        expected = [""] if target == "INBOX" else []
    store = engine.open(ALICE)
    store.create_mailbox("Spam")
    added = add(engine, source, flags=flags)
    engine.opinion = lambda account, mailbox: BY_NAME.get(mailbox) if account == ALICE else None
    there = store.mailbox(target).id
    (store.move if move else store.copy)(added.mailbox_id, [added.uid], there)
    assert [row[0] & (JUNK | NOTJUNK) for row in store.fetch(there, 1, 0xFFFFFFFF, ["flags"])] == [expected_flags]
    assert labels(engine) == expected


OUT_OF_STRANGERS = [
    (0, "INBOX", NOTJUNK, ["ham"]),  # though INBOX says neither
    (0, "Archive", NOTJUNK, ["ham"]),
    (0, "Drafts", NOTJUNK, ["ham"]),
    (0, "Trash", 0, []),
    (0, "Junk", JUNK, ["spam"]),
    (0, "Spam", JUNK, ["spam"]),
    (JUNK, "Drafts", JUNK, []),
    (NOTJUNK, "Drafts", NOTJUNK, []),
]


@pytest.mark.parametrize("flags, target, expected_flags, expected", OUT_OF_STRANGERS)
def test_what_the_user_moves_out_of_the_mailbox_of_strangers_is_ham(
    engine: Engine, flags: int, target: str, expected_flags: int, expected: list[str]
) -> None:
    """F14"""
    said = {"New": "waits", "INBOX": "", "Archive": "ham", "Spam": "spam"}
    engine.opinion = lambda account, mailbox: said.get(mailbox)
    store = engine.open(ALICE)
    for name in ("New", "Spam"):
        store.create_mailbox(name)
    added = add(engine, "New", flags=flags)
    there = store.mailbox(target).id
    store.move(added.mailbox_id, [added.uid], there)
    assert [row[0] & (JUNK | NOTJUNK) for row in store.fetch(there, 1, 0xFFFFFFFF, ["flags"])] == [expected_flags]
    assert labels(engine) == expected


def test_what_goes_into_the_mailbox_of_strangers_teaches_nothing(engine: Engine) -> None:
    engine.opinion = lambda account, mailbox: "waits" if mailbox == "New" else None
    store = engine.open(ALICE)
    store.create_mailbox("New")
    new = store.mailbox("New").id
    inbox = add(engine, "INBOX")
    store.move(inbox.mailbox_id, [inbox.uid], new)
    add(engine, "New", learn=True)
    assert labels(engine) == []
    junk = add(engine, "Junk")
    store.move(junk.mailbox_id, [junk.uid], new)
    assert labels(engine) == ["ham"]


@pytest.mark.parametrize(
    "mailbox, learn, flags, expected",
    [
        ("Archive", True, NOTJUNK, ["ham"]),
        ("Archive", False, NOTJUNK, ["ham"]),
        ("Spam", False, JUNK, ["spam"]),
        ("INBOX", False, 0, []),
        ("Drafts", False, 0, []),
        ("Junk", False, 0, []),
        ("Rejects", False, 0, []),
    ],
)
def test_a_delivery_is_learnt_by_the_options_but_not_where_the_filter_puts_mail(
    engine: Engine, mailbox: str, learn: bool, flags: int, expected: list[str]
) -> None:
    store = engine.open(ALICE)
    store.create_mailbox("Spam")
    says = {**BY_NAME, "Junk": "spam", "Rejects": "spam"}
    engine.opinion = lambda account, name: says.get(name)
    one = addition(message(), [Target(ALICE, mailbox)], learn=learn, delivered=not learn)
    add_all(engine, [one])
    assert [row[0] for row in store.fetch(store.mailbox(mailbox).id, 1, 0xFFFFFFFF, ["flags"])] == [flags]
    assert labels(engine) == expected
