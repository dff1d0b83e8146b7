"""Filling the full-text index (fulltext.py): new contents, merges of segments, removal of what is gone.

`Filler.batch` takes the next contents after the watermark into a new segment, in one transaction. Segments of about
one size are merged, FAN at a time, so that there are few and each posting is written only some times; contents that
are gone are left out then, or when DEAD of a segment is gone. A kill at any moment leaves the index as it was before
the transaction. Memory is bounded: a batch by BATCH_TEXT, a merge by the blocks it stands at.
"""

from __future__ import annotations

import os
import sqlite3
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from itertools import chain, pairwise, takewhile
from typing import Any

import numpy as np

from echomox.log import logger
from echomox.message.encoded import decode_words
from echomox.message.header import DEFAULT, pairs_of, unfold
from echomox.store.content import text_reader
from echomox.store.database import Database
from echomox.store.engine import StoreError
from echomox.store.rows.compact import load_parts, shape
from echomox.store.text import fulltext
from echomox.store.text.fulltext import (
    FIELD_LIMIT,
    FORMAT,
    PAIRS,
    PARTIAL,
    SCHEMA,
    SECTION_BITS,
    SEGMENT_BITS,
    TROUBLE,
    UNLISTED,
    Reader,
    Section,
    Segment,
    field_term,
    mark_damaged,
    seal,
)
from echomox.store.text.match import body_texts, cost, header_text
from echomox.store.text.postings import BLOCK_TERMS, SEGMENT_DOCUMENTS, Entries, Numbers, encode, merge
from echomox.store.text.tables import Pairs, Terms
from echomox.store.text.words import Folded, fold, marks, octets, terms

LOG = logger("store")
BATCH = 512  # contents of a segment when it is made
ROWS = 50  # of them read at once
BATCH_TEXT = 16 << 20  # bytes of text of a batch
HEADER_LIMIT = 256 << 10  # of a message; more is not indexed, but always asked
BODY_LIMIT = 1 << 20  # bytes of text parts as they are in the file
VALUE_LIMIT = 4096
FAN = 8
DEAD = 0.25
COLUMNS = (
    (Section.SUBJECT, "subject"),
    (Section.FROM, "from_text"),
    (Section.TO, "to_text"),
    (Section.CC, "cc_text"),
    (Section.BCC, "bcc_text"),
    (Section.MESSAGE_ID, "message_id"),
    (Section.SENT, "sent_day"),
)
_BODIES = (Section.BODY, Section.BODY_MARKS, Section.BODY_PAIRS)
_HEADERS = (Section.HEADER, Section.HEADER_MARKS, Section.HEADER_PAIRS, Section.NAME, Section.FIELDS)
_READ = (*_BODIES, *_HEADERS)
"""Sections whose terms are in the message itself."""
_SHAPE = shape(("id", "prefix", "file_size", "header_size", "parts", *(column for _, column in COLUMNS)), {}, False)
_CONTENTS = f"SELECT {', '.join(_SHAPE.select)} FROM content c WHERE c.id > ? ORDER BY c.id LIMIT ?"  # noqa: S608

_PAIRED = frozenset(PAIRS.values())
Tables = dict[Section, Terms | Pairs]
Known = dict[Section, set[bytes]]
Texts = list[tuple[Section, Folded]]


class Stopped(Exception):
    """The caller wants no more work to be done now."""


class Filler:
    """The writer of one account's index; at most one is open at a time. stopped: asked now and then. Raises OSError or
    StoreError for trouble that may pass; a damaged index is made anew."""

    def __init__(self, database: Database, stopped: Callable[[], bool] = lambda: False) -> None:
        self._database = database
        self._stopped = stopped
        self._connection = self._open()

    def close(self) -> None:
        self._connection.close()

    # -- the file

    def _open(self) -> sqlite3.Connection:
        instance, next_id = self._database.execute("SELECT instance, next_id FROM state").fetchone()
        if not os.path.exists(fulltext.marker(self._database)):
            connection = self._connect()
            try:
                row = connection.execute("SELECT format, instance, watermark FROM meta").fetchone()
                if row and row[:2] == (FORMAT, instance) and row[2] < next_id:
                    return connection
            except sqlite3.OperationalError as error:
                if "no such table" not in str(error) and "malformed" not in str(error):
                    connection.close()
                    raise OSError(str(error)) from error
            except sqlite3.DatabaseError:
                pass  # not a database
            connection.close()
        return self._create(instance)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            fulltext.path(self._database), isolation_level=None, timeout=5.0, check_same_thread=False
        )
        with suppress(sqlite3.DatabaseError):
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
            for pragma in ("synchronous=NORMAL", "cache_size=-2048", "wal_autocheckpoint=4096"):
                connection.execute(f"PRAGMA {pragma}")
        return connection

    def _create(self, instance: str) -> sqlite3.Connection:
        file = fulltext.path(self._database)
        for name in (f"{file}-wal", f"{file}-shm", file, fulltext.marker(self._database)):
            with suppress(FileNotFoundError):
                os.unlink(name)
        os.close(os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        connection = self._connect()
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA}")
        connection.execute("INSERT INTO meta VALUES (1, ?, ?, 0, ?)", (FORMAT, instance, seal(FORMAT, instance, 0, [])))
        connection.execute("COMMIT")
        return connection

    def _guarded(self, work: Callable[[], int]) -> int:
        """A transaction. Damage makes the index anew at the next opening."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            done = work()
            self._seal()
            self._connection.execute("COMMIT")
            return done
        except BaseException as error:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.OperationalError) and "malformed" not in str(error):
                raise OSError(str(error)) from error
            if isinstance(error, TROUBLE):
                mark_damaged(self._database, f"{type(error).__name__}: {error}")
                raise StoreError("the full-text index is damaged") from error
            raise

    def _seal(self) -> None:
        row = self._connection.execute("SELECT format, instance, watermark FROM meta").fetchone()
        rows = self._connection.execute("SELECT id, first, last, documents FROM segment ORDER BY first").fetchall()
        crc = seal(row[0], row[1], row[2], [Segment(*one) for one in rows])
        self._connection.execute("UPDATE meta SET crc = ?", (crc,))

    # -- new contents

    def waiting(self, enough: int) -> int:
        """How many contents are not indexed yet; counts up to `enough`."""
        (watermark,) = self._connection.execute("SELECT watermark FROM meta").fetchone()
        rows = self._database.execute(
            "SELECT count(*) FROM (SELECT 1 FROM content WHERE id > ? LIMIT ?)", (watermark, enough)
        )
        return int(rows.fetchone()[0])

    def batch(self) -> int:
        """Indexes the next contents; returns how many, 0 when there are none left."""
        return self._guarded(self._batch)

    def _batch(self) -> int:
        (watermark,) = self._connection.execute("SELECT watermark FROM meta").fetchone()
        tables: Tables = {section: Pairs(PARTIAL) if section in _PAIRED else Terms() for section in Section}
        contents: list[int] = []
        text = 0
        while len(contents) < BATCH and text < BATCH_TEXT:
            wanted = min(ROWS, BATCH - len(contents))
            rows = self._database.execute(_CONTENTS, (contents[-1] if contents else watermark, wanted)).fetchall()
            for row in rows:
                text += self._add(tables, len(contents), _SHAPE.build(row, self._database.lexicon))
                contents.append(row[0])
            if len(rows) < wanted:
                break
        if contents:
            self._write_segment(contents, tables)
            self._connection.execute("UPDATE meta SET watermark = ?", (contents[-1],))
        return len(contents)

    def _add(self, tables: Tables, number: int, row: tuple[Any, ...]) -> int:
        """Puts one content into the tables; returns about how much text it had."""
        identity, prefix, file_size, header_size, parts, *values = row
        found: dict[Section, set[bytes]] = {section: set() for section in _READ}
        texts: list[tuple[Section, Folded]] = []
        text = 0
        try:
            read = text_reader(self._database.file(identity), file_size)
            text += _add_header(found, texts, prefix, read(0, min(header_size, HEADER_LIMIT)))
            if header_size > HEADER_LIMIT:
                _add_partial(found, _HEADERS)
            text += _add_body(found, texts, load_parts(parts), read)
        except Exception as error:  # a file that is missing is for verifydata to mend; nothing may stop the others
            LOG.warn(
                "not indexed", account=self._database.name, content=identity, error=f"{type(error).__name__}: {error}"
            )
            _add_partial(found, _READ)
        for (column, _), value in zip(COLUMNS, values):
            found[column] = _values(f"<{value}>" if column is Section.MESSAGE_ID else value)
        for section, one in texts:
            table = tables[PAIRS[section]]
            assert isinstance(table, Pairs)
            table.add(number, one)
        for section, known in found.items():
            table = tables[section]
            if isinstance(table, Terms):
                table.add(number, known)
            elif known:
                table.add_partial(number)
        return text

    def _write_segment(self, contents: list[int], tables: Tables) -> None:
        ids = np.array(contents, np.int64)
        sections = ((section, iter([table.entries()])) for section, table in tables.items())
        self._insert(ids, sections)

    def _insert(self, contents: Numbers, sections: Iterable[tuple[int, Iterator[Entries]]]) -> None:
        packed = zlib.compress(contents.astype("<i8").tobytes())
        cursor = self._connection.execute(
            "INSERT INTO segment (first, last, documents, contents, heads) VALUES (?, ?, ?, ?, x'')",
            (int(contents[0]), int(contents[-1]), len(contents), packed),
        )
        segment = cursor.lastrowid or 0
        crcs = [0] * (max(Section) + 1)
        for section, entries in sections:
            heads: list[fulltext.Head] = []
            low = segment << SEGMENT_BITS | section << SECTION_BITS
            blocks = (block for piece in entries for block in encode(piece, len(contents)))
            for place, block in enumerate(blocks):
                if self._stopped():
                    raise Stopped
                heads.append((low + place, block.first, block.last))
                body = fulltext.pack(block.terms), zlib.compress(block.lengths, 4), block.postings
                self._connection.execute(
                    "INSERT INTO block VALUES (?, ?, ?, ?, ?, ?, ?)", (*heads[-1], zlib.crc32(block.postings), *body)
                )
            crcs[section] = fulltext.heads_crc(heads)
        packed = zlib.compress(struct.pack(f"<{len(crcs)}L", *crcs))
        self._connection.execute("UPDATE segment SET heads = ? WHERE id = ?", (packed, segment))

    # -- merges

    def tidy(self, purge: bool = False) -> int:
        """Merges segments where it is time; returns how many there are less. purge: also rewrites segments of which
        much is gone."""
        done = self._guarded(lambda: self._tidy(purge))
        if done:
            self._connection.executescript("PRAGMA incremental_vacuum")  # `execute` would free one page
        return done

    def finish(self) -> None:
        """What is committed goes from the WAL into the file."""
        with suppress(sqlite3.OperationalError):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _tidy(self, purge: bool) -> int:
        reader = Reader(self._connection)
        segments = reader.segments
        run = _mergeable(segments)
        if run:
            self._merge(reader, run)
            return len(run) - 1
        if purge:
            for segment in segments:
                if len(self._alive(reader.contents(segment))) < (1 - DEAD) * segment.documents:
                    self._merge(reader, [segment])
                    return 1
        return 0

    def _alive(self, contents: Numbers) -> Numbers:
        rows = self._database.execute(
            "SELECT content FROM message WHERE id BETWEEN ? AND ? AND content = id"
            " UNION SELECT content FROM message WHERE content BETWEEN ? AND ? AND content != id",
            (int(contents[0]), int(contents[-1])) * 2,
        ).fetchall()
        alive = np.fromiter(chain.from_iterable(rows), np.int64, len(rows))
        return np.intersect1d(contents, alive, assume_unique=True)

    def _merge(self, reader: Reader, segments: list[Segment]) -> None:
        ids, maps, size = [], [], 0
        for segment in segments:
            contents = reader.contents(segment)
            kept = np.isin(contents, self._alive(contents), assume_unique=True)
            renumber = np.where(kept, np.cumsum(kept) - 1 + size, -1).astype(np.int32)
            size += int(kept.sum())
            ids.append(contents[kept])
            maps.append(renumber)
        if size:
            sections = (
                (section, _gathered(merge([reader.entries(segment, section) for segment in segments], maps)))
                for section in Section
            )
            self._insert(np.concatenate(ids), sections)
        for segment in segments:
            low = segment.id << SEGMENT_BITS
            self._connection.execute("DELETE FROM block WHERE id BETWEEN ? AND ?", (low, low | (1 << SEGMENT_BITS) - 1))
            self._connection.execute("DELETE FROM segment WHERE id = ?", (segment.id,))


def index(database: Database, least: int, stopped: Callable[[], bool]) -> int:
    """One batch, if `least` contents wait, and the merges that are due; returns how many were indexed."""
    filler = Filler(database, stopped)
    try:
        if filler.waiting(least) < least:
            return 0
        done = filler.batch()
        while filler.tidy():
            pass
        if done < BATCH:
            filler.finish()
        return done
    except Stopped:
        return 0
    finally:
        filler.close()


def purge(database: Database, stopped: Callable[[], bool]) -> None:
    """Rewrites segments of which much is gone."""
    filler = Filler(database, stopped)
    try:
        while filler.tidy(purge=True):
            pass
        filler.finish()
    except Stopped:
        pass
    finally:
        filler.close()


def _add_partial(found: Known, sections: Iterable[Section]) -> None:
    """For sections of pairs, that there is something says it."""
    for section in sections:
        found[section].add(PARTIAL)


def _add_header(found: Known, texts: Texts, prefix: bytes, header: bytes) -> int:
    for block in filter(None, (prefix, header)):
        text = header_text(block)
        texts.append((Section.HEADER, text))
        found[Section.HEADER] |= terms(text)
        found[Section.HEADER_MARKS] |= marks(text)
        fields = pairs_of(block, 0, len(block))
        if len(fields) >= DEFAULT.fields:
            _add_partial(found, (Section.NAME, Section.FIELDS))
        for written, value in fields:
            name = _name(written)
            found[Section.NAME].add(name)
            if name not in UNLISTED:
                found[Section.FIELDS].add((_field if len(value) < FIELD_LIMIT else _new_field)(name, value))
    return len(prefix) + len(header)


@lru_cache(maxsize=4096)
def _name(written: bytes) -> bytes:
    """Of a header field, as `match.field_values` compares it."""
    return octets(written.decode("latin-1").strip().lower())


def _new_field(name: bytes, value: bytes) -> bytes:
    return field_term(name, fold(decode_words(unfold(value))))


_field = lru_cache(maxsize=8192)(_new_field)
"""Many messages have the same."""


def _add_body(found: Known, texts: Texts, parts: Any, read: Callable[[int, int], bytes]) -> int:
    left, chosen = BODY_LIMIT, []
    for part in parts:
        size = cost(part)
        if size > left:
            _add_partial(found, _BODIES)
        else:
            chosen.append(part)
            left -= size
    for text in body_texts(chosen, read):
        texts.append((Section.BODY, text))
        found[Section.BODY] |= terms(text)
        found[Section.BODY_MARKS] |= marks(text)
    return BODY_LIMIT - left


def _values(value: str) -> set[bytes]:
    """A column's value as terms of its section: itself."""
    if not value:
        return set()
    text = octets(fold(value))
    return {text} if len(text) <= VALUE_LIMIT and b"\n" not in text and PARTIAL not in text else {PARTIAL}


def _gathered(pieces: Iterator[Entries]) -> Iterator[Entries]:
    """Neighbouring pieces together until they are worth a block."""
    held: list[Entries] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += sum(map(len, piece.terms)) + len(piece.documents)
        if size >= BLOCK_TERMS:
            yield _chained(held)
            held, size = [], 0
    if held:
        yield _chained(held)


def _chained(pieces: list[Entries]) -> Entries:
    return Entries(
        [term for piece in pieces for term in piece.terms],
        np.concatenate([piece.counts for piece in pieces]),
        np.concatenate([piece.documents for piece in pieces]),
    )


def _tier(segment: Segment) -> int:
    return segment.documents.bit_length() // 3  # FAN segments of a tier make one of the next


def _mergeable(segments: list[Segment]) -> list[Segment]:
    """Neighbours that should be one: the newest ones when FAN of them are of one tier and none is of a higher; two
    large ones that make a full one. None if the time has not come."""
    for tier in sorted({_tier(segment) for segment in segments}):
        run = list(takewhile(lambda segment: _tier(segment) <= tier, reversed(segments)))  # noqa: B023
        while sum(segment.documents for segment in run) > SEGMENT_DOCUMENTS:
            run.pop()
        if sum(_tier(segment) == tier for segment in run) >= FAN:
            return run[::-1]
    for pair in pairwise(segments):
        sizes = [segment.documents for segment in pair]
        if min(sizes) > SEGMENT_DOCUMENTS // 3 and sum(sizes) <= SEGMENT_DOCUMENTS:
            return list(pair)
    return []
