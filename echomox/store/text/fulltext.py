"""The full-text index of an account, fts.db: how it is kept, and how it is asked. fill.py writes it.

Segments of up to 65,536 contents (rowid space: content ids, which copies of a message share); in a segment, sections
(Section), each an inverted index of its own in blocks (postings.py). The sections of columns have whole values as
terms: any string is found exactly. Header and body have the terms of words.py: a string of one term is found
exactly, others are candidates. Under the term PARTIAL stand the documents of which the section does not know
everything: they are always candidates.

All contents up to the watermark are in, except those that are gone. What is newer, and what is a candidate, must be
looked at by the searcher; so must all if there is no index. Nothing here need be durable, or backed up: it is made
again from index.db and the message files. Damage that is noticed (each block has a checksum) is told by the file
fts.damaged: nobody reads the index then, and the filler makes a new one.

One process at a time writes; readers have a snapshot (WAL) and a connection that cannot write, so that closing it
never waits for the disk.
"""

from __future__ import annotations

import os
import re
import sqlite3
import struct
import unicodedata
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from enum import IntEnum
from typing import NamedTuple
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from echomox.log import logger
from echomox.store.database import Database
from echomox.store.text.postings import NEWLINE, Block, Entries, Marks, Numbers, decode, find, mark
from echomox.store.text.words import Plan, octets

LOG = logger("store")
VERSION = 3
FORMAT = f"{VERSION} {unicodedata.unidata_version}"
"""Folding and terms depend on the edition of Unicode."""
PARTIAL = b"\1"
BLOCKS_PER_STEP = 1
SEGMENT_BITS = 32
SECTION_BITS = 24
SCHEMA = """
CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    format TEXT NOT NULL,
    instance TEXT NOT NULL,               -- of the account (index.db, state)
    watermark INTEGER NOT NULL,           -- all contents up to this id are in
    crc INTEGER NOT NULL                  -- of the above and the list of segments: see seal
);
CREATE TABLE segment (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    first INTEGER NOT NULL,               -- content ids
    last INTEGER NOT NULL,
    documents INTEGER NOT NULL,
    contents BLOB NOT NULL,               -- ids of the documents, ascending, int64, deflated
    heads BLOB NOT NULL                   -- for each section the CRC of its blocks' heads, deflated
);
CREATE TABLE block (
    id INTEGER PRIMARY KEY,               -- segment << 32 | section << 24 | number
    first BLOB NOT NULL,
    last BLOB NOT NULL,
    crc INTEGER NOT NULL,                 -- of the postings; what is deflated has a checksum within
    terms BLOB NOT NULL,                  -- see pack
    lengths BLOB NOT NULL,                -- deflated
    postings BLOB NOT NULL
);
"""


class Section(IntEnum):
    """BODY, HEADER: terms of words.py; ..._MARKS, ..._PAIRS: its marks and pairs. NAME: names of header fields, lower
    case. FIELDS: see field_term. The others: folded values of the columns of content; SENT: days as "2026-11-22"."""

    BODY = 1
    HEADER = 2
    NAME = 3
    SUBJECT = 4
    FROM = 5
    TO = 6
    CC = 7
    BCC = 8
    MESSAGE_ID = 9
    SENT = 10
    BODY_MARKS = 11
    HEADER_MARKS = 12
    BODY_PAIRS = 13
    HEADER_PAIRS = 14
    FIELDS = 15


FIELD_LIMIT = 200
"""Octets of a value that is a term of FIELDS."""
UNLISTED = frozenset(
    b"received,received-spf,return-path,delivered-to,authentication-results,dkim-signature,domainkey-signature,"
    b"arc-seal,arc-message-signature,arc-authentication-results,date,message-id,in-reply-to,references,subject,from,to,"
    b"cc,bcc,x-echomox-verdict,x-echomox-rule,x-google-dkim-signature,x-gm-message-state,x-received".split(b",")
)
"""Fields of which FIELDS has nothing: each message has another value, or a section of its own has it."""
PAIRS = {Section.BODY: Section.BODY_PAIRS, Section.HEADER: Section.HEADER_PAIRS}


class Damaged(Exception):
    """The index is not what it should be."""


class Found(NamedTuple):
    """Content ids, ascending: of those that match, and of those that may."""

    sure: Numbers
    maybe: Numbers


def field_term(name: bytes, value: str) -> bytes:
    """Of FIELDS: the name, \2, the folded value; PARTIAL for one that is long or strange."""
    text = octets(value)
    if len(text) > FIELD_LIMIT or b"\n" in text or b"\1" in text or b"\2" in text or b"\2" in name or b"\n" in name:
        text = PARTIAL
    return b"%b\2%b" % (name.translate(None, b"\2\n"), text)


Head = tuple[int, bytes, bytes]
"""id, first and last term of a block"""


class Segment(NamedTuple):
    id: int
    first: int
    last: int
    documents: int


TROUBLE = (sqlite3.DatabaseError, zlib.error, struct.error, ValueError, IndexError, Damaged)
"""What reading a damaged index may raise."""


def path(database: Database) -> str:
    return f"{database.directory}/fts.db"


def marker(database: Database) -> str:
    return f"{database.directory}/fts.damaged"


def mark_damaged(database: Database, reason: str) -> None:
    """Nobody uses the index any more until it was made anew."""
    LOG.error("the full-text index is damaged and will be made anew", account=database.name, error=reason)
    try:
        os.close(os.open(marker(database), os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except OSError as error:
        LOG.error("cannot mark the full-text index", account=database.name, error=str(error))


def block_range(segment: int, section: int) -> tuple[int, int]:
    low = segment << SEGMENT_BITS | section << SECTION_BITS
    return low, low | (1 << SECTION_BITS) - 1


class Reader:
    """One snapshot of an account's index, for one search. `opened` gives one; errors are TROUBLE."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        row = connection.execute("SELECT format, instance, watermark, crc FROM meta").fetchone()
        if row is None:
            raise Damaged("no meta row")
        self.format, self.instance = str(row[0]), str(row[1])
        self.watermark = int(row[2])
        segments = connection.execute("SELECT id, first, last, documents FROM segment ORDER BY first").fetchall()
        self.segments = [Segment(*segment) for segment in segments]
        if seal(self.format, self.instance, self.watermark, self.segments) != row[3]:
            raise Damaged("the list of segments has another checksum")

    def close(self) -> None:
        self._connection.close()

    def contents(self, segment: Segment) -> Numbers:
        row = self._connection.execute("SELECT contents FROM segment WHERE id = ?", (segment.id,)).fetchone()
        found = np.frombuffer(zlib.decompress(row[0]), "<i8")
        if len(found) != segment.documents:
            raise Damaged(f"segment {segment.id} has {len(found)} documents, not {segment.documents}")
        return found

    def entries(self, segment: Segment, section: int) -> Iterator[Entries]:
        """All of a section; each statement is complete, the caller may write in between."""
        for block, first, last in self._heads(segment, section):
            yield decode(Block(first, last, self._terms(block), *self._postings(block)), segment.documents)

    def find(self, sections: Sequence[tuple[Section, Plan]]) -> Generator[None, None, Found]:
        """The contents of which any of `sections` has what its plan says; gives way every few milliseconds."""
        sure: list[Numbers] = []
        maybe: list[Numbers] = []
        for segment in self.segments:
            certain = np.zeros(segment.documents, np.bool_)
            possible = np.zeros(segment.documents, np.bool_)
            for section, plan in sections:
                hits, partial = yield from self._find(segment, section, plan.needles)
                possible |= partial
                if plan.exact:
                    certain |= hits
                else:
                    if plan.pairs and section in PAIRS:
                        hits &= (yield from self._find(segment, PAIRS[section], plan.pairs))[0]
                    possible |= hits
            contents = self.contents(segment)
            sure.append(contents[certain])
            maybe.append(contents[possible & ~certain])
        none = np.zeros(0, np.int64)
        return Found(np.concatenate([none, *sure]), np.concatenate([none, *maybe]))

    def _find(
        self, segment: Segment, section: int, needles: Sequence[bytes]
    ) -> Generator[None, None, tuple[Marks, Marks]]:
        """(documents that have all needles, documents that are not fully known)"""
        wanted = [*needles, b"\n" + PARTIAL + b"\n"]
        marks = [np.zeros(segment.documents, np.bool_) for _ in wanted]
        for count, (block, first, last) in enumerate(self._heads(segment, section)):
            if count % BLOCKS_PER_STEP == BLOCKS_PER_STEP - 1:
                yield
            asked = [
                place for place, needle in enumerate(wanted) if _within(needle, first, last) and not marks[place].all()
            ]
            if asked:
                terms = self._terms(block)
                hits = [(place, found) for place in asked if len(found := find(terms, wanted[place]))]
                if hits:
                    lengths, postings = self._postings(block)
                    for place, found in hits:
                        mark(marks[place], found, lengths, postings)
        return np.logical_and.reduce(marks[:-1]), marks[-1]

    def near(
        self,
        segment: Segment,
        section: int,
        pattern: re.Pattern[bytes],
        first: bytes,
        nearness: Callable[[bytes], float],
    ) -> Generator[None, None, npt.NDArray[np.float32]]:
        """For each document of a segment, how near its nearest term comes to what the pattern finds; 0 for none. first:
        what all that it finds begins with; sections of whole values have it anywhere."""
        found = np.zeros(segment.documents, np.float32)
        whole_terms = section in (Section.BODY, Section.HEADER)
        for block, low, high in self._heads(segment, section):
            if whole_terms and not low[: len(first)] <= first <= high:
                continue
            terms = self._terms(block)
            levels: dict[float, list[int]] = {}
            for match in pattern.finditer(terms):
                levels.setdefault(nearness(match[0]), []).append(match.start())
            yield
            if not levels:
                continue
            lengths, postings = self._postings(block)
            borders = np.flatnonzero(np.frombuffer(terms, np.uint8) == NEWLINE)
            for level, places in levels.items():
                marks = np.zeros(segment.documents, np.bool_)
                numbers = np.unique(np.searchsorted(borders, np.array(places, np.int64), side="right") - 1)
                mark(marks, numbers, lengths, postings)
                np.maximum(found, marks * np.float32(level), out=found)
            yield
        return found

    def between(self, section: Section, low: bytes, high: bytes) -> Generator[None, None, Found]:
        """The contents with a value of low <= value < high."""
        sure, maybe = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for segment in self.segments:
            marks = np.zeros(segment.documents, np.bool_)
            partial = np.zeros(segment.documents, np.bool_)
            for block, first, last in self._heads(segment, section):
                if first <= PARTIAL or (first < high and last >= low):
                    terms = self._terms(block)[1:-1].split(b"\n")
                    within = [place for place, term in enumerate(terms) if low <= term < high]
                    lengths, postings = self._postings(block)
                    mark(marks, np.array(within, np.int64), lengths, postings)
                    if terms[0] == PARTIAL:
                        mark(partial, np.zeros(1, np.int64), lengths, postings)
            yield
            contents = self.contents(segment)
            sure.append(contents[marks])
            maybe.append(contents[partial & ~marks])
        return Found(np.concatenate(sure), np.concatenate(maybe))

    def field(self, name: bytes, value: bytes) -> Generator[None, None, Found]:
        """The contents with a header field of this name, which is none of UNLISTED, whose value has `value`."""
        sure, maybe = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        start, unknown = b"%b\2" % name, b"\n%b\2%b\n" % (name, PARTIAL)
        for segment in self.segments:
            marks = np.zeros(segment.documents, np.bool_)
            partial = np.zeros(segment.documents, np.bool_)
            for block, first, last in self._heads(segment, Section.FIELDS):
                mine = first[: len(start)] <= start <= last[: len(start)]
                if not mine and first != PARTIAL:
                    continue
                terms = self._terms(block)
                owned = find(terms, b"\n" + start) if mine else np.zeros(0, np.int64)
                hits = np.intersect1d(find(terms, value), owned) if len(owned) else owned
                if len(hits) and value in start:  # it may have been found in the name
                    lines = terms.split(b"\n")
                    hits = hits[[value in lines[place + 1][len(start) :] for place in hits.tolist()]]
                doubtful = np.union1d(find(terms, unknown), find(terms, b"\n" + PARTIAL + b"\n"))
                lengths, postings = self._postings(block)
                mark(marks, hits, lengths, postings)
                mark(partial, doubtful, lengths, postings)
                yield
            contents = self.contents(segment)
            sure.append(contents[marks & ~partial])
            maybe.append(contents[partial])
        return Found(np.concatenate(sure), np.concatenate(maybe))

    def _heads(self, segment: Segment, section: int) -> list[Head]:
        rows = self._connection.execute(
            "SELECT id, first, last FROM block WHERE id BETWEEN ? AND ? ORDER BY id",
            block_range(segment.id, section),
        ).fetchall()
        kept = self._connection.execute("SELECT heads FROM segment WHERE id = ?", (segment.id,)).fetchone()
        if struct.unpack_from("<L", zlib.decompress(kept[0]), 4 * section)[0] != heads_crc(rows):
            raise Damaged(f"blocks are missing in segment {segment.id}")
        return rows

    def _terms(self, block: int) -> bytes:
        row = self._connection.execute("SELECT terms FROM block WHERE id = ?", (block,)).fetchone()
        return unpack(row[0])

    def _postings(self, block: int) -> tuple[bytes, bytes]:
        row = self._connection.execute("SELECT lengths, crc, postings FROM block WHERE id = ?", (block,)).fetchone()
        _check(row[1], row[2])
        return zlib.decompress(row[0]), row[2]


def seal(format_: str, instance: str, watermark: int, segments: Sequence[Segment]) -> int:
    """The checksum of what meta and the list of segments say."""
    return zlib.crc32(repr((format_, instance, watermark, [tuple(segment) for segment in segments])).encode())


def heads_crc(heads: Sequence[Head]) -> int:
    return zlib.crc32(repr(heads).encode())


def pack(terms: bytes) -> bytes:
    """A block's terms as kept: deflated if that halves them, else as they are, with a checksum; what does not shrink
    (identifiers, signatures) is read by every search and would cost time for little."""
    small = zlib.compress(terms, 4)
    return small if len(small) * 2 <= len(terms) else terms + struct.pack("<L", zlib.crc32(terms))


def unpack(kept: bytes) -> bytes:
    if kept[:1] != b"\n":
        return zlib.decompress(kept)
    terms = kept[:-4]
    if struct.pack("<L", zlib.crc32(terms)) != kept[-4:]:
        raise Damaged("a block of terms has another checksum")
    return terms


def _check(crc: int, postings: bytes) -> None:
    if zlib.crc32(postings) != crc:
        raise Damaged("a block has another checksum")


def _within(needle: bytes, first: bytes, last: bytes) -> bool:
    """Whether a block of terms from `first` to `last` can have the needle: only for one that is tied to the start of
    a term there is anything to say."""
    if needle[:1] != b"\n":
        return True
    start = needle[1:].removesuffix(b"\n")
    return first[: len(start)] <= start <= last


def opened(database: Database) -> Reader | None:
    """A reader of the account's index; None when there is none that can be used."""
    try:
        return _open(database)
    except TROUBLE as error:
        # Busy, or being made: it is there the next time.
        if not isinstance(error, sqlite3.OperationalError) or "malformed" in str(error):
            mark_damaged(database, f"{type(error).__name__}: {error}")
    return None


def _open(database: Database) -> Reader | None:
    file = path(database)
    if not os.path.exists(file) or os.path.exists(marker(database)):
        return None
    connection = sqlite3.connect(
        f"file:{quote(file)}?mode=ro", uri=True, isolation_level=None, timeout=1.0, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA cache_size=-256")
        connection.execute("BEGIN")
        reader = Reader(connection)
        instance, next_id = database.execute("SELECT instance, next_id FROM state").fetchone()
        if (reader.format, reader.instance) == (FORMAT, instance) and reader.watermark < next_id:
            return reader
    except BaseException:
        connection.close()
        raise
    connection.close()
    return None


def verify(database: Database) -> str:
    """What is wrong with the account's index; "" for nothing, or when there is none. Reads all of it."""
    try:
        reader = _open(database)
    except TROUBLE as error:
        if "no such table: meta" in str(error):
            return ""  # being made, or left so by one that was cut short there, which the filler makes anew
        return f"{type(error).__name__}: {error}"
    if reader is None:
        return ""  # none, or one that the filler replaces in any case
    try:
        known = set()
        for segment in reader.segments:
            contents = reader.contents(segment)
            known.update(contents.tolist())
            for section in Section:
                for entries in reader.entries(segment, section):
                    if int(entries.counts.sum()) != len(entries.documents) or not entries.counts.all():
                        return f"section {section.name} of segment {segment.id} does not fit"
        rows = database.execute("SELECT id FROM content WHERE id <= ?", (reader.watermark,)).fetchall()
        missing = {identity for (identity,) in rows} - known
        return f"{len(missing)} contents are missing" if missing else ""
    except TROUBLE as error:
        return f"{type(error).__name__}: {error}"
    finally:
        reader.close()
