"""SORT and THREAD over one mailbox, from the narrow table that sortkeys.py writes.

Columns are read as JSON arrays of some thousand rows a statement, and become arrays of numbers: one row of SQLite is
made faster than ten thousand. No text is compared: the table of texts is in the order of i;unicode-casemap (RFC 5255
4.6, RFC 5051), so the place of an id in it is its rank. Between two statements others have their turn.
"""

# ruff: noqa: S608  # the texts put into statements are constants of this program and numbers

from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
from typing import Any

import numpy as np

from echomox.imap.sorting import Criterion
from echomox.imap.threads import Items
from echomox.store.database import UID_MASK, Database
from echomox.store.rows import backlog
from echomox.store.text.postings import Numbers, parsed
from echomox.store.virtual import message_source

PIECE = 10_000
"""Rows of one statement: some milliseconds."""
FEW = 2000
"""Messages that are looked up one by one."""
_MESSAGE = {"ARRIVAL": "CAST(received AS INTEGER)", "SIZE": "size"}
_NUMBER = {"DATE": "sent"}
_TEXT = {
    "SUBJECT": "subject",
    "FROM": "from_box",
    "TO": "to_box",
    "CC": "cc_box",
    "DISPLAYFROM": "from_name",
    "DISPLAYTO": "to_name",
}
Columns = dict[str, Numbers]
Steps = Generator[None, None, Columns]


def ordering(
    database: Database,
    mailbox_id: int,
    uids: Sequence[int],
    criteria: Sequence[Criterion],
    scores: Mapping[int, int],
) -> Generator[None, None, list[int]]:
    """RFC 5256 3: by the first criterion, then by the next; at last by sequence number, which REVERSE does not turn
    round. What was expunged meanwhile keeps a place, at the end."""
    if len(uids) < 2:
        return list(uids)
    yield from backlog.sort_all(database)
    names = {criterion.name for criterion in criteria}
    wanted = np.array(uids, np.int64)
    hot = ["content", *(column for name, column in _MESSAGE.items() if name in names)]
    messages = yield from _messages(database, mailbox_id, wanted, hot)
    columns: Columns = {}
    cold = {name: column for name, column in (_NUMBER | _TEXT).items() if name in names}
    if cold:
        columns = yield from _sorting(database, messages["content"], list(cold.values()))
    keys: list[Numbers] = []
    ranks: tuple[Numbers, Numbers] | None = None
    for criterion in criteria:
        if criterion.name == "RELEVANCY":
            # RFC 6203 5: the most relevant comes first.
            key = -np.array([scores.get(uid, 0) for uid in messages["uid"].tolist()], np.int64)
        elif criterion.name in _MESSAGE:
            key = messages[_MESSAGE[criterion.name]]
        else:
            key = columns[cold[criterion.name]]
            if criterion.name in _TEXT:
                ranks = ranks or (yield from _ranks(database))
                key = _look_up(ranks, key)
        keys.append(-key if criterion.reverse else key)
        yield
    yield
    order = np.lexsort(tuple(reversed(keys)))
    found: list[int] = messages["uid"][order].tolist()
    if len(found) < len(uids):
        found += sorted(set(uids).difference(found))
    return found


def thread_items(database: Database, mailbox_id: int, uids: Sequence[int]) -> Generator[None, None, Items]:
    """What threading needs of these messages."""
    yield from backlog.sort_all(database)
    wanted = np.array(uids, np.int64)
    messages = yield from _messages(database, mailbox_id, wanted, ["content"])
    content = messages["content"]
    columns = yield from _sorting(database, content, ["sent", "subject", "reply", "name"])
    flat, counts = yield from _references(database, content)
    return Items(
        messages["uid"],
        columns["name"],
        flat,
        counts,
        columns["subject"],
        columns["reply"].astype(np.bool_),
        columns["sent"],
    )


def _messages(database: Database, mailbox_id: int, wanted: Numbers, columns: Sequence[str]) -> Steps:
    """Columns of `message`, and "uid", of those of `wanted` (any order) that are there; ascending."""
    ordered = np.sort(wanted)
    source, base = message_source(mailbox_id)
    chosen = ", ".join(f"json_group_array({column})" for column in ("key", *columns))
    pieces: list[list[Numbers]] = []
    if len(ordered) <= FEW:
        pieces.append(
            _read(
                database,
                f"SELECT {chosen} FROM (SELECT * FROM {source}"
                " WHERE key IN (SELECT value FROM json_each(?)) ORDER BY key)",
                (json.dumps((ordered + base).tolist()),),
            )
        )
    else:
        low, high = base + int(ordered[0]), base + int(ordered[-1])
        while low <= high:
            piece = _read(
                database,
                f"SELECT {chosen} FROM (SELECT key, content, size, received FROM {source}"
                f" WHERE key BETWEEN ? AND ? ORDER BY key LIMIT {PIECE})",
                (low, high),
            )
            pieces.append(piece)
            if len(piece[0]) < PIECE:
                break
            low = int(piece[0][-1]) + 1
            yield
    joined = _joined(("uid", *columns), pieces)
    joined["uid"] &= UID_MASK
    there = np.isin(joined["uid"], ordered, assume_unique=True)
    return {name: column[there] for name, column in joined.items()} if not there.all() else joined


def _sorting(database: Database, content: Numbers, columns: Sequence[str]) -> Steps:
    """Columns of `sorting`, a value for each of `content`; 0 where there is no row."""
    names = ", ".join(("content", *columns))
    chosen = ", ".join(f"json_group_array({column})" for column in ("content", *columns))
    pieces: list[list[Numbers]] = []
    unique = _unique(content)
    yield
    if not len(unique):
        return {name: np.zeros(0, np.int64) for name in columns}
    low, high = int(unique[0]), int(unique[-1])
    if len(unique) * 8 < high - low:
        for start in range(0, len(unique), FEW):
            keys = json.dumps(unique[start : start + FEW].tolist())
            statement = f"SELECT {chosen} FROM sorting WHERE content IN (SELECT value FROM json_each(?))"
            pieces.append(_read(database, statement, (keys,)))
            yield
    else:
        statement = f"SELECT {chosen} FROM (SELECT {names} FROM sorting WHERE content BETWEEN ? AND ? LIMIT {PIECE})"
        while low <= high:
            piece = _read(database, statement, (low, high))
            pieces.append(piece)
            if len(piece[0]) < PIECE:
                break
            low = int(piece[0][-1]) + 1
            yield
    rows = _joined(("content", *columns), pieces)
    if not len(rows["content"]):
        return {name: np.zeros(len(content), np.int64) for name in columns}
    yield
    places = _places(rows["content"], content)
    found: Columns = {}
    for name in columns:
        yield
        found[name] = np.where(places < 0, 0, rows[name][places])
    return found


def _unique(numbers: Numbers) -> Numbers:
    """Ascending, each once; most often they are so already."""
    return numbers if len(numbers) < 2 or (np.diff(numbers) > 0).all() else np.unique(numbers)


def _places(known: Numbers, wanted: Numbers) -> Numbers:
    """Where in `known` (ascending, not empty) the wanted ones are; -1 for those that are not there."""
    if len(known) and int(known[-1]) - int(known[0]) == len(known) - 1:  # without a gap
        places = wanted - known[0]
        return np.where((places < 0) | (places >= len(known)), -1, places)
    places = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return np.where(known[places] == wanted, places, -1)


def _references(database: Database, content: Numbers) -> Generator[None, None, tuple[Numbers, Numbers]]:
    """(hashes of all references, one content after the other; how many each has)"""
    unique = _unique(content)
    yield
    if not len(unique):
        return unique, unique
    low, high = int(unique[0]), int(unique[-1])
    found: list[tuple[int, bytes]] = []
    if len(unique) * 8 >= high - low:
        statement = f"SELECT content, refs FROM sorting WHERE content BETWEEN ? AND ? AND refs != x'' LIMIT {PIECE}"
        while low <= high:
            piece = database.execute(statement, (low, high)).fetchall()
            found += piece
            if len(piece) < PIECE:
                break
            low = piece[-1][0] + 1
            yield
    else:
        statement = (
            "SELECT content, refs FROM sorting WHERE content IN (SELECT value FROM json_each(?)) AND refs != x''"
        )
        for start in range(0, len(unique), FEW):
            found += database.execute(statement, (json.dumps(unique[start : start + FEW].tolist()),)).fetchall()
            yield
    owners = np.fromiter((row[0] for row in found), np.int64, len(found))
    order = np.argsort(owners, kind="stable")
    yield
    blobs = [found[place][1] for place in order.tolist()]
    sizes = np.fromiter(map(len, blobs), np.int64, len(blobs)) // 8
    flat = np.frombuffer(b"".join(blobs), "<i8")
    yield
    starts_of = np.cumsum(sizes) - sizes
    counts = _look_up((owners[order], sizes), content)
    begins = _look_up((owners[order], starts_of), content)
    yield
    return flat[np.repeat(begins - (np.cumsum(counts) - counts), counts) + np.arange(int(counts.sum()))], counts


def _ranks(database: Database) -> Generator[None, None, tuple[Numbers, Numbers]]:
    """(ids of texts, ascending; their places in the order of texts). The id 0, "", is the first."""
    pieces = [np.zeros(1, np.int64)]
    last = ""
    while True:
        ids, last = database.execute(
            "SELECT json_group_array(id), max(text) FROM"
            f" (SELECT id, text FROM sort_text WHERE text > ? ORDER BY text LIMIT {PIECE})",
            (last,),
        ).fetchone()
        pieces.append(parsed(ids))
        if len(pieces[-1]) < PIECE:
            break
        yield
    ids = np.concatenate(pieces)
    yield
    order = np.argsort(ids)
    return ids[order], order


def _look_up(table: tuple[Numbers, Numbers], wanted: Numbers) -> Numbers:
    """table: (keys, ascending; values); 0 for a key that is not there."""
    keys, values = table
    if not len(keys):
        return np.zeros(len(wanted), np.int64)
    places = _places(keys, wanted)
    return np.where(places < 0, 0, values[places])


def _read(database: Database, statement: str, values: Sequence[Any]) -> list[Numbers]:
    return [parsed(column) for column in database.execute(statement, values).fetchone()]


def _joined(names: Sequence[str], pieces: list[list[Numbers]]) -> Columns:
    return {
        name: np.concatenate([np.zeros(0, np.int64), *(piece[place] for piece in pieces)])
        for place, name in enumerate(names)
    }
