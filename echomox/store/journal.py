"""The delivery journal: what makes an answered message survive a power cut before index and files are synced.

`data/spool/<worker>-<pid>.<n>.journal`, appended to by one process; one record a message, one fdatasync for all that
wait. After kill -9 the checkpoint of the seat's next process removes what is left, or the next start does.
A record holds all rows of the message (account, mailbox, UID, modseq, id …) and, up to INLINE bytes, the message
itself; a larger one has its file and directories fsynced before. A worker's files go when a checkpoint has synced
everything they speak of.

    record = magic, CRC-32 of the rest, length of meta, length of data, synced; meta (msgpack); data synced: how
    much of the file was known to be on disk when the record was written. A record that cannot be read is the torn
    end of a file that nobody was answered for, unless a later one says that it was synced: then it is damage.

Legal states on disk, by what happened last to a message; `replay` is recover.py with a journal that names it:

    | step                    | file      | rows      | record    | after kill -9      | after power loss            |
    |-------------------------|-----------|-----------|-----------|--------------------|-----------------------------|
    | 1 file made or linked   | any       | none      | none      | orphan: removed    | orphan: removed             |
    | 2 rows committed        | whole     | there     | none      | message stays      | rows and file whole: stays; |
    |                         |           |           |           |                    | else both are removed       |
    | 3 record written        | whole     | there     | any       | message stays      | as 2, or as 4               |
    | 4 fdatasync returned:   | whole, or | there, or | whole     | message stays      | the replay makes what is    |
    |   it is answered        | as synced | lost      |           |                    | missing or short            |
    | 5 syncfs returned       | on disk   | on disk   | whole     | replay finds it    | replay finds it             |
    | 6 journal removed       | on disk   | on disk   | none, any | nothing to do      | nothing to do               |
    | 7 expunge committed     | whole     | tombstone | none, any | replay finds the   | the expunge holds, or the   |
    |                         |           | and erase |           | tombstone          | message is back             |
    | 8 syncfs, then the file | any       | tombstone | none, any | unlinked again     | unlinked again              |
    |   unlinked, its         |           | and erase |           |                    |                             |
    |   directory synced      |           |           |           |                    |                             |
    | 9 erase row removed     | none      | tombstone | none, any | nothing to do      | as 8 or 9                   |

Behind the records stand zeros, written and synced with the records before them: to write over them and sync that
costs the disk one write, while a file that grows costs it the filesystem's own journal too, for which every process
that makes files waits. Where the zeros do not fit, the file grows.

A batch that fails before step 4 is taken back: rows become tombstones, files go with the eraser, the journal is cut
to its old length. If that is cut short too, the message stays although it was refused: the sender's next try makes
a second one.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgpack

from echomox.store.disk import Disk
from echomox.store.owners import is_left_over, owner_name

INLINE = 1 << 20
LEAST_ROOM = 64 << 10
MOST_ROOM = 1 << 20
SUFFIX = ".journal"
CORRUPT = ".corrupt"
_MAGIC = b"\x93EMJ1\r\n\x1a"
_HEAD = struct.Struct("<8sIIIQ")
_AFTER_CRC = struct.Struct("<IIQ")


class Row(NamedTuple):
    """One message in one mailbox, as the index has it."""

    account: str
    instance: str
    mailbox_id: int
    mailbox: str
    uidvalidity: int
    uid: int
    modseq: int
    id: int
    flags: int
    size: int
    received: float
    saved: float
    keywords: str
    prefix: bytes
    verdict: str


@dataclass(frozen=True, slots=True)
class Record:
    """shared: the values of insert.SHARED, the columns of content that all rows have in common. data None: larger
    than INLINE.
    """

    delivery: str
    crc: int
    file_size: int
    shared: tuple[Any, ...]
    rows: tuple[Row, ...]
    data: bytes | None

    def encode(self, synced: int) -> bytes:
        values = (self.delivery, self.crc, self.file_size, self.shared, self.rows, self.data is not None)
        meta: bytes = msgpack.packb(values)
        data = self.data or b""
        lengths = _AFTER_CRC.pack(len(meta), len(data), synced)
        crc = zlib.crc32(data, zlib.crc32(meta, zlib.crc32(lengths)))
        return b"".join((_HEAD.pack(_MAGIC, crc, len(meta), len(data), synced), meta, data))


def _decode(data: bytes, offset: int) -> tuple[Record, int, int] | None:
    """(record, end, synced) of the record at `offset`; None if none can be read there."""
    if len(data) - offset < _HEAD.size:
        return None
    magic, crc, meta_length, data_length, synced = _HEAD.unpack_from(data, offset)
    start = offset + _HEAD.size
    end = start + meta_length + data_length
    if magic != _MAGIC or end > len(data):
        return None
    if zlib.crc32(memoryview(data)[start:end], zlib.crc32(_AFTER_CRC.pack(meta_length, data_length, synced))) != crc:
        return None
    delivery, file_crc, size, shared, rows, inline = msgpack.unpackb(data[start : start + meta_length], use_list=False)
    body = data[start + meta_length : end] if inline else None
    return Record(delivery, file_crc, size, shared, tuple(Row(*row) for row in rows), body), end, synced


@dataclass(frozen=True, slots=True)
class Contents:
    """records in the order written. damaged: bytes that were on disk once and cannot be read now."""

    records: list[Record]
    damaged: bool


def read(path: str) -> Contents:
    """All records of a journal that can be read, also behind damage."""
    data = Path(path).read_bytes()
    records: list[Record] = []
    offset = synced = 0
    gaps: list[int] = []
    while offset < len(data):
        found = _decode(data, offset)
        if found is None:
            gaps.append(offset)
            offset = data.find(_MAGIC, offset + 1)
            if offset < 0:
                break
            continue
        record, offset, known = found
        synced = max(synced, known)
        records.append(record)
    return Contents(records, any(gap < synced for gap in gaps))


def journals(spool: str) -> list[str]:
    """The journals of all workers, oldest first within a worker."""
    try:
        return sorted(entry.path for entry in os.scandir(spool) if entry.name.endswith(SUFFIX))
    except FileNotFoundError:
        return []


class Journal:
    """The journal of one worker, open for appending. Not for two threads at once."""

    def __init__(self, disk: Disk, spool: str, worker: str) -> None:
        self._disk = disk
        self._spool = spool
        self._owner = owner_name(worker)
        self._descriptor = -1
        self.path = ""
        self.size = 0
        self._room = 0
        """Where the zeros behind the records end."""
        self.old = [path for path in journals(spool) if is_left_over(_owner(path), worker)]
        """Files before the present one, to be removed by the next checkpoint: of this process, or of one that died
        in its seat.
        """
        self._number = max((int(path.split(".")[-2]) for path in self.old if _owner(path) == self._owner), default=0)
        self.rotate()

    def rotate(self) -> None:
        """Goes on with a new file, which is on disk when this returns."""
        path = f"{self._spool}/{self._owner}.{self._number + 1:08d}{SUFFIX}"
        descriptor = self._disk.open_new(path)
        try:
            self._disk.sync_directory(self._spool)
        except OSError:
            os.close(descriptor)
            self._disk.unlink(path)
            raise
        if self.path:
            os.close(self._descriptor)
            self.old.append(self.path)
        self._descriptor, self.path, self.size, self._room = descriptor, path, 0, 0
        self._number += 1

    def append(self, records: list[Record]) -> None:
        """Writes and syncs; when that fails, nothing of it is left in the file, as far as the disk still obeys."""
        data = b"".join(record.encode(self.size) for record in records)
        try:
            self._disk.write(self._descriptor, data, self.path)
            if self.size + len(data) > self._room:
                self._make_room(self.size + len(data))
            self._disk.datasync(self._descriptor, self.path)
        except OSError:
            self._room = 0
            self._disk.truncate(self._descriptor, self.size, self.path)
            raise
        self.size += len(data)

    def _make_room(self, end: int) -> None:
        """Zeros from `end` on, the more the more the journal is used; it can do without."""
        count = min(max(end, LEAST_ROOM), MOST_ROOM)
        try:
            self._disk.reserve(self._descriptor, (end, count), self.path)
            self._room = end + count
        except OSError:
            self._room = 0

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _owner(path: str) -> str:
    """The owner's name in a journal's; "" for what has no number."""
    owner, _, number = os.path.basename(path).removesuffix(SUFFIX).rpartition(".")
    return owner if number.isdigit() else ""
