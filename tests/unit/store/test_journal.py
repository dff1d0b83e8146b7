"""The journal file: what is written is read, a torn end is no trouble, damage is told from it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from echomox.store.disk import Disk
from echomox.store.journal import Journal, Record, Row, journals, read
from echomox.store.owners import owner_name


def record(number: int, size: int = 100) -> Record:
    row = Row("a", "i", 1, "INBOX", 7, number, number, number, 0, size, 1.5, 2.5, "", b"P", "{}")
    return Record(f"d{number}", 1, size, ("x", 1, b"y", 2.0), (row,), bytes([number]) * size)


def written(tmp_path: Path, batches: list[list[Record]]) -> Path:
    journal = Journal(Disk(), str(tmp_path), "smtp.0")
    for batch in batches:
        journal.append(batch)
    journal.close()
    return Path(journal.path)


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    records = [record(1), record(2, 0), record(3, 5000)]
    contents = read(str(written(tmp_path, [records[:2], records[2:]])))
    assert contents.records == records
    assert not contents.damaged


def test_torn_end_at_any_length_is_no_damage(tmp_path: Path) -> None:
    path = written(tmp_path, [[record(1)], [record(2)]])
    whole = path.read_bytes()
    first = len(record(1).encode(0))
    both = first + len(record(2).encode(first))
    assert not any(whole[both:]), "room for others"
    for length in range(both):
        path.write_bytes(whole[:length])
        contents = read(str(path))
        assert len(contents.records) == (length >= first)
        assert not contents.damaged


def test_a_batch_that_reached_the_disk_out_of_order_is_no_damage(tmp_path: Path) -> None:
    path = written(tmp_path, [[record(1)], [record(2), record(3)]])
    data = bytearray(path.read_bytes())
    start = len(record(1).encode(0))
    data[start : start + 50] = bytes(50)
    path.write_bytes(data)
    contents = read(str(path))
    assert [one.delivery for one in contents.records] == ["d1", "d3"]
    assert not contents.damaged


def test_synced_bytes_that_cannot_be_read_are_damage(tmp_path: Path) -> None:
    path = written(tmp_path, [[record(1)], [record(2)], [record(3)]])
    data = bytearray(path.read_bytes())
    data[len(record(1).encode(0)) + 60] ^= 1
    path.write_bytes(data)
    contents = read(str(path))
    assert [one.delivery for one in contents.records] == ["d1", "d3"]
    assert contents.damaged


def test_rotation_and_a_predecessor_that_died(tmp_path: Path) -> None:
    written(tmp_path, [[record(1)]])
    journal = Journal(Disk(), str(tmp_path), "smtp.0")
    journal.rotate()
    journal.close()
    owner = owner_name("smtp.0")
    assert [Path(path).name for path in journal.old] == [f"{owner}.00000001.journal", f"{owner}.00000002.journal"]
    assert len(journals(str(tmp_path))) == 3


def test_a_journal_of_a_living_process_is_left_alone(tmp_path: Path) -> None:
    living, gone = f"smtp.0-{os.getppid()}.00000001.journal", "smtp.0-4194305.00000001.journal"
    other = "smtp.1-4194305.00000001.journal"
    for name in (living, gone, other):
        (tmp_path / name).touch()
    journal = Journal(Disk(), str(tmp_path), "smtp.0")
    journal.close()
    assert [Path(path).name for path in journal.old] == [gone]
    assert Journal(Disk(), str(tmp_path), "smtp").old == []


def test_what_fits_into_the_room_does_not_make_the_file_grow(tmp_path: Path) -> None:
    size = written(tmp_path, [[record(1)]]).stat().st_size
    assert written(tmp_path, [[record(1)], [record(2, 5000)], [record(3, 5000)]]).stat().st_size == size


def test_a_journal_does_without_room_where_there_is_none(tmp_path: Path) -> None:
    def full(call: str, path: str) -> None:
        if call == "reserve":
            raise OSError(28, "full")

    journal = Journal(Disk(full), str(tmp_path), "smtp.0")
    for number in (1, 2):
        journal.append([record(number)])
    journal.close()
    assert [one.delivery for one in read(journal.path).records] == ["d1", "d2"]
    assert os.path.getsize(journal.path) == journal.size


def test_failed_append_leaves_nothing(tmp_path: Path) -> None:
    calls: list[str] = []

    def fail(call: str, path: str) -> None:
        calls.append(call)
        if call == "fdatasync" and calls.count("fdatasync") == 2:
            raise OSError(28, "full")

    journal = Journal(Disk(fail), str(tmp_path), "smtp.0")
    journal.append([record(1)])
    with pytest.raises(OSError):
        journal.append([record(2)])
    journal.append([record(3)])
    journal.close()
    assert [one.delivery for one in read(journal.path).records] == ["d1", "d3"]
