"""`echomox message parse`: a file taken apart without a server."""

from __future__ import annotations

import io
import json
import sys

import pytest

from echomox.cli.main import main

MAIL = (
    b'From: A <a@b.c>\r\nSubject: =?utf-8?q?h=C3=A9?=\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n'
    b"--b\r\n\r\nhi\r\n--b\r\nContent-Type: image/png; name=x.png\r\nContent-Disposition: attachment\r\n\r\nxx"
    b"\r\n--b--\r\n"
)


def test_a_file_and_standard_input_give_the_same(tmp_path, capsys, monkeypatch):
    (tmp_path / "m.eml").write_bytes(MAIL)
    assert main(["--json", "message", "parse", str(tmp_path / "m.eml")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["Subject"], found["From"], found["Size"]) == ("h\u00e9", "A <a@b.c>", len(MAIL))
    assert [(part["Path"], part["ContentType"], part["Filename"]) for part in found["parts"]] == [
        ("", "multipart/mixed", ""), ("1", "text/plain", ""), ("2", "image/png", "x.png")
    ]  # fmt: skip
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(MAIL)))
    assert main(["--json", "message", "parse", "-"]) == 0
    assert json.loads(capsys.readouterr().out) == found


@pytest.mark.parametrize("data", [b"", b"\0\xff" * 50, b"\r\n", b" folded\r\n\r\n", b"Content-Type: multipart/mixed"])
def test_what_is_no_message_is_taken_apart_too(tmp_path, capsys, data):
    (tmp_path / "m.eml").write_bytes(data)
    assert main(["message", "parse", str(tmp_path / "m.eml")]) == 0
    assert "Size" in capsys.readouterr().out


def test_a_file_that_is_not_there(tmp_path, capsys):
    assert main(["message", "parse", str(tmp_path / "none")]) == 1
    assert "No such file" in capsys.readouterr().err
