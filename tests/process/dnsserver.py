"""An authoritative DNS server on loopback, UDP and TCP at one free port, for tests that start real processes.

    with DnsServer('''
        example.org.               MX    10 mx.example.org.
        example.org.               TXT   "v=spf1 ip4:127.0.0.0/8 -all"
        mx.example.org.            A     127.0.0.1
        *.wild.example.org.        A     127.0.0.2
    ''') as dns:
        dns.address                # "127.0.0.1:40123", for dns.resolver
        dns.put("x.example.org", "TXT", '"v=DKIM1; p="')        # replaces; None takes the name's records away
        dns.fail["slow.example.org"] = "silent"                  # or "servfail", "refused": the name and those below it
        dns.secure = True                                        # or a set of names: answers have the AD bit
        dns.asked                                                # [("example.org", "MX"), ...]

Names of a zone text without a final dot get one; the default TTL is 300. CNAMEs are followed, wildcards match (RFC
4592, without its finer points), a name above one that has records exists. A UDP answer that is larger than the client
takes comes cut, with TC. It is the resolver and the authority in one: RA and AA are set.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import struct
import threading
from collections.abc import Iterable
from types import TracebackType

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdatatype
import dns.rrset

TTL = 300
CHAIN = 8
_SOA = "ns.invalid. host.invalid. 1 3600 600 86400 60"

Key = tuple[str, str]


class DnsServer:
    """Serves from `__enter__` to `__exit__`, in two threads. zone: lines "NAME [TTL] [IN] TYPE RDATA"."""

    def __init__(self, zone: str = "", *, secure: bool | Iterable[str] = False) -> None:
        self.records: dict[Key, list[dns.rdata.Rdata]] = {}
        self.ttls: dict[Key, int] = {}
        self.fail: dict[str, str] = {}
        self.secure: bool | set[str] = secure if isinstance(secure, bool) else set(secure)
        self.asked: list[Key] = []
        self.port = 0
        self._lock = threading.Lock()
        self._servers: list[socketserver.BaseServer] = []
        self.add(zone)

    # the zone

    def add(self, zone: str) -> None:
        """More lines; equal records count once."""
        for line in zone.splitlines():
            words = line.split(None, 1)
            if not words or words[0].startswith(";"):
                continue
            name, rest = words
            pieces = rest.split(None, 1)
            ttl = TTL
            if pieces[0].isdigit():
                ttl, pieces = int(pieces[0]), pieces[1].split(None, 1)
            if pieces[0].upper() == "IN":
                pieces = pieces[1].split(None, 1)
            with self._lock:
                self._append(name, pieces[0], pieces[1], ttl)

    def put(self, name: str, type: str, *values: str | None, ttl: int = TTL) -> None:
        """Replaces what a name has of a type, by values in zone file form; None or nothing: there is none."""
        with self._lock:
            self.records.pop((_key(name), type.upper()), None)
            for value in values:
                if value is not None:
                    self._append(name, type, value, ttl)

    def _append(self, name: str, type: str, value: str, ttl: int) -> None:
        key = (_key(name), type.upper())
        rdata = dns.rdata.from_text("IN", key[1], value, origin=dns.name.root, relativize=False)
        found = self.records.setdefault(key, [])
        self.ttls[key] = ttl
        if rdata not in found:
            found.append(rdata)

    # serving

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> DnsServer:
        for _ in range(50):  # one port number that is free for both
            udp = _Udp(("127.0.0.1", 0), _UdpHandler)
            try:
                tcp = _Tcp(("127.0.0.1", udp.server_address[1]), _TcpHandler)
            except OSError:
                udp.server_close()
                continue
            break
        else:
            raise RuntimeError("no free port for UDP and TCP")
        self.port = udp.server_address[1]
        self._servers = [udp, tcp]
        for server in (udp, tcp):
            server.owner = self
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def answer(self, wire: bytes, limit: int | None) -> bytes | None:
        """The answer to one message; None for what is to have none. limit: bytes, of UDP without EDNS."""
        try:
            query = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            return None
        if not query.question:
            return None
        question = query.question[0]
        name = _key(question.name.to_text())
        type = dns.rdatatype.to_text(question.rdtype)
        with self._lock:
            self.asked.append((name, type))
            reply = self._reply(query, name, type)
        if reply is None:
            return None
        size = max(limit, query.payload or 0) if limit else 65535
        try:
            return reply.to_wire(max_size=size)
        except dns.exception.TooBig:
            reply.answer.clear()
            reply.flags |= dns.flags.TC
            return reply.to_wire(max_size=size)

    def _reply(self, query: dns.message.Message, name: str, type: str) -> dns.message.Message | None:
        reply = dns.message.make_response(query, recursion_available=True)
        reply.flags |= dns.flags.AA
        down = {_key(bad): word for bad, word in self.fail.items()}
        trouble = next((word for bad, word in down.items() if f".{name}".endswith("." + bad)), "")
        if trouble == "silent":
            return None
        if trouble:
            reply.set_rcode(dns.rcode.from_text(trouble.upper()))
            return reply
        secure = True
        for _ in range(CHAIN):
            secure = secure and (self.secure if isinstance(self.secure, bool) else name in self.secure)
            found, alias = self._find(name, type), self._find(name, "CNAME")
            if found:
                reply.answer.append(_rrset(name, type, *found))
                break
            if not alias or type == "CNAME":
                reply.authority.append(dns.rrset.from_text(".", 60, "IN", "SOA", _SOA))
                if not self._exists(name):
                    reply.set_rcode(dns.rcode.NXDOMAIN)
                break
            reply.answer.append(_rrset(name, "CNAME", *alias))
            name = _key(alias[0][0].to_text())
        if secure:
            reply.flags |= dns.flags.AD
        return reply

    def _find(self, name: str, type: str) -> tuple[list[dns.rdata.Rdata], int] | None:
        for owner in (name, *(() if self._exists(name) else self._wildcards(name))):
            found = self.records.get((owner, type))
            if found:
                return found, self.ttls[owner, type]
        return None

    def _exists(self, name: str) -> bool:
        return any(owner == name or owner.endswith("." + name) for (owner, _), values in self.records.items() if values)

    def _wildcards(self, name: str) -> list[str]:
        labels = name.split(".")
        return ["*." + ".".join(labels[place:]) for place in range(1, len(labels))]


def _rrset(name: str, type: str, values: list[dns.rdata.Rdata], ttl: int) -> dns.rrset.RRset:
    return dns.rrset.from_rdata_list(dns.name.from_text(name), ttl, values)


def _key(name: str) -> str:
    return name.lower().rstrip(".")


class _Udp(socketserver.ThreadingUDPServer):
    daemon_threads = True
    owner: DnsServer
    max_packet_size = 4096


class _Tcp(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    owner: DnsServer


class _UdpHandler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        data, sock = self.request
        answer = self.server.owner.answer(data, 512)
        if answer is not None:
            with contextlib.suppress(OSError):
                sock.sendto(answer, self.client_address)


class _TcpHandler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.settimeout(60)
        with contextlib.suppress(OSError):
            while (size := _exactly(self.request, 2)) is not None:
                data = _exactly(self.request, struct.unpack("!H", size)[0])
                answer = self.server.owner.answer(data, None) if data else None
                if answer is None:
                    return
                self.request.sendall(struct.pack("!H", len(answer)) + answer)


def _exactly(sock: socket.socket, count: int) -> bytes | None:
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            return None
        data += piece
    return data
