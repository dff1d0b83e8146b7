"""Trace fields that we put before a message at delivery: Received (RFC 5321 4.4), Return-Path, Delivered-To
(RFC 9228).

Values come from strangers (HELO, reverse DNS, addresses). No CR, LF, NUL or other control character, no
parenthesis out of place and no broken byte gets through: it becomes "?". Well-formed UTF-8 stays in addresses
only (RFC 6532 3.2). Lines are folded at 78 columns where there is a space to fold at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from echomox.message.address import normalise_domain
from echomox.message.date import format_date

MAX_LINE = 78  # RFC 5322 2.1.1
MAX_HOST = 255

_NOT_HOST = re.compile(r"[^A-Za-z0-9._:\[\]-]")
_NOT_WORD = re.compile(r"[^A-Za-z0-9._/+=-]")
_NOT_COMMENT = re.compile(r"[^A-Za-z0-9 ._/:,+=-]")
_NOT_PLAIN = re.compile(r"[\s()\"\\;,:]")
_NOT_PATH = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff<>]")


@dataclass(frozen=True, slots=True)
class Hop:
    """One reception. ip: of the client, "" for none known. rdns: its verified name or "". protocol: from
    `protocol_name`. recipient: only when there is exactly one (RFC 5321 7.6), else "". tls: version and
    cipher, "TLSv1.3 TLS_AES_128_GCM_SHA256", or "". seconds: Unix time."""

    helo: str
    rdns: str
    ip: str
    by: str
    id: str
    protocol: str
    recipient: str
    tls: str
    seconds: float


def protocol_name(esmtp: bool, tls: bool, authenticated: bool, utf8: bool) -> str:
    """The name after "with": RFC 3848 (ESMTP, ESMTPS, ESMTPA, ESMTPSA), RFC 6531 4.3 (UTF8SMTP and so on);
    SMTP after HELO."""
    if not esmtp:
        return "SMTP"
    return ("UTF8SMTP" if utf8 else "ESMTP") + ("S" if tls else "") + ("A" if authenticated else "")


def received_field(hop: Hop) -> bytes:
    """The field with its line end."""
    words = ["from", _host(hop.helo) or "unknown"]
    ip = _NOT_HOST.sub("?", hop.ip)
    if ip:
        literal = f"[IPv6:{ip}]" if ":" in ip else f"[{ip}]"  # RFC 5321 4.1.3
        words.append(f"({_host(hop.rdns)} {literal})" if hop.rdns else f"({literal})")
    words += ["by", _host(hop.by), "with", _NOT_WORD.sub("?", hop.protocol)]
    if hop.tls:
        words.append(f"({_NOT_COMMENT.sub('?', hop.tls[:100])})")
    if hop.id:
        words += ["id", _NOT_WORD.sub("?", hop.id[:100])]
    if hop.recipient and not _NOT_PLAIN.search(hop.recipient):
        words += ["for", f"<{_path(hop.recipient)}>"]
    words[-1] += ";"
    return _folded("Received:", [*_pairs(words), format_date(hop.seconds)])


def return_path(sender: str) -> bytes:
    """Return-Path with the reverse path; "" is the null path <>."""
    return f"Return-Path: <{_path(sender)}>\r\n".encode()


def delivered_to(address: str) -> bytes:
    """Delivered-To (RFC 9228 2): the address as the message was delivered to it."""
    return f"Delivered-To: {_path(address)}\r\n".encode()


def _pairs(words: list[str]) -> list[str]:
    """A keyword stays on one line with its value."""
    out: list[str] = []
    for word in words:
        if out and out[-1] in ("from", "by", "with", "id", "for"):
            out[-1] += " " + word
        else:
            out.append(word)
    return out


def _folded(line: str, pieces: Iterable[str]) -> bytes:
    lines = []
    for piece in pieces:
        # A tab is counted as one column here: RFC 5322 2.1.1 counts characters.
        if len(line) + 1 + len(piece) > MAX_LINE and line.strip():
            lines.append(line)
            line = "\t" + piece
        else:
            line = f"{line} {piece}"
    return "\r\n".join([*lines, line, ""]).encode("utf-8")


def _host(name: str) -> str:
    name = name[:MAX_HOST]
    if not name.isascii():
        try:
            name = normalise_domain(name)
        except ValueError:
            pass
    return _NOT_HOST.sub("?", name)


def _path(address: str) -> str:
    return _NOT_PATH.sub("?", address[:512])
