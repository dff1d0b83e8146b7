"""METADATA: the same for every engine."""

from __future__ import annotations

import pytest

from echomox.store.engine import ANNOTATION_SIZE, ANNOTATIONS, Engine, LimitExceeded
from tests.contract.stores import ALICE, BOB


def test_they_are_set_changed_and_removed(engine: Engine) -> None:
    store = engine.open(ALICE)
    inbox = store.mailbox("INBOX").id
    store.set_annotations(inbox, {"/private/comment": b"mine", "/shared/x": b"\0\xff"})
    store.set_annotations(0, {"/private/comment": b"of the account"})
    assert store.annotations(inbox) == {"/private/comment": b"mine", "/shared/x": b"\0\xff"}
    changes = {"/shared/x": None, "/private/comment": b"", "/private/a": b"1", "/private/none": None}
    store.set_annotations(inbox, changes)
    assert list(store.annotations(inbox).items()) == [("/private/a", b"1"), ("/private/comment", b"")]
    assert store.annotations(0) == {"/private/comment": b"of the account"}
    assert engine.open(BOB).annotations(0) == {}


def test_they_follow_a_renamed_mailbox_and_go_with_a_deleted_one(engine: Engine) -> None:
    store = engine.open(ALICE)
    one = store.create_mailbox("one")
    store.set_annotations(one.id, {"/private/comment": b"c"})
    store.rename_mailbox("one", "two")
    assert store.annotations(store.mailbox("two").id) == {"/private/comment": b"c"}
    store.delete_mailbox("two")
    assert store.annotations(one.id) == {}
    assert store.annotations(store.create_mailbox("one").id) == {}


def test_limits_hold_and_leave_all_as_it_was(engine: Engine) -> None:
    store = engine.open(ALICE)
    store.set_annotations(0, {f"/private/{n}": b"" for n in range(ANNOTATIONS)})
    with pytest.raises(LimitExceeded):
        store.set_annotations(store.mailbox("INBOX").id, {"/private/more": b""})
    with pytest.raises(LimitExceeded):
        store.set_annotations(0, {"/private/0": b"x" * (ANNOTATION_SIZE + 1)})
    store.set_annotations(0, {"/private/0": b"x" * ANNOTATION_SIZE})
    assert len(store.annotations(0)) == ANNOTATIONS
    assert store.annotations(store.mailbox("INBOX").id) == {}
