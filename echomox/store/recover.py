"""Recovery: what an unclean stop leaves is put in order, and nothing that was answered is lost.

Before any worker starts, `recover` reads the journals that are left (a worker that ends well removes its own) and
puts back what the index or the files lost; it is idempotent: a message that is there, or has a tombstone, is left
alone. If the boot id changed since, the power failed: every account may have lost its last transactions, and is put
in order when it is next opened (`settle`): UIDs, ids and modseqs jump, so that none that a client was told is given
again; all messages get the new modseq, so that clients look at their flags once; messages whose files did not reach
the disk go, they were never answered for.

    data/spool/boot   {"boot": id of the last start, "epoch": unclean stops, "power": the epoch of the last power loss}
"""

# ruff: noqa: S608  # the texts put into statements are constants of this program and numbers

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from echomox.log import logger
from echomox.store import journal, mailboxes, messages, virtual
from echomox.store.database import FILES_PER_DIRECTORY, UID_BITS, Database, Write
from echomox.store.disk import Disk
from echomox.store.insert import insert_rows
from echomox.store.journal import Record, Row
from echomox.store.rows import compact
from echomox.store.rows.packing import delivery_mark

LOG = logger("store")
UID_JUMP = 1000
ID_JUMP = 1000
MODSEQ_JUMP = 1_000_000


@dataclass(frozen=True, slots=True)
class Boot:
    boot: str = ""
    epoch: int = 0
    power: int = 0


def this_boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def load_boot(spool: str) -> Boot:
    """What the last start wrote; a Boot with epoch 0 when there was none, or when it cannot be read."""
    try:
        return Boot(**json.loads(Path(spool, "boot").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return Boot()


def begin(disk: Disk, spool: str, boot_id: str, unclean: bool) -> Boot:
    """Notes this start durably, before anything is repaired: a stop in between repeats it all."""
    before = load_boot(spool)
    epoch = before.epoch + unclean
    after = Boot(boot_id, epoch, epoch if unclean and before.boot != boot_id else before.power)
    disk.replace(f"{spool}/boot", json.dumps(asdict(after)).encode())
    return after


# -- the journals ----------------------------------------------------------------


@dataclass(slots=True)
class Report:
    journals: int = 0
    records: int = 0
    replayed: int = 0
    files: int = 0
    lost: int = 0
    foreign: int = 0
    corrupt: int = 0

    def counts(self) -> dict[str, int]:
        """journals and records read; messages and files put back; messages lost; records for accounts that are
        gone; journals kept aside.
        """
        return asdict(self)


Item = tuple[Record, Row]


def read_journals(paths: Iterable[str], report: Report) -> tuple[dict[str, list[Item]], list[str]]:
    """(rows by account, journals with damage)"""
    by_account: dict[str, list[Item]] = {}
    damaged = []
    for path in paths:
        contents = journal.read(path)
        report.journals += 1
        report.records += len(contents.records)
        if contents.damaged:
            report.corrupt += 1
            damaged.append(path)
            LOG.error("journal is damaged; what can be read of it is used, the file is kept", path=path)
        for record in contents.records:
            for row in record.rows:
                by_account.setdefault(row.account, []).append((record, row))
    return by_account, damaged


@dataclass(slots=True)
class Replay:
    """The replay into one account. accounts: the directory of all."""

    database: Database
    disk: Disk
    report: Report
    accounts: str

    def run(self, items: list[Item]) -> None:
        with self.database.write() as write:
            instance = write.execute("SELECT instance FROM state").fetchone()[0]
            mine = [item for item in items if item[1].instance == instance]
            self.report.foreign += len(items) - len(mine)
            ids = json.dumps([row.id for _, row in mine])
            gone = write.execute(
                "SELECT id FROM expunged WHERE id IN (SELECT value FROM json_each(?))", (ids,)
            ).fetchall()
            buried = {identity for (identity,) in gone}
            for item in mine:
                self._one(write, item, buried)

    def _one(self, write: Write, item: Item, buried: set[int]) -> None:
        record, row = item
        found = write.execute("SELECT delivery FROM content WHERE id = ?", (row.id,)).fetchone()
        if found is not None and found[0] in (record.delivery, delivery_mark(record.delivery)):
            self._mend_file(record, self.database.file(row.id))
            return
        if row.id in buried and found is None:
            return
        if not self._mend_file(record, self.database.file(row.id)):
            self.report.lost += 1
            LOG.error("a message in a journal has no file", account=row.account, delivery=record.delivery)
            return
        if found is not None:
            LOG.error("an id was given twice", account=row.account, id=row.id, delivery=record.delivery)
            self.report.lost += 1
            return
        row = self._place(write, row)
        insert_rows(write, [(row, record.shared)], compact.newest(write.execute))
        write.execute("UPDATE state SET next_id = max(next_id, ?), modseq = max(modseq, ?)", (row.id + 1, row.modseq))
        self._keywords(write, row)
        self.report.replayed += 1

    def _place(self, write: Write, row: Row) -> Row:
        """The row with a mailbox that exists and a UID that is free; the mailbox is made again if its making was
        lost.
        """
        found = write.execute("SELECT id, uidvalidity FROM mailbox WHERE id = ?", (row.mailbox_id,)).fetchone()
        if found is None and not write.execute("SELECT 1 FROM mailbox WHERE name = ?", (row.mailbox,)).fetchone():
            write.execute(
                "INSERT INTO mailbox (id, name, uidvalidity, modseq) VALUES (?, ?, ?, ?)",
                (row.mailbox_id, row.mailbox, row.uidvalidity, row.modseq),
            )
            write.execute("UPDATE state SET uidvalidity = max(uidvalidity, ?)", (row.uidvalidity,))
            return row
        taken = write.execute(
            "SELECT 1 FROM message WHERE key = ?", ((row.mailbox_id << UID_BITS) + row.uid,)
        ).fetchone()
        alive = write.execute("SELECT 1 FROM mailbox WHERE id = ? AND name IS NOT NULL", (row.mailbox_id,)).fetchone()
        if found is not None and found[1] == row.uidvalidity and alive and not taken:
            return row
        name = row.mailbox if alive or found is None else "INBOX"
        home = write.execute("SELECT id, uidvalidity, uidnext FROM mailbox WHERE name = ?", (name,)).fetchone()
        identity, validity, uidnext = home or (mailboxes.insert(write, name), 0, 1)
        return row._replace(mailbox_id=identity, mailbox=name, uidvalidity=validity, uid=uidnext)

    @staticmethod
    def _keywords(write: Write, row: Row) -> None:
        messages.canonical(write, row.mailbox_id, row.keywords.split())

    def _mend_file(self, record: Record, path: str) -> bool:
        """Whether the file is whole, if need be from the record or another recipient's file."""
        if is_whole(path, record.file_size, record.crc):
            return True
        self.disk.make_directory(os.path.dirname(path))
        source = next((other for other in self._others(record) if is_whole(other, record.file_size, record.crc)), "")
        if source:
            self.disk.link(source, path)
        elif record.data is not None:
            self.disk.create(path, record.data)
        else:
            return False
        self.report.files += 1
        return True

    def _others(self, record: Record) -> Iterable[str]:
        for row in record.rows:
            yield f"{self.accounts}/{row.account}/msg/{row.id // FILES_PER_DIRECTORY:05d}/{row.id}"


def is_whole(path: str, size: int, crc: int) -> bool:
    """Whether the file is there with this length and CRC-32."""
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size != size:
                return False
            found = 0
            while chunk := file.read(1 << 20):
                found = zlib.crc32(chunk, found)
            return found == crc
    except FileNotFoundError:
        return False


# -- an account after an unclean stop ------------------------------------------------


def settle(database: Database, boot: Boot) -> None:
    """Puts an account in order that was last opened before the last unclean stop; does nothing otherwise."""
    if database.execute("SELECT epoch FROM state").fetchone()[0] >= boot.epoch:
        return
    with database.write(bell=False) as write:
        epoch, synced_id = write.execute("SELECT epoch, synced_id FROM state").fetchone()
        if epoch >= boot.epoch:
            return
        if epoch < boot.power:
            _drop_broken(write, synced_id)
            _jump(write)
            virtual.start_anew(write)
        orphans = _orphans(write, synced_id)
        write.execute("UPDATE state SET epoch = ?", (boot.epoch,))
        for path in orphans:
            database.disk.unlink(path)


def _drop_broken(write: Write, synced_id: int) -> None:
    database = write.database
    rows = write.execute("SELECT id, file_size, crc FROM content WHERE id >= ?", (synced_id,)).fetchall()
    broken = [row[0] for row in rows if not is_whole(database.file(row[0]), row[1], row[2])]
    if not broken:
        return
    LOG.warn("messages that were not answered for are dropped", account=database.name, count=len(broken))
    found = write.execute(
        "SELECT mailbox_id, key FROM message WHERE content IN (SELECT value FROM json_each(?))", (json.dumps(broken),)
    ).fetchall()
    for mailbox_id in {mailbox_id for mailbox_id, _ in found}:
        messages.bury(write, mailbox_id, [key for other, key in found if other == mailbox_id])


def _jump(write: Write) -> None:
    """Beyond every UID, id and modseq that may have been given in transactions that are lost.

    The UIDs jumped over count as expunged: a client that saw a message there learns that it is gone (RFC 7162 3.2.10).
    """
    modseq = write.bump() + MODSEQ_JUMP
    write.execute("UPDATE state SET modseq = ?, next_id = next_id + ?", (modseq, ID_JUMP))
    write.modseq = modseq
    write.execute(
        f"""WITH RECURSIVE step (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM step WHERE n < {UID_JUMP - 1})
            INSERT INTO expunged (key, id, mailbox_id, modseq)
            SELECT (mailbox.id << {UID_BITS}) + uidnext + n, 0, mailbox.id, ?
            FROM mailbox, step WHERE name IS NOT NULL""",
        (modseq,),
    )
    write.execute("UPDATE mailbox SET uidnext = uidnext + ?, modseq = ? WHERE name IS NOT NULL", (UID_JUMP, modseq))
    write.execute("UPDATE message SET modseq = ?", (modseq,))


def _orphans(write: Write, synced_id: int) -> list[str]:
    """Files from `synced_id` on that no row speaks of: of transactions that never were committed."""
    root = f"{write.database.directory}/msg"
    known: set[int] = {row[0] for row in write.execute("SELECT id FROM content WHERE id >= ?", (synced_id,)).fetchall()}
    known.update(row[0] for row in write.execute("SELECT content FROM erase").fetchall())
    found = []
    for folder in _entries(root):
        if not folder.isdigit() or int(folder) < synced_id // FILES_PER_DIRECTORY:
            continue
        for name in _entries(f"{root}/{folder}"):
            if name.isdigit() and int(name) >= synced_id and int(name) not in known:
                found.append(f"{root}/{folder}/{name}")
    return found


def _entries(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []
