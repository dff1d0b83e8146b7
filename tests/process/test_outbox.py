"""What a sender sees of his mail, in a real server: the queue as a mailbox (Q29), and reports of success to those who
are who they say (S06)."""

from __future__ import annotations

import imaplib
import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.process.dnsserver import DnsServer
from tests.process.harness import Server, wait_until
from tests.process.test_queue import Sink, echomox, prepare, sink  # noqa: F401  # the fixture

ZONE = """
proved.test. TXT "v=spf1 ip4:127.0.0.1 -all"
proved.test. MX 10 outside.test.
stranger.test. MX 10 outside.test.
"""


def login(server: Server) -> smtplib.SMTP:
    account = server.accounts[0]
    one = smtplib.SMTP("127.0.0.1", server.ports["submission"], timeout=60)
    one.starttls(context=ssl._create_unverified_context())
    one.login(account["address"], account["password"])
    return one


@contextmanager
def reader(server: Server) -> Iterator[imaplib.IMAP4]:
    account = server.accounts[0]
    with imaplib.IMAP4("127.0.0.1", server.ports["imap"], timeout=60) as one:
        one.login(account["address"], account["password"])
        yield one


def mailbox(one: imaplib.IMAP4, name: str) -> list[str]:
    if one.select(name, readonly=True)[0] != "OK":
        return []
    numbers = one.search(None, "ALL")[1][0].split()
    return [one.fetch(number, "(BODY.PEEK[])")[1][0][1].decode() for number in numbers]


def test_scheduled_mail_stands_in_a_mailbox_until_it_has_left(tmp_path: Path, sink: Sink) -> None:  # noqa: F811
    server = prepare(tmp_path, sink)
    with server:
        echomox(server, "account", "set", "u0", "queue_mailbox=Outbox")
        address = server.accounts[0]["address"]
        text = f"From: {address}\r\nSubject: for later\r\n\r\ntext\r\n"
        with login(server) as one:
            one.ehlo()
            one.sendmail(address, ["bob@outside.test"], text, mail_options=["HOLDFOR=3600"])
        with reader(server) as client:
            (shown,) = wait_until(lambda: mailbox(client, "Outbox"), what="it stands in the mailbox")
        assert "X-EchoMox-Waiting: <bob@outside.test>; to be sent at " in shown.replace("\r\n ", " ")
        assert shown.endswith("Subject: for later\r\n\r\ntext\r\n")
        echomox(server, "queue", "schedule", "now", "--account", "u0")
        wait_until(lambda: sink.got, what="it has left")
        with reader(server) as client:
            wait_until(lambda: not mailbox(client, "Outbox"), what="it stands there no more")


def test_success_is_reported_to_who_is_proved(tmp_path: Path, sink: Sink) -> None:  # noqa: F811
    server = prepare(tmp_path, sink)
    config = tmp_path / "config"
    dynamic = config / "domains.toml"
    dynamic.write_text(
        dynamic.read_text().replace('"outside.test",', '"outside.test", "proved.test", "stranger.test",')
        + '\n[aliases."all@example.test"]\nmembers = ["u0@example.test", "u1@example.test"]\n'
    )
    with DnsServer(ZONE) as dns:
        static = config / "echomox.toml"
        static.write_text(static.read_text().replace('resolver = "none"', f'resolver = "{dns.address}"'))
        with server:
            for account in ("u0", "u1"):
                echomox(server, "account", "set", account, "junk_filter.mode=off")
            for sender in ("a@stranger.test", "a@proved.test"):
                with smtplib.SMTP("127.0.0.1", server.ports["smtp"], timeout=60) as one:
                    one.ehlo("client.proved.test")
                    assert one.mail(sender, ["ENVID=e1"])[0] == 250
                    assert one.rcpt("u0@example.test", ["NOTIFY=SUCCESS", "ORCPT=rfc822;first@x.test"])[0] == 250
                    assert one.rcpt("all@example.test", ["NOTIFY=SUCCESS"])[0] == 250
                    assert one.data(f"From: {sender}\r\nMessage-ID: <1@x.test>\r\n\r\ntext\r\n")[0] == 250
            wait_until(lambda: sink.got, what="the report has left")
            wait_until(lambda: "delivery not reported" in server.log, what="and only the one")
    ((to, data, _),) = sink.got
    assert to == ["a@proved.test"]
    for line in (
        b"DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed; d=example.test;", b"Original-Envelope-Id: e1",
        b"Original-Recipient: rfc822; first@x.test", b"Action: delivered", b"Final-Recipient: rfc822; all@example.test",
        b"Action: expanded",
    ):  # fmt: skip
        assert line in data, line
