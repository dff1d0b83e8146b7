"""G09: at the level trace, with every way to log in on every port, right and wrong, no password and nothing that stands
for one comes into the log; the commands around it do."""

from __future__ import annotations

import base64
import hashlib
import imaplib
import smtplib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import scramp

from tests.process.harness import Server, wait_until

PASSWORD = "correct-horse-77"
WRONG = "wrong-battery-88"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("secrets")
    one = Server.demo(root, "--password", PASSWORD, "--no-limits")
    static = root / "config" / "echomox.toml"
    text = static.read_text().replace("[auth]", "[auth]\nplus = true")
    static.write_text(text + '\n[logs]\nlevel = "trace"\n')
    with one:
        yield one


class Said:
    """What clients have said that must not be seen again."""

    def __init__(self) -> None:
        self.secrets: set[str] = {PASSWORD, WRONG}

    def note(self, data: bytes | str) -> str:
        """Base64 of it, which is a secret too."""
        raw = data.encode() if isinstance(data, str) else data
        text = base64.b64encode(raw).decode()
        self.secrets |= {text, raw.decode("latin-1")}
        return text

    def check(self, log: str) -> None:
        assert [secret for secret in self.secrets if len(secret) > 3 and secret in log] == []


def trusting() -> ssl.SSLContext:
    return ssl._create_unverified_context()


def smtp(server: Server, name: str) -> Any:
    if name == "submissions":
        one: Any = smtplib.SMTP_SSL("127.0.0.1", server.ports[name], context=trusting(), timeout=60)
    else:
        one = smtplib.SMTP("127.0.0.1", server.ports[name], timeout=60)
        one.starttls(context=trusting())
    one.ehlo("client.secret-free.test")
    return one


def scram(user: str, password: str, binding: bytes, said: Said) -> Any:
    client = scramp.ScramClient(
        ["SCRAM-SHA-256-PLUS"], user, password, channel_binding=("tls-server-end-point", binding)
    )
    first = said.note(client.get_client_first())

    def final(challenge: bytes) -> str:
        client.set_server_first(base64.b64decode(challenge).decode())
        said.note(base64.b64decode(challenge))
        return said.note(client.get_client_final())

    return first, final


@pytest.mark.parametrize("password, code", [(WRONG, 535), (PASSWORD, 235)])
@pytest.mark.parametrize("name", ["submission", "submissions"])
def test_submission(server: Server, name: str, password: str, code: int) -> None:
    said, user = Said(), server.accounts[0]["address"]
    plain = said.note(f"\0{user}\0{password}")
    with smtp(server, name) as one:
        assert one.docmd("AUTH", f"PLAIN {plain}")[0] == code
    with smtp(server, name) as one:
        assert one.docmd("AUTH", "LOGIN")[0] == 334
        assert one.docmd(base64.b64encode(user.encode()).decode())[0] == 334
        assert one.docmd(said.note(password))[0] == code
    with smtp(server, name) as one:
        binding = hashlib.sha256(one.sock.getpeercert(binary_form=True)).digest()
        first, final = scram(user, password, binding, said)
        answer = one.docmd("AUTH", f"SCRAM-SHA-256-PLUS {first}")
        assert answer[0] == 334
        assert one.docmd(final(answer[1]))[0] == (334 if code == 235 else 535)
        if code == 235:
            assert one.docmd("")[0] == 235
    with smtp(server, name) as one:  # a mechanism that is not there: the answers come as commands
        assert one.docmd("auth", f"XNONE {plain}")[0] == 504
        assert one.docmd(plain)[0] == 500
        assert one.docmd(f"{plain} more")[0] == 500
        assert one.docmd("NOOP")[0] == 250
    wait_until(lambda: "client.secret-free.test" in server.log, what="commands are traced")
    assert "AUTH PLAIN ***" in server.log and "NOOP" in server.log
    said.check(server.log)


@pytest.mark.parametrize("password", [WRONG, PASSWORD])
@pytest.mark.parametrize("name", ["imap", "imaps"])
def test_imap(server: Server, name: str, password: str) -> None:
    said, user = Said(), server.accounts[0]["address"]

    def connect() -> Any:
        if name == "imaps":
            return imaplib.IMAP4_SSL("127.0.0.1", server.ports[name], ssl_context=trusting())
        one = imaplib.IMAP4("127.0.0.1", server.ports[name])
        one.starttls(trusting())
        return one

    one = connect()
    try:
        one.login(user, password)
    except imaplib.IMAP4.error:
        assert password == WRONG
    one.logout()
    one = connect()
    plain = f"\0{user}\0{password}"
    said.note(plain)
    try:
        one.authenticate("PLAIN", lambda challenge: plain.encode())
    except imaplib.IMAP4.error:
        assert password == WRONG
    one.logout()
    one = connect()
    binding = hashlib.sha256(one.sock.getpeercert(binary_form=True)).digest()
    client = scramp.ScramClient(
        ["SCRAM-SHA-256-PLUS"], user, password, channel_binding=("tls-server-end-point", binding)
    )

    def answer(challenge: bytes) -> bytes:
        if not challenge:
            first = client.get_client_first()
            said.note(first)
            return first.encode()
        if challenge.startswith(b"v="):
            return b""
        client.set_server_first(challenge.decode())
        final = client.get_client_final()
        said.note(final)
        return final.encode()

    try:
        one.authenticate("SCRAM-SHA-256-PLUS", answer)
    except imaplib.IMAP4.error:
        assert password == WRONG
    one.logout()
    said.check(server.log)


def test_what_is_no_command_is_not_shown(server: Server) -> None:
    """Somebody types his password where a command belongs, on port 25 too."""
    with socket.create_connection(("127.0.0.1", server.ports["smtp"]), 60) as raw:
        stream = raw.makefile("rb")
        stream.readline()
        raw.sendall(f"{PASSWORD}\r\nAUTH PLAIN {PASSWORD}\r\nQUIT\r\n".encode())
        assert b"221" in stream.read()
    wait_until(lambda: "QUIT" in server.log)
    Said().check(server.log)


def test_no_file_of_the_server_holds_a_password(server: Server) -> None:
    """Hashes and derived keys are what is kept; the demo says its password in demo.json only."""
    found = [
        path.name
        for path in Path(server.root).rglob("*")
        if path.is_file() and path.name != "demo.json" and PASSWORD.encode() in path.read_bytes()
    ]
    assert found == []
