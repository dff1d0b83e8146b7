"""Putting messages into an account's tables: the one place that writes `message` and `content` rows, for the
committer and the replay.
"""

# ruff: noqa: S608  # the texts put into statements are constants of this program and numbers

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from echomox.message.structure import Structure
from echomox.store import affect, mailboxes, messages, names, sortkeys
from echomox.store.database import UID_BITS, Write
from echomox.store.engine import DEFAULT_MAILBOXES, Addition, NoSuchMailbox, Target
from echomox.store.flags import after_transfer, counts, is_free, label
from echomox.store.journal import Row
from echomox.store.packing import COMPACT, EMPTY, REST, pack_envelope, pack_prefix, pack_rest, pack_verdict

SHARED = [
    "crc",
    "file_size",
    "mail_from",
    "remote_ip",
    "delivery",
    "header_size",
    "sent",
    "sent_day",
    "eight_bit",
    "message_id",
    "in_reply_to",
    "subject",
    "from_text",
    "to_text",
    "cc_text",
    "bcc_text",
    "envelope",
    "body",
    "bodystructure",
    "parts",
    "refs",
    "preview",
    "defects",
]
"""What is the same of a content for all recipients, as a journal has it, too; id, prefix and verdict are each one's
own."""
_KEPT = [name for name in SHARED if name not in REST and name != "envelope"]
_MESSAGE = (
    "INSERT INTO message (key, id, content, mailbox_id, modseq, flags, size, received, saved, keywords)"
    " VALUES (?,?,?,?,?,?,?,?,?,?)"
)
_CONTENT = (
    f"INSERT INTO content ({', '.join(_KEPT)}, envelope, rest, id, prefix, verdict, form, {', '.join(REST)})"
    f" VALUES ({','.join('?' * (len(_KEPT) + 5))}, {COMPACT}, "
    + ", ".join("x''" if isinstance(empty, bytes) else "''" for empty in EMPTY)
    + ")"
)
_AFFECT = (
    f"INSERT OR REPLACE INTO affective_state (content, {', '.join(affect.COLUMNS)})"
    f" VALUES ({','.join('?' * (len(affect.COLUMNS) + 1))})"
)


_SORTED_BY: Callable[[Sequence[Any]], tuple[Any, ...]] = itemgetter(*map(SHARED.index, sortkeys.SOURCES))
_TO_KEEP: Callable[[Sequence[Any]], tuple[Any, ...]] = itemgetter(*map(SHARED.index, _KEPT))
_TO_PACK: Callable[[Sequence[Any]], tuple[Any, ...]] = itemgetter(*map(SHARED.index, REST))
_ENVELOPE: Callable[[Sequence[Any]], tuple[bytes, str, str]] = itemgetter(
    *map(SHARED.index, ("envelope", "subject", "message_id"))
)


def _text(value: str) -> str:
    """Fit for UTF-8: lone surrogates of a strange message become question marks."""
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def structure_values(one: Structure) -> dict[str, Any]:
    """The columns of content that come from parsing."""
    return {
        "header_size": one.header_size,
        "sent": one.sent,
        "sent_day": one.sent_day,
        "eight_bit": int(one.eight_bit),
        "message_id": _text(one.message_id),
        "in_reply_to": _text(one.in_reply_to),
        "subject": _text(one.subject),
        "from_text": _text(one.from_text),
        "to_text": _text(one.to_text),
        "cc_text": _text(one.cc_text),
        "bcc_text": _text(one.bcc_text),
        "envelope": one.envelope,
        "body": one.body,
        "bodystructure": one.bodystructure,
        "parts": json.dumps(one.parts, separators=(",", ":")),
        "refs": _text(" ".join(one.references)),
        "preview": _text(one.preview),
        "defects": _text("\n".join(one.defects)),
    }


def shared_values(addition: Addition, crc: int) -> tuple[Any, ...]:
    """In the order of SHARED."""
    return (
        crc,
        addition.structure.size,
        _text(addition.mail_from),
        addition.remote_ip,
        addition.delivery,
        *structure_values(addition.structure).values(),
    )


def insert_rows(write: Write, rows: Sequence[tuple[Row, tuple[Any, ...]]]) -> None:
    """rows: with their shared values; ids and keys are free. Counts follow; `state` and `uidnext` are the caller's."""
    write.executemany(_CONTENT, _packed(rows))
    write.executemany(
        _MESSAGE,
        [
            (
                (row.mailbox_id << UID_BITS) + row.uid,
                row.id,
                row.id,
                row.mailbox_id,
                row.modseq,
                row.flags,
                row.size,
                row.received,
                row.saved,
                row.keywords,
            )
            for row, _ in rows
        ],
    )
    add_sorting(write, rows)
    profiles = [(row.id, *profile) for row, _ in rows if (profile := affect.profile(row.verdict))]
    if profiles:
        write.executemany(_AFFECT, profiles)
    by_mailbox: dict[int, list[tuple[int, int]]] = {}
    for row, _ in rows:
        by_mailbox.setdefault(row.mailbox_id, []).append((row.flags, row.size))
    for mailbox_id, sizes in by_mailbox.items():
        messages.add_counts(write, mailbox_id, counts(sizes))


def _packed(rows: Sequence[tuple[Row, tuple[Any, ...]]]) -> Iterator[tuple[Any, ...]]:
    """Values for _CONTENT. The recipients of one message have the same shared values."""
    known: dict[int, tuple[Any, ...]] = {}
    for row, shared in rows:
        values = known.get(id(shared))
        if values is None:
            envelope = pack_envelope(*_ENVELOPE(shared))
            values = known[id(shared)] = (*_TO_KEEP(shared), envelope, pack_rest(_TO_PACK(shared), envelope))
        yield (*values, row.id, pack_prefix(row.prefix), pack_verdict(row.verdict, row.prefix))


def add_sorting(write: Write, rows: Sequence[tuple[Row, tuple[Any, ...]]]) -> None:
    """What they are sorted by. The recipients of one message have the same shared values."""
    sorter = sortkeys.Sorter(write.execute, rows[0][0].instance if rows else "")
    known: dict[int, sortkeys.Keys] = {}
    for row, shared in rows:
        keys = known.get(id(shared))
        if keys is None:
            keys = known[id(shared)] = sortkeys.keys_of(_SORTED_BY(shared), row.received)
        sorter.add(row.id, keys)


@dataclass(slots=True)
class _Place:
    """A mailbox while messages are put into it."""

    id: int
    name: str
    uidvalidity: int
    uidnext: int
    use: str


@dataclass(slots=True)
class Inserter:
    """Gives ids and UIDs within one write transaction; `finish` writes the rows."""

    write: Write
    account: str
    instance: str = ""
    next_id: int = 0
    places: dict[str, _Place] = field(default_factory=dict)
    rows: list[tuple[Row, tuple[Any, ...]]] = field(default_factory=list)
    lessons: list[tuple[int, str]] = field(default_factory=list)
    now: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        self.instance, self.next_id = self.write.execute("SELECT instance, next_id FROM state").fetchone()

    def add(self, addition: Addition, target: Target, shared: tuple[Any, ...]) -> Row:
        """The row `target` will have. Raises StoreError when there is no such mailbox or the keywords are refused."""
        place = self.places.get(target.mailbox) or self._place(target.mailbox)
        learn = addition.learn or (addition.delivered and is_free(place.use, place.name))
        said = self.write.database.opinion(place.name) if learn else None
        flags = target.flags
        if addition.learn or said is not None:
            flags = after_transfer(flags, "", place.use, said)
        words = messages.canonical(self.write, place.id, target.keywords) if target.keywords else ()
        row = Row(
            self.account,
            self.instance,
            place.id,
            place.name,
            place.uidvalidity,
            place.uidnext,
            self.write.bump(),
            self.next_id,
            flags,
            len(target.prefix) + addition.structure.size,
            addition.received,
            self.now,
            names.join_keywords(words),
            target.prefix,
            target.verdict,
        )
        place.uidnext += 1
        self.next_id += 1
        self.rows.append((row, shared))
        if learn and label(flags):
            self.lessons.append((row.id, label(flags)))
        return row

    def _place(self, wanted: str) -> _Place:
        name = names.mailbox_name(wanted)
        statement = "SELECT id, name, uidvalidity, uidnext, special_use FROM mailbox WHERE name = ?"
        found = self.write.execute(statement, (name,)).fetchone()
        if found is None:
            if name not in DEFAULT_MAILBOXES:
                raise NoSuchMailbox(f"no mailbox {name}")
            mailboxes.insert(self.write, name, self._free_use(DEFAULT_MAILBOXES[name]))
            found = self.write.execute(statement, (name,)).fetchone()
        place = self.places[wanted] = self.places.get(name) or _Place(*found)
        self.places[name] = place
        return place

    def _free_use(self, use: str) -> str:
        taken = self.write.execute("SELECT 1 FROM mailbox WHERE special_use = ?", (use,)).fetchone()
        return "" if taken else use

    def finish(self) -> None:
        insert_rows(self.write, self.rows)
        self.write.execute("UPDATE state SET next_id = ?", (self.next_id,))
        self.write.executemany("UPDATE mailbox SET uidnext = ? WHERE id = ?", self._uidnexts())
        messages.teach(self.write, self.lessons)

    def _uidnexts(self) -> Iterable[tuple[int, int]]:
        return {(place.uidnext, place.id) for place in self.places.values()}
