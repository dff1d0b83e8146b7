"""I07: IMAP for one account on pipes, logged in from the start, as over ssh. The client is imaplib's."""

from __future__ import annotations

import imaplib
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.process.harness import free_base_port

COMMANDS = Path(sys.executable).parent
MESSAGE = b"From: a@example.test\r\nSubject: carried over\r\n\r\n" + b"body\r\n" * 20_000


@pytest.fixture
def config(tmp_path: Path) -> Path:
    port = str(free_base_port())
    demo = [COMMANDS / "echomox", "quickstart", "--demo", "--dir", tmp_path / "d", "--base-port", port, "--json"]
    subprocess.run(demo, check=True, capture_output=True)
    return tmp_path / "d/config"


def test_a_client_on_pipes(config: Path) -> None:
    command = [str(COMMANDS / "echomox"), "imapserve", "u1", "--config", str(config)]
    client = imaplib.IMAP4_stream(shlex.join(command))
    assert client.state == "AUTH" and client.PROTOCOL_VERSION == "IMAP4REV1"
    assert client.append("INBOX", "", "", MESSAGE)[0] == "OK"
    assert client.select("INBOX")[1] == [b"1"]
    found = client.fetch("1", "(BODY.PEEK[])")[1]
    assert isinstance(found[0], tuple) and found[0][1] == MESSAGE
    assert client.logout()[0] == "BYE"
    again = imaplib.IMAP4_stream(shlex.join(command))
    assert again.select("INBOX")[1] == [b"1"]
    again.logout()


@pytest.mark.parametrize(("account", "said"), [("nobody", "no account nobody"), ("u0", "pipes")])
def test_what_cannot_be_is_said(config: Path, tmp_path: Path, account: str, said: str) -> None:
    source = tmp_path / "commands"
    source.write_bytes(b"a LOGOUT\r\n")
    command = [COMMANDS / "echomox", "imapserve", account, "--config", config]
    with source.open("rb") as file:
        done = subprocess.run(command, check=False, stdin=file, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and said in done.stderr
