"""Shared mailboxes in a whole server: two accounts in different processes, pushes to whom a mailbox is shared with, and
what is taken away. RFC 4314."""

from __future__ import annotations

import imaplib
import json
import smtplib
import socket
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.process.harness import ROOT, Server, command, wait_until

MESSAGE = "From: friend@b.example\r\nTo: u0@example.test\r\nSubject: {}\r\nMessage-ID: <{}@b.example>\r\n\r\ntext\r\n"
SHARED = '"Other Users/u0/INBOX"'


def em(server: Server, *words: str) -> Any:
    done = subprocess.run(
        [*command("echomox"), "--config", str(server.root / "config"), "--json", *words],
        capture_output=True, timeout=60, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


@pytest.fixture
def server(tmp_path: Any) -> Iterator[Server]:
    with Server.demo(tmp_path / "demo", "--accounts", "2", "--mode", "junk-only") as server:
        yield server


def login(server: Server, number: int) -> imaplib.IMAP4:
    client = imaplib.IMAP4("127.0.0.1", server.ports["imap"], timeout=60)
    client.login(server.accounts[number]["address"], server.accounts[number]["password"])
    return client


def deliver(server: Server, subject: str) -> None:
    with smtplib.SMTP("127.0.0.1", server.ports["smtp"], timeout=60) as client:
        client.sendmail("friend@b.example", ["u0@example.test"], MESSAGE.format(subject, subject))


class Idler:
    """A client in IDLE on a mailbox. imaplib has no IDLE here."""

    def __init__(self, server: Server, number: int, mailbox: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.ports["imap"]), timeout=60)
        self.file = self.socket.makefile("rwb")
        account = server.accounts[number]
        self.file.readline()
        for line in (f"a LOGIN {account['address']} {account['password']}", f"b SELECT {mailbox}", "c IDLE"):
            self.file.write(line.encode() + b"\r\n")
        self.file.flush()
        assert self.until(b"+ ")

    def until(self, start: bytes) -> list[bytes]:
        """Lines up to the first one that begins so."""
        lines = []
        while line := self.file.readline():
            lines.append(line)
            if line.startswith(start):
                return lines
        raise AssertionError(lines)

    def close(self) -> None:
        self.file.close()
        self.socket.close()


def test_pushes_copies_and_the_end(server: Server) -> None:
    owner, guest = login(server, 0), login(server, 1)
    assert guest.list('""', "Other*")[1] == [None]
    assert em(server, "mailbox", "acl", "u0", "INBOX", "set", "u1@example.test", "lrswite")["acl"]["u1"] == "lrswited"
    assert any(SHARED.encode() in (line or b"") for line in guest.list('""', "*")[1])
    assert em(server, "mailbox", "shares", "u1")["shares"] == [
        {"owner": "u0", "mailbox": "INBOX", "who": "u1", "rights": "lrswited"}
    ]
    idler = Idler(server, 1, SHARED)
    deliver(server, "one")
    assert idler.until(b"* 1 EXISTS")
    owner.select("INBOX")
    owner.store("1", "+FLAGS", "\\Flagged")
    assert b"\\Flagged" in idler.until(b"* 1 FETCH")[-1]
    # into the guest's own account, which is another database, and back; both see what comes and goes
    assert guest.select(SHARED)[0] == "OK"
    assert guest.copy("1", "INBOX")[0] == "OK"
    assert guest.store("1", "+FLAGS.SILENT", "\\Deleted")[0] == "OK" and guest.expunge()[1] == [b"1"]
    assert idler.until(b"* 1 EXPUNGE")
    assert guest.select("INBOX")[1] == [b"1"]
    assert b"\\Flagged" in guest.fetch("1", "(FLAGS)")[1][0]
    assert guest.append(SHARED, "", "", MESSAGE.format("two", "two").encode())[0] == "OK"
    assert idler.until(b"* 1 EXISTS")
    # no right, no mailbox
    assert guest.create('"Other Users/u0/new"')[0] == "NO" and guest.delete(SHARED)[0] == "NO"
    em(server, "mailbox", "acl", "u0", "INBOX", "remove", "u1")
    assert idler.until(b"* BYE")
    assert guest.select(SHARED)[0] == "NO" and guest.list('""', "Other*")[1] == [None]
    idler.close()
    owner.logout()
    guest.logout()


def test_an_account_that_is_gone_leaves_no_right_to_a_later_one(server: Server) -> None:
    em(server, "mailbox", "acl", "u0", "Archive", "set", "u1", "lr")
    em(server, "account", "remove", "u1", "--yes")
    assert em(server, "mailbox", "acl", "u0", "Archive")["acl"] == {"u0": "lrswipkxtecda"}
    wait_until(lambda: em(server, "mailbox", "shares")["shares"] == [], what="nothing is shared")
