"""Adding, reading, flags, copy, move, expunge, changes: the same for every engine."""

from __future__ import annotations

import pytest

from echomox.store.engine import (
    COLUMNS,
    Engine,
    Flag,
    FlagOp,
    LimitExceeded,
    NoSuchAccount,
    NoSuchMailbox,
    StoreError,
    Target,
)
from tests.contract.stores import ALICE, BOB, add, add_all, addition, fill, message

ALL = (1, 0xFFFFFFFF)
ADD, REMOVE, SET = FlagOp.ADD, FlagOp.REMOVE, FlagOp.SET


def rows(engine: Engine, mailbox: str = "INBOX", columns: str = "uid flags keywords") -> list[tuple]:
    store = engine.open(ALICE)
    return list(store.fetch(store.mailbox(mailbox).id, *ALL, columns.split()))


def counts(engine: Engine, mailbox: str = "INBOX") -> tuple[int, int, int, int]:
    one = engine.open(ALICE).mailbox(mailbox)
    return one.total, one.deleted, one.unread, one.unseen


def test_what_was_added_is_there_with_its_prefix_and_counts(engine: Engine) -> None:
    source = message("first")
    added = add(engine, source=source, prefix=b"Delivered-To: x\r\n", flags=int(Flag.FLAGGED), keywords=("b", "A"))
    store = engine.open(ALICE)
    content = store.content(added.message_id)
    assert content.read() == b"Delivered-To: x\r\n" + source
    assert (content.size, content.prefix_size) == (len(source) + 17, 17)
    assert content.read(10, 12) == (b"Delivered-To: x\r\n" + source)[10:22]
    assert content.read(len(source) + 10, 100) == (b"Delivered-To: x\r\n" + source)[len(source) + 10 :]
    content.close()
    assert rows(engine, columns="uid flags keywords size subject") == [(1, 4, "A b", len(source) + 17, "first")]
    inbox = store.mailbox("INBOX")
    assert (inbox.uidnext, inbox.size, inbox.modseq) == (2, len(source) + 17, store.modseq())
    assert counts(engine) == (1, 0, 1, 1)


def test_every_column_can_be_fetched(engine: Engine) -> None:
    source = message("all")
    added = add(engine, source=source, verdict='{"p":0}')
    found = dict(zip(COLUMNS, rows(engine, columns=" ".join(COLUMNS))[0]))
    assert found["id"] == added.message_id
    assert found["message_id"].strip("<>").endswith("@example.org")
    assert (found["modseq"], found["verdict"], found["preview"]) == (added.modseq, '{"p":0}', "The text.")
    assert isinstance(found["envelope"], bytes) and found["envelope"].startswith(b"(")
    assert found["parts"][0].content_type == "text/plain"
    assert source[found["parts"][0].offset :] == b"The text.\r\n"


def test_one_delivery_to_many_targets(engine: Engine) -> None:
    source = message()
    targets = [Target(ALICE, "INBOX", b"D: a\r\n"), Target(BOB, "Junk", b"D: b\r\n"), Target(ALICE, "Archive")]
    (added,) = add_all(engine, [addition(source, targets)])
    assert [(one.account, one.uid) for one in added] == [(ALICE, 1), (BOB, 1), (ALICE, 1)]
    for one, target in zip(added, targets):
        assert engine.open(one.account).content(one.message_id).read() == target.prefix + source


def test_uids_ascend_in_one_batch_and_modseqs_in_commit_order(engine: Engine) -> None:
    assert fill(engine, 5) == [1, 2, 3, 4, 5]
    modseqs = [row[1] for row in rows(engine, columns="uid modseq")]
    assert modseqs == sorted(modseqs)
    assert fill(engine, 1) == [6]


@pytest.mark.parametrize(
    "target, error",
    [
        (Target(BOB, "nowhere"), NoSuchMailbox),
        (Target("nobody@example.test", "INBOX"), NoSuchAccount),
        (Target(BOB, "INBOX", keywords=("a b",)), LimitExceeded),
        (Target(BOB, "a//b"), StoreError),
    ],
)
def test_a_refused_target_leaves_nothing_anywhere(engine: Engine, target: Target, error: type[Exception]) -> None:
    with pytest.raises(error):
        add_all(engine, [addition(message(), [Target(ALICE, "INBOX"), target])])
    assert counts(engine) == (0, 0, 0, 0)
    assert engine.open(BOB).mailbox("INBOX").total == 0


def test_a_default_mailbox_is_made_again_for_a_delivery(engine: Engine) -> None:
    store = engine.open(ALICE)
    store.delete_mailbox("Junk")
    add(engine, "Junk")
    assert store.mailbox("Junk").special_use == "\\Junk"
    assert store.mailbox("Junk").total == 1


def test_source_of_another_length_than_its_structure_is_refused(engine: Engine) -> None:
    one = addition(message(), [Target(ALICE, "INBOX")])
    with pytest.raises(StoreError):
        add_all(engine, [addition(message() + b"x", [Target(ALICE, "INBOX")], structure=one.structure)])


STORES = [
    (0, "", ADD, 1, ["Foo"], 1, "Foo"),
    (5, "a B", ADD, 2, ["b", "c"], 7, "a B c"),
    (5, "a B", REMOVE, 4, ["A"], 1, "B"),
    (5, "a B", SET, 8, ["z"], 8, "z"),
    (128, "", ADD, 64, [], 64, ""),
    (64, "", ADD, 128, [], 128, ""),
    (0, "", ADD, 192, [], 192, ""),
    (64, "", SET, 192, [], 192, ""),
    (64, "", REMOVE, 64, [], 0, ""),
]


@pytest.mark.parametrize("flags, keywords, op, put, words, expected, expected_words", STORES)
def test_store_flags(engine: Engine, flags, keywords, op, put, words, expected, expected_words) -> None:
    uid = add(engine, flags=flags, keywords=tuple(keywords.split())).uid
    store = engine.open(ALICE)
    before = store.modseq()
    result = store.store_flags(store.mailbox("INBOX").id, [uid], op, put, words)
    assert result.changed == [(uid, expected, expected_words)]
    assert (result.before, result.modseq) == (before, before + 1) == (before, store.modseq())
    assert rows(engine) == [(uid, expected, expected_words)]


def test_flags_that_are_there_already_change_nothing(engine: Engine) -> None:
    uid = add(engine, flags=1, keywords=("k",)).uid
    store = engine.open(ALICE)
    before = store.modseq()
    result = store.store_flags(store.mailbox("INBOX").id, [uid], ADD, 1, ["K"])
    assert (result.changed, result.modseq, store.modseq()) == ([], before, before)


def test_counts_follow_flags_and_expunge(engine: Engine) -> None:
    uids = fill(engine, 4)
    store = engine.open(ALICE)
    inbox = store.mailbox("INBOX").id
    store.store_flags(inbox, uids[:2], ADD, int(Flag.SEEN), ())
    store.store_flags(inbox, uids[1:3], ADD, int(Flag.DELETED), ())
    assert counts(engine) == (4, 2, 1, 2)
    assert store.expunge(inbox, None) == ([2, 3], store.modseq())
    assert counts(engine) == (2, 0, 1, 1)
    assert store.mailbox("INBOX").size == sum(row[1] for row in rows(engine, columns="uid size"))


def test_store_unchanged_since_names_conflicts_and_missing(engine: Engine) -> None:
    """RFC 7162 3.1.3"""
    uids = fill(engine, 3)
    store = engine.open(ALICE)
    inbox = store.mailbox("INBOX").id
    since = store.modseq()
    store.store_flags(inbox, [uids[1]], ADD, 1, ())
    store.remove(inbox, [uids[2]])
    result = store.store_flags(inbox, uids, ADD, 4, (), unchanged_since=since)
    assert ([one[0] for one in result.changed], result.conflicts, result.missing) == ([1], [2], [3])


def test_keywords_of_the_mailbox_are_known_at_select_in_their_first_case(engine: Engine) -> None:
    add(engine, keywords=("$MDNx", "Zeta"))
    add(engine, keywords=("ZETA",))
    store = engine.open(ALICE)
    assert store.select(store.mailbox("INBOX").id, False).keywords == ("$MDNx", "Zeta")
    assert [row[2] for row in rows(engine)] == ["$MDNx Zeta", "Zeta"]


def test_bad_keywords_are_refused_and_change_nothing(engine: Engine) -> None:
    uid = add(engine).uid
    store = engine.open(ALICE)
    inbox = store.mailbox("INBOX").id
    for words in (["a]"], ["x" * 101], [f"k{n}" for n in range(101)]):
        with pytest.raises(LimitExceeded):
            store.store_flags(inbox, [uid], ADD, 1, words)
    assert rows(engine) == [(uid, 0, "")]


def test_select_shows_uids_and_first_unseen(engine: Engine) -> None:
    uids = fill(engine, 4)
    store = engine.open(ALICE)
    inbox = store.mailbox("INBOX").id
    store.store_flags(inbox, uids[:2], ADD, 1, ())
    selected = store.select(inbox, False)
    assert (list(selected.uids), selected.first_unseen, selected.modseq) == (uids, 3, store.modseq())
    assert selected.uids.typecode == "I"
    store.store_flags(inbox, uids, ADD, 1, ())
    assert store.select(inbox, False).first_unseen == 0


def test_expunge_takes_only_deleted_messages_of_the_set(engine: Engine) -> None:
    uids = fill(engine, 4)
    store = engine.open(ALICE)
    inbox = store.mailbox("INBOX").id
    store.store_flags(inbox, uids[:3], ADD, int(Flag.DELETED), ())
    assert store.expunge(inbox, [2, 4, 99])[0] == [2]
    assert [row[0] for row in rows(engine)] == [1, 3, 4]
    assert store.remove(inbox, [4, 99])[0] == [4]
    before = store.modseq()
    assert store.expunge(inbox, [4]) == ([], before)


def test_changes_are_net_and_ascending(engine: Engine) -> None:
    uids = fill(engine, 3)
    store = engine.open(ALICE)
    inbox = store.mailbox("INBOX").id
    since = store.modseq()
    assert store.changes(inbox, since).changed == []
    new = fill(engine, 2)
    store.store_flags(inbox, [uids[0]], ADD, 1, ("k",))
    store.remove(inbox, [uids[1], new[0]])
    result = store.changes(inbox, since)
    assert [one[:3] for one in result.changed] == [(1, 1, "k"), (5, 0, "")]
    assert (result.expunged, result.modseq, result.renamed) == ([2, 4], store.modseq(), False)
    assert store.changes(inbox, 0).expunged == [2, 4]
    assert store.changes(store.mailbox("Sent").id, since).changed == []


def test_copy_gives_new_messages_with_the_same_content(engine: Engine) -> None:
    source = message("copied")
    add(engine, source=source, prefix=b"P: q\r\n", flags=1, keywords=("k",))
    fill(engine, 2)
    store = engine.open(ALICE)
    inbox, archive = store.mailbox("INBOX").id, store.mailbox("Archive")
    copied = store.copy(inbox, [1, 3, 77], archive.id)
    assert (copied.uidvalidity, copied.source, copied.target) == (archive.uidvalidity, [1, 3], [1, 2])
    assert rows(engine, "Archive") == [(1, 1, "k"), (2, 0, "")]
    assert counts(engine, "Archive") == (2, 0, 1, 1)
    assert store.select(archive.id, False).keywords == ("k",)
    identity = rows(engine, "Archive", "id")[0][0]
    store.remove(inbox, [1])
    assert store.content(identity).read() == b"P: q\r\n" + source
    store.remove(archive.id, [1])
    with pytest.raises(StoreError):
        store.content(identity)


def test_copy_within_a_mailbox(engine: Engine) -> None:
    fill(engine, 2)
    store = engine.open(ALICE)
    inbox = store.mailbox("INBOX").id
    assert store.copy(inbox, [1, 2], inbox).target == [3, 4]
    assert counts(engine) == (4, 0, 4, 4)


def test_move_keeps_the_message_and_leaves_a_tombstone(engine: Engine) -> None:
    source = message("moved")
    add(engine, source=source, flags=1)
    fill(engine, 1)
    store = engine.open(ALICE)
    inbox, archive = store.mailbox("INBOX").id, store.mailbox("Archive").id
    since = store.modseq()
    moved = store.move(inbox, [1, 2], archive)
    assert (moved.source, moved.target, moved.modseq) == ([1, 2], [1, 2], store.modseq())
    assert store.changes(inbox, since).expunged == [1, 2]
    assert [one[0] for one in store.changes(archive, since).changed] == [1, 2]
    assert (counts(engine), counts(engine, "Archive")) == ((0, 0, 0, 0), (2, 0, 1, 1))
    assert store.content(rows(engine, "Archive", "id")[0][0]).read() == source


def test_move_to_a_mailbox_that_is_gone_changes_nothing(engine: Engine) -> None:
    fill(engine, 1)
    store = engine.open(ALICE)
    inbox, target = store.mailbox("INBOX").id, store.create_mailbox("x").id
    store.delete_mailbox("x")
    for transfer in (store.move, store.copy):
        with pytest.raises(NoSuchMailbox):
            transfer(inbox, [1], target)
    assert counts(engine) == (1, 0, 1, 1)


def test_fetch_may_be_paused_while_others_write(engine: Engine) -> None:
    uids = fill(engine, 3)
    store = engine.open(ALICE)
    inbox = store.mailbox("INBOX").id
    found = store.fetch(inbox, *ALL, ["uid"])
    first = next(found)
    store.store_flags(inbox, uids, ADD, 1, ())
    add(engine)
    assert [first, *found][:3] == [(1,), (2,), (3,)]


def test_uid_range_is_inclusive(engine: Engine) -> None:
    fill(engine, 5)
    store = engine.open(ALICE)
    inbox = store.mailbox("INBOX").id
    assert [row[0] for row in store.fetch(inbox, 2, 4, ["uid"])] == [2, 3, 4]
    assert list(store.fetch(inbox, 6, 0xFFFFFFFF, ["uid"])) == []
    with pytest.raises(ValueError):
        list(store.fetch(inbox, 1, 2, ["nonsense"]))


def test_bell_rings_once_for_each_change(engine: Engine) -> None:
    rung: list[tuple[str, int]] = []
    engine.on_change = lambda account, modseq: rung.append((account, modseq))
    added = add(engine)
    store = engine.open(ALICE)
    result = store.store_flags(added.mailbox_id, [added.uid], ADD, 1, ())
    store.store_flags(added.mailbox_id, [added.uid], ADD, 1, ())
    assert rung == [(ALICE, added.modseq), (ALICE, result.modseq)]


def test_ten_thousand_uids_at_once(engine: Engine) -> None:
    fill(engine, 20)
    store = engine.open(ALICE)
    inbox = store.mailbox("INBOX").id
    result = store.store_flags(inbox, range(1, 10_001), ADD, 1, ())
    assert (len(result.changed), len(result.missing)) == (20, 9980)


def test_content_from_fetched_columns_is_that_of_the_look_up(engine: Engine) -> None:
    for number in range(3):
        add(engine, source=message(f"m{number}"), prefix=b"P: %d\r\n" % number)
    store = engine.open(ALICE)
    inbox, archive = store.mailbox("INBOX").id, store.mailbox("Archive").id
    store.copy(inbox, [1, 2], archive)
    store.move(inbox, [3], archive)
    for mailbox in ("INBOX", "Archive"):
        for identity, *columns in rows(engine, mailbox, "id content prefix size"):
            content = store.content_of(*columns)
            assert content.read() == store.content(identity).read()
            assert (content.size, content.prefix_size) == (columns[2], len(columns[1]))
            content.close()


@pytest.mark.parametrize("gone", [(), (1,), (40,), (7, 8, 9, 20), tuple(range(1, 31)), tuple(range(1, 41))])
def test_the_picture_of_a_mailbox_has_what_is_there(engine: Engine, gone: tuple[int, ...]) -> None:
    """Few gone or many, by all ways of going; another mailbox's do not count."""
    fill(engine, 40)
    store = engine.open(ALICE)
    inbox, archive = store.mailbox("INBOX").id, store.mailbox("Archive").id
    store.copy(inbox, range(1, 41), archive)
    store.remove(archive, range(1, 20))
    half = len(gone) // 2
    store.move(inbox, gone[:half], archive)
    store.remove(inbox, gone[half:])
    left = [uid for uid in range(1, 41) if uid not in gone]
    assert list(store.select(inbox, False).uids) == left
    fill(engine, 2)
    assert list(store.select(inbox, False).uids) == [*left, 41, 42]
