"""msmtp, and our own sendmail program, through submission: TLS from the first byte and STARTTLS, each mechanism."""

from __future__ import annotations

import imaplib
import os
import smtplib
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.interop.tools import need
from tests.process.dnsserver import DnsServer
from tests.process.harness import Server

MESSAGE = b"From: %b\nTo: %b\nBcc: secret@elsewhere.example\nSubject: %b\n\nhello\n.\nthere\n"


def config(server, tmp_path: Path, port: str, tls: str, mechanism: str) -> Path:
    user = server.accounts[0]
    lines = [
        "defaults", "auth " + mechanism, "tls on", f"tls_starttls {tls}", f"tls_trust_file {server.certificate}",
        "account default", "host 127.0.0.1",
        f"port {server.ports[port]}", f"user {user['address']}", f"password {user['password']}",
        f"from {user['address']}",
    ]  # fmt: skip
    path = tmp_path / "msmtprc"
    path.write_text("\n".join(lines) + "\n")
    path.chmod(0o600)
    return path


def reports(server, index: int) -> list[bytes]:
    """The delivery reports in an account's Inbox."""
    user = server.accounts[index]
    whole = server if isinstance(server, Server) else server.server
    context = ssl.create_default_context(cafile=str(whole.root / "config/tls/demo.crt"))
    context.check_hostname = False
    with imaplib.IMAP4_SSL("127.0.0.1", server.ports["imaps"], ssl_context=context, timeout=60) as client:
        client.login(user["address"], user["password"])
        client.select("INBOX", readonly=True)
        numbers = client.search(None, "SUBJECT", '"Message delivered"')[1][0].split()
        return [client.fetch(number, "(BODY.PEEK[])")[1][0][1] for number in numbers]


@pytest.mark.parametrize("mechanism", ["plain", "login", "cram-md5", "scram-sha-256", "scram-sha-1"])
@pytest.mark.parametrize("port, tls", [("submissions", "off"), ("submission", "on")])
def test_msmtp_with_each_mechanism(server, tmp_path, port, tls, mechanism):
    sender, to = (server.accounts[n]["address"] for n in (0, 1))
    subject = f"msmtp-{mechanism}-{port}".encode()
    text = MESSAGE % (sender.encode(), to.encode(), subject)
    path = config(server, tmp_path, port, tls, mechanism)
    done = subprocess.run([need("msmtp"), "-C", str(path), to], input=text, capture_output=True, timeout=60)
    if b"not supported" in done.stderr or b"not available" in done.stderr:
        pytest.skip(done.stderr.decode())
    assert done.returncode == 0, done.stderr.decode()


def test_msmtp_asks_for_reports_and_gets_one(server, tmp_path):
    sender, to = (server.accounts[n]["address"] for n in (0, 1))
    before = len(reports(server, 0))
    path = config(server, tmp_path, "submissions", "off", "plain")
    text = MESSAGE % (sender.encode(), to.encode(), b"dsn")
    command = [need("msmtp"), "-C", str(path), "--dsn-notify=success,failure", "--dsn-return=headers", to]
    done = subprocess.run(command, input=text, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    end = time.monotonic() + 120
    while len(found := reports(server, 0)) == before:
        assert time.monotonic() < end, "no report has come"
        time.sleep(0.2)
    assert f"Final-Recipient: rfc822; {to}".encode() in found[-1]
    assert b"Action: delivered" in found[-1]


def test_port_25_reports_with_envelope_id_and_original_recipient(tmp_path):
    """NOTIFY=SUCCESS yields one, NEVER none; the reverse path is one of ours, so that the report comes home, and SPF
    proves it: nobody else is told of success."""
    zone = 'example.test. TXT "v=spf1 ip4:127.0.0.0/8 -all"'
    with DnsServer(zone) as dns, Server.demo(tmp_path / "demo", "--resolver", dns.address) as server:
        sender, to = server.accounts[0]["address"], server.accounts[1]["address"]
        for notify, mail_from in (("NEVER", sender), ("SUCCESS", "x@unproved.example"), ("SUCCESS", sender)):
            with smtplib.SMTP("127.0.0.1", server.ports["smtp"], timeout=60) as client:
                client.ehlo("peer.example")
                assert client.mail(mail_from, ["RET=HDRS", f"ENVID=id+2B{notify}"])[0] == 250
                assert client.rcpt(to, [f"NOTIFY={notify}", "ORCPT=rfc822;First+20Name@elsewhere.example"])[0] == 250
                text = f"From: x@peers.example\r\nTo: {to}\r\nSubject: {notify}\r\n\r\nhello\r\n"
                assert client.data(text)[0] == 250
        end = time.monotonic() + 120
        while not (found := reports(server, 0)):
            assert time.monotonic() < end, "no report has come"
            time.sleep(0.2)
        assert len(found) == 1
        assert b"Original-Envelope-Id: id+SUCCESS" in found[0]
        assert b"Original-Recipient: rfc822; First Name@elsewhere.example" in found[0]
        assert server.log.count('event="delivery reported"') == 1


def test_our_sendmail_program(server, tmp_path):
    user, to = server.accounts[0], server.accounts[1]["address"]
    settings = (
        f'host = "127.0.0.1"\nport = {server.ports["submissions"]}\nca_file = "{server.certificate}"\n'
        f'user = "{user["address"]}"\npassword = "{user["password"]}"\nfrom = "{user["address"]}"\nto = "{to}"\n'
    )
    (tmp_path / "c.toml").write_text(settings)

    def send(text: bytes, *words: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-m", "echomox.cli.sendmail", "-C", str(tmp_path / "c.toml"), *words],
            input=text, capture_output=True, timeout=60, env={**os.environ, "HOME": str(tmp_path)},
        )  # fmt: skip

    done = send(
        b"To: root\nFrom: root (Cron Daemon)\nSubject: cron\n\nhi\n.\nbye\n", "-i", "-FCron", "-t", "-f", "root"
    )
    assert done.returncode == 0, done.stderr.decode()
    done = send(
        MESSAGE % (user["address"].encode(), to.encode(), b"dsn"), "-N", "success", "-R", "hdrs", "-V", "e 1", to
    )
    assert done.returncode == 0, done.stderr.decode()
    done = send(b"text\n", f"nobody@{to.partition('@')[2]}")
    assert done.returncode == 67
    assert b"5.1.1" in done.stderr and (tmp_path / "dead.letter").exists()
    done = send(b"text\n", "-f", "boss@elsewhere.example", to)
    assert done.returncode == 69
