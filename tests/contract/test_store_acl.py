"""Access lists of mailboxes: the same for every engine."""

from __future__ import annotations

import pytest

from echomox.store.engine import ACL_ENTRIES, Engine, LimitExceeded, NoSuchAccount, NoSuchMailbox
from tests.contract.stores import ALICE, BOB


def test_they_are_set_changed_and_removed(engine: Engine) -> None:
    store = engine.open(ALICE)
    inbox, junk = store.mailbox("INBOX").id, store.mailbox("Junk").id
    assert store.shared() == {} and engine.owners(BOB) == []
    store.set_acl(inbox, {"anyone": "l", BOB: "lrs", "-" + BOB: "s"})
    store.set_acl(junk, {BOB: "lr"})
    assert list(store.acl(inbox).items()) == [("-" + BOB, "s"), ("anyone", "l"), (BOB, "lrs")]
    store.set_acl(inbox, {"anyone": None, BOB: "lr", "-" + BOB: None, "nobody": None})
    assert store.acl(inbox) == {BOB: "lr"}
    assert store.shared() == {inbox: {BOB: "lr"}, junk: {BOB: "lr"}}


def test_who_may_look_where(engine: Engine) -> None:
    """It may say too much, never too little."""
    store = engine.open(ALICE)
    store.set_acl(store.mailbox("Junk").id, {BOB: "lr"})
    assert engine.owners(BOB) == [ALICE] and engine.owners(ALICE) == []
    engine.create("carol")
    assert engine.owners("carol") == []
    store.set_acl(store.mailbox("INBOX").id, {"anyone": "l"})
    assert engine.owners("carol") == [ALICE] and engine.owners(ALICE) == []


def test_a_change_is_told_to_who_watches_the_mailbox(engine: Engine) -> None:
    store = engine.open(ALICE)
    inbox = store.mailbox("INBOX").id
    before = store.modseq()
    store.set_acl(inbox, {BOB: "lr"})
    changes = store.changes(inbox, before)
    assert changes.modseq > before and changes.renamed and not changes.changed
    assert not store.changes(store.mailbox("Junk").id, before).renamed


def test_a_new_mailbox_is_shared_as_its_parent_and_a_deleted_one_with_nobody(engine: Engine) -> None:
    """RFC 4314 4, CREATE and DELETE."""
    store = engine.open(ALICE)
    top = store.create_mailbox("top")
    store.set_acl(top.id, {BOB: "lrk"})
    below = store.create_mailbox("top/a/b")
    assert store.acl(below.id) == store.acl(store.mailbox("top/a").id) == {BOB: "lrk"}
    store.rename_mailbox("top/a", "other")
    assert store.acl(store.mailbox("other").id) == {BOB: "lrk"}
    store.delete_mailbox("top")
    assert store.acl(top.id) == {} and store.acl(store.create_mailbox("top").id) == {}
    with pytest.raises(NoSuchMailbox):
        store.set_acl(top.id, {BOB: "l"})


def test_an_account_that_goes_is_taken_out_of_all_lists(engine: Engine) -> None:
    store = engine.open(ALICE)
    inbox = store.mailbox("INBOX").id
    store.set_acl(inbox, {BOB: "lr", "-" + BOB: "s", "anyone": "l"})
    engine.withdraw(BOB)
    assert store.acl(inbox) == {"anyone": "l"}
    engine.withdraw("nobody")


def test_a_new_account_has_no_rights_of_an_earlier_one_of_its_name(engine: Engine) -> None:
    store = engine.open(ALICE)
    inbox = store.mailbox("INBOX").id
    store.set_acl(inbox, {BOB: "lr", "anyone": "l"})
    engine.remove(BOB)
    engine.create(BOB)
    assert store.acl(inbox) == {"anyone": "l"} and engine.owners(BOB) == [ALICE]


def test_limits_and_names(engine: Engine) -> None:
    store = engine.open(ALICE)
    inbox = store.mailbox("INBOX").id
    for name in ("../x", "", ".hidden", "a/b"):
        with pytest.raises(NoSuchAccount):
            store.set_acl(inbox, {name: "l"})
    store.set_acl(inbox, {f"-a{n}": "l" for n in range(ACL_ENTRIES)})
    with pytest.raises(LimitExceeded):
        store.set_acl(inbox, {"more": "l"})
    assert len(store.acl(inbox)) == ACL_ENTRIES
