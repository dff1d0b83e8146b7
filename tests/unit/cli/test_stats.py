"""`echomox stats storage`: what accounts take on disk, without a server."""

from __future__ import annotations

import json
import os

import pytest

from echomox.cli.main import main


def run(demo, capsys, *argv: str) -> tuple[int, str]:
    code = main([*argv, "--config", str(demo.paths.config)])
    return code, capsys.readouterr().out


def test_files_are_counted_by_kind_and_a_shared_one_once_in_the_sum(demo, capsys):
    first, second = demo.paths.accounts / "u0", demo.paths.accounts / "u1"
    for account in (first, second):
        (account / "msg/00000").mkdir(parents=True, exist_ok=True)
    (first / "msg/00000/1").write_bytes(b"x" * 3000)
    (first / "msg/00000/2").write_bytes(b"x" * 500)
    os.link(first / "msg/00000/1", second / "msg/00000/7")
    (first / "words.map").write_bytes(b"w" * 100)
    (first / "junk.db").write_bytes(b"j" * 11)
    (first / "junk.db-wal").write_bytes(b"j" * 4)
    code, text = run(demo, capsys, "stats", "storage", "--json")
    answer = json.loads(text)
    one, other = answer["accounts"]
    assert (code, one["account"], other["account"]) == (0, "u0", "u1")
    assert (one["messages"], one["mail"], one["filter"]) == (2, 3500, 115)
    assert (other["messages"], other["mail"], other["filter"]) == (1, 3000, 0)
    assert one["index"] >= (first / "index.db").stat().st_size > 0
    assert (answer["messages"], answer["mail"]) == (2, 3500)
    code, text = run(demo, capsys, "stats", "storage", "u1")
    assert code == 0
    assert "u1" in text and "u0" not in text


@pytest.mark.parametrize("name", ["nobody", "../accounts/u0"])
def test_an_account_that_is_not_there(demo, capsys, name):
    assert main(["stats", "storage", name, "--config", str(demo.paths.config)]) == 1
    assert f"no account {name}" in capsys.readouterr().err
