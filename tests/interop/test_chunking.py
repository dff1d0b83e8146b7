"""CHUNKING (RFC 3030) as a client of our own sees it, which sends what no library does: BDAT in every way of cutting,
pipelined, together with DSN (RFC 3461), and read back byte for byte; and swaks with every mechanism that it knows."""

from __future__ import annotations

import base64
import imaplib
import socket
import ssl
import time
from collections.abc import Callable, Iterator

import pytest

from tests.corpus import sample
from tests.interop.test_swaks import login, swaks

HEADER = b"From: <someone@peers.example>\r\nTo: <you@example.test>\r\nSubject: %b\r\nMIME-Version: 1.0\r\n\r\n"
BODY = b".\r\n..\r\n.three\r\nBDAT 5 LAST\r\nQUIT\r\n\r\n" + "grüße\r\n".encode() + b"the end\r\n"

Cut = Callable[[bytes], Iterator[bytes]]


def whole(text: bytes) -> Iterator[bytes]:
    yield text


def bytewise(text: bytes) -> Iterator[bytes]:
    """One byte each, CR and LF in different chunks too."""
    yield from (text[at : at + 1] for at in range(len(text)))


def then_nothing(text: bytes) -> Iterator[bytes]:
    """The last chunk is empty, as RFC 3030 2 allows."""
    yield text
    yield b""


def blocks(text: bytes) -> Iterator[bytes]:
    yield from (text[at : at + 997] for at in range(0, len(text), 997))


class Client:
    """Commands and replies; what is sent is sent at once."""

    def __init__(self, port: int, *, tls: bool = False) -> None:
        sock = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.sock = ssl._create_unverified_context().wrap_socket(sock) if tls else sock
        self.file = self.sock.makefile("rb")
        assert self.reply()[0] == 220

    def __enter__(self) -> Client:
        self.keywords = self.say(b"EHLO peer.example")[1]
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.sock.close()

    def reply(self) -> tuple[int, bytes]:
        text = b""
        while True:
            line = self.file.readline()
            assert line.endswith(b"\r\n"), text + line
            text += line[4:]
            if line[3:4] == b" ":
                return int(line[:3]), text

    def say(self, line: bytes) -> tuple[int, bytes]:
        self.sock.sendall(line + b"\r\n")
        return self.reply()

    def login(self, user: dict[str, str]) -> None:
        plain = base64.b64encode(f"\0{user['address']}\0{user['password']}".encode())
        assert self.say(b"AUTH PLAIN " + plain)[0] == 235

    def send(self, commands: list[bytes], chunks: list[bytes], *, pipelined: bool) -> list[int]:
        """The codes of all of them."""
        steps = [command + b"\r\n" for command in commands]
        for number, chunk in enumerate(chunks, 1):
            last = b" LAST" if number == len(chunks) else b""
            steps.append(b"BDAT %d%b\r\n%b" % (len(chunk), last, chunk))
        if pipelined:
            self.sock.sendall(b"".join(steps))
            return [self.reply()[0] for _ in steps]
        codes = []
        for step in steps:
            self.sock.sendall(step)
            codes.append(self.reply()[0])
        return codes


def inbox(server, user: int, subject: str) -> list[bytes]:
    """The messages with that subject, without what delivery put before them."""
    account = server.accounts[user]
    with imaplib.IMAP4("127.0.0.1", server.ports["imap"], timeout=60) as client:
        client.login(account["address"], account["password"])
        client.select("INBOX", readonly=True)
        numbers = client.search(None, "SUBJECT", f'"{subject}"')[1][0].split()
        return [client.fetch(number.decode(), "(BODY.PEEK[])")[1][0][1] for number in numbers]


def envelope(server, user: int) -> list[bytes]:
    to = server.accounts[user]["address"].encode()
    return [b"MAIL FROM:<someone@peers.example> BODY=8BITMIME", b"RCPT TO:<" + to + b">"]


@pytest.mark.parametrize("pipelined", [False, True], ids=["step by step", "pipelined"])
@pytest.mark.parametrize("cut", [whole, bytewise, then_nothing, blocks], ids=lambda cut: cut.__name__)
def test_what_comes_in_chunks_is_stored_as_it_was(server, cut: Cut, pipelined: bool):
    subject = f"chunks-{cut.__name__}-{pipelined}"
    text = HEADER % subject.encode() + BODY
    with Client(server.ports["smtp"]) as client:
        assert b"CHUNKING" in client.keywords and b"PIPELINING" in client.keywords
        assert set(client.send(envelope(server, 3), list(cut(text)), pipelined=pipelined)) == {250}
        assert client.say(b"QUIT")[0] == 221
    (message,) = inbox(server, 3, subject)
    assert message.endswith(text)


def test_a_long_one_and_every_shape_of_mail(server):
    """On one connection, all pipelined; the first is longer than what is kept in memory."""
    long = HEADER % b"chunks-long" + b"many words\r\n" * 100_000
    mails = [long, *(one.data for one in sample.messages()[:20])]
    with Client(server.ports["smtp"]) as client:
        for text in mails:
            assert set(client.send(envelope(server, 3), list(blocks(text)), pipelined=True)) == {250}
    (message,) = inbox(server, 3, "chunks-long")
    assert message.endswith(long)


def test_refused_recipients_take_no_chunks_and_the_stream_stays_in_step(server):
    """RFC 3030 2: the bytes of a refused BDAT are read away."""
    good, bad = envelope(server, 3), [b"MAIL FROM:<a@b.example>", b"RCPT TO:<nobody@elsewhere.example>"]
    text = HEADER % b"chunks-in-step" + BODY
    with Client(server.ports["smtp"]) as client:
        assert client.send(bad, [text], pipelined=True) == [250, 550, 554]
        assert client.say(b"RSET")[0] == 250
        assert client.send([], [text], pipelined=True) == [503]
        assert set(client.send(good, [text], pipelined=True)) == {250}
    assert len(inbox(server, 3, "chunks-in-step")) == 1


def test_a_size_that_is_none_ends_the_connection(server):
    """Nobody knows where the chunk would end, so nothing behind it is taken for a command."""
    with Client(server.ports["smtp"]) as client:
        commands = [*envelope(server, 3), b"BDAT x LAST"]
        assert client.send(commands, [], pipelined=True) == [250, 250, 501]
        assert client.file.readline() == b""


def test_data_does_not_follow_bdat(server):
    with Client(server.ports["smtp"]) as client:
        for command in envelope(server, 3):
            assert client.say(command)[0] == 250
        client.sock.sendall(b"BDAT 4\r\nab\r\n")
        assert client.reply()[0] == 250
        assert client.say(b"DATA")[0] == 503


def test_submission_in_chunks_with_a_report_of_delivery(server):
    user, to = server.accounts[0], server.accounts[1]["address"]
    text = f"From: {user['address']}\r\nTo: {to}\r\nSubject: chunks-dsn\r\n\r\n".encode() + BODY
    with Client(server.ports["submissions"], tls=True) as client:
        client.login(user)
        commands = [
            f"MAIL FROM:<{user['address']}> RET=HDRS ENVID=chunks+2B1 BODY=8BITMIME SIZE={len(text)}".encode(),
            f"RCPT TO:<{to}> NOTIFY=SUCCESS ORCPT=rfc822;{to}".encode(),
        ]
        assert set(client.send(commands, list(blocks(text)), pipelined=True)) == {250}
    assert len(inbox(server, 1, "chunks-dsn")) == 1
    end = time.monotonic() + 120
    while not (found := [one for one in inbox(server, 0, "delivered") if b"chunks+1" in one]):
        assert time.monotonic() < end, "no report has come"
        time.sleep(0.1)
    assert b"Action: delivered" in found[0]


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
@pytest.mark.parametrize("port, tls", [("submission", "-tls"), ("submissions", "-tlsc")])
def test_swaks_pipelines_after_each_mechanism(server, port, tls, mechanism):
    """swaks knows no SCRAM; msmtp does, see test_msmtp.py."""
    status, text = swaks(server, port, tls, "--pipeline", *login(server, mechanism))
    assert status == 0, text
    assert "235 2.7.0" in text and "250 2.0.0" in text


def test_swaks_sends_eight_bits_and_attachments(server, tmp_path):
    file = tmp_path / "picture.bin"
    file.write_bytes(bytes(range(256)) * 400)
    options = ["--attach", f"@{file}", "--h-Subject", "swaks-attachment", "--body", "grüße aus dem Test"]
    status, text = swaks(server, "submission", "-tls", *login(server, "PLAIN"), *options)
    assert status == 0, text
    (message,) = inbox(server, 0, "swaks-attachment")
    assert base64.encodebytes(file.read_bytes())[:60] in message
