"""Real sockets on loopback, real clients (smtplib), real TLS, real store: the two services as the workers run them."""

import asyncio
import base64
import hashlib
import smtplib
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import scramp
import trustme
import uvloop

import workers.smtp
import workers.submission
from echomox.config.schema import Auth, Limits, Tls
from echomox.config.snapshot import Snapshot
from echomox.store import open_engine
from tests.unit.net.support import DYNAMIC, Host, secrets_of

LIMITS = replace(Limits(), connections_per_ip=5, connection_rate_per_ip=0, first_time_delay=0.0)
MESSAGE = b"From: mjl@example.org\r\nSubject: hi\r\n\r\n.text\r\n"


class Worker(Host):
    """Enough of workers.base.Worker for a body to run in a thread."""

    def __init__(self, root: Path, service: str, listeners: dict[str, list[socket.socket]]) -> None:
        super().__init__(root, Auth(bcrypt_cost=4, plus=True), LIMITS)
        self.static = replace(self.static, tls=Tls(certificate="cert.pem", client_ca="ca.pem"))
        self.service, self.name, self.index = service, f"{service}.0", 0
        self.listeners = listeners
        self.started = threading.Event()

    def ready(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.started.set()

    async def stopping(self) -> None:
        self.stop = asyncio.Event()
        await self.stop.wait()

    def drain_time(self) -> float:
        return 1.0

    def use_connections(self, n: int) -> None:
        self.open = n


def listen() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Any]:
    ca = trustme.CA()
    certificate = ca.issue_cert("mx.example.org")
    sockets = {name: listen() for name in ("smtp", "submission", "submissions")}
    running = [
        Worker(tmp_path, "smtp", {"smtp": [sockets["smtp"]]}),
        Worker(tmp_path, "submission", {n: [sockets[n]] for n in ("submission", "submissions")}),
    ]
    paths = running[0].paths
    for directory in (paths.config, paths.run, paths.spool, paths.accounts):
        directory.mkdir(parents=True, exist_ok=True)
    certificate.private_key_and_cert_chain_pem.write_to_path(str(paths.config / "cert.pem"))
    ca.cert_pem.write_to_path(str(paths.config / "ca.pem"))
    engine = open_engine(paths)
    for account in ("mjl", "rest", "off", "small"):
        engine.create(account)
        engine.open(account).set_secrets({k: v for k, v in secrets_of("secret").items() if k != "generation"})
    engine.close()
    bodies = (workers.smtp.run, workers.submission.run)
    threads = [
        threading.Thread(target=uvloop.run, args=(body(worker),), daemon=True) for body, worker in zip(bodies, running)
    ]
    for thread, worker in zip(threads, running):
        thread.start()
        assert worker.started.wait(10)
    ports = {name: found.getsockname()[1] for name, found in sockets.items()}
    yield type("Server", (), {"ports": ports, "paths": paths, "workers": running, "ca": ca})
    for thread, worker in zip(threads, running):
        worker.loop.call_soon_threadsafe(worker.stop.set)
        thread.join(10)
        assert not thread.is_alive()
    for found in sockets.values():
        found.close()


def inbox(server: Any, account: str) -> list[bytes]:
    engine = open_engine(server.paths)
    store = engine.open(account)
    box = store.mailbox("INBOX")
    found = [store.content(row[0]).read() for row in store.fetch(box.id, 1, 1 << 31, ("id",))]
    engine.close()
    return found


def client(server: Any, name: str) -> Any:
    context = ssl._create_unverified_context()
    if name == "submissions":
        return smtplib.SMTP_SSL("127.0.0.1", server.ports[name], context=context, timeout=60)
    plain = smtplib.SMTP("127.0.0.1", server.ports[name], timeout=60)
    plain.ehlo()
    assert plain.has_extn("starttls")
    plain.starttls(context=context)
    plain.ehlo()
    assert not plain.has_extn("starttls")
    return plain


def test_mail_goes_in_by_all_three_ports(server):
    with client(server, "smtp") as smtp:
        assert smtp.sendmail("a@b.example", ["mjl@example.org", "x@example.org"], MESSAGE) == {}
        assert smtp.docmd("QUIT")[0] == 221
    for name in ("submission", "submissions"):
        with client(server, name) as smtp:
            assert smtp.docmd("MAIL FROM:<mjl@example.org>")[0] == 530
            assert smtp.login("mjl@example.org", "secret")[0] == 235
            assert smtp.sendmail("mjl@example.org", ["mjl@example.org"], MESSAGE) == {}
    found = inbox(server, "mjl")
    assert len(found) == 3
    assert all(text.endswith(b"\r\n" + MESSAGE) for text in found)
    protocols = [text.partition(b" with ")[2].split()[0] for text in found]
    assert protocols == [b"ESMTPS", b"ESMTPSA", b"ESMTPSA"]
    assert b"TLSv1.3" in found[0]
    assert len(inbox(server, "rest")) == 1


@pytest.mark.parametrize("mechanism", ["auth_plain", "auth_login", "auth_cram_md5"])
def test_every_mechanism_of_smtplib(server, mechanism):
    with client(server, "submissions") as smtp:
        smtp.ehlo()
        smtp.user, smtp.password = "mjl", "wrong"
        name = mechanism.removeprefix("auth_").upper().replace("_", "-")
        with pytest.raises(smtplib.SMTPAuthenticationError) as found:
            smtp.auth(name, getattr(smtp, mechanism))
        assert found.value.smtp_code == 535
        smtp.password = "secret"
        assert smtp.auth(name, getattr(smtp, mechanism))[0] == 235


def test_commands_injected_after_starttls_are_not_run(server):
    """S20 (RFC 3207 6, CVE-2011-0411): what stands in the clear behind STARTTLS."""
    with socket.create_connection(("127.0.0.1", server.ports["smtp"]), 10) as raw:
        raw.sendall(b"EHLO x\r\nSTARTTLS\r\nMAIL FROM:<a@b.c>\r\n")
        answer = raw.makefile("rb").read()
    assert b"\r\n554 5.7.0 " in answer
    assert b"220 2.0.0" not in answer


def test_plaintext_to_the_tls_port_and_http_end_the_connection(server):
    with socket.create_connection(("127.0.0.1", server.ports["submissions"]), 10) as raw:
        raw.sendall(b"EHLO x\r\n")
        assert b"250" not in raw.makefile("rb").read()
    with socket.create_connection(("127.0.0.1", server.ports["smtp"]), 10) as raw:
        raw.sendall(b"POST / HTTP/1.1\r\n\r\n")
        assert b"\r\n554 5.5.1 " in raw.makefile("rb").read()


@pytest.mark.parametrize("name", ["smtp", "submissions"])
def test_the_connection_over_the_limit_is_refused_politely(server, name):
    port = server.ports[name]
    held = []
    for _ in range(5):
        held.append(socket.create_connection(("127.0.0.1", port), 10))
        if name == "smtp":
            assert held[-1].recv(100).startswith(b"220 ")
    with socket.create_connection(("127.0.0.1", port), 10) as over:
        answer = over.makefile("rb").read()
    assert answer.startswith(b"421 4.7.0 ") if name == "smtp" else answer == b""
    for found in held:
        found.close()


def test_a_message_of_five_megabytes(server):
    text = MESSAGE + b"x" * 70 + b"\r\n.dot\r\n" * 700_000
    with client(server, "smtp") as smtp:
        assert smtp.sendmail("a@b.example", ["mjl@example.org"], text) == {}
    assert inbox(server, "mjl")[0].endswith(text)
    assert list((server.paths.spool / "smtp.0").iterdir()) == []


def test_idle_connections_are_told_at_a_stop(server):
    with socket.create_connection(("127.0.0.1", server.ports["smtp"]), 10) as raw:
        stream = raw.makefile("rb")
        assert stream.readline().startswith(b"220 ")
        worker = server.workers[0]
        worker.loop.call_soon_threadsafe(worker.stop.set)
        assert stream.read().startswith(b"421 4.3.2 ")


@pytest.mark.parametrize("name", ["submission", "submissions"])
def test_a_client_certificate_logs_in(server, name):
    mine = server.ca.issue_cert("somebody@example.org")
    der = ssl.PEM_cert_to_DER_cert(mine.cert_chain_pems[0].bytes().decode())
    host = server.workers[1]
    known = replace(DYNAMIC.accounts["mjl"], client_certificates=(hashlib.sha256(der).hexdigest(),))
    dynamic = replace(DYNAMIC, accounts={**DYNAMIC.accounts, "mjl": known})
    host._snapshot = Snapshot(dynamic, host.static, 2)
    context = ssl._create_unverified_context()
    mine.configure_cert(context)
    if name == "submissions":
        one = smtplib.SMTP_SSL("127.0.0.1", server.ports[name], context=context, timeout=60)
    else:
        one = smtplib.SMTP("127.0.0.1", server.ports[name], timeout=60)
        one.starttls(context=context)
    with one:
        one.ehlo()
        assert one.esmtp_features["auth"].split()[0] == "EXTERNAL"
        assert one.docmd("AUTH", "EXTERNAL =")[0] == 235
        assert one.sendmail("mjl@example.org", ["mjl@example.org"], MESSAGE) == {}
    with client(server, name) as other:  # without one, it is not offered and not taken
        other.ehlo()
        assert "EXTERNAL" not in other.esmtp_features["auth"]
        assert other.docmd("AUTH", "EXTERNAL =")[0] == 504


@pytest.mark.parametrize("name", ["submission", "submissions"])
def test_channel_binding_with_an_independent_client(server, name):
    with client(server, name) as one:
        one.ehlo()
        assert "SCRAM-SHA-256-PLUS" in one.esmtp_features["auth"]
        binding = ("tls-server-end-point", hashlib.sha256(one.sock.getpeercert(binary_form=True)).digest())
        for known, code in ((("tls-server-end-point", b"x" * 32), 535), (binding, 235)):
            one.rset()
            scram = scramp.ScramClient(["SCRAM-SHA-256-PLUS"], "mjl@example.org", "secret", channel_binding=known)
            first = base64.b64encode(scram.get_client_first().encode()).decode()
            status, challenge = one.docmd("AUTH", f"SCRAM-SHA-256-PLUS {first}")
            scram.set_server_first(base64.b64decode(challenge).decode())
            status, answer = one.docmd(base64.b64encode(scram.get_client_final().encode()).decode())
            if code == 235:
                scram.set_server_final(base64.b64decode(answer).decode())
                status, _ = one.docmd("")
            assert status == code
