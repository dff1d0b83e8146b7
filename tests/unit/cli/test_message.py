"""`echomox message parse`: a file taken apart; `message mute`. Without a server."""

from __future__ import annotations

import io
import json
import sys

import pytest

from echomox.cli.main import main
from echomox.store import open_engine
from echomox.store.engine import Target
from tests.contract.stores import add, add_all, addition, message

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


def test_mute_and_unmute(demo, capsys):
    def run(*argv):
        code = main(["--config", str(demo.paths.config), "message", *map(str, argv)])
        said = capsys.readouterr()
        return code, said.out, said.err

    engine = open_engine(demo.paths)
    first, reply, after = (
        message(name, headers="References: <6f6e65@example.org>\r\n" if name != "one" else "")
        for name in ("one", "two", "three")
    )
    number = add(engine, source=first, account="u0").message_id
    engine.close()
    assert run("mute", "u0", number)[:2] == (0, f"the thread of message {number} is muted\n")
    answer = json.loads(run("show", "u0", number, "--json")[1])
    assert (answer["Keywords"], answer["Seen"]) == (["$Muted"], False)
    engine = open_engine(demo.paths)
    ((quiet,),) = add_all(engine, [addition(reply, [Target("u0", "INBOX")], delivered=True)])
    engine.close()
    answer = json.loads(run("show", "u0", quiet.message_id, "--json")[1])
    assert (answer["Keywords"], answer["Seen"]) == (["$Muted"], True)
    answer = json.loads(run("unmute", "u0", quiet.message_id, "--json")[1])
    assert answer["Muted"] is False and answer["ThreadID"] and answer["MessageID"] == quiet.message_id
    assert run("unmute", "u0", number)[1] == f"the thread of message {number} is not muted\n"
    engine = open_engine(demo.paths)
    ((loud,),) = add_all(engine, [addition(after, [Target("u0", "INBOX")], delivered=True)])
    engine.close()
    answer = json.loads(run("show", "u0", loud.message_id, "--json")[1])
    assert (answer["Keywords"], answer["Seen"]) == ([], False)
    for account, identity, why in (("u0", 99, "has no message 99"), ("zoe", 1, "no mail of an account zoe")):
        code, _, err = run("mute", account, identity)
        assert code == 1 and why in err
