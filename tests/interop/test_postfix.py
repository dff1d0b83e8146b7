"""Postfix at both ends: it relays a thousand mails into port 25, and it is the MX host that our queue delivers to. Then
smtp-sink, which can be told to lack what others have."""

from __future__ import annotations

import contextlib
import imaplib
import os
import re
import smtplib
import socket
import ssl
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.interop.postfix import Postfix
from tests.interop.tools import need, run
from tests.process.dnsserver import DnsServer
from tests.process.harness import Server, free_port, wait_until

NUMBER = 1000
ZONE = """
    there.example.       MX  10 mx.there.example.
    mx.there.example.    A   127.0.0.1
"""
RELAY = """
mynetworks = 127.0.0.0/8
relayhost = [127.0.0.1]:{port}
smtp_tls_security_level = encrypt
smtp_tls_CAfile = {ca}
smtp_tls_loglevel = 1
smtp_tls_connection_reuse = yes
transport_maps = inline:{{ {{ {chatty} = chatty:[127.0.0.1]:{port} }} }}
"""
SINKS = {
    "as it is": (),
    "no pipelining": ("-p",),
    "no ESMTP": ("-e",),
    "neither 8BITMIME nor status codes": ("-8", "-E"),
    "a greeting with asterisks": ("-P",),
}


@dataclass
class World:
    server: Server
    postfix: Postfix
    sink_port: int

    def imap(self, user: int) -> imaplib.IMAP4:
        account = self.server.accounts[user]
        client = imaplib.IMAP4("127.0.0.1", self.server.ports["imap"], timeout=60)
        client.login(account["address"], account["password"])
        client.select("INBOX", readonly=True)
        return client

    def field(self, user: int, name: str) -> list[str]:
        """That header field of every message in an Inbox."""
        with self.imap(user) as client:
            rows = client.fetch("1:*", f"(BODY.PEEK[HEADER.FIELDS ({name})])")[1]
        return [row[1].decode().partition(":")[2].strip() for row in rows if isinstance(row, tuple)]

    def messages(self, user: int, subject: str) -> list[bytes]:
        with self.imap(user) as client:
            numbers = client.search(None, "SUBJECT", f'"{subject}"')[1][0].split()
            return [client.fetch(number.decode(), "(BODY.PEEK[])")[1][0][1] for number in numbers]

    def submission(self) -> smtplib.SMTP_SSL:
        account = self.server.accounts[0]
        context = ssl._create_unverified_context()
        client = smtplib.SMTP_SSL("127.0.0.1", self.server.ports["submissions"], context=context, timeout=60)
        client.login(account["address"], account["password"])
        return client

    def submit(self, to: str, number: int, subject: str = "hello", options: tuple[str, ...] = ()) -> None:
        sender = self.server.accounts[0]["address"]
        with self.submission() as client:
            for serial in range(number):
                text = f"From: {sender}\r\nTo: {to}\r\nSubject: {subject} {serial}\r\n\r\n.\r\n..dots\r\n"
                client.sendmail(sender, [to], text, rcpt_options=options)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    need("postfix")
    with contextlib.ExitStack() as stack:
        dns = stack.enter_context(DnsServer(ZONE))
        root = tmp_path_factory.mktemp("postfix") / "demo"
        server = Server.demo(root, "--resolver", dns.address, "--no-limits", "--accounts", "3")
        certificate = root / "config/tls/demo.crt"
        more = RELAY.format(port=server.ports["smtp"], ca=certificate, chatty=server.accounts[2]["address"])
        postfix, sink_port = Postfix(more), free_port()
        with (root / "config/echomox.toml").open("a") as file:
            file.write(f"\n[outbound]\nport = {postfix.port}\nidle_time = 5.0\n")
        with (root / "config/domains.toml").open("a") as file:
            file.write(f'\n[transports.sink]\nkind = "smtp"\nhost = "127.0.0.1"\nport = {sink_port}\n')
            file.write('\n[[routes]]\nto_domains = ["sink.example"]\ntransport = "sink"\n')
        stack.enter_context(server)
        stack.enter_context(postfix)
        yield World(server, postfix, sink_port)


def generate(world: World, to: int, number: int) -> None:
    """smtp-source gives Postfix mails for one of our accounts."""
    address = world.server.accounts[to]["address"]
    run([need("smtp-source"), "-c", "-m", str(number), "-s", "5", "-l", "4000", "-M", "source.example",
         "-f", "someone@peers.example", "-t", address, f"inet:127.0.0.1:{world.postfix.port}"])  # fmt: skip


# -- Postfix gives us mail -----------------------------------------------------------


def test_postfix_relays_a_thousand_mails_with_tls(world):
    """None is lost, none comes twice; Postfix keeps connections and reuses them."""
    generate(world, 1, NUMBER)

    def arrived() -> bool:
        time.sleep(0.3)
        return world.server.log.count('event="message accepted"') >= NUMBER and not world.postfix.queued()

    wait_until(arrived, what="all mails relayed")
    found = Counter(world.field(1, "MESSAGE-ID"))
    assert (len(found), max(found.values())) == (NUMBER, 1)
    log = world.postfix.log
    assert len(re.findall(r"status=sent \(250 2\.0\.0 ", log)) == NUMBER
    assert "status=deferred" not in log and "status=bounced" not in log
    connections = len(re.findall(r"(?:Trusted|Verified) TLS connection established to 127\.0\.0\.1.*TLSv1\.3", log))
    assert 0 < connections < NUMBER / 5


def test_postfix_pipelines(world):
    """One mail over a client that logs what it says: the envelope goes out before its replies come."""
    generate(world, 2, 1)
    wait_until(lambda: not world.postfix.queued() and "chatty" in world.postfix.log, what="relayed")
    said = re.findall(r"smtp\[\d+\]: ([<>]) 127\.0\.0\.1\[127\.0\.0\.1\]:\d+: (\S+)", world.postfix.log)
    verbs = [f"{way}{word}" for way, word in said]
    at = verbs.index(">MAIL")
    assert verbs[at : at + 3] == [">MAIL", ">RCPT", ">DATA"], verbs
    assert len(world.field(2, "RECEIVED")) == 1


# -- we give Postfix mail ------------------------------------------------------------


def wait_for(count: Callable[[], int], number: int) -> None:
    wait_until(lambda: count() >= number or time.sleep(0.1), what=f"{number} messages")


def test_our_queue_delivers_to_postfix(world):
    """By MX, over TLS, over few connections; the signature is there, and the text is as it was."""
    world.submit("b@there.example", 100)
    wait_for(lambda: len(world.postfix.mail("b")), 100)
    found = world.postfix.mail("b")
    subjects = Counter(re.search(rb"(?m)^Subject: (.*)$", message)[1] for message in found)
    assert len(found) == len(subjects) == 100
    for message in found:
        assert b"\nDKIM-Signature: " in message and message.endswith(b"\n\n.\n..dots\n")
        assert b"(using TLSv1.3 " in message
    connections = world.postfix.log.count(": connect from ")
    world.submit("b@there.example", 20, "again")
    wait_for(lambda: len(world.postfix.mail("b")), 120)
    assert world.postfix.log.count(": connect from ") - connections < 20


def test_the_sender_is_told_of_what_postfix_refuses(world):
    world.submit("nobody@there.example", 1, "refused")
    wait_for(lambda: len(world.messages(0, "not delivered")), 1)
    (report,) = world.messages(0, "not delivered")
    assert b"Final-Recipient: rfc822; nobody@there.example" in report
    assert b"Status: 5.1.1" in report and b"Remote-MTA: dns; mx.there.example" in report


def test_a_report_of_delivery_is_postfixs_matter_and_comes_back(world):
    """NOTIFY and ENVID are passed on (RFC 3461 5.2.1); Postfix reports by our port 25."""
    sender = world.server.accounts[0]["address"]
    with world.submission() as client:
        client.ehlo()
        assert client.mail(sender, ["RET=HDRS", "ENVID=trip+2B1"])[0] == 250
        assert client.rcpt("c@there.example", ["NOTIFY=SUCCESS", "ORCPT=rfc822;First@elsewhere.example"])[0] == 250
        assert client.data(f"From: {sender}\r\nTo: c@there.example\r\nSubject: trip\r\n\r\nhello\r\n")[0] == 250
    wait_for(lambda: len(world.messages(0, "Successful Mail Delivery")), 1)
    (report,) = world.messages(0, "Successful Mail Delivery")
    assert b"Original-Envelope-Id: trip+1" in report
    assert b"Original-Recipient: rfc822;First@elsewhere.example" in report
    assert b"Action: delivered" in report


# -- smtp-sink -----------------------------------------------------------------------


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """One that everybody may write into; pytest's own are closed."""
    with tempfile.TemporaryDirectory(prefix="echomox-sink-") as name:
        os.chmod(name, 0o777)
        yield Path(name)


@pytest.mark.parametrize("options", SINKS.values(), ids=SINKS.keys())
def test_our_queue_delivers_to_a_sink_that_lacks_this_and_that(world, open_directory, options):
    number, place = 20, open_directory / "mail"
    rights = () if os.geteuid() else ("-u", "nobody")
    command = [need("smtp-sink"), *rights, *options, "-D", str(place), f"127.0.0.1:{world.sink_port}", "100"]
    sink = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        wait_until(lambda: not _refused(world.sink_port), what="smtp-sink listens")
        world.submit("x@sink.example", number, "sink")
        text = wait_until(lambda: read if (read := _read(place)).count(b"X-Mail-Args") >= number else "", what="mails")
    finally:
        sink.terminate()
        sink.wait(60)
        sink.stderr.close()
    subjects = Counter(re.findall(rb"(?m)^Subject: sink (\d+)", text))
    assert (len(subjects), sum(subjects.values())) == (number, number)
    assert text.count(b"DKIM-Signature:") == number


def _refused(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) != 0


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""
