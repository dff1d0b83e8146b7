"""Aliases, sending on, rulesets and limits in a whole server: SMTP in, mailboxes and the queue out."""

from __future__ import annotations

import json
import smtplib
import socket
import subprocess
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from tests.process.harness import ROOT, Server, command, free_port, wait_until

TEAM = "team@example.test"
MESSAGE = (
    "From: friend@b.example\r\nTo: {to}\r\nSubject: {subject}\r\nMessage-ID: <{subject}@b.example>\r\n\r\ntext\r\n"
)


def em(server: Server, *words: str) -> Any:
    done = subprocess.run(
        [*command("echomox"), "--config", str(server.root / "config"), "--json", *words],
        capture_output=True, timeout=60, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server.demo(tmp_path_factory.mktemp("addresses") / "demo", "--accounts", "3", "--mode", "junk-only") as server:
        em(server, "alias", "add", TEAM, "u0@example.test", "u1@example.test", "eve@far.example", "--set", "owner=u0")
        em(server, "ruleset", "add", "u2", "message_from=@b[.]example$", "mailbox=Lists/b")
        for domain in ("far.example", "b.example"):
            em(server, "queue", "holdrules", "add", "--to-domain", domain)
        yield server


def send(server: Server, to: str, subject: str, sender: str = "friend@b.example", extra: str = "") -> None:
    with smtplib.SMTP("127.0.0.1", server.ports["smtp"], timeout=60) as client:
        client.sendmail(sender, [to], extra + MESSAGE.format(to=to, subject=subject))


def subjects(server: Server, account: str) -> dict[str, list[str]]:
    """Subjects by mailbox."""
    found = {}
    for box in em(server, "mailbox", "list", account)["mailboxes"]:
        if box["Total"]:
            listed = em(server, "message", "list", account, box["Name"])["messages"]
            found[box["Name"]] = [message["Subject"] for message in listed]
    return found


def queued(server: Server) -> list[dict[str, Any]]:
    return em(server, "queue", "list")["messages"]


def test_a_list_with_members_here_and_elsewhere_and_a_report_back(server):
    send(server, TEAM, "one")
    # accepted: it is in the mailboxes and in the queue already
    assert "one" in str(subjects(server, "u0")) and "one" in str(subjects(server, "u1"))
    (sent,) = [one for one in queued(server) if one["RcptTo"] == "eve@far.example"]
    sender = sent["Sender"]
    assert sender.startswith("SRS0=") and sender.endswith("=b.example=friend@example.test")
    with pytest.raises(smtplib.SMTPRecipientsRefused):  # only a report may come back
        send(server, sender, "no-report")
    send(server, sender, "report", sender="")
    (back,) = [one for one in queued(server) if one["RcptTo"] == "friend@b.example"]
    assert back["Sender"] == ""


def test_what_was_sent_on_does_not_come_in_again(server):
    with pytest.raises(smtplib.SMTPDataError) as caught:
        send(server, TEAM, "loop", extra=f"Delivered-To: {TEAM}\r\n")
    assert caught.value.smtp_code == 554 and b"5.4.6" in caught.value.smtp_error
    assert "loop" not in str(subjects(server, "u0"))


def test_a_ruleset_makes_its_mailbox(server):
    send(server, "u2@example.test", "sorted")
    assert subjects(server, "u2") == {"Lists/b": ["sorted"]}


def test_a_post_of_our_own_user_goes_elsewhere_too(server):
    account = server.accounts[1]
    with smtplib.SMTP("127.0.0.1", server.ports["submission"], timeout=60) as client:
        client.login(account["address"], account["password"])
        client.sendmail(
            account["address"], [TEAM], f"From: {account['address']}\r\nTo: {TEAM}\r\nSubject: ours\r\n\r\nx\r\n"
        )
    assert "ours" in str(subjects(server, "u0"))
    senders = [one["Sender"] for one in queued(server) if one["RcptTo"] == "eve@far.example"]
    assert account["address"] in senders  # no other return address than our own


def test_the_31st_connection_is_refused_politely(server):
    """G01"""
    held = []
    try:
        for _ in range(30):
            held.append(socket.create_connection(("127.0.0.1", server.ports["smtp"]), 60))
            assert held[-1].recv(100).startswith(b"220")
        with socket.create_connection(("127.0.0.1", server.ports["smtp"]), 60) as one:
            assert one.recv(200).startswith(b"421 4.7.0")
    finally:
        for one in held:
            one.close()

    def admitted() -> bool:
        with socket.create_connection(("127.0.0.1", server.ports["smtp"]), 60) as one:
            return one.recv(200).startswith(b"220")

    wait_until(admitted, what="a place is free again")


def test_the_housekeeper_is_there(server):
    names = [line["name"] for line in em(server, "status")["workers"]]
    assert "housekeeper.0" in names


class Sink:
    """A server elsewhere: takes all mail, refuses who is called gone."""

    def __init__(self) -> None:
        self.mail: list[Any] = []

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("gone@"):
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        self.mail.append((envelope.mail_from, list(envelope.rcpt_tos), envelope.original_content))
        return "250 OK"


@pytest.fixture
def sink():
    found = Sink()
    controller = Controller(found, hostname="127.0.0.1", port=free_port())
    controller.start()
    found.port = controller.port
    yield found
    controller.stop()


def test_there_and_back_over_the_world(sink, tmp_path):
    """A copy leaves under a return address of ours, unchanged; the report on one who is gone comes to the writer."""
    hop = f"127.0.0.1:{sink.port}"
    with Server.demo(tmp_path / "demo", "--mode", "junk-only", "--next-hop", hop) as server:
        em(server, "alias", "add", TEAM, "u0@example.test", "eve@far.example", "gone@far.example")
        send(server, TEAM, "over-the-world")
        wait_until(lambda: len(sink.mail) >= 2, what="the copy and the report have arrived")
        by_recipient = {to: (sender, content) for sender, (to,), content in sink.mail}
        sender, content = by_recipient["eve@far.example"]
        assert sender.startswith("SRS0=") and sender.endswith("=b.example=friend@example.test")
        assert content.endswith(MESSAGE.format(to=TEAM, subject="over-the-world").encode())
        assert content.startswith(b"Delivered-To: team@example.test\r\nReceived: ")
        sender, report = by_recipient["friend@b.example"]
        assert sender in ("", "<>")
        assert b"multipart/report" in report and b"gone@far.example" in report
        wait_until(lambda: not queued(server), what="nothing is left in the queue")
