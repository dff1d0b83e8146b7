"""Virtual mailboxes (X63): searches that look like mailboxes. Functions over a Database; outside of the tables the id
of one is negative.

Members are messages of all real mailboxes, without those in Trash, Junk and Rejects. A message keeps its UID here as
long as it matches, wherever it is moved; a member that matches no more, or is gone, counts as expunged, and has another
UID when it comes back. Membership is brought up to date whenever somebody looks: what has changed in the account since
the last look is searched, not all of it; only a search with an age (OLDER, YOUNGER) is done anew at each SELECT.

Reading joins members with their messages. A change is made to the messages where they are, mailbox by mailbox: flags,
EXPUNGE and MOVE are about the real message."""

# ruff: noqa: S608  # the texts put into statements are constants of this program and numbers

from __future__ import annotations

import json
import time
from array import array
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple

from echomox.imap import search as keys
from echomox.imap.lexer import Bad, Parser
from echomox.imap.search import Key
from echomox.imap.searching import BadCharset, program
from echomox.store import mailboxes, messages, names, search, views
from echomox.store.database import UID_BITS, UID_MASK, Database, Write
from echomox.store.engine import (
    COLUMNS,
    SEPARATOR,
    VIRTUALS,
    BadMailboxName,
    Changes,
    Copied,
    FlagOp,
    FlagsStored,
    LimitExceeded,
    Mailbox,
    MailboxExists,
    NoSuchMailbox,
    Selected,
    Virtual,
)
from echomox.store.rows import backlog, compact, previews

USES = ("", "\\All", "\\Flagged", "\\Important")
OUTSIDE = "(special_use IN ('\\Trash', '\\Junk') OR name = 'Rejects')"
_ROW = "SELECT id, name, search, special_use, uidvalidity, uidnext, recent, seen FROM virtual"


class Row(NamedTuple):
    id: int
    name: str
    search: str
    special_use: str
    uidvalidity: int
    uidnext: int
    recent: int
    seen: int


# -- the searches ------------------------------------------------------------------------


def parse(text: str) -> Key:
    """A SEARCH program; raises BadMailboxName for one that cannot make a mailbox."""
    try:
        key = program(Parser(text.encode()), "UTF-8").key
    except (Bad, BadCharset, UnicodeEncodeError) as error:
        raise BadMailboxName(f"not a search: {error}") from None
    for part in _parts(key):
        if isinstance(part, keys.Sequence | keys.Filter | keys.ObjectId | keys.Modseq):
            raise BadMailboxName("a search by numbers of messages, ids or other searches makes no mailbox")
        if isinstance(part, keys.HasFlag) and part.flag.lower() == "\\recent":
            raise BadMailboxName("a search by \\Recent makes no mailbox")
    return key


def _parts(key: Key) -> Iterator[Key]:
    if isinstance(key, keys.And):
        for part in key.keys:
            yield from _parts(part)
    elif isinstance(key, keys.Or):
        yield from _parts(key.left)
        yield from _parts(key.right)
    elif isinstance(key, keys.Not | keys.Fuzzy):
        yield from _parts(key.key)
    else:
        yield key


# -- the mailboxes -----------------------------------------------------------------------


def all_virtual(database: Database) -> list[Virtual]:
    rows = database.execute(f"{_ROW} ORDER BY name").fetchall()
    return [Virtual(-row[0], row[1], row[2], row[3]) for row in rows]


def define(database: Database, name: str, text: str, special_use: str) -> Mailbox:
    name = names.mailbox_name(name)
    parse(text)
    if special_use not in USES:
        raise BadMailboxName(f"a virtual mailbox has no use {special_use}")
    with database.write() as write:
        if exists(write, name):
            raise MailboxExists(f"mailbox {name} exists")
        if write.execute("SELECT count(*) FROM virtual").fetchone()[0] >= VIRTUALS:
            raise LimitExceeded(f"more than {VIRTUALS} virtual mailboxes")
        if special_use and _use_taken(write, special_use):
            raise BadMailboxName(f"there is a mailbox with {special_use}")
        validity = write.execute(
            "UPDATE state SET uidvalidity = max(uidvalidity + 1, ?) RETURNING uidvalidity", (int(time.time()),)
        ).fetchall()[0][0]
        write.execute(
            "INSERT INTO virtual (name, search, special_use, uidvalidity, modseq) VALUES (?, ?, ?, ?, ?)",
            (name, text, special_use, validity, write.bump()),
        )
    return by_name(database, name)


def exists(write: Write, name: str) -> bool:
    """A mailbox of either kind."""
    statement = "SELECT 1 FROM mailbox WHERE name = ?1 UNION ALL SELECT 1 FROM virtual WHERE name = ?1"
    return write.execute(statement, (name,)).fetchone() is not None


def _use_taken(write: Write, special_use: str) -> bool:
    statement = "SELECT 1 FROM mailbox WHERE special_use = ?1 UNION ALL SELECT 1 FROM virtual WHERE special_use = ?1"
    return write.execute(statement, (special_use,)).fetchone() is not None


def find(database: Database, name: str) -> int:
    """The (negative) id; 0 for none."""
    row = database.execute("SELECT id FROM virtual WHERE name = ?", (name,)).fetchone()
    return -row[0] if row else 0


def by_name(database: Database, name: str) -> Mailbox:
    found = find(database, name)
    if not found:
        raise NoSuchMailbox(f"no mailbox {name}")
    return by_id(database, found)


def _row(database: Database, mailbox_id: int) -> Row:
    found = database.execute(f"{_ROW} WHERE id = ?", (-mailbox_id,)).fetchone()
    if found is None:
        raise NoSuchMailbox("the mailbox was deleted")
    return Row(*found)


def by_id(database: Database, mailbox_id: int) -> Mailbox:
    """With its counts: some time for many members."""
    refresh(database, mailbox_id)
    row = _row(database, mailbox_id)
    total, deleted, unread, unseen, size = database.execute(
        """SELECT count(*), total(m.flags & 8 != 0), total(m.flags & 9 = 0), total(m.flags & 1 = 0), total(m.size)
           FROM virtual_member v JOIN message m ON m.id = v.message_id WHERE v.virtual_id = ?""",
        (row.id,),
    ).fetchone()
    subscribed = database.execute("SELECT 1 FROM subscription WHERE name = ?", (row.name,)).fetchone() is not None
    now = views.modseq(database)
    head = (mailbox_id, row.name, row.uidvalidity, row.uidnext, row.special_use, subscribed)
    return Mailbox(*head, total, int(deleted), int(unread), int(unseen), int(size), now, row.recent)


def rename(database: Database, name: str, new: str) -> None:
    new = names.mailbox_name(new.removesuffix(SEPARATOR))
    with database.write() as write:
        if exists(write, new):
            raise MailboxExists(f"mailbox {new} exists")
        statement = "SELECT uidvalidity FROM virtual WHERE name = ?"
        for (validity,) in write.execute(statement, (name,)).fetchall():
            mailboxes.give_up(write, name, validity)
            validity = mailboxes.validity_for(write, new, validity)
            write.execute("UPDATE virtual SET name = ?, uidvalidity = ? WHERE name = ?", (new, validity, name))


def drop(database: Database, name: str) -> None:
    """The messages stay where they are."""
    with database.write() as write:
        statement = "SELECT id, uidvalidity FROM virtual WHERE name = ?"
        for identity, validity in write.execute(statement, (name,)).fetchall():
            for table in ("virtual_member", "virtual_expunged"):
                write.execute(f"DELETE FROM {table} WHERE virtual_id = ?", (identity,))
            write.execute("DELETE FROM annotation WHERE mailbox_id = ?", (-identity,))
            write.execute("DELETE FROM virtual WHERE id = ?", (identity,))
            mailboxes.give_up(write, name, validity)


def start_anew(write: Write) -> None:
    """After a power cut: UIDs that were given may be lost, so each has another UIDVALIDITY, and no members yet."""
    validity = max(write.execute("SELECT uidvalidity FROM state").fetchone()[0], int(time.time()))
    ids = [identity for (identity,) in write.execute("SELECT id FROM virtual ORDER BY id").fetchall()]
    for identity in ids:
        validity += 1
        write.execute(
            "UPDATE virtual SET uidvalidity = ?, uidnext = 1, recent = 1, seen = 0 WHERE id = ?", (validity, identity)
        )
    if ids:
        write.execute("UPDATE state SET uidvalidity = ?", (validity,))
        for table in ("virtual_member", "virtual_expunged"):
            write.execute(f"DELETE FROM {table}")


# -- who is a member ---------------------------------------------------------------------


def refresh(database: Database, mailbox_id: int, anew: bool = False) -> None:
    """Brings the members up to date. anew: also where only time has passed."""
    row = _row(database, mailbox_id)
    now = views.modseq(database)
    key = parse(row.search)
    everything = not row.seen or (anew and any(isinstance(part, keys.Age) for part in _parts(key)))
    if row.seen == now and not everything:
        return
    candidates, matching = _matching(database, key, 0 if everything else row.seen)
    chosen = ""
    values: tuple[Any, ...] = (row.id,)
    if not everything:
        chosen, values = " AND message_id IN (SELECT value FROM json_each(?))", (row.id, json.dumps(sorted(candidates)))
    known = dict(
        database.execute(f"SELECT message_id, uid FROM virtual_member WHERE virtual_id = ?{chosen}", values).fetchall()
    )
    gone = [uid for message_id, uid in known.items() if message_id not in matching]
    new = sorted(matching.difference(known))
    with database.write(bell=bool(gone or new)) as write:
        found = write.execute("SELECT seen FROM virtual WHERE id = ?", (row.id,)).fetchone()
        if found is None or found[0] != row.seen:
            return  # another process has done it
        if gone or new:
            _change_members(write, row, gone, new)
        seen = write.modseq if write.modseq == now + 1 else now
        write.execute("UPDATE virtual SET seen = ? WHERE id = ?", (seen, row.id))


def _matching(database: Database, key: Key, since: int) -> tuple[set[int], set[int]]:
    """(ids of messages that were changed, moved or removed after `since`; those of them that match)"""
    candidates: set[int] = set()
    matching: set[int] = set()
    changed = database.execute(
        f"SELECT id, name IS NOT NULL AND NOT {OUTSIDE} FROM mailbox WHERE modseq > ?", (since,)
    ).fetchall()
    for mailbox_id, inside in changed:
        rows = database.execute(
            f"SELECT key & {UID_MASK}, id FROM message WHERE mailbox_id = ? AND modseq > ? ORDER BY key",
            (mailbox_id, since),
        ).fetchall()
        candidates.update(message_id for _, message_id in rows)
        if inside and rows:
            found = search.search(database, mailbox_id, key, array("I", [uid for uid, _ in rows]))
            by_uid = dict(rows)
            matching.update(by_uid[uid] for uid in found)
        if since:
            gone = database.execute(
                "SELECT id FROM expunged WHERE mailbox_id = ? AND modseq > ?", (mailbox_id, since)
            ).fetchall()
            candidates.update(message_id for (message_id,) in gone)
    return candidates, matching


def _change_members(write: Write, row: Row, gone: list[int], new: list[int]) -> None:
    modseq = write.bump()
    write.executemany(
        "INSERT OR REPLACE INTO virtual_expunged VALUES (?, ?, ?)", ((row.id, uid, modseq) for uid in gone)
    )
    write.executemany("DELETE FROM virtual_member WHERE virtual_id = ? AND uid = ?", ((row.id, uid) for uid in gone))
    write.executemany(
        "INSERT INTO virtual_member VALUES (?, ?, ?, ?)",
        ((row.id, row.uidnext + place, message_id, modseq) for place, message_id in enumerate(new)),
    )
    write.execute("UPDATE virtual SET uidnext = uidnext + ?, modseq = ? WHERE id = ?", (len(new), modseq, row.id))


# -- reading -----------------------------------------------------------------------------


def select(database: Database, mailbox_id: int, claim: bool) -> Selected:
    refresh(database, mailbox_id, anew=True)
    row = _row(database, mailbox_id)
    modseq = views.modseq(database)
    members = database.execute("SELECT uid FROM virtual_member WHERE virtual_id = ? ORDER BY uid", (row.id,)).fetchall()
    uids = array("I", [uid for (uid,) in members])
    unseen = database.execute(
        "SELECT v.uid FROM virtual_member v JOIN message m ON m.id = v.message_id"
        " WHERE v.virtual_id = ? AND NOT m.flags & 1 ORDER BY v.uid LIMIT 1",
        (row.id,),
    ).fetchone()
    words = database.execute("SELECT DISTINCT name FROM mailbox_keyword ORDER BY name").fetchall()
    mailbox = by_id(database, mailbox_id)
    mailbox = replace(mailbox, modseq=min(mailbox.modseq, modseq))  # not more than what the members are of
    recent = claim_recent(database, mailbox_id, uids[-1] + 1 if uids and claim else 0)
    return Selected(mailbox, uids, recent, unseen[0] if unseen else 0, tuple(word for (word,) in words), modseq)


def claim_recent(database: Database, mailbox_id: int, below: int) -> int:
    """As of a real mailbox."""
    row = _row(database, mailbox_id)
    if row.recent >= below:
        return row.recent
    recent = row.recent
    with suppress(OSError), database.write(bell=False) as write:
        found = write.execute("SELECT recent FROM virtual WHERE id = ?", (row.id,)).fetchone()
        write.execute("UPDATE virtual SET recent = max(recent, ?) WHERE id = ?", (below, row.id))
        recent = int(found[0]) if found else recent
    return recent


def changes(database: Database, mailbox_id: int, since: int) -> Changes:
    try:
        refresh(database, mailbox_id)
    except NoSuchMailbox:
        return Changes(views.modseq(database), [], [], True)
    now = views.modseq(database)
    rows: dict[int, tuple[int, int, str, int]] = {}
    shown = "v.uid, m.flags, m.keywords, max(m.modseq, v.modseq)"
    came = database.execute(
        f"SELECT {shown} FROM virtual_member v JOIN message m ON m.id = v.message_id"
        " WHERE v.virtual_id = ? AND v.modseq > ?",
        (-mailbox_id, since),
    ).fetchall()
    rows.update((row[0], row) for row in came)
    touched = database.execute("SELECT id FROM mailbox WHERE modseq > ? AND name IS NOT NULL", (since,)).fetchall()
    for (real,) in touched:
        changed = database.execute(
            f"SELECT {shown} FROM message m JOIN virtual_member v ON v.virtual_id = ? AND v.message_id = m.id"
            " WHERE m.mailbox_id = ? AND m.modseq > ?",
            (-mailbox_id, real, since),
        ).fetchall()
        rows.update((row[0], row) for row in changed)
    gone = database.execute(
        "SELECT uid FROM virtual_expunged WHERE virtual_id = ? AND modseq > ? ORDER BY uid", (-mailbox_id, since)
    ).fetchall()
    return Changes(now, [rows[uid] for uid in sorted(rows)], [uid for (uid,) in gone])


def fetch(
    database: Database, mailbox_id: int, low: int, high: int, columns: Sequence[str]
) -> Iterator[tuple[Any, ...]]:
    if any(column not in COLUMNS for column in columns):
        raise ValueError(f"unknown column in {columns}")
    hot = {**views.HOT, **previews.SELECTED, "uid": "v.uid", "modseq": "max(m.modseq, v.modseq)"}
    chosen, build = compact.shape(previews.more(columns), hot)
    cold = any(column not in hot for column in columns)
    size = views.COLD_CHUNK if cold else views.HOT_CHUNK
    statement = (
        f"SELECT {', '.join(chosen)}, v.uid FROM virtual_member v JOIN message m ON m.id = v.message_id"
        f" {'JOIN content c ON c.id = m.content ' if cold else ''}"
        f"WHERE v.virtual_id = {-mailbox_id} AND v.uid BETWEEN ? AND ? ORDER BY v.uid LIMIT {size}"
    )
    bounds = (min(max(low, 0), UID_MASK), min(max(high, 0), UID_MASK))
    if "thread_id" in columns:
        for _ in backlog.sort_all(database):  # hardly ever: accounts old enough had no virtual mailboxes
            pass
    rows = views.rows_of(database, statement, bounds, (size, build if cold else None))
    return previews.filled(database, rows, columns) if "preview" in columns else rows


# -- where the messages are ---------------------------------------------------------------


def places(database: Database, mailbox_id: int, uids: Collection[int]) -> dict[int, dict[int, int]]:
    """Virtual UIDs by real ones, by mailbox."""
    found: dict[int, dict[int, int]] = {}
    chosen = json.dumps(sorted(uids)) if len(uids) < views.HOT_CHUNK else ""
    statement = (
        "SELECT v.uid, m.mailbox_id, m.key FROM virtual_member v JOIN message m ON m.id = v.message_id"
        f" WHERE v.virtual_id = ?{' AND v.uid IN (SELECT value FROM json_each(?))' if chosen else ''} ORDER BY m.key"
    )
    wanted = set(uids)
    for uid, real, key in database.execute(statement, (-mailbox_id, chosen) if chosen else (-mailbox_id,)).fetchall():
        if uid in wanted:
            found.setdefault(real, {})[key & UID_MASK] = uid
    return found


def translated(key: Key, uids: Mapping[int, int]) -> Key:
    """The same program for one real mailbox. uids: virtual ones by real ones."""
    if isinstance(key, keys.And):
        return keys.And(tuple(translated(part, uids) for part in key.keys))
    if isinstance(key, keys.Or):
        return keys.Or(translated(key.left, uids), translated(key.right, uids))
    if isinstance(key, keys.Not):
        return keys.Not(translated(key.key, uids))
    if isinstance(key, keys.Fuzzy):
        return keys.Fuzzy(translated(key.key, uids))
    if isinstance(key, keys.Sequence):
        inside = [real for real, uid in uids.items() if any(low <= uid <= high for low, high in key.ranges)]
        return keys.Sequence(tuple((real, real) for real in inside), uid=True)
    return key


def searching(database: Database, mailbox_id: int, key: Key, uids: array[int]) -> Generator[None, None, list[int]]:
    found: list[int] = []
    for real, known in places(database, mailbox_id, uids).items():
        yield
        among = array("I", sorted(known))
        matching = yield from search.searching(database, real, translated(key, known), among)
        found += [known[uid] for uid in matching]
    return sorted(found)


def scoring(
    database: Database, mailbox_id: int, key: Key, uids: Sequence[int]
) -> Generator[None, None, dict[int, int]]:
    scores: dict[int, int] = {}
    for real, known in places(database, mailbox_id, uids).items():
        yield
        part = yield from search.scoring(database, real, translated(key, known), array("I", sorted(known)))
        scores.update((known[uid], score) for uid, score in part.items())
    return scores


# -- changing the messages -----------------------------------------------------------------


def store_flags(
    database: Database,
    mailbox_id: int,
    uids: Collection[int],
    change: tuple[FlagOp, int, Collection[str]],
    unchanged_since: int | None,
) -> FlagsStored:
    """In one transaction: they have one modseq, as all of a STORE. A message that has become a member since has changed
    since."""
    changed: list[tuple[int, int, str]] = []
    came: set[int] = set()
    if unchanged_since is not None:
        statement = "SELECT uid FROM virtual_member WHERE virtual_id = ? AND modseq > ?"
        came = {uid for (uid,) in database.execute(statement, (-mailbox_id, unchanged_since)).fetchall()}
    conflicts = sorted(came.intersection(uids))
    missing = set(uids).difference(came)
    before = 0
    with database.write() as write:
        for real, known in places(database, mailbox_id, missing.copy()).items():
            part = messages.change_flags(write, real, list(known), change, unchanged_since)
            changed += [(known[uid], bits, words) for uid, bits, words in part.changed]
            conflicts += [known[uid] for uid in part.conflicts]
            missing -= {known[uid] for uid in known if uid not in part.missing}
            before = max(before, part.before)
        return FlagsStored(write.current_modseq(), sorted(changed), sorted(conflicts), sorted(missing), before)


def remove(
    database: Database, mailbox_id: int, uids: Collection[int] | None, only_deleted: bool
) -> tuple[list[int], int]:
    """As EXPUNGE does, or whether or not they have \\Deleted. The messages are gone from where they are."""
    if uids is None:
        uids = [uid for (uid,) in fetch(database, mailbox_id, 1, UID_MASK, ("uid",))]
    gone: list[int] = []
    take: Callable[..., tuple[list[int], int]] = messages.expunge if only_deleted else messages.remove
    for real, known in places(database, mailbox_id, uids).items():
        gone += [known[uid] for uid in take(database, real, list(known))[0]]
    refresh(database, mailbox_id)
    return sorted(gone), views.modseq(database)


def transfer(database: Database, mailbox_id: int, uids: Collection[int], target_id: int, move: bool) -> Copied:
    if target_id < 0:
        raise BadMailboxName("a virtual mailbox takes no messages")
    take = messages.move if move else messages.copy
    pairs: list[tuple[int, int]] = []
    validity = database.execute("SELECT uidvalidity FROM mailbox WHERE id = ?", (target_id,)).fetchone()
    modseq = 0
    for real, known in places(database, mailbox_id, uids).items():
        part = take(database, real, list(known), target_id)
        pairs += zip((known[uid] for uid in part.source), part.target)
        modseq = part.modseq
    if move:
        refresh(database, mailbox_id)
    pairs.sort()
    modseq = modseq or views.modseq(database)
    return Copied(validity[0] if validity else 0, [one for one, _ in pairs], [two for _, two in pairs], modseq)


def message_source(mailbox_id: int) -> tuple[str, int]:
    """(what stands for the table `message` in sorting's statements, with UIDs as keys; what to add to a UID)"""
    if mailbox_id >= 0:
        return "message", mailbox_id << UID_BITS
    source = (
        "(SELECT v.uid AS key, m.content, m.size, m.received FROM virtual_member v"
        f" JOIN message m ON m.id = v.message_id WHERE v.virtual_id = {-mailbox_id})"
    )
    return source, 0
