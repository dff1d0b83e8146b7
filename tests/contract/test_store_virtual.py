"""Virtual mailboxes (X63): the same for every engine."""

from __future__ import annotations

from array import array

import pytest

from echomox.imap import search as keys
from echomox.imap.sorting import Criterion
from echomox.store.engine import (
    VIRTUALS,
    AccountStore,
    BadMailboxName,
    Engine,
    Flag,
    FlagOp,
    LimitExceeded,
    MailboxExists,
    NoSuchMailbox,
)
from tests.contract.stores import ALICE, add, fill, message


def rows(store: AccountStore, mailbox_id: int, *columns: str) -> list[tuple[object, ...]]:
    return list(store.fetch(mailbox_id, 1, 0xFFFFFFFF, columns))


def box_of(store: AccountStore, name: str) -> int:
    return store.mailbox(name).id


def test_what_is_in_it(engine: Engine) -> None:
    store = engine.open(ALICE)
    fill(engine, 3)
    fill(engine, 2, "Archive")
    fill(engine, 1, "Junk")
    fill(engine, 1, "Trash")
    every = store.define_virtual("Views/All", "ALL", "\\All")
    assert every.id < 0 and every.total == 5 and every.uidnext == 6 and every.special_use == "\\All"
    assert [row[0] for row in rows(store, every.id, "subject")] == ["0", "1", "2", "0", "1"]
    flagged = store.define_virtual("Flagged", "FLAGGED", "\\Flagged")
    assert flagged.total == 0 and store.select(flagged.id, True).uids == array("I")
    assert [(one.name, one.search, one.special_use) for one in store.virtual_mailboxes()] == [
        ("Flagged", "FLAGGED", "\\Flagged"),
        ("Views/All", "ALL", "\\All"),
    ]
    assert all(mailbox.id > 0 for mailbox in store.mailboxes())
    assert store.mailbox_by_id(every.id).name == "Views/All"


def test_uids_stay_with_messages_that_match(engine: Engine) -> None:
    store = engine.open(ALICE)
    uids = fill(engine, 4)
    inbox, archive = box_of(store, "INBOX"), box_of(store, "Archive")
    unread = store.define_virtual("Unread", "UNSEEN").id
    selected = store.select(unread, True)
    assert list(selected.uids) == [1, 2, 3, 4] and selected.recent_from == 1
    store.move(inbox, uids[1:2], archive)
    changes = store.changes(unread, selected.modseq)
    assert [change[0] for change in changes.changed] == [2] and changes.expunged == []
    store.store_flags(inbox, uids[:1], FlagOp.ADD, Flag.SEEN, ())
    store.remove(inbox, uids[2:3])
    new = store.changes(unread, changes.modseq)
    assert (new.changed, new.expunged) == ([], [1, 3]) and new.modseq > changes.modseq
    store.store_flags(inbox, uids[:1], FlagOp.REMOVE, Flag.SEEN, ())
    back = store.changes(unread, new.modseq)
    assert [change[0] for change in back.changed] == [5] and back.changed[0][3] > new.modseq
    assert list(store.select(unread, True).uids) == [2, 4, 5]
    assert store.changes(unread, back.modseq).changed == []
    assert store.changes(unread, selected.modseq).expunged == [1, 3]
    store.move(archive, [store.mailbox("Archive").uidnext - 1], box_of(store, "Trash"))
    assert store.changes(unread, back.modseq).expunged == [2]
    assert store.mailbox("Unread").uidvalidity == selected.mailbox.uidvalidity


def test_new_mail_comes_in_with_a_growing_uid(engine: Engine) -> None:
    store = engine.open(ALICE)
    box = store.define_virtual("Invoices", 'SUBJECT "invoice" NOT DELETED').id
    since = store.select(box, False).modseq
    add(engine, "INBOX", message("Your invoice"))
    add(engine, "INBOX", message("something else"))
    add(engine, "Archive", message("old invoice"), flags=int(Flag.FLAGGED), keywords=("blue",))
    changes = store.changes(box, since)
    assert [change[:3] for change in changes.changed] == [(1, 0, ""), (2, int(Flag.FLAGGED), "blue")]
    assert "blue" in store.select(box, False).keywords
    mailbox = store.mailbox("Invoices")
    assert (mailbox.total, mailbox.unseen, mailbox.uidnext) == (2, 2, 3)
    assert mailbox.size == sum(row[0] for row in rows(store, box, "size"))  # type: ignore[misc]


def test_changes_are_made_to_the_messages(engine: Engine) -> None:
    store = engine.open(ALICE)
    fill(engine, 2)
    fill(engine, 2, "Archive")
    inbox, archive = box_of(store, "INBOX"), box_of(store, "Archive")
    every = store.define_virtual("All", "ALL").id
    before = store.modseq()
    stored = store.store_flags(every, [1, 3, 9], FlagOp.ADD, Flag.DELETED, ("blue",))
    assert [change[0] for change in stored.changed] == [1, 3] and stored.missing == [9]
    assert [row[0] for row in rows(store, inbox, "keywords")] == ["blue", ""]
    assert [row[0] for row in rows(store, archive, "keywords")] == ["blue", ""]
    old = store.store_flags(every, [1, 2], FlagOp.ADD, Flag.SEEN, (), unchanged_since=before)
    assert old.conflicts == [1] and [change[0] for change in old.changed] == [2]
    copied = store.copy(every, [2, 4], box_of(store, "Drafts"))
    assert copied.source == [2, 4] and copied.target == [1, 2]
    assert store.expunge(every, [1, 2])[0] == [1] and store.mailbox("INBOX").total == 1
    moved = store.move(every, [2, 3], archive)
    assert moved.source == [2, 3] and store.mailbox("INBOX").total == 0 and store.mailbox("Archive").total == 3
    assert store.expunge(every, None)[0] == [3]
    assert store.remove(every, [4])[0] == [4] and store.mailbox("Archive").total == 1
    with pytest.raises(BadMailboxName):
        store.copy(inbox, [1], every)
    with pytest.raises(BadMailboxName):
        store.move(every, [2], every)


def test_searching_and_sorting_in_it(engine: Engine) -> None:
    store = engine.open(ALICE)
    add(engine, "INBOX", message("b", "one\r\n"))
    add(engine, "Archive", message("a", "two\r\n"))
    add(engine, "INBOX", message("c", "two\r\n"))
    every = store.define_virtual("All", "ALL").id
    uids = store.select(every, False).uids
    assert store.search(every, keys.Body("two"), uids) == [2, 3]
    assert store.search(every, keys.And((keys.Body("two"), keys.Sequence(((1, 2),), uid=True))), uids) == [2]
    assert store.search(every, keys.Not(keys.Sequence(((2, 2),), uid=True)), uids) == [1, 3]
    steps = store.ordering(every, list(uids), [Criterion("SUBJECT", False)], {})
    while True:
        try:
            next(steps)
        except StopIteration as end:
            assert end.value == [2, 1, 3]
            break
    threads = store.thread_items(every, list(uids))
    while True:
        try:
            next(threads)
        except StopIteration as end:
            assert list(end.value.numbers) == [1, 2, 3]
            break


def test_names(engine: Engine) -> None:
    store = engine.open(ALICE)
    box = store.define_virtual("All", "ALL", "\\All")
    with pytest.raises(MailboxExists):
        store.create_mailbox("All")
    with pytest.raises(MailboxExists):
        store.define_virtual("INBOX", "ALL")
    with pytest.raises(BadMailboxName):
        store.define_virtual("More", "ALL", "\\All")
    store.rename_mailbox("All", "Everything")
    assert store.mailbox("Everything").id == box.id
    with pytest.raises(NoSuchMailbox):
        store.mailbox("All")
    store.set_annotations(box.id, {"/private/comment": b"x"})
    since = store.modseq()
    store.delete_mailbox("Everything")
    assert store.changes(box.id, since).renamed and store.virtual_mailboxes() == []
    assert store.annotations(box.id) == {}
    with pytest.raises(NoSuchMailbox):
        store.mailbox_by_id(box.id)
    with pytest.raises(NoSuchMailbox):
        store.select(box.id, False)
    assert store.define_virtual("Everything", "ALL").id != box.id  # RFC 8474 4: a MAILBOXID is not given twice


@pytest.mark.parametrize(
    "search",
    ["", "nonsense", "1:5", "UID 1", "FLAGGED 3", "NOT $", "RECENT", "OR SEEN 4", "MODSEQ 5", "FILTER x", "ALL)"],
)
def test_what_makes_no_mailbox(engine: Engine, search: str) -> None:
    with pytest.raises(BadMailboxName):
        engine.open(ALICE).define_virtual("x", search)


def test_there_is_a_limit(engine: Engine) -> None:
    store = engine.open(ALICE)
    for number in range(VIRTUALS):
        store.define_virtual(f"v{number}", "FLAGGED")
    with pytest.raises(LimitExceeded):
        store.define_virtual("one more", "FLAGGED")
