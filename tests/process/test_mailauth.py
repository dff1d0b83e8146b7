"""Mail over SMTP to a real server whose resolver is a small DNS server of the test: what is delivered where, with
which results, what is refused, and what happens while DNS is down."""

from __future__ import annotations

import imaplib
import json
import re
import smtplib
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from echomox.delivery.authlog import FILE, ReportRows
from echomox.mailauth.dkim import sign
from tests.process.dnsserver import DnsServer
from tests.process.harness import ROOT, Server, command, wait_until
from tests.unit.mailauth.dkimsamples import record, signing_key

ZONE = """
    good.example.            TXT   "v=spf1 ip4:127.0.0.0/8 -all"
    _dmarc.good.example.     TXT   "v=DMARC1; p=reject; sp=none; rua=mailto:reports@good.example"
    bad.example.             TXT   "v=spf1 -all"
    _dmarc.bad.example.      TXT   "v=DMARC1; p=reject"
    spam.example.            TXT   "v=spf1 -all"
    _dmarc.spam.example.     TXT   "v=DMARC1; p=quarantine"
    watch.example.           TXT   "v=spf1 -all"
    _dmarc.watch.example.    TXT   "v=DMARC1; p=none"
    broken.example.          TXT   "v=spf1 -all"
    _dmarc.broken.example.   TXT   "v=DMARC1; p=reject"
    1.0.0.127.in-addr.arpa.  PTR   client.good.example.
    client.good.example.     A     127.0.0.1
"""
MAIL = (
    "From: Ann <ann@{domain}>\r\nTo: you@here.example\r\nSubject: {token}\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\n"
    "Message-ID: <{token}@{domain}>\r\n\r\nPlease find the minutes of the meeting below.\r\n"
)


@pytest.fixture(scope="module")
def dns() -> Iterator[DnsServer]:
    with DnsServer(ZONE) as server:
        for domain in ("good.example", "bad.example", "broken.example", "esp.example"):
            server.put(f"s1._domainkey.{domain}", "TXT", f'"{record()}"')
        server.fail["broken.example"] = "servfail"
        yield server


@pytest.fixture(scope="module")
def server(tmp_path_factory, dns) -> Iterator[Server]:
    with Server.demo(tmp_path_factory.mktemp("mailauth") / "demo", "--resolver", dns.address) as server:
        yield server


def send(server: Server, mail: bytes, sender: str, to: int = 0) -> tuple[int, bytes]:
    with smtplib.SMTP("127.0.0.1", server.ports["smtp"], local_hostname="client.good.example", timeout=60) as client:
        client.ehlo()
        client.mail(sender)
        client.rcpt(server.accounts[to]["address"])
        return client.data(mail)


def fetch(server: Server, token: str, mailbox: str, to: int = 0) -> bytes:
    """The message as IMAP gives it."""
    account = server.accounts[to]
    with imaplib.IMAP4("127.0.0.1", server.ports["imap"], timeout=60) as client:
        client.starttls()
        client.login(account["address"], account["password"])
        client.select(mailbox, readonly=True)
        _, found = client.search(None, "SUBJECT", token)
        numbers = found[0].split()
        assert len(numbers) == 1, (token, mailbox, found)
        _, parts = client.fetch(numbers[0].decode(), "(BODY.PEEK[])")
        return parts[0][1]


def results(message: bytes) -> dict[str, str]:
    field = re.match(rb"(?s).*?^Authentication-Results: ([^\n]*\n(?:[ \t][^\n]*\n)*)", message, re.M)
    assert field, message
    return {method.decode(): word.decode() for method, word in re.findall(rb"\n\t(\w+)=(\w+)", field[0])}


def mail(domain: str, token: str, signer: str = "") -> bytes:
    source = MAIL.format(domain=domain, token=token).encode()
    return sign(source, [signing_key(domain=signer)], time.time()) + source if signer else source


CASES = [
    # (token, From domain, envelope sender, signed by, code, mailbox, results)
    ("passes", "good.example", "a@good.example", "good.example", 250, "INBOX",
     {"spf": "pass", "dkim": "pass", "dmarc": "pass", "iprev": "pass"}),
    ("dkimonly", "good.example", "a@bad.example", "good.example", 250, "INBOX",
     {"spf": "fail", "dkim": "pass", "dmarc": "pass"}),
    ("forwarded", "bad.example", "a@good.example", "bad.example", 250, "INBOX",
     {"spf": "pass", "dkim": "pass", "dmarc": "pass"}),
    ("forged", "bad.example", "a@good.example", "", 550, "", {}),
    ("subdomain", "news.good.example", "a@bad.example", "", 250, "INBOX", {"dmarc": "fail", "spf": "fail"}),
    ("quarantined", "spam.example", "a@good.example", "", 250, "Junk", {"dmarc": "fail", "dkim": "none"}),
    ("watched", "watch.example", "a@watch.example", "", 250, "INBOX", {"dmarc": "fail", "spf": "fail"}),
    ("unknown", "nobody.example", "a@nobody.example", "", 250, "INBOX", {"dmarc": "none", "spf": "none"}),
    ("dnsdown", "broken.example", "a@broken.example", "broken.example", 250, "INBOX",
     {"dmarc": "temperror", "spf": "temperror", "dkim": "temperror"}),
]  # fmt: skip


@pytest.mark.parametrize("token, domain, sender, signer, code, mailbox, expected", CASES)
def test_what_becomes_of_a_mail(server, token, domain, sender, signer, code, mailbox, expected):
    answer = send(server, mail(domain, token, signer), sender)
    assert answer[0] == code, answer
    if code == 550:
        assert answer[1].startswith(b"5.7.26 bad.example wants this refused")
        return
    message = fetch(server, token, mailbox)
    found = results(message)
    assert {method: found[method] for method in expected} == expected
    assert b"Received: from client.good.example (client.good.example [127.0.0.1])" in message
    assert b"Received-SPF: " + found["spf"].encode() in message


def test_a_changed_body_of_a_signed_mail_is_refused(server):
    changed = mail("bad.example", "changed", "bad.example").replace(b"minutes", b"invoices")
    assert send(server, changed, "a@good.example")[0] == 550


def test_a_large_signed_mail_passes_and_is_checked_from_its_file(server):
    source = MAIL.format(domain="good.example", token="large").encode() + b"many words, again and again\r\n" * 20_000
    signed = sign(source, [signing_key(domain="good.example")], time.time()) + source
    assert send(server, signed, "a@bad.example")[0] == 250
    assert results(fetch(server, "large", "INBOX"))["dkim"] == "pass"


def test_results_are_evidence_of_the_filter(server):
    """F09: the verdict's header names them."""
    assert send(server, mail("good.example", "evidence", "good.example"), "a@good.example")[0] == 250
    message = fetch(server, "evidence", "INBOX")
    verdict = re.search(rb"(?s)X-EchoMox-Verdict:.*?\r\n(?![ \t])", message)
    assert verdict and b"dmarc=pass" in verdict[0], verdict


def echomox(server: Server, *argv: str) -> Any:
    line = [*command("echomox"), "--config", str(server.root / "config"), "--json", *argv]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def teach(server: Server, token: str, flag: str, to: int) -> None:
    account = server.accounts[to]
    with imaplib.IMAP4("127.0.0.1", server.ports["imap"], timeout=60) as client:
        client.starttls()
        client.login(account["address"], account["password"])
        client.select("INBOX")
        _, found = client.search(None, "SUBJECT", token)
        client.store(found[0].split()[0].decode(), "+FLAGS.SILENT", f"({flag})")


def reputation(server: Server, token: str, to: int) -> str:
    """What its step said of a message in the Inbox, when it came; and what `filter explain` says of it now."""
    database = next(server.root.rglob(f"accounts/u{to}/index.db"))
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        query = "SELECT message.id FROM message JOIN content ON content.id = content WHERE content.message_id LIKE ?"
        ((number,),) = connection.execute(query, (f"%{token}@%",)).fetchall()
    connection.close()
    explained = echomox(server, "filter", "explain", str(number), "--account", f"u{to}")
    (reason,) = [item["reasons"][0] for item in explained["stages"] if item["stage"] == "reputation"]
    field = re.search(rb"(?s)X-EchoMox-Verdict:.*?\r\n(?![ \t])", fetch(server, token, "INBOX", to))
    assert field and reason.encode() in re.sub(rb"[_\s]+", b" ", field[0]), (reason, field)
    return reason


def test_a_known_signer_vouches_for_a_new_address(server):
    """F08: taught by three of its mails, each of another author, from the stored message; the forwarder's SPF too."""
    for number in range(3):
        source = mail(f"brand{number}.example", f"brand{number}", "esp.example")
        assert send(server, source, "a@good.example", 1)[0] == 250
        teach(server, f"brand{number}", "$NotJunk", 1)
    wait_until(lambda: echomox(server, "filter", "stats", "u1")["MessageTotal"] == 3, what="learnt")
    for token, domain, sender, signer in (
        ("newbrand", "new.example", "a@nobody.example", "esp.example"),
        ("newsender", "other.example", "a@good.example", ""),
        ("newboth", "both.example", "a@nobody.example", ""),
    ):
        assert send(server, mail(domain, token, signer), sender, 1)[0] == 250
    assert reputation(server, "newbrand", 1) == "dkim esp.example 3/0"
    assert reputation(server, "newsender", 1) == "spf good.example 3/0"
    assert reputation(server, "newboth", 1) == "ip 127.0.0.1 3/0"


def test_results_in_our_name_do_not_stay(server):
    hostname = json.loads(json.dumps(re.search(r'(?m)^hostname = "(.*)"', config(server))[1]))
    forged = f"Authentication-Results: {hostname}; dmarc=pass header.from=bank.example\r\n".encode()
    assert send(server, forged + mail("nobody.example", "forgedresults"), "a@nobody.example")[0] == 250
    message = fetch(server, "forgedresults", "INBOX")
    assert b"X-Removed-Auth-Results: " in message
    assert message.count(b"\r\nAuthentication-Results:") == 1
    assert results(message)["dmarc"] == "none"


def config(server: Server) -> str:
    return (server.root / "config" / "echomox.toml").read_text()


def test_rows_for_reports_are_written(server):
    """Within seconds, with what was done; last in this file."""
    rows = ReportRows(server.root / "data" / FILE)

    def written() -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        try:
            for day, domain in rows.days():
                for row, _ in rows.rows(day, domain):
                    found.setdefault(domain, []).append(row.disposition)
        except sqlite3.OperationalError:  # being made just now
            return {}
        enough = {"good.example", "spam.example", "watch.example"} <= set(found)
        return found if enough and "reject" in found.get("bad.example", ()) else {}

    found = wait_until(written, what="rows for reports")
    assert found["spam.example"] == ["quarantine"]
    assert found["watch.example"] == ["none"]
    assert "broken.example" not in found
