"""Messages in mailboxes: flags, expunge, copy, move. Functions over a Database; each public one is a transaction.

Sets of messages travel as JSON arrays of keys (json_each), so that ten thousand are changed by a handful of
statements. Learning (what the user says with $Junk, $NotJunk, \\Answered and the Junk mailbox) is written to
learn_outbox in the same transaction.
"""

# ruff: noqa: S608  # the texts put into statements are constants of this program and numbers

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from echomox.store import muted, names
from echomox.store.database import UID_BITS, UID_MASK, Database, Write
from echomox.store.engine import Copied, FlagOp, FlagsStored, LimitExceeded, NoSuchMailbox
from echomox.store.flags import (
    DELETED,
    SAYS,
    WAITS,
    Masks,
    after_transfer,
    counts,
    label,
    masks,
    states,
)

_IN = "IN (SELECT value FROM json_each(?))"
_ADD_COUNTS = """
UPDATE mailbox SET total = total + ?, deleted = deleted + ?, unread = unread + ?, unseen = unseen + ?, size = size + ?,
                   modseq = max(modseq, ?) WHERE id = ?"""

Row = tuple[int, int, int, int, str]
"""key, id, modseq, flags, keywords"""


def add_counts(write: Write, mailbox_id: int, change: Sequence[int]) -> None:
    write.execute(_ADD_COUNTS, (*change, write.bump(), mailbox_id))


def key_list(mailbox_id: int, uids: Iterable[int]) -> str:
    base = mailbox_id << UID_BITS
    return json.dumps([base + uid for uid in uids])


def _uids(keys: Iterable[int]) -> list[int]:
    return [key & UID_MASK for key in keys]


def _use(write: Write, mailbox_id: int) -> str:
    """The special use of a mailbox; raises NoSuchMailbox for one that is gone."""
    row = write.execute("SELECT special_use FROM mailbox WHERE id = ? AND name IS NOT NULL", (mailbox_id,)).fetchone()
    if row is None:
        raise NoSuchMailbox("the mailbox was deleted")
    return str(row[0])


def _home(write: Write, mailbox_id: int) -> tuple[str, str | None]:
    """The special use of a mailbox, and what it says of a message to be there; raises NoSuchMailbox."""
    use = _use(write, mailbox_id)
    (name,) = write.execute("SELECT name FROM mailbox WHERE id = ?", (mailbox_id,)).fetchone()
    return use, write.database.opinion(name)


def teach(write: Write, items: list[tuple[int, str]]) -> None:
    """items: (message id, label)"""
    if items:
        write.executemany("INSERT INTO learn_outbox (message_id, label) VALUES (?, ?)", items)


# -- keywords -------------------------------------------------------------------


def canonical(write: Write, mailbox_id: int, keywords: Collection[str]) -> list[str]:
    """The keywords in the case they were first seen in, known from now on to account and mailbox."""
    names.check_keywords(keywords)
    known = []
    for word in {word.lower(): word for word in keywords}.values():
        row = write.execute("SELECT name FROM keyword WHERE name = ?", (word,)).fetchone()
        if row is None:
            if write.execute("SELECT count(*) FROM keyword").fetchone()[0] >= names.KEYWORDS_PER_ACCOUNT:
                raise LimitExceeded(f"more than {names.KEYWORDS_PER_ACCOUNT} different keywords in the account")
            write.execute("INSERT INTO keyword VALUES (?)", (word,))
            row = (word,)
        write.execute("INSERT OR IGNORE INTO mailbox_keyword VALUES (?, ?)", (mailbox_id, row[0]))
        known.append(row[0])
    return known


def _apply_keywords(op: FlagOp, old: str, words: list[str]) -> str:
    if op is FlagOp.SET:
        return names.join_keywords(words)
    if not words:
        return old
    lower = {word.lower() for word in words}
    kept = [word for word in old.split() if word.lower() not in lower]
    result = names.join_keywords(kept + words if op is FlagOp.ADD else kept)
    if result.count(" ") >= names.KEYWORDS_PER_MESSAGE:
        raise LimitExceeded(f"more than {names.KEYWORDS_PER_MESSAGE} keywords on a message")
    return result


# -- flags ----------------------------------------------------------------------


def store_flags(
    database: Database,
    mailbox_id: int,
    uids: Collection[int],
    change: tuple[FlagOp, int, Collection[str]],
    unchanged_since: int | None,
) -> FlagsStored:
    with database.write() as write:
        return change_flags(write, mailbox_id, uids, change, unchanged_since)


def change_flags(
    write: Write,
    mailbox_id: int,
    uids: Collection[int],
    change: tuple[FlagOp, int, Collection[str]],
    unchanged_since: int | None,
) -> FlagsStored:
    op, flags, keywords = change
    words = canonical(write, mailbox_id, keywords) if keywords and op is not FlagOp.REMOVE else list(keywords)
    rows = _rows(write, mailbox_id, uids)
    missing = _missing(write, mailbox_id, uids, rows)
    conflicts: list[int] = []
    if unchanged_since is not None:
        # RFC 7162 3.1.3: a message changed since is left alone and named in MODIFIED.
        conflicts = [row[0] & UID_MASK for row in rows if row[2] > unchanged_since]
        rows = [row for row in rows if row[2] <= unchanged_since]
    changed = _change_rows(write, mailbox_id, rows, (masks(op, flags), op, words))
    if words or op is FlagOp.SET:
        muted.follow(write.execute, op, words, ((row[0], row[4]) for row in rows))
    before = max([row[2] for row in rows]) if rows else 0
    return FlagsStored(write.current_modseq(), changed, conflicts, missing, before)


def _rows(write: Write, mailbox_id: int, uids: Collection[int]) -> list[Row]:
    if len(uids) == 1:
        (uid,) = uids
        return write.execute(
            "SELECT key, id, modseq, flags, keywords FROM message WHERE key = ?", ((mailbox_id << UID_BITS) + uid,)
        ).fetchall()
    return write.execute(
        f"SELECT key, id, modseq, flags, keywords FROM message WHERE key {_IN} ORDER BY key",
        (key_list(mailbox_id, uids),),
    ).fetchall()


def _missing(write: Write, mailbox_id: int, uids: Collection[int], rows: Sequence[Row]) -> list[int]:
    if len(rows) == len(uids):
        return []
    missing = sorted(set(uids).difference(row[0] & UID_MASK for row in rows))
    if missing:
        _use(write, mailbox_id)
    return missing


def _change_rows(
    write: Write, mailbox_id: int, rows: list[Row], change: tuple[Masks, FlagOp, list[str]]
) -> list[tuple[int, int, str]]:
    (keep, put), op, words = change
    groups: dict[tuple[int, str], list[int]] = defaultdict(list)
    changed, lessons = [], []
    deleted = unread = unseen = 0
    for key, identity, _, old, old_words in rows:
        new = old & keep | put
        new_words = _apply_keywords(op, old_words, words)
        if new == old and new_words == old_words:
            continue
        groups[new, new_words].append(key)
        changed.append((key & UID_MASK, new, new_words))
        if new != old:
            was, now = states(old), states(new)
            deleted += now[0] - was[0]
            unread += now[1] - was[1]
            unseen += now[2] - was[2]
            if (new ^ old) & SAYS and label(new) != label(old):
                lessons.append((identity, label(new)))
    if changed:
        _write_flags(write, groups)
        teach(write, lessons)
        add_counts(write, mailbox_id, (0, deleted, unread, unseen, 0))
    return changed


def _write_flags(write: Write, groups: dict[tuple[int, str], list[int]]) -> None:
    modseq = write.bump()
    for (flags, keywords), keys in groups.items():
        if len(keys) == 1:
            write.execute(
                "UPDATE message SET flags = ?, keywords = ?, modseq = ? WHERE key = ?",
                (flags, keywords, modseq, keys[0]),
            )
        else:
            write.execute(
                f"UPDATE message SET flags = ?, keywords = ?, modseq = ? WHERE key {_IN}",
                (flags, keywords, modseq, json.dumps(keys)),
            )


# -- removal --------------------------------------------------------------------


def expunge(database: Database, mailbox_id: int, uids: Collection[int] | None) -> tuple[list[int], int]:
    with database.write() as write:
        _use(write, mailbox_id)
        if uids is None:
            low = mailbox_id << UID_BITS
            found = write.execute(
                f"SELECT key FROM message WHERE key BETWEEN ? AND ? AND flags & {DELETED} ORDER BY key",
                (low, low | UID_MASK),
            )
        else:
            found = write.execute(
                f"SELECT key FROM message WHERE key {_IN} AND flags & {DELETED} ORDER BY key",
                (key_list(mailbox_id, uids),),
            )
        keys = [key for (key,) in found.fetchall()]
        bury(write, mailbox_id, keys)
        return _uids(keys), write.current_modseq()


def remove(database: Database, mailbox_id: int, uids: Collection[int]) -> tuple[list[int], int]:
    with database.write() as write:
        _use(write, mailbox_id)
        keys = _present(write, mailbox_id, uids)
        bury(write, mailbox_id, keys)
        return _uids(keys), write.current_modseq()


def remove_by_id(database: Database, message_id: int) -> None:
    """Removes one message, wherever it is; does nothing when it is gone."""
    with database.write() as write:
        for key, mailbox_id in write.execute(
            "SELECT key, mailbox_id FROM message WHERE id = ?", (message_id,)
        ).fetchall():
            bury(write, mailbox_id, [key])


def _present(write: Write, mailbox_id: int, uids: Collection[int]) -> list[int]:
    found = write.execute(f"SELECT key FROM message WHERE key {_IN} ORDER BY key", (key_list(mailbox_id, uids),))
    return [key for (key,) in found.fetchall()]


def bury(write: Write, mailbox_id: int, keys: list[int]) -> None:
    """Makes tombstones of messages; contents that no message has any more are given to the eraser."""
    if not keys:
        return
    chosen = (json.dumps(keys),)
    rows = write.execute(f"SELECT content, flags, size FROM message WHERE key {_IN}", chosen).fetchall()
    modseq = write.bump()
    write.execute(
        "INSERT INTO expunged (key, id, mailbox_id, modseq)"
        f" SELECT key, id, mailbox_id, {modseq} FROM message WHERE key {_IN}",
        chosen,
    )
    write.execute(f"DELETE FROM message WHERE key {_IN}", chosen)
    gone = counts([row[1:] for row in rows])
    add_counts(write, mailbox_id, [-count for count in gone])
    _drop_contents(write, {row[0] for row in rows})


def _drop_contents(write: Write, contents: set[int]) -> None:
    """Of `contents`, drops those without a message; the original message of a content has the same id."""
    orphans = write.execute(
        """SELECT value FROM json_each(?) WHERE NOT EXISTS (SELECT 1 FROM message WHERE id = value)
           AND NOT EXISTS (SELECT 1 FROM message WHERE content = value AND content != id)""",
        (json.dumps(sorted(contents)),),
    ).fetchall()
    write.executemany("INSERT OR IGNORE INTO erase VALUES (?)", orphans)
    write.execute(f"DELETE FROM content WHERE id {_IN}", (json.dumps([orphan for (orphan,) in orphans]),))


# -- copy and move ----------------------------------------------------------------


def _take_uids(write: Write, mailbox_id: int, count: int) -> tuple[int, int]:
    """(first of `count` new UIDs, UIDVALIDITY)"""
    rows = write.execute(
        "UPDATE mailbox SET uidnext = uidnext + ? WHERE id = ? AND name IS NOT NULL RETURNING uidnext, uidvalidity",
        (count, mailbox_id),
    ).fetchall()
    if not rows:
        raise NoSuchMailbox("the target mailbox was deleted")
    return rows[0][0] - count, rows[0][1]


def _inherit_keywords(write: Write, source: int, target: int) -> None:
    if source != target:
        write.execute(
            "INSERT OR IGNORE INTO mailbox_keyword SELECT ?, name FROM mailbox_keyword WHERE mailbox_id = ?",
            (target, source),
        )


def copy(database: Database, mailbox_id: int, uids: Collection[int], target_id: int) -> Copied:
    with database.write() as write:
        _use(write, mailbox_id)
        use, said = _home(write, target_id)
        rows = _transfer_rows(write, mailbox_id, _present(write, mailbox_id, uids))
        first, validity = _take_uids(write, target_id, len(rows))
        if not rows:
            return Copied(validity, [], [], write.current_modseq())
        modseq, now = write.bump(), time.time()
        first_id = write.execute("UPDATE state SET next_id = next_id + ? RETURNING next_id", (len(rows),)).fetchall()[
            0
        ][0] - len(rows)
        flags = [after_transfer(row[2], "", use, said) for row in rows]
        base = (target_id << UID_BITS) + first
        write.executemany(
            """INSERT INTO message (key, id, content, mailbox_id, modseq, flags, size, received, saved, keywords)
               SELECT ?, ?, content, ?, ?, ?, size, received, ?, keywords FROM message WHERE key = ?""",
            ((base + n, first_id + n, target_id, modseq, flags[n], now, row[0]) for n, row in enumerate(rows)),
        )
        _inherit_keywords(write, mailbox_id, target_id)
        add_counts(write, target_id, counts([(flag, row[3]) for flag, row in zip(flags, rows)]))
        teach(write, [(first_id + n, label(new)) for n, new in enumerate(flags) if label(new) != label(rows[n][2])])
        return Copied(validity, _uids(row[0] for row in rows), list(range(first, first + len(rows))), modseq)


def _transfer_rows(write: Write, mailbox_id: int, keys: list[int]) -> list[tuple[int, int, int, int]]:
    """(key, id, flags, size)"""
    return write.execute(
        f"SELECT key, id, flags, size FROM message WHERE key {_IN} ORDER BY key", (json.dumps(keys),)
    ).fetchall()


def move(database: Database, mailbox_id: int, uids: Collection[int], target_id: int) -> Copied:
    with database.write() as write:
        _use(write, mailbox_id)
        return relocate(write, mailbox_id, _present(write, mailbox_id, uids), target_id)


def relocate(write: Write, mailbox_id: int, keys: list[int], target_id: int) -> Copied:
    """Messages get new UIDs in another mailbox and keep their ids; tombstones stay behind."""
    (source_use, left), (target_use, said) = _home(write, mailbox_id), _home(write, target_id)
    source_use = WAITS if left == WAITS else source_use
    rows = _transfer_rows(write, mailbox_id, keys)
    first, validity = _take_uids(write, target_id, len(rows))
    if not rows:
        return Copied(validity, [], [], write.current_modseq())
    modseq, now = write.bump(), time.time()
    base = (target_id << UID_BITS) + first
    flags = [after_transfer(row[2], source_use, target_use, said) for row in rows]
    write.executemany(
        f"INSERT INTO expunged (key, id, mailbox_id, modseq) VALUES (?, ?, {mailbox_id}, {modseq})",
        [row[:2] for row in rows],
    )
    write.executemany(
        "UPDATE message SET key = ?, mailbox_id = ?, modseq = ?, flags = ?, saved = ? WHERE key = ?",
        ((base + n, target_id, modseq, flags[n], now, row[0]) for n, row in enumerate(rows)),
    )
    _inherit_keywords(write, mailbox_id, target_id)
    gone = counts([row[2:] for row in rows])
    add_counts(write, mailbox_id, [-count for count in gone])
    add_counts(write, target_id, counts([(flag, row[3]) for flag, row in zip(flags, rows)]))
    teach(write, [(row[1], label(new)) for row, new in zip(rows, flags) if label(new) != label(row[2])])
    return Copied(validity, _uids(row[0] for row in rows), list(range(first, first + len(rows))), modseq)
