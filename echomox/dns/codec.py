"""DNS messages: a question to bytes, and the bytes of a reply to what it says. Pure.

RFC 1035 4, RFC 3597, RFC 6891 (EDNS), RFC 8914 (extended errors), RFC 2308 5 (how long an absence is kept). The record
types that mail needs are read here, straight into the values of `types.Answer`; others by dnspython. Whatever is wrong
with a reply is a `BadReply`, never another exception. A record whose data make no sense for DANE or CAA is not wrong
here: what its owner wrote is given as it is, and who uses it judges.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from echomox.dns.types import Caa, Mx, Soa, Srv, Tlsa

HEADER = struct.Struct("!HHHHHH")
UDP_PAYLOAD = 1232  # bytes, RFC 9715 3.1: no fragments
QR, TC, RD, AD = 0x8000, 0x0200, 0x0100, 0x0020
FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = 1, 2, 3, 4, 5
RCODES = {1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED", 9: "NOTAUTH", 16: "BADVERS"}
EDE_BOGUS = frozenset(range(6, 13))  # RFC 8914 4.7 to 4.13
TTL_MAX = 0x7FFFFFFF
RECORDS = 2000  # of one section; more is no honest answer
TYPES = {
    "A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "TLSA": 52,
    "CAA": 257,
}  # fmt: skip
_NAMES = {number: name for name, number in TYPES.items()}
_CNAME, _SOA, _OPT, _RRSIG = 5, 6, 41, 46
_DO = 0x8000
_EDE = 15  # EDNS option
_FIXED = struct.Struct("!HHIH")
_PLAIN = frozenset(range(0x21, 0x7F)) - set(b".\\")
_EDE_TEXT = (
    "other", "unsupported DNSKEY algorithm", "unsupported DS digest type", "stale answer", "forged answer",
    "DNSSEC indeterminate", "DNSSEC bogus", "signature expired", "signature not yet valid", "DNSKEY missing",
    "RRSIGs missing", "no zone key bit set", "NSEC missing", "cached error", "not ready", "blocked", "censored",
    "filtered", "prohibited", "stale NXDOMAIN answer", "not authoritative", "not supported", "no reachable authority",
    "network error", "invalid data",
)  # fmt: skip


_Gathered = dict[tuple[str, str], tuple[dict[Any, None], int]]


class BadReply(Exception):
    """Bytes that are no reply to our question; str() says why."""


@dataclass(slots=True)
class Reply:
    """What a reply says. records: (name, type) -> (values, TTL), of the answer section. negative_ttl: of the SOA in the
    authority section, None without one. ede: extended errors as one line. bogus: DNSSEC validation failed.
    """

    rcode: int
    authentic: bool
    records: dict[tuple[str, str], tuple[tuple[Any, ...], int]] = field(default_factory=dict)
    negative_ttl: int | None = None
    ede: str = ""
    bogus: bool = False

    def trouble(self) -> str:
        """The response code with what the server says of it."""
        return RCODES.get(self.rcode, f"RCODE {self.rcode}") + (f": {self.ede}" if self.ede else "")


def type_number(type: str) -> int:
    """Raises ValueError for what is no type, or a question type that a resolver has no one answer to (ANY, AXFR)."""
    if type in TYPES:
        return TYPES[type]
    import dns.exception
    import dns.rdatatype

    try:
        number = dns.rdatatype.from_text(type)
    except (dns.exception.DNSException, ValueError):
        raise ValueError(f"no DNS record type {type!r}") from None
    if dns.rdatatype.is_metatype(number) or not 0 < number < 65536:
        raise ValueError(f"{type} cannot be asked for")
    return int(number)


def type_name(number: int) -> str:
    if number in _NAMES:
        return _NAMES[number]
    import dns.rdatatype

    return dns.rdatatype.to_text(dns.rdatatype.RdataType.make(number))


# -- questions ------------------------------------------------------------------


def question(name: str, number: int) -> bytes:
    """The question section (RFC 1035 4.1.2) of a canonical name."""
    labels = name.encode("ascii").split(b".") if name else []
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\0" + struct.pack("!HH", number, 1)


def query(id: int, asked: bytes, *, edns: bool = True, dnssec: bool = False) -> bytes:
    """A whole query message. dnssec: ask for validation (AD, RFC 6840 5.7; DO, RFC 4035 3.2.1)."""
    head = HEADER.pack(id, RD | (AD if dnssec else 0), 1, 0, 0, int(edns))
    if not edns:
        return head + asked
    return head + asked + b"\0" + _FIXED.pack(_OPT, UDP_PAYLOAD, _DO if dnssec else 0, 0)


# -- replies --------------------------------------------------------------------


def answers(wire: bytes, asked: bytes) -> bool:
    """Whether bytes with the right id are a reply to this question (RFC 5452 9.1): the same name, type and class. A
    server that does not understand a message may leave the question out of its reply.
    """
    if len(wire) < HEADER.size:
        return False
    _, flags, questions, *_ = HEADER.unpack_from(wire)
    if not flags & QR or flags & 0x7800:  # a query; another opcode
        return False
    if questions == 0:
        return flags & 15 in (FORMERR, NOTIMP) and len(wire) <= 64
    return questions == 1 and wire[12 : 12 + len(asked)].lower() == asked.lower()


def truncated(wire: bytes) -> bool:
    return bool(wire[2] & (TC >> 8))


def parse(wire: bytes) -> Reply:
    """Raises BadReply."""
    try:
        return _parse(wire)
    except (IndexError, struct.error, ValueError, OSError):
        raise BadReply("malformed reply") from None


def _parse(wire: bytes) -> Reply:
    _, flags, questions, answered, authority, additional = HEADER.unpack_from(wire)
    reply = Reply(flags & 15, bool(flags & AD))
    place = HEADER.size
    for _ in range(questions):
        place = _name(wire, place)[1] + 4
    if max(answered, authority, additional) > RECORDS:
        raise BadReply("a reply with too many records")
    gathered: _Gathered = {}
    for number in range(answered + authority + additional):
        owner, place = _name(wire, place)
        kind, klass, ttl, length = _FIXED.unpack_from(wire, place)
        place += _FIXED.size
        end = place + length
        if end > len(wire):
            raise BadReply("a reply that is cut off")
        if kind == _OPT:
            reply.rcode |= ttl >> 24 << 4  # RFC 6891 6.1.3
            _extended_errors(reply, wire[place:end])
        elif number < answered:
            if klass == 1 and kind != _RRSIG:
                _gather(gathered, (owner, type_name(kind)), _ttl(ttl), _value(wire, kind, place, end))
        elif kind == _SOA and klass == 1 and number < answered + authority:
            reply.negative_ttl = min(_ttl(ttl), _ttl(_value(wire, kind, place, end).minimum))
        place = end
    reply.records = {key: (tuple(values), ttl) for key, (values, ttl) in gathered.items()}
    return reply


def _gather(gathered: _Gathered, key: tuple[str, str], ttl: int, value: Any) -> None:
    """RFC 2181 5: equal records are one, and the least TTL holds for all."""
    values, least = gathered.get(key, ({}, ttl))
    values[value] = None
    gathered[key] = values, min(ttl, least)


def _ttl(seconds: int) -> int:
    return seconds if seconds <= TTL_MAX else 0  # RFC 2181 8


def _name(wire: bytes, place: int) -> tuple[str, int]:
    """(name, the place after it). Lower-case, no final dot; bytes that are no plain ASCII, and dots and backslashes
    within labels, as \\DDD. Pointers only lead back, so that they end (RFC 1035 4.1.4).
    """
    labels: list[str] = []
    after, lowest, size = 0, place, 0
    while length := wire[place]:
        if length >= 0xC0:
            target = (length & 0x3F) << 8 | wire[place + 1]
            after = after or place + 2
            if target >= lowest:
                raise BadReply("a name that does not end")
            place = lowest = target
            continue
        size += length + 1
        if length > 63 or size > 254 or place + length >= len(wire):
            raise BadReply("a name that is too long")
        labels.append(_label(wire[place + 1 : place + 1 + length].lower()))
        place += length + 1
    return ".".join(labels), after or place + 1


def _label(label: bytes) -> str:
    if _PLAIN.issuperset(label):
        return label.decode("ascii")
    return "".join(chr(byte) if byte in _PLAIN else f"\\{byte:03}" for byte in label)


def _value(wire: bytes, kind: int, place: int, end: int) -> Any:
    """The value of one record; raises ValueError, IndexError or struct.error for what is none."""
    read = _READ.get(kind)
    if read is not None:
        return read(wire, place, end)
    import dns.exception
    import dns.rdata
    import dns.rdataclass
    import dns.rdatatype

    try:
        type = dns.rdatatype.RdataType.make(kind)
        return dns.rdata.from_wire(dns.rdataclass.IN, type, wire, place, end - place).to_text()
    except (dns.exception.DNSException, KeyError, AttributeError) as error:
        raise ValueError(str(error)) from None


def _address4(wire: bytes, place: int, end: int) -> str:
    return socket.inet_ntop(socket.AF_INET, wire[place:end])


def _address6(wire: bytes, place: int, end: int) -> str:
    return socket.inet_ntop(socket.AF_INET6, wire[place:end])


def _host(wire: bytes, place: int, end: int) -> str:
    name, after = _name(wire, place)
    if after != end:
        raise ValueError("more than a name")
    return name


def _text(wire: bytes, place: int, end: int) -> bytes:
    """The strings of a TXT record joined."""
    found = []
    while place < end:
        after = place + 1 + wire[place]
        if after > end:
            raise ValueError("a string that is cut off")
        found.append(wire[place + 1 : after])
        place = after
    return b"".join(found)


def _mx(wire: bytes, place: int, end: int) -> Mx:
    return Mx(struct.unpack_from("!H", wire, place)[0], _host(wire, place + 2, end))


def _srv(wire: bytes, place: int, end: int) -> Srv:
    priority, weight, port = struct.unpack_from("!HHH", wire, place)
    return Srv(priority, weight, port, _host(wire, place + 6, end))


def _soa(wire: bytes, place: int, end: int) -> Soa:
    mname, place = _name(wire, place)
    rname, place = _name(wire, place)
    if end - place != 20:
        raise ValueError("a SOA of another length")
    serial, _, _, _, minimum = struct.unpack_from("!IIIII", wire, place)
    return Soa(mname, rname, serial, minimum)


def _tlsa(wire: bytes, place: int, end: int) -> Tlsa:
    if end - place < 3:
        raise ValueError("a TLSA without its numbers")
    return Tlsa(wire[place], wire[place + 1], wire[place + 2], wire[place + 3 : end])


def _caa(wire: bytes, place: int, end: int) -> Caa:
    after = place + 2 + wire[place + 1]
    if after > end:
        raise ValueError("a CAA whose tag is cut off")
    return Caa(wire[place], wire[place + 2 : after].decode("ascii", "replace").lower(), wire[after:end])


_READ: dict[int, Callable[[bytes, int, int], Any]] = {
    TYPES["A"]: _address4,
    TYPES["AAAA"]: _address6,
    TYPES["NS"]: _host,
    TYPES["CNAME"]: _host,
    TYPES["PTR"]: _host,
    TYPES["TXT"]: _text,
    TYPES["MX"]: _mx,
    TYPES["SRV"]: _srv,
    TYPES["SOA"]: _soa,
    TYPES["TLSA"]: _tlsa,
    TYPES["CAA"]: _caa,
}


def _extended_errors(reply: Reply, options: bytes) -> None:
    """RFC 8914 2, of the options of an OPT record."""
    said: list[str] = []
    place = 0
    while place + 4 <= len(options) and len(said) < 3:
        code, length = struct.unpack_from("!HH", options, place)
        data = options[place + 4 : place + 4 + length]
        place += 4 + length
        if code != _EDE or len(data) < 2:
            continue
        number = int.from_bytes(data[:2], "big")
        reply.bogus = reply.bogus or number in EDE_BOGUS
        name = _EDE_TEXT[number] if number < len(_EDE_TEXT) else f"EDE {number}"
        text = data[2:].rstrip(b"\0").decode("utf-8", "replace")
        said.append(name + (f" ({text})" if text else ""))
    reply.ede = "; ".join(said)
