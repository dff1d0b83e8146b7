"""A sample of mail of the project's own making: every shape of message the server must carry unchanged, from one seed.

`messages()` gives well-formed mail as SMTP carries it (CRLF lines); `refused()` gives mail that must not be accepted.
`ham` and `spam` give text with two different vocabularies, for training: invented words, so that nothing here resembles
a real person's mail.
"""

from __future__ import annotations

import base64
import quopri
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

SYLLABLES = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]
START = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Sample:
    name: str
    data: bytes
    parts: int
    """Leaf parts that a MIME reader must find."""


def vocabulary(seed: int, size: int = 3000) -> list[str]:
    rng = random.Random(seed)
    return ["".join(rng.choices(SYLLABLES, k=rng.randint(1, 4))) for _ in range(size)]


COMMON, HAM, SPAM = vocabulary(1), vocabulary(2, 800), vocabulary(3, 400)


def prose(rng: random.Random, words: int, own: list[str] | None = None) -> str:
    """Lines of about 72 characters; a third of the words from `own`."""
    lines, line = [], ""
    for _ in range(words):
        word = rng.choice(own) if own and rng.random() < 0.33 else COMMON[int(rng.paretovariate(0.6)) % len(COMMON)]
        line = f"{line} {word}" if line else word
        if len(line) > 66:
            lines.append(line)
            line = ""
    return "\r\n".join([*lines, line]) + "\r\n"


def header(serial: int, subject: str, extra: str = "", sender: str = "Ana Bell <ana@peers.example>") -> str:
    date = format_datetime(START + timedelta(minutes=serial))
    return (
        f"From: {sender}\r\nTo: you@example.test\r\nSubject: {subject}\r\nDate: {date}\r\n"
        f"Message-ID: <sample-{serial}@peers.example>\r\nMIME-Version: 1.0\r\n{extra}"
    )


def ham(serial: int) -> bytes:
    rng = random.Random(10_000 + serial)
    subject = " ".join(rng.choices(HAM, k=5))
    return (header(serial, subject) + "\r\n" + prose(rng, rng.randint(40, 300), HAM)).encode()


def spam(serial: int) -> bytes:
    rng = random.Random(20_000 + serial)
    subject = " ".join(rng.choices(SPAM, k=5)).upper() + "!!"
    text = prose(rng, rng.randint(40, 200), SPAM)
    link = f"http://{rng.choice(SPAM)}.shop.example/{rng.randrange(9999)}"
    html = f'<html><body><p>{text}</p><a href="{link}">{rng.choice(SPAM)}</a></body></html>\r\n'
    sender = f"{rng.choice(SPAM)} <{rng.choice(SPAM)}@bulk{serial % 50}.example>"
    return (header(serial, subject, "Content-Type: text/html; charset=utf-8\r\n", sender) + "\r\n" + html).encode()


def wrapped(data: bytes) -> str:
    return base64.encodebytes(data).decode().replace("\n", "\r\n")


def multipart(kind: str, boundary: str, parts: list[str]) -> str:
    inside = "".join(f"--{boundary}\r\n{part}\r\n" for part in parts)
    return f'Content-Type: multipart/{kind}; boundary="{boundary}"\r\n\r\n{inside}--{boundary}--\r\n'


def attached(content_type: str, data: bytes) -> str:
    """A part in base64."""
    return f"Content-Type: {content_type}\r\nContent-Transfer-Encoding: base64\r\n\r\n{wrapped(data)}"


def _shapes(rng: random.Random) -> Iterator[tuple[str, str | bytes, int]]:
    """(name, what follows the common header: more fields, empty line, body; leaf parts)"""
    text = "Content-Type: text/plain; charset=utf-8\r\n"
    plain = text + "\r\n" + prose(rng, 60)
    html = "Content-Type: text/html; charset=utf-8\r\n\r\n<p>" + prose(rng, 60) + "</p>"
    pdf = attached("application/pdf; name=a.pdf", rng.randbytes(3000))
    utf8 = "Grüße aus Köln, ça va? Привет, 你好, こんにちは, مرحبا\r\n" * 3
    alternative = multipart("alternative", "alt", [plain, html])
    inner = header(999, "forwarded") + plain
    yield "plain", plain, 1
    yield "empty-body", text + "\r\n", 1
    yield "dots", text + "\r\n.\r\n..\r\n.leading dot\r\nend.\r\n", 1
    yield "utf8-body", (text + "Content-Transfer-Encoding: 8bit\r\n\r\n" + utf8), 1
    yield (
        "latin1",
        b"Content-Type: text/plain; charset=iso-8859-1\r\n\r\n" + "déjà vu à Zürich\r\n".encode("latin-1") * 5,
        1,
    )
    yield (
        "quoted-printable",
        (
            text
            + "Content-Transfer-Encoding: quoted-printable\r\n\r\n"
            + quopri.encodestring(utf8.encode()).decode().replace("\r\n", "\n").replace("\n", "\r\n")
        ),
        1,
    )
    yield "base64-text", text + "Content-Transfer-Encoding: base64\r\n\r\n" + wrapped(utf8.encode()), 1
    yield "alternative", alternative, 2
    yield "attachment", multipart("mixed", "=_mixed", [alternative, pdf]), 3
    yield "related", multipart("related", "rel.1", [html, pdf]), 2
    yield "forwarded", multipart("mixed", "fwd", [plain, "Content-Type: message/rfc822\r\n\r\n" + inner]), 2
    yield "nested", multipart("mixed", "outer", [multipart("mixed", "outer-in", [plain, alternative]), pdf]), 4
    yield "boundary-prefix", multipart("mixed", "b", [multipart("mixed", "bb", [plain, html]), plain]), 3
    yield "preamble", multipart("mixed", "p", [plain]).replace("\r\n\r\n--p", "\r\n\r\nThis is MIME.\r\n--p", 1), 1
    yield "line-998", text + "\r\n" + "x" * 998 + "\r\n", 1
    yield "line-64k", text + "\r\n" + "y" * 64_000 + "\r\n", 1
    yield "folded-header", "X-Long: " + "\r\n ".join(["word " * 10] * 30) + "\r\n" + plain, 1
    yield (
        "many-recipients",
        "Cc: " + ",\r\n ".join(f"P{n} <p{n}@peers.example>" for n in range(300)) + "\r\n" + plain,
        1,
    )
    yield "header-only", "\r\n", 1
    yield "raw-8bit-header", b"X-Name: J\xf6rg\r\nContent-Type: text/plain\r\n\r\nhello\r\n", 1
    yield "large", multipart("mixed", "big", [plain, pdf, attached("application/zip", rng.randbytes(1_500_000))]), 3


SUBJECTS = ("hello", "=?utf-8?B?R3LDvMOfZQ==?=", "=?iso-8859-1?Q?d=E9j=E0?= vu", 'with "quotes" and \\', "")


def messages() -> list[Sample]:
    rng = random.Random(7)
    found = []
    for serial, (name, rest, parts) in enumerate(_shapes(rng)):
        tail = rest if isinstance(rest, bytes) else rest.encode()
        found.append(Sample(name, header(serial, SUBJECTS[serial % len(SUBJECTS)]).encode() + tail, parts))
    return found


def refused() -> list[tuple[str, bytes]]:
    """(name, data) that end in a 5xx reply to the data."""
    head = header(0, "bad").encode()
    return [
        ("bare CR", head + b"\r\none\rtwo\r\n"),
        ("bare LF", head + b"\r\none\ntwo\r\n"),
        ("two From fields", b"From: other@peers.example\r\n" + head + b"\r\ntext\r\n"),
        ("line over 64 KiB", head + b"\r\n" + b"z" * 70_000 + b"\r\n"),
        ("loop", b"Received: by loop.example; Mon, 5 Jan 2026 08:00:00 +0000\r\n" * 120 + head + b"\r\nround\r\n"),
    ]
