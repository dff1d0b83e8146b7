"""Mail made to burst parsers and classifiers, and garbage on the sockets between the processes."""

from __future__ import annotations

import base64
import struct
import time
from collections.abc import Callable

import pytest

from echomox.ipc.frame import encode
from echomox.ipc.schema import Listen, Ring
from tests.process.harness import HANG, wait_until
from tests.process.test_hostile import (
    HTTP,
    calm,
    dial,
    login,
    prepare,
    rest,
    run,
    send,
    served,
    spooled,
    status,
    transmit,
    verify,
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with prepare(tmp_path_factory.mktemp("hostile") / "demo") as server:
        yield server
        verify(server)
        assert spooled(server) == []



def _fold(data: bytes, width: int = 900) -> bytes:
    return b"\r\n ".join(data[start : start + width] for start in range(0, len(data), width))


def _html(data: bytes) -> bytes:
    return b"Subject: html\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + _fold(data)


def _wrapped(depth: int) -> bytes:
    """Messages in base64 within messages."""
    message = b"Subject: inner\r\n\r\nhello\r\n"
    for _ in range(depth):
        inner = base64.encodebytes(message).replace(b"\n", b"\r\n")
        message = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n" + inner
    return message


_PART = b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n"
_LONG = b"b" * 60_000
_OPEN = b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n"
ITEMS = b"(ENVELOPE BODYSTRUCTURE RFC822.SIZE BODY.PEEK[HEADER] BODY.PEEK[1] BODY.PEEK[1.1.MIME] BODY.PEEK[])"
BOMBS: dict[str, Callable[[], bytes]] = {
    "parts": lambda: b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + _PART * 10_000 + b"--b--",
    "depth": lambda: b"".join(_OPEN % (level, level) for level in range(5000)) + b"\r\nx",
    "messages": lambda: b"Content-Type: message/rfc822\r\n\r\n" * 5000 + b"x",
    "base64": lambda: _wrapped(20),
    "words": lambda: b"Subject: " + _fold(b"=?x" * 80_000) + b"\r\n\r\nx",
    "words-of-body": lambda: b"Subject: a\r\n\r\n" + _fold(b"=?utf-8?b?" * 100_000),
    "addresses": lambda: b"To: " + _fold(b"(" * 60_000 + b'"\\' * 30_000 + b"a:<@b," * 20_000) + b"\r\n\r\nx",
    "boundary": lambda: b'Content-Type: multipart/mixed; boundary="%b"\r\n\r\n--%b' % (_LONG, _LONG),
    "parameters": lambda: (
        b"Content-Type: text/plain;" + b";\r\n".join(b" n*%d*=a%%20" % n for n in range(15_000)) + b"\r\n\r\nx"
    ),
    "long-lines": lambda: b"Subject: l\r\n\r\n" + (b"q" * 65_000 + b"\r\n") * 25,
    "tags": lambda: _html(b"<div>" * 350_000),
    "tables": lambda: _html(b"<table><tr><td>" * 120_000),
    "angles": lambda: _html(b"<" * 1_900_000),
    "attributes": lambda: _html(b"<a " + b" ".join(b"a%d=1" % n for n in range(180_000)) + b">"),
    "comments": lambda: _html(b"<!--<script>&#x1F600;&lt<![CDATA[" * 50_000),
    "charset": lambda: b"Content-Type: text/plain; charset=utf-7\r\n\r\n" + _fold(b"+AAAA-" * 200_000),
    "unknown-charset": lambda: b"Content-Type: text/plain; charset=zlib\r\n\r\n" + _fold(b"x\x9c\xcbH" * 200_000),
    "distinct-words": lambda: b"Subject: w\r\n\r\n" + _fold(b" ".join(b"w%x" % (n * 7919) for n in range(200_000))),
    "nothing": lambda: b"",
    "controls": lambda: b"Subject: \x01\x1b[31m\x7f\xff\r\nFrom: \xff\xfe <a\x01@b>\r\n\r\n\x01\x02",
}


def test_bombs_are_delivered_and_can_be_read(server):
    before = status(server)["counters"]
    with calm(server):
        for name, make in BOMBS.items():
            mail = make()
            with served(server, name):
                assert transmit(server, mail, 2).startswith(b"250 "), name
        with login(server, 2) as peer:
            assert b"* SEARCH " + b" ".join(b"%d" % n for n in range(1, len(BOMBS) + 1)) in run(peer, b"a SEARCH ALL")
            for number, name in enumerate(BOMBS, 1):
                assert b"a OK" in run(peer, b"a FETCH %d %b" % (number, ITEMS)), name
            for key in (b"TEXT zzz", b"SUBJECT zzz", b"HEADER To zzz", b"BODY hello"):
                assert b"a OK" in run(peer, b"a SEARCH " + key), key
    after = status(server)["counters"]
    assert after["smtp_messages_accepted"] - before["smtp_messages_accepted"] == len(BOMBS)
    assert after["verdicts_full"] - before["verdicts_full"] >= len(BOMBS) - 1
    assert after["classify_timeouts"] == before["classify_timeouts"]


# -- sockets between processes ---------------------------------------------------

FRAMES = (
    b"\xff\xff\xff\xff" + b"a" * 1000,
    bytes(100_000),
    struct.pack(">I", (1 << 20) + 1) + b"x" * 1000,
    struct.pack(">I", 900_000) + b"\x91" * 900_000,
    struct.pack(">I", 5) + b"\xdd\xff\xff\xff\xff",
    HTTP,
)
FRAMED = ("change", "learn", "classify.0")


def test_garbage_on_the_sockets_between_processes(server):
    dropped = status(server)["counters"]["ipc_dropped"]
    with calm(server):
        idle = [dial(server, name) for name in FRAMED for _ in range(80)]
        for peer in idle[::2]:
            send(peer, b"\0\0\1\0half")
        for name in FRAMED:
            for data in FRAMES:
                with dial(server, name) as peer:
                    send(peer, data)
                    rest(peer)
        with dial(server, "control") as peer:
            for data in (b"[" * 50_000, b'{"op": "message.raw", "account": "../..", "id": 1e308}', b"\xff\0"):
                peer.sendall(data + b"\n")
                assert b'"ok": false' in peer.recv(65536)
        assert transmit(server, b"Subject: beside it\r\n\r\nx").startswith(b"250 ")
        for peer in idle:
            peer.close()
    wanted = dropped + len(FRAMED) * len(FRAMES)
    wait_until(lambda: status(server)["counters"]["ipc_dropped"] >= wanted, what="all of them counted")


def test_bells_that_lie_hide_no_mail(server):
    with calm(server), login(server) as peer, dial(server, "change") as bell:
        peer.sendall(b"i IDLE\r\n")
        assert peer.recv(100).startswith(b"+ ")
        bell.sendall(encode(Listen("*")))
        for modseq in (10**18, (1 << 63) - 1, -5, 0):
            bell.sendall(encode(Ring("u0", modseq)))
            time.sleep(0.05)
        peer.settimeout(HANG)
        with peer.makefile("rb") as lines:
            for _ in range(2):
                assert transmit(server, b"Subject: true\r\n\r\nx").startswith(b"250 ")
                while b" EXISTS\r\n" not in (line := lines.readline()):
                    assert line
