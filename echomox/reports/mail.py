"""The mails that reports travel in: RFC 7489 7.2.1.1 (aggregate reports), RFC 8460 5.3 (TLS reports), and the note to
say that a report was too large for where it should go (RFC 7489 7.2.2). Pure.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from echomox.message.compose import format_field
from echomox.message.date import format_date
from echomox.reports.model import day_of

_TOKEN = re.compile(r"[^A-Za-z0-9._-]")
LINE = 76


@dataclass(frozen=True, slots=True)
class Envelope:
    """sender: address of From. submitter: our domain. domain: that the report is about. begin, end: seconds."""

    sender: str
    recipients: tuple[str, ...]
    submitter: str
    domain: str
    report_id: str
    message_id: str
    begin: int
    end: int
    now: float


@dataclass(frozen=True, slots=True)
class _Part:
    kind: str
    data: bytes
    filename: str = ""


def subject_of(envelope: Envelope) -> str:
    """RFC 7489 7.2.1.1 dmarc-subject, RFC 8460 5.3 tlsrpt-subject: the same but for the name of the first tag."""
    return f"Report Domain: {envelope.domain} Submitter: {envelope.submitter} Report-ID: <{envelope.report_id}>"


def filename_of(envelope: Envelope, extension: str, unique: str = "") -> str:
    """RFC 7489 7.2.1.1, RFC 8460 5.1."""
    names = [envelope.submitter, envelope.domain, str(envelope.begin), str(envelope.end)]
    names += [unique] if unique else []
    return "!".join(_TOKEN.sub("_", name) for name in names) + extension


def dmarc_mail(envelope: Envelope, packed: bytes, random: Random) -> bytes:
    text = (
        f"This is a DMARC aggregate report from {envelope.submitter} about mail from {envelope.domain}\n"
        f"on {day_of(envelope.begin)}, UTC. It is attached as XML, compressed with gzip.\n"
        "It is sent because the domain's DMARC record names this address.\n"
    )
    parts = (_text(text), _Part("application/gzip", packed, filename_of(envelope, ".xml.gz")))
    return _mail(envelope, (), "multipart/mixed", parts, random)


def tls_mail(envelope: Envelope, packed: bytes, random: Random) -> bytes:
    text = (
        f"This is a report of {envelope.submitter} about TLS sessions with the mail servers of\n"
        f"{envelope.domain} on {day_of(envelope.begin)}, UTC. It is attached as JSON, compressed with gzip.\n"
        "It is sent because the domain's TLSRPT record names this address.\n"
    )
    parts = (_text(text), _Part("application/tlsrpt+gzip", packed, filename_of(envelope, ".json.gz", "001")))
    fields = (
        ("TLS-Report-Domain", envelope.domain),
        ("TLS-Report-Submitter", envelope.submitter),
        ("TLS-Required", "No"),  # RFC 8689 5; RFC 8460 3: reports of bad TLS must not fail by bad TLS
    )
    return _mail(envelope, fields, "multipart/report; report-type=tlsrpt", parts, random)


def too_large_mail(envelope: Envelope, size: int, uris: Sequence[str], random: Random) -> bytes:
    """RFC 7489 7.2.2."""
    lines = [
        f"Report-Date: {format_date(envelope.begin)}",
        f"Report-Domain: {envelope.domain}",
        f"Report-ID: {envelope.report_id}",
        f"Report-Size: {size}",
        f"Submitter: {envelope.submitter}",
        *(f"Submitting-URI: {uri}" for uri in uris),
        "",
        "The DMARC aggregate report named above is larger than its record allows for these addresses,",
        "so it was not sent.",
    ]
    return _mail(envelope, (), "", (_text("\n".join(lines) + "\n"),), random)


def _text(text: str) -> _Part:
    return _Part("text/plain; charset=us-ascii", text.replace("\n", "\r\n").encode("ascii", "replace"))


def _mail(
    envelope: Envelope, fields: Sequence[tuple[str, str]], kind: str, parts: Sequence[_Part], random: Random
) -> bytes:
    boundary = f"={random.getrandbits(96):024x}="
    to = ",\r\n ".join(f"<{address}>" for address in envelope.recipients)
    head = [
        f"From: <{envelope.sender}>\r\nTo: {to}\r\n".encode("ascii"),
        format_field("Subject", subject_of(envelope)),
        f"Date: {format_date(envelope.now)}\r\nMessage-ID: {envelope.message_id}\r\n".encode("ascii"),
        b"Auto-Submitted: auto-generated\r\n",  # RFC 3834 5
        *(format_field(name, value) for name, value in fields),
        b"MIME-Version: 1.0\r\n",
    ]
    if not kind:
        return b"".join([*head, _one(parts[0])])
    head.append(f'Content-Type: {kind};\r\n boundary="{boundary}"\r\n\r\n'.encode("ascii"))
    body = [f"--{boundary}\r\n".encode("ascii") + _one(part) for part in parts]
    return b"".join([*head, *body, f"--{boundary}--\r\n".encode("ascii")])


def _one(part: _Part) -> bytes:
    if not part.filename:
        return f"Content-Type: {part.kind}\r\nContent-Transfer-Encoding: 7bit\r\n\r\n".encode("ascii") + part.data
    coded = base64.b64encode(part.data)
    lines = [coded[start : start + LINE] for start in range(0, len(coded), LINE)]
    head = (
        f'Content-Type: {part.kind};\r\n name="{part.filename}"\r\n'
        f'Content-Disposition: attachment;\r\n filename="{part.filename}"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
    )
    return head.encode("ascii") + b"\r\n".join(lines) + b"\r\n"
