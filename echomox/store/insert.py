"""Putting messages into an account's tables: the one place that writes `message` and `content` rows, for the
committer and the replay.
"""

# ruff: noqa: S608  # the texts put into statements are constants of this program and numbers

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import floor
from operator import itemgetter
from typing import Any

from echomox.message.structure import Part, Structure
from echomox.store import mailboxes, messages, muted, names, sortkeys
from echomox.store.database import UID_BITS, Write
from echomox.store.engine import DEFAULT_MAILBOXES, Addition, LimitExceeded, NoSuchMailbox, Target
from echomox.store.flags import SEEN, after_transfer, counts, is_free, label
from echomox.store.journal import Row
from echomox.store.rows import affect, close, compact
from echomox.store.rows.packing import EMPTY, REST, delivery_mark, pack_envelope, pack_parts

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
_CHANGED = ("delivery", "parts", "envelope")
_KEPT = [name for name in SHARED if name not in (*REST, *_CHANGED)]
_MESSAGE = (
    "INSERT INTO message (key, id, content, mailbox_id, modseq, flags, size, received, saved, keywords)"
    " VALUES (?,?,?,?,?,?,?,?,?,?)"
)
_CONTENT = (
    f"INSERT INTO content ({', '.join((*_KEPT, *_CHANGED))}, form, id, prefix, verdict, {', '.join(REST)})"
    f" VALUES ({','.join('?' * (len(_KEPT) + len(_CHANGED) + 3))}, '', "
    + ", ".join("x''" if isinstance(empty, bytes) else "''" for empty in EMPTY)
    + ")"
)
_STATE = f"SELECT instance, next_id, modseq, {compact.FORM}, EXISTS (SELECT 1 FROM muted) FROM state"
_COUNTS = """
UPDATE mailbox SET total = total + ?, deleted = deleted + ?, unread = unread + ?, unseen = unseen + ?, size = size + ?,
                   modseq = max(modseq, ?), uidnext = max(uidnext, ?) WHERE id = ?"""
_NO_VERDICT = ("", None)
_SORTED_BY: Callable[[Sequence[Any]], tuple[Any, ...]] = itemgetter(*map(SHARED.index, sortkeys.SOURCES))
_TO_KEEP: Callable[[Sequence[Any]], tuple[Any, ...]] = itemgetter(*map(SHARED.index, _KEPT))
_TO_PACK: Callable[[Sequence[Any]], tuple[Any, ...]] = itemgetter(*map(SHARED.index, REST))
_ENVELOPE: Callable[[Sequence[Any]], tuple[bytes, str, str]] = itemgetter(
    *map(SHARED.index, ("envelope", "subject", "message_id"))
)
_PARTS: Callable[[Sequence[Any]], tuple[str, int, int]] = itemgetter(
    *map(SHARED.index, ("parts", "header_size", "file_size"))
)
_PLAIN_TEXTS = re.compile(r'"[ !#-\[\]-~]*"(?:,"[ !#-\[\]-~]*"){5}')
_DELIVERY = SHARED.index("delivery")


def _text(value: str) -> str:
    """Fit for UTF-8: lone surrogates of a strange message become question marks."""
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def _parts_text(parts: Sequence[Part]) -> str:
    """JSON. What `json.dumps` would write of one part without marks that it would change, five times as fast."""
    if len(parts) == 1:
        path, kind, charset, encoding, disposition, name, *numbers = parts[0]
        texts = f'"{path}","{kind}","{charset}","{encoding}","{disposition}","{name}"'
        if _PLAIN_TEXTS.fullmatch(texts):
            return f"[[{texts},{','.join(map(str, numbers))}]]"
    return json.dumps(parts, separators=(",", ":"))


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
        "parts": _parts_text(one.parts),
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


def insert_rows(
    write: Write, rows: Sequence[tuple[Row, tuple[Any, ...]]], form: int, sorting: Sorting | None = None
) -> None:
    """rows: with their shared values; ids and keys are free. form: `compact.newest`. sorting: what has been given the
    rows already, if anything has. Counts and `uidnext` follow; `state` is the caller's."""
    cuts = [affect.cut(row.verdict) if row.verdict else _NO_VERDICT for row, _ in rows]
    bulks: list[tuple[int, bytes, bytes | str]] = []
    write.executemany(
        _CONTENT, _packed(rows, (form, write.database.lexicon.newest(form)), [text for text, _ in cuts], bulks)
    )
    write.executemany(compact.BULK, bulks)
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
    if sorting is None:
        sorting = Sorting(write, rows[0][0].instance if rows else "")
        for row, shared in rows:
            sorting.add(row.id, row.received, shared)
    marked = [row.id for row, _ in rows if row.keywords and muted.is_in(row.keywords.split())]
    if marked:
        muted.turn(write.execute, True, marked)
    _add_profiles(write, rows, [scaled for _, scaled in cuts])
    by_mailbox: dict[int, list[Row]] = {}
    for row, _ in rows:
        by_mailbox.setdefault(row.mailbox_id, []).append(row)
    for mailbox_id, mine in by_mailbox.items():
        change = counts([(row.flags, row.size) for row in mine])
        uidnext = max([row.uid for row in mine]) + 1
        write.execute(_COUNTS, (*change, write.bump(), uidnext, mailbox_id))


def _packed(
    rows: Sequence[tuple[Row, tuple[Any, ...]]],
    how: tuple[int, close.Words],
    verdicts: Sequence[str],
    bulks: list[tuple[int, bytes, bytes | str]],
) -> Iterator[tuple[Any, ...]]:
    """Values for _CONTENT; those for compact.BULK are added to `bulks`. The recipients of one message have the same
    shared values. verdicts: as `affect.cut`; how: form and words."""
    form, words = how
    known: dict[int, tuple[tuple[Any, ...], bytes, bytes]] = {}
    for (row, shared), verdict in zip(rows, verdicts):
        found = known.get(id(shared))
        if found is None:
            envelope = pack_envelope(*_ENVELOPE(shared))
            ends = delivery_mark(shared[_DELIVERY]), pack_parts(*_PARTS(shared)), envelope, form
            found = known[id(shared)] = (
                (*_TO_KEEP(shared), *ends),
                close.pack_rest(_TO_PACK(shared), envelope, words),
                envelope,
            )
        bulks.append((row.id, found[1], close.pack_verdict(verdict, row.prefix, words)))
        yield (*found[0], row.id, close.pack_prefix(row.prefix, found[2], words))


def _add_profiles(
    write: Write, rows: Sequence[tuple[Row, tuple[Any, ...]]], scaled: Sequence[tuple[int, ...] | None]
) -> None:
    exact = [(row.id, *values) for (row, _), values in zip(rows, scaled) if values]
    if exact:
        write.executemany(affect.EXACT, exact)
    others = [
        (row.id, *found)
        for (row, _), values in zip(rows, scaled)
        if not values and (found := affect.profile(row.verdict))
    ]
    if others:
        write.executemany(affect.OTHER, others)


class Sorting:
    """Writes what messages are sorted by. Those with the same shared values, which live as long as this, are the
    recipients of one."""

    __slots__ = ("_known", "_sorter")

    def __init__(self, write: Write, instance: str) -> None:
        self._sorter = sortkeys.Sorter(write.execute, instance)
        self._known: dict[int, sortkeys.Keys] = {}

    def add(self, content: int, received: float, shared: tuple[Any, ...]) -> int:
        """Its thread."""
        keys = self._known.get(id(shared))
        if keys is None:
            keys = self._known[id(shared)] = sortkeys.keys_of(_SORTED_BY(shared), received)
        return self._sorter.add(content, keys)


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
    form: int = 0
    places: dict[str, _Place] = field(default_factory=dict)
    rows: list[tuple[Row, tuple[Any, ...]]] = field(default_factory=list)
    lessons: list[tuple[int, str]] = field(default_factory=list)
    sorting: Sorting | None = None
    """With muted threads in the account each row has its thread at once; without, `finish` sees to it."""
    now: float = field(default_factory=lambda: float(int(time.time())))
    """SAVEDATE has seconds, as INTERNALDATE has; a number without a fraction takes half the room."""

    def __post_init__(self) -> None:
        self.instance, self.next_id, modseq, self.form, any_muted = self.write.execute(_STATE).fetchone()
        if any_muted:
            self.sorting = Sorting(self.write, self.instance)
        self.write.modseq = self.write.modseq or modseq + 1  # `finish` writes it, with all else of `state`

    def add(self, addition: Addition, target: Target, shared: tuple[Any, ...]) -> Row:
        """The row `target` will have. Raises StoreError when there is no such mailbox or the keywords are refused."""
        place = self.places.get(target.mailbox) or self._place(target.mailbox)
        learn = addition.learn or (addition.delivered and is_free(place.use, place.name))
        said = self.write.database.opinion(place.name) if learn else None
        flags = target.flags
        if addition.learn or said is not None:
            flags = after_transfer(flags, "", place.use, said)
        words = messages.canonical(self.write, place.id, target.keywords) if target.keywords else []
        if self.sorting is not None:
            thread = self.sorting.add(self.next_id, addition.received, shared)
            if addition.delivered and muted.is_muted(self.write.execute, thread):
                flags |= SEEN
                words = self._muted(place, words)
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
            float(floor(addition.received)),
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

    def _muted(self, place: _Place, words: list[str]) -> list[str]:
        """With the keyword, where there is room for one more; mail is not refused for it."""
        if not muted.is_in(words) and len(words) < names.KEYWORDS_PER_MESSAGE:
            with suppress(LimitExceeded):
                words = words + messages.canonical(self.write, place.id, (muted.KEYWORD,))
        return words

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
        insert_rows(self.write, self.rows, self.form, self.sorting)
        self.write.execute("UPDATE state SET modseq = ?, next_id = ?", (self.write.modseq, self.next_id))
        messages.teach(self.write, self.lessons)
