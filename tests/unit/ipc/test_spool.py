"""Spool ids name files of the spool only."""

from pathlib import Path

import pytest

from echomox.ipc import spool


@pytest.mark.parametrize("name", ["smtp.0/abc", "submission.12/a-b.c", "A/9"])
def test_an_id_is_a_file_of_a_worker(name):
    assert spool.resolve(Path("/s"), name) == Path("/s") / name


@pytest.mark.parametrize(
    "name",
    ["", "a", "a/", "/a", "a/b/c", "../b", "a/..", ".a/b", "a/.b", "a b/c", "a/b\n", "a\0/b", "ä/b", "/etc/passwd"],
)
def test_anything_else_is_refused(name):
    with pytest.raises(ValueError, match="spool id"):
        spool.resolve(Path("/s"), name)


def test_a_spooled_message_is_read_up_to_the_limit(tmp_path):
    (tmp_path / "smtp.0").mkdir()
    (tmp_path / "smtp.0" / "m").write_bytes(b"0123456789")
    assert spool.read(tmp_path, "smtp.0/m", 4) == b"0123"
    assert spool.read(tmp_path, "smtp.0/m", 100) == b"0123456789"


def test_a_symbolic_link_is_not_followed(tmp_path):
    (tmp_path / "smtp.0").mkdir()
    (tmp_path / "secret").write_bytes(b"x")
    (tmp_path / "smtp.0" / "m").symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="symbolic"):
        spool.read(tmp_path, "smtp.0/m", 4)
