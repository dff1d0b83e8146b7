"""The filter's own files, looked at by `echomox verifydata`."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import numpy as np
import pytest

from echomox.filter.counts.wordmap import NOTHING, table_of, write
from echomox.filter.counts.words import Writer, junk_path, map_path
from echomox.filter.hashing import hashes
from echomox.filter.verify import verify
from echomox.filter.weights import DIRECTORY, STATE, WEIGHTS, StateFile


@pytest.fixture
def data(tmp_path):
    for name in ("ann", "bob", "new"):
        (tmp_path / "accounts" / name).mkdir(parents=True)
    for name in ("ann", "bob"):
        Writer(junk_path(tmp_path / "accounts", name)).close()
    StateFile(tmp_path / DIRECTORY).close()
    return tmp_path


def test_whole_files_are_not_wrong(data):
    assert verify(data, data / "accounts") == []
    assert verify(data, data / "accounts", "new") == []


def no_database(path):
    path.write_bytes(b"no database" * 1000)


def newer(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version=99")


def cut(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    path.write_bytes(path.read_bytes()[:-4096])


@pytest.mark.parametrize("damage", [no_database, newer, cut])
def test_a_damaged_junk_db_is_told_with_its_account(data, damage):
    damage(junk_path(data / "accounts", "bob"))
    found = verify(data, data / "accounts")
    assert {wrong.account for wrong in found} == {"bob"}
    assert all(wrong.detail.startswith("junk.db: ") for wrong in found)
    assert verify(data, data / "accounts", "bob") == found
    assert verify(data, data / "accounts", "ann") == []


@pytest.mark.parametrize("file", [STATE, WEIGHTS])
def test_a_damaged_file_of_the_reservoir_is_of_no_account(data, file):
    no_database(data / DIRECTORY / file)
    (found,) = verify(data, data / "accounts")
    assert found.account == "" and found.detail.startswith(f"reservoir/{file}: ")


def test_a_damaged_map_is_told_too(data):
    path = map_path(junk_path(data / "accounts", "bob"))
    write(path, table_of(hashes(["a", "b"]), np.ones((2, 2), np.int32)), NOTHING, 1)
    assert verify(data, data / "accounts") == []
    whole = path.read_bytes()
    other = whole.replace(b"\1\0\0\0\1\0", b"\1\0\0\0\2\0", 1)
    for damaged, told in ((whole[:-1], "too short"), (other, "checksum")):
        path.write_bytes(damaged)
        (found,) = verify(data, data / "accounts")
        assert found.account == "bob" and found.detail.startswith("words.map: ") and told in found.detail
