"""What port 25 thinks of senders, recipients and headers."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from echomox.delivery.incoming import Incoming, Taken
from echomox.errors import Reply
from echomox.smtpd.receive import Receive
from tests.unit.net.support import Host
from tests.unit.smtpd.support import Talk, codes, script


class Delivery:
    def __init__(self) -> None:
        self.mail: list[Incoming] = []

    async def take(self, mail: Incoming) -> Taken:
        self.mail.append(mail)
        return Taken(Reply(250, "2.0.0", "Accepted"))


class Full:
    """An engine whose accounts hold 900 bytes."""

    def open(self, account: str) -> Any:
        return self

    def mailboxes(self) -> list[Any]:
        return [type("Mailbox", (), {"size": 450, "total": 1})] * 2


def dialogue(tmp_path: Path, kind: Any, *lines: str, login: str = "") -> tuple[bytes, Delivery]:
    async def run() -> tuple[bytes, Delivery]:
        delivery = Delivery()
        one = Talk(role=kind(Host(tmp_path), Full(), delivery))
        one.session.login = login
        answer = await one.send(script("EHLO client.example", *lines))
        return answer, delivery

    return asyncio.run(run())


RECIPIENTS = [
    ("<mjl@example.org>", "250 2.1.5"),
    ("<MJL+tag@EXAMPLE.org>", "250 2.1.5"),
    ("<anybody@example.org>", "250 2.1.5"),  # catch-all
    ("<postmaster>", "250 2.1.5"),
    ("<Postmaster@example.org>", "250 2.1.5"),
    ("<off@example.org>", "250 2.1.5"),  # logins are disabled, not mail
    ("<mjl@elsewhere.example>", "550 5.7.1"),
    ("<mjl@[192.0.2.1]>", "550 5.7.1"),
    ("<x@paused.example>", "450 4.2.1"),
    ("<small@example.org>", "250 2.1.5"),
]


@pytest.mark.parametrize("path, expected", RECIPIENTS)
def test_recipients_of_port_25(path, expected, tmp_path):
    answer, _ = dialogue(tmp_path, Receive, "MAIL FROM:<>", f"RCPT TO:{path}")
    assert answer.decode().splitlines()[-1].startswith(expected)


def test_quota_is_answered_at_rcpt(tmp_path):
    answer, _ = dialogue(tmp_path, Receive, "MAIL FROM:<> SIZE=101", "RCPT TO:<small@example.org>")
    assert answer.endswith(b"452 4.2.2 The mailbox is full\r\n")
    answer, _ = dialogue(tmp_path, Receive, "MAIL FROM:<> SIZE=100", "RCPT TO:<small@example.org>")
    assert codes(answer)[-1] == 250


HEADERS = [
    (("From: a@b.c",), 250),
    ((), 250),
    (("From: a@b.c", "From: d@e.f"), 550),
    ((" dmarc=pass", "From: a@b.c"), 550),
    (("\tx", "From: a@b.c"), 550),
    (("Received: x",) * 101, 554),
]


@pytest.mark.parametrize("header, code", HEADERS)
def test_headers_of_port_25(header, code, tmp_path):
    answer, delivery = dialogue(
        tmp_path, Receive, "MAIL FROM:<a@b.c>", "RCPT TO:<mjl@example.org>", "DATA", *header, "", "text", "."
    )
    assert codes(answer)[-1] == code
    assert len(delivery.mail) == (code == 250)


def test_what_delivery_is_told(tmp_path):
    _, delivery = dialogue(
        tmp_path, Receive, "MAIL FROM:<a@b.c>", "RCPT TO:<mjl@example.org>", "RCPT TO:<MJL+x@example.org>", "DATA",
        "From: x", ".",
    )  # fmt: skip
    mail = delivery.mail[0]
    assert (mail.mail_from, mail.helo, mail.remote_ip) == ("a@b.c", "client.example", "192.0.2.1")
    assert (mail.protocol, mail.tls, mail.source, mail.size) == ("ESMTP", "", b"From: x\r\n", 9)
    assert [(to.account, to.address) for to in mail.destinations] == [
        ("mjl", "mjl@example.org"),
        ("mjl", "MJL+x@example.org"),
    ]
