"""Two EchoMox servers on two hosts with a signed zone between them: mail submitted at one arrives at the other.

    a.test     server A, which sends. Its records are those that `echomox domain dnsrecords` prints.
    b.test     server B: MX, SPF, DKIM, DMARC p=reject, and a TLSA 3 1 1 record of its certificate
    c.test     at B, no TLSA; MTA-STS enforced, with the right host
    d.test     at B; MTA-STS enforced, and its MX host is not in the policy
    e.test     at B; MTA-STS enforced, and its MX host is in the policy but not in the certificate
    w.test     at B; its MX host has a TLSA record of another key
    gone.test  a null MX
"""

from __future__ import annotations

import contextlib
import http.server
import imaplib
import json
import re
import smtplib
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.interop.tools import need, run
from tests.interop.twohosts import Host, Names, two_hosts
from tests.process.harness import Server, command, wait_until

UNVERIFIED = ssl._create_unverified_context()
MX = {
    "b.test": "mail.b.test", "c.test": "mx.c.test", "d.test": "mx.c.test", "e.test": "mx.e.test", "w.test": "mx.w.test",
}  # fmt: skip
POLICY_MX = {"c.test": "mx.c.test", "d.test": "mx.other.test", "e.test": "mx.e.test"}
POLICY = "version: STSv1\r\nmode: enforce\r\nmx: {mx}\r\nmax_age: 86400\r\n"
TEXT = (
    "From: {sender}\r\nTo: {to}\r\nSubject: {subject}\r\nMessage-ID: <{subject}@tests>\r\n\r\n"
    "The minutes are enclosed.\r\n"
)
WRONG = "3 1 1 " + "ab" * 32


class Site:
    """A server on its host. Its commands run there, and so do its clients."""

    def __init__(self, host: Host, root: Path, domain: str) -> None:
        self.host = host
        self.domain = domain
        self.server = Server.demo(root, "--domain", domain, "--resolver", host.resolver, "--no-limits")
        self.server.start_command = [*host.prefix, *self.server.start_command]
        self.config = root / "config"
        self.port = self.server.ports["smtp"]
        static = self.config / "echomox.toml"
        static.write_text(static.read_text().replace('"127.0.0.1:', f'"{host.address}:', 5))
        self.password = self.server.accounts[0]["password"]

    def settle(self, peer: Site, https_port: int) -> None:
        """Where it sends: the other's port, from its own address."""
        with (self.config / "echomox.toml").open("a") as file:
            file.write(
                f'\n[outbound]\nport = {peer.port}\nhttps_port = {https_port}\nca_file = "ca.pem"\n'
                f'source4 = "{self.host.address}"\nidle_time = 0.5\n'
            )

    def cli(self, *arguments: str) -> str:
        return run([*self.host.prefix, *command("echomox"), *arguments, "--config", str(self.config)])

    def data(self, *arguments: str) -> Any:
        return json.loads(self.cli(*arguments, "--json"))

    def submit(self, *recipients: str, subject: str, sender: str = "") -> None:
        sender = sender or f"u0@{self.domain}"
        with self.host.inside():
            client = smtplib.SMTP(self.host.address, self.server.ports["submission"], timeout=60)
        with client:
            client.starttls(context=UNVERIFIED)
            client.login(sender, self.password)
            client.sendmail(sender, recipients, TEXT.format(sender=sender, to=recipients[0], subject=subject))

    def mail(self, subject: str, mailbox: str = "INBOX", user: str = "u0") -> list[bytes]:
        """The messages with that subject."""
        with self.host.inside():
            client = imaplib.IMAP4_SSL(
                self.host.address, self.server.ports["imaps"], ssl_context=UNVERIFIED, timeout=60
            )  # fmt: skip
        with client:
            client.login(f"{user}@{self.domain}", self.password)
            client.select(mailbox, readonly=True)
            numbers = client.search(None, "SUBJECT", f'"{subject}"')[1][0].split()
            return [client.fetch(number.decode(), "(BODY.PEEK[])")[1][0][1] for number in numbers]

    def arrived(self, subject: str, count: int = 1) -> list[bytes]:
        return wait_until(lambda: found if len(found := self.mail(subject)) >= count else time.sleep(0.1), what=subject)

    def logged(self, *words: str) -> str:
        """The first line of the log with all of the words."""

        def look() -> str:
            lines = (line for line in self.server.log.splitlines() if all(word in line for word in words))
            return next(lines, "")

        return wait_until(look, what=words)

    def waiting(self, address: str) -> dict[str, Any]:
        """The queue's row of a recipient."""
        rows = self.data("queue", "list")["messages"]
        return next((row for row in rows if row["RcptTo"] == address), {})


class Https:
    """Policies of MTA-STS, served on a host by the name that is asked for. ca: of its certificate."""

    def __init__(self, host: Host, ca: trustme.CA) -> None:
        self.asked: list[str] = []
        names = [f"mta-sts.{domain}" for domain in POLICY_MX]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert(*names).configure_cert(context)
        asked = self.asked

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.headers["Host"].partition(":")[0]
                asked.append(name)
                mx = POLICY_MX.get(name.removeprefix("mta-sts."))
                known = mx is not None and self.path == "/.well-known/mta-sts.txt"
                body = POLICY.format(mx=mx).encode() if known else b""
                self.send_response(200 if known else 404)
                self.send_header("Content-Type", "text/plain")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        with host.inside():
            self.server = http.server.ThreadingHTTPServer((host.address, 0), Handler)
        self.port = self.server.server_address[1]
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class World:
    """a, b: the sites. tlsa(mx, record): publishes another TLSA record."""

    def __init__(self, directory: Path, hosts: tuple[Host, Host]) -> None:
        self.ca = trustme.CA()
        self.a = Site(hosts[0], directory / "a", "a.test")
        self.b = Site(hosts[1], directory / "b", "b.test")
        self.https = Https(hosts[1], self.ca)
        for site, names in ((self.a, ["mail.a.test"]), (self.b, ["mail.b.test", "mx.c.test", "mx.w.test"])):
            certificate = self.ca.issue_cert(*names)
            chain = b"".join(pem.bytes() for pem in certificate.cert_chain_pems)
            (site.config / "tls/demo.crt").write_bytes(chain)
            certificate.private_key_pem.write_to_path(str(site.config / "tls/demo.key"))
            self.ca.cert_pem.write_to_path(str(site.config / "ca.pem"))
        self.a.settle(self.b, self.https.port)
        self.b.settle(self.a, self.https.port)
        dynamic = self.b.config / "domains.toml"
        more = [domain for domain in MX if domain != "b.test"]
        text = dynamic.read_text() + "".join(f'\n[domains."{domain}"]\n' for domain in more)
        addresses = ", ".join(f'"u0@{domain}"' for domain in MX)
        dynamic.write_text(text.replace('"u0@b.test"', addresses))
        self.right = self._record(self.b)
        pointers = {site.host.address: f"mail.{site.domain}" for site in (self.a, self.b)}
        self.names = Names(directory / "names", hosts, self.zone(WRONG), pointers)

    def _record(self, site: Site) -> str:
        line = site.cli("dane", "makerecord", str(site.config / "tls/demo.crt"))
        return re.search(r"3 1 1 [0-9a-f]{64}", line)[0]

    def zone(self, of_w: str) -> str:
        """As our own command says it should be, with the addresses and ports of the test."""
        lines = ["gone.test. MX 0 ."]
        for site in (self.a, self.b):
            for line in site.cli("domain", "dnsrecords", site.domain).splitlines():
                if line.startswith(("_mta-sts.", "mta-sts.", ";")) or " AAAA " in line:
                    continue
                line = line.replace("192.0.2.1", site.host.address) if re.search(r"\sA\s", line) else line
                lines.append(line.replace("_25._tcp", f"_{site.port}._tcp").replace("~all", "-all"))
        address, port = self.b.host.address, self.b.port
        for domain, mx in MX.items():
            if domain == "b.test":
                continue
            lines.append(f"{domain}. MX 10 {mx}.")
            if domain != "d.test":
                lines.append(f"{mx}. A {address}")
        for domain in POLICY_MX:
            lines += [f'_mta-sts.{domain}. TXT "v=STSv1; id=1;"', f"mta-sts.{domain}. A {address}"]
        lines.append(f"_{port}._tcp.mx.w.test. 1 TLSA {of_w}")
        return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    for program in ("knotd", "unbound", "kdig", "ip"):
        need(program)
    with contextlib.ExitStack() as stack:
        hosts = stack.enter_context(two_hosts())
        made = World(tmp_path_factory.mktemp("two"), hosts)
        stack.callback(made.https.stop)
        stack.callback(made.names.stop)
        made.names.start()
        stack.enter_context(made.a.server)
        stack.enter_context(made.b.server)
        yield made


def field(message: bytes, name: str) -> str:
    """The first field of that name, unfolded."""
    found = re.search(rb"(?ms)^%b: (.*?)\r\n(?![ \t])" % name.encode(), message)
    return re.sub(r"\s+", " ", found[1].decode()) if found else ""


def test_a_mail_arrives_with_everything_proved(world):
    """SPF, DKIM and DMARC pass at B, the way was secured by DANE, and the filter has judged."""
    world.a.submit("u0@b.test", subject="proved")
    (message,) = world.b.arrived("proved")
    results = field(message, "Authentication-Results")
    assert results.startswith("mail.b.test")
    for method in ("spf=pass", "dkim=pass", "dmarc=pass", "iprev=pass"):
        assert method in results, results
    assert "header.d=a.test" in results and "smtp.mailfrom=u0@a.test" in results
    assert field(message, "Received-SPF").startswith("pass")
    assert "dmarc=pass" in field(message, "X-EchoMox-Verdict")
    assert re.search(r"from mail\.a\.test \(mail\.a\.test \[[\d.]+\]\).* with ESMTPS ", field(message, "Received"))
    assert field(message, "Return-Path") == "<u0@a.test>"
    line = world.a.logged("u0@b.test", "outcome=delivered")
    assert "policy=dane" in line and "tls=TLSv1.3" in line, line


def test_and_so_does_the_answer(world):
    world.b.submit("u1@a.test", subject="answer")
    (message,) = wait_until(lambda: world.a.mail("answer", user="u1"))
    assert "dkim=pass" in field(message, "Authentication-Results")
    assert "policy=dane" in world.b.logged("u1@a.test", "outcome=delivered")


def test_what_the_records_do_not_prove_is_refused(world):
    """a.test says p=reject; so another host cannot send as u0@a.test."""
    host = world.b.host
    with host.inside():
        client = smtplib.SMTP(host.address, world.b.port, timeout=60)
    with client, pytest.raises(smtplib.SMTPDataError) as error:
        client.sendmail("u0@a.test", ["u0@b.test"], TEXT.format(sender="u0@a.test", to="u0@b.test", subject="forged"))
    assert error.value.smtp_code == 550
    assert b"5.7.26" in error.value.smtp_error
    assert world.b.mail("forged") == []


def test_mta_sts_is_enforced_and_the_right_host_gets_the_mail(world):
    world.a.submit("u0@c.test", subject="policy")
    (message,) = world.b.arrived("policy")
    assert "dmarc=pass" in field(message, "Authentication-Results")
    line = world.a.logged("u0@c.test", "outcome=delivered")
    assert "policy=mta-sts" in line, line
    assert "mta-sts.c.test" in world.https.asked
    assert "enforce" in next(line for line in world.a.cli("mtasts", "list").splitlines() if "c.test" in line)


@pytest.mark.parametrize(
    "domain, why",
    [("d.test", "mx.c.test"), ("e.test", "mx.e.test"), ("w.test", "mx.w.test")],
    ids=["another-mx-than-the-policy", "another-name-than-the-certificate", "another-key-than-tlsa"],
)
def test_a_host_that_cannot_prove_itself_gets_nothing(world, domain, why):
    """The mail waits, it does not go without."""
    subject = f"waits-{domain}"
    world.a.submit(f"u0@{domain}", subject=subject)
    line = world.a.logged(f"u0@{domain}", "outcome=retry")
    assert why in line, line
    row = wait_until(lambda: found if (found := world.a.waiting(f"u0@{domain}"))["Attempts"] else None, what="a try")
    assert row["Status"] == "queued" and row["Attempts"] == 1, row
    assert world.b.mail(subject) == []


def test_mail_that_waited_goes_when_the_record_is_right(world):
    """The record of w.test is made right; the next try, which is asked for once, delivers once."""
    number = world.a.waiting("u0@w.test")["ID"]
    world.names.change(world.zone(world.right))
    name = f"_{world.b.port}._tcp.mx.w.test"
    right = world.right.upper().replace(" ", "")
    wait_until(lambda: world.names.answer(0, name, "TLSA").replace(" ", "") == right, what="the right record is served")
    time.sleep(1.1)  # the time to live of the wrong one in A's own memory
    world.a.cli("queue", "schedule", "now", str(number))
    assert len(world.b.arrived("waits-w.test")) == 1
    assert "policy=dane" in world.a.logged("u0@w.test", "outcome=delivered")
    wait_until(lambda: world.a.waiting("u0@w.test") == {}, what="nothing of it waits")
    assert len(world.b.mail("waits-w.test")) == 1


def test_a_domain_without_mail_is_told_at_once(world):
    """Null MX (RFC 7505): a report comes back, signed and for the account."""
    world.a.submit("somebody@gone.test", subject="nomail")
    (report,) = world.a.arrived("Message not delivered")
    assert b"Action: failed" in report and b"Status: 5.1.10" in report


def test_many_recipients_on_both_servers_get_one_copy_each(world):
    everybody = ["u1@a.test", "u0@b.test", "u1@b.test", "u0@c.test"]
    world.a.submit(*everybody, subject="everybody")
    wait_until(lambda: len(world.b.mail("everybody")) >= 2)
    wait_until(lambda: world.b.mail("everybody", user="u1"))
    assert [len(world.b.mail("everybody")), len(world.b.mail("everybody", user="u1"))] == [2, 1]
    assert len(world.a.mail("everybody", user="u1")) == 1


def test_the_way_can_be_looked_at_from_the_command_line(world):
    """P26: the same checks by commands, on host A."""
    port = str(world.b.port)
    assert "3 1 1" in world.a.cli("dane", "dial", f"mail.b.test:{port}")
    assert "mx.c.test" in world.a.cli("mtasts", "lookup", "c.test")
