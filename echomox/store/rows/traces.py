"""The trace fields of a delivery without what they say again and again: who sent it, to whom, from which host, when.

Those values stand in front, once; in the fields there are octets for them, and long fields of words stand on one
line. What is not as our deliveries write it stays as it is. As packed rows were made with it (close.py), nothing here
may ever change: another way is another form. Pure.
"""

from __future__ import annotations

import re
import time
from ipaddress import IPv4Address
from struct import Struct

_START = re.compile(rb"Return-Path: <([^>\r\n]*)>\r\nDelivered-To: ([^\r\n]*)\r\nReceived: from ([^ \r\n]+)\s")
_ADDRESS = re.compile(rb"\[([0-9]{1,3}(?:\.[0-9]{1,3}){3})\]\)")
_ID = re.compile(rb"\sid [0-9a-z]+-([1-9a-f][0-9a-f]{11,13})[ ;\r]")
_STRANGE = re.compile(rb"[\0-\x07]")
_FOLDED = re.compile(rb"^(?:X-EchoMox-[A-Za-z]+|Received-SPF): [^\r]*(?:\r\n\t[^\r]*)+", re.MULTILINE)
_LONG = re.compile(rb"^(?:X-EchoMox-[A-Za-z]+|Received-SPF): [^\r]{50,}+(?!\r\n\t)", re.MULTILINE)
_AS_IT_IS, _SHORT = b"\0", b"\1"
_FACTS = Struct(">IQ")
"""The client's IPv4 address, 0 for none; microseconds in the id that Received has, 0 for none."""
_START_SIZE = 1 + _FACTS.size
_MOMENT_BITS = 56
_LINE = 78
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_CODES = (b"\1", b"\2", b"\3", b"\4", b"\5", b"\6", b"\7")
_LEAST = 4  # octets of a value: a shorter one is found where it is not meant


def shorten(prefix: bytes) -> bytes:
    start = _START.match(prefix)
    if start is None or _STRANGE.search(prefix):
        return _AS_IT_IS + prefix
    address, identity = _ADDRESS.search(prefix), _ID.search(prefix)
    facts = (
        (int(IPv4Address(address[1].decode())) if address and _is_plain(address[1]) else 0),
        (int(identity[1], 16) if identity else 0),
    )
    values = start.groups()
    text = _FOLDED.sub(lambda field: field[0].replace(b"\r\n\t", b" "), prefix)
    for code, value in zip(_CODES, _spoken(values, facts)):
        if len(value) >= _LEAST:
            text = text.replace(value, code)
    short = b"%b%b%b\0%b" % (_SHORT, _FACTS.pack(*facts), b"\0".join(values), text)
    return short if lengthen(short) == prefix else _AS_IT_IS + prefix


def lengthen(short: bytes) -> bytes:
    """Raises ValueError for what `shorten` did not make."""
    if short[:1] != _SHORT:
        if short[:1] != _AS_IT_IS:
            raise ValueError("no trace fields")
        return short[1:]
    facts = _FACTS.unpack_from(short[:_START_SIZE].ljust(_START_SIZE, b"\0"), 1)
    *values, text = short[_START_SIZE:].split(b"\0", 3)
    if len(values) != 3 or facts[1] >> _MOMENT_BITS:
        raise ValueError("no trace fields")
    for code, value in zip(_CODES, _spoken(tuple(values), facts)):
        text = text.replace(code, value)
    return _LONG.sub(_fold, text)


def _is_plain(address: bytes) -> bool:
    numbers = [int(number) for number in address.split(b".")]
    return max(numbers) < 256 and b".".join([b"%d" % number for number in numbers]) == address


def _spoken(values: tuple[bytes, ...], facts: tuple[int, int]) -> tuple[bytes, ...]:
    """What _CODES stand for. values: sender, recipient, name of the client."""
    sender, recipient, name = values
    address, moment = facts
    return (
        _date(moment // 1_000_000) if moment else b"",
        b"%x" % moment if moment else b"",
        sender,
        recipient,
        name,
        b"%d.%d.%d.%d" % (*address.to_bytes(4, "big"),) if address else b"",
        sender.rpartition(b"@")[2],
    )


def _date(seconds: int) -> bytes:
    """RFC 5322 3.3"""
    t = time.gmtime(seconds)
    day = f"{_DAYS[t.tm_wday]}, {t.tm_mday} {_MONTHS[t.tm_mon - 1]} {t.tm_year:04}"
    return f"{day} {t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} +0000".encode()


def _fold(field: re.Match[bytes]) -> bytes:
    """At blanks, each line as long as may be (RFC 5322 2.1.1), a tab before all but the first."""
    line = field[0]
    lines = []
    start, room = 0, _LINE
    while len(line) - start > room:
        cut = line.rfind(b" ", start, start + room + 1)
        if cut < 0:
            cut = line.find(b" ", start + room)
            if cut < 0:
                break
        lines.append(line[start:cut])
        start, room = cut + 1, _LINE - 1
    lines.append(line[start:])
    return b"\r\n\t".join(lines)
