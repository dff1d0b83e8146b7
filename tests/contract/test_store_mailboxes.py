"""Mailboxes, the same for every engine."""

from __future__ import annotations

import pytest

from echomox.store.engine import (
    DEFAULT_MAILBOXES,
    BadMailboxName,
    Engine,
    FlagOp,
    MailboxExists,
    NoSuchAccount,
    NoSuchMailbox,
)
from tests.contract.stores import ALICE, BOB, add, fill


def test_account_begins_with_default_mailboxes_and_their_uses(engine: Engine) -> None:
    found = {mailbox.name: mailbox.special_use for mailbox in engine.open(ALICE).mailboxes()}
    assert found == dict(DEFAULT_MAILBOXES)


def test_accounts_are_listed_made_once_and_removed(engine: Engine) -> None:
    assert engine.accounts() == [ALICE, BOB]
    engine.create(ALICE)
    engine.remove(BOB)
    assert engine.accounts() == [ALICE]
    with pytest.raises(NoSuchAccount):
        engine.open(BOB)


@pytest.mark.parametrize("name", ["../x", ".hidden", "a/b", "", "a b", "ü@example.test"])
def test_account_name_that_is_no_safe_directory_is_refused(engine: Engine, name: str) -> None:
    with pytest.raises(NoSuchAccount):
        engine.create(name)


def test_removed_account_made_anew_is_empty(engine: Engine) -> None:
    add(engine)
    engine.remove(ALICE)
    engine.create(ALICE)
    assert engine.open(ALICE).mailbox("INBOX").total == 0


def test_inbox_is_one_name_in_any_case(engine: Engine) -> None:
    store = engine.open(ALICE)
    assert store.mailbox("inBox").name == "INBOX"
    assert store.create_mailbox("inbox/Sub").name == "INBOX/Sub"
    with pytest.raises(MailboxExists):
        store.create_mailbox("iNBOX")


def test_create_makes_parents_and_takes_a_trailing_separator(engine: Engine) -> None:
    store = engine.open(ALICE)
    store.create_mailbox("a/b/c/")
    assert {"a", "a/b", "a/b/c"} <= {mailbox.name for mailbox in store.mailboxes()}


BAD_NAMES = [
    "a//b",
    "/a",
    "",
    "a\x00b",
    "a\nb",
    "x" * 201,
    "/".join(["x" * 150] * 7),
    "#news",
    "a*",
    "a%",
    "/".join("x" * 60),
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_mailbox_name_is_refused(engine: Engine, name: str) -> None:
    with pytest.raises(BadMailboxName):
        engine.open(ALICE).create_mailbox(name)


def test_names_are_kept_in_nfc(engine: Engine) -> None:
    store = engine.open(ALICE)
    assert store.create_mailbox("Entwu\u0308rfe").name == "Entw\u00fcrfe"
    assert store.mailbox("Entwu\u0308rfe").name == "Entw\u00fcrfe"


def test_uidvalidity_grows_with_each_mailbox_of_a_name(engine: Engine) -> None:
    store = engine.open(ALICE)
    first = store.create_mailbox("x")
    store.delete_mailbox("x")
    second = store.create_mailbox("x")
    assert second.uidvalidity > first.uidvalidity
    assert second.id != first.id


def test_special_use_is_found_and_given_once(engine: Engine) -> None:
    store = engine.open(ALICE)
    junk = store.special_mailbox("\\Junk")
    assert junk is not None and junk.name == "Junk"
    assert store.special_mailbox("\\Important") is None
    assert store.create_mailbox("Now", "\\Important").special_use == "\\Important"
    with pytest.raises(BadMailboxName):
        store.create_mailbox("Then", "\\Important")
    with pytest.raises(BadMailboxName):
        store.create_mailbox("Then", "\\Nonsense")


def test_rename_takes_children_along_and_keeps_identity(engine: Engine) -> None:
    store = engine.open(ALICE)
    deep = store.create_mailbox("a/b/c")
    uids = fill(engine, 2, "a/b/c")
    since = store.modseq()
    store.rename_mailbox("a", "new/place")
    moved = store.mailbox("new/place/b/c")
    assert (moved.id, moved.uidvalidity, moved.total) == (deep.id, deep.uidvalidity, len(uids))
    with pytest.raises(NoSuchMailbox):
        store.mailbox("a")
    assert store.changes(deep.id, since).renamed


def test_rename_refuses_taken_missing_and_own_child(engine: Engine) -> None:
    store = engine.open(ALICE)
    store.create_mailbox("a")
    with pytest.raises(MailboxExists):
        store.rename_mailbox("a", "Sent")
    with pytest.raises(NoSuchMailbox):
        store.rename_mailbox("nothing", "b")
    with pytest.raises(BadMailboxName):
        store.rename_mailbox("a", "a/b")


def test_a_name_has_a_higher_uidvalidity_with_each_mailbox_that_has_it(engine: Engine) -> None:
    """RFC 9051 2.3.1.1: the older mailbox takes the name of a newer one, with a child."""
    store = engine.open(ALICE)
    store.create_mailbox("old/child")
    uids = fill(engine, 2, "old/child")
    new = {name: store.create_mailbox(name).uidvalidity for name in ("new", "new/child")}
    old = {name: store.mailbox(f"old{name[3:]}").uidvalidity for name in new}
    store.delete_mailbox("new/child")
    store.rename_mailbox("new", "elsewhere")
    store.rename_mailbox("old", "new")
    for name, before in new.items():
        assert store.mailbox(name).uidvalidity > before > old[name]
    child = store.mailbox("new/child")
    assert [row[0] for row in store.fetch(child.id, 1, 99, ("uid",))] == uids
    assert store.create_mailbox("last").uidvalidity > child.uidvalidity


def test_a_mailbox_keeps_its_uidvalidity_where_no_newer_one_had_the_name(engine: Engine) -> None:
    store = engine.open(ALICE)
    for name in ("older", "newer"):
        store.create_mailbox(name)
    store.delete_mailbox("older")
    kept = [store.create_mailbox(name).uidvalidity for name in ("a", "a/b")]
    store.create_mailbox("newest")
    store.delete_mailbox("newest")
    for old, new in (("a", "older"), ("older", "c"), ("c", "a")):
        store.rename_mailbox(old, new)
    assert [store.mailbox(name).uidvalidity for name in ("a", "a/b")] == kept


def test_a_name_that_a_virtual_mailbox_had(engine: Engine) -> None:
    store = engine.open(ALICE)
    store.create_mailbox("a")
    store.create_mailbox("b")
    first = store.define_virtual("view", "ALL").uidvalidity
    store.rename_mailbox("view", "view2")
    store.rename_mailbox("a", "view")
    assert store.mailbox("view").uidvalidity > first
    second = store.mailbox("view2").uidvalidity
    store.delete_mailbox("view2")
    store.rename_mailbox("b", "view2")
    assert store.mailbox("view2").uidvalidity > second


def test_renaming_inbox_moves_its_messages(engine: Engine) -> None:
    """RFC 9051 6.3.6"""
    store = engine.open(ALICE)
    fill(engine, 3)
    inbox = store.mailbox("INBOX")
    since = store.modseq()
    store.rename_mailbox("INBOX", "old")
    assert (store.mailbox("INBOX").total, store.mailbox("old").total) == (0, 3)
    assert store.mailbox("INBOX").id == inbox.id
    assert store.changes(inbox.id, since).expunged == [1, 2, 3]


def test_delete_keeps_children_and_spares_inbox(engine: Engine) -> None:
    store = engine.open(ALICE)
    store.create_mailbox("a/b")
    gone = store.mailbox("a")
    since = store.modseq()
    store.delete_mailbox("a")
    assert store.mailbox("a/b")
    assert store.changes(gone.id, since).renamed
    with pytest.raises(NoSuchMailbox):
        store.mailbox_by_id(gone.id)
    with pytest.raises(NoSuchMailbox):
        store.store_flags(gone.id, [1], FlagOp.ADD, 1, ())
    with pytest.raises(BadMailboxName):
        store.delete_mailbox("Inbox")


def test_a_new_account_is_subscribed_to_its_mailboxes(engine: Engine) -> None:
    store = engine.open(ALICE)
    assert store.subscriptions() == sorted(DEFAULT_MAILBOXES)
    assert all(mailbox.subscribed for mailbox in store.mailboxes())


def test_subscription_may_name_what_does_not_exist(engine: Engine) -> None:
    store = engine.open(ALICE)
    before = store.subscriptions()
    store.subscribe("nowhere", True)
    store.subscribe("nowhere", True)
    assert store.subscriptions() == [*before, "nowhere"]
    store.subscribe("nowhere", False)
    store.subscribe("Trash", False)
    assert store.subscriptions() == [name for name in before if name != "Trash"]
    assert not store.mailbox("Trash").subscribed


def test_recent_is_claimed_by_one_session(engine: Engine) -> None:
    store = engine.open(ALICE)
    fill(engine, 3)
    inbox = store.mailbox("INBOX").id
    assert store.select(inbox, claim_recent=False).recent_from == 1
    assert store.select(inbox, claim_recent=True).recent_from == 1
    assert store.select(inbox, claim_recent=True).recent_from == 4
    fill(engine, 1)
    assert store.select(inbox, claim_recent=True).recent_from == 4
    fill(engine, 4)
    assert [store.claim_recent(inbox, below) for below in (0, 7, 7, 6, 9, 0)] == [5, 5, 7, 7, 7, 9]
    assert store.select(inbox, claim_recent=False).recent_from == 9
    every = store.define_virtual("All", "ALL").id
    assert [store.claim_recent(every, below) for below in (0, 3, 2, 0)] == [1, 1, 3, 3]
    assert store.select(every, claim_recent=True).recent_from == 3
    assert store.select(every, claim_recent=True).recent_from == 9
