"""A name server on loopback for tests: UDP and TCP on one port that the kernel chose, answers from a table.

    async with NameServer({("example.org", "TXT"): ['"v=spf1 -all"']}) as server:
        resolver = StubResolver(lambda: [("127.0.0.1", server.port)])

Values are in zone-file form. CNAMEs are followed, NXDOMAIN and NODATA come with a SOA. How it misbehaves is set by the
fields; `asked` lists the questions, as (name, type, "udp" or "tcp").
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Mapping
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset


class NameServer:
    """silent: questions that get no reply, the first ones. rcode: of every reply. ad: set the AD bit. truncate: TC over
    UDP, always. edns: False: FORMERR to questions with EDNS. ede: (code, text). forged: wrong replies before the right
    one. raw: bytes to answer with, instead. ttl, minimum: seconds. delay: seconds before a reply. cut: CNAMEs are not
    followed. mixed: names come back in capital letters.
    """

    def __init__(self, tables: Mapping[tuple[str, str], Iterable[str]] | None = None, **how: Any) -> None:
        self.tables = {(name.lower(), type): list(values) for (name, type), values in (tables or {}).items()}
        self.silent: int = how.pop("silent", 0)
        self.rcode: int = how.pop("rcode", 0)
        self.ad: bool = how.pop("ad", False)
        self.truncate: bool = how.pop("truncate", False)
        self.edns: bool = how.pop("edns", True)
        self.ede: tuple[int, str] | None = how.pop("ede", None)
        self.forged: int = how.pop("forged", 0)
        self.raw: bytes | None = how.pop("raw", None)
        self.ttl: int = how.pop("ttl", 300)
        self.minimum: int | None = how.pop("minimum", 60)
        self.delay: float = how.pop("delay", 0.0)
        self.cut: bool = how.pop("cut", False)
        self.mixed: bool = how.pop("mixed", False)
        assert not how, how
        self.asked: list[tuple[str, str, str]] = []
        self.queries: list[dns.message.Message] = []
        self.port = 0

    async def __aenter__(self) -> NameServer:
        loop = asyncio.get_running_loop()
        for _ in range(20):
            self._tcp = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            self.port = self._tcp.sockets[0].getsockname()[1]
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            udp.setblocking(False)
            try:
                udp.bind(("127.0.0.1", self.port))
            except OSError:
                udp.close()
                self._tcp.close()
                continue
            self._udp, _ = await loop.create_datagram_endpoint(lambda: _Udp(self), sock=udp)
            return self
        raise OSError("no port that is free for UDP and TCP")

    async def __aexit__(self, *error: object) -> None:
        self._udp.close()
        self._tcp.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            length = int.from_bytes(await reader.readexactly(2), "big")
            for wire in self.replies(await reader.readexactly(length), "tcp"):
                writer.write(len(wire).to_bytes(2, "big") + wire)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def replies(self, wire: bytes, how: str) -> list[bytes]:
        query = dns.message.from_wire(wire)
        asked = query.question[0]
        self.queries.append(query)
        self.asked.append((asked.name.to_text(True), dns.rdatatype.to_text(asked.rdtype), how))
        if self.silent > 0:
            self.silent -= 1
            return []
        if self.raw is not None:
            return [wire[:2] + self.raw[2:]]
        if not self.edns and query.edns >= 0:
            return [wire[:2] + b"\x80\x01" + bytes(8)]
        reply = dns.message.make_response(query, recursion_available=True)
        if how == "udp" and self.truncate:
            reply.flags |= dns.flags.TC
            return [reply.to_wire()]
        self._fill(reply, asked.name, asked.rdtype)
        right = reply.to_wire(max_size=65535)
        if self.mixed:
            right = right.replace(b"example", b"ExAmPlE")
        number = int.from_bytes(wire[:2], "big")
        forged = self.forged if how == "udp" else 0
        wrong = [((number + 1 + n) % 65536).to_bytes(2, "big") + right[2:] for n in range(forged)]
        return [*wrong, right]

    def _fill(self, reply: dns.message.Message, name: dns.name.Name, type: dns.rdatatype.RdataType) -> None:
        if self.ad:
            reply.flags |= dns.flags.AD
        if self.ede:
            reply.use_edns(0, options=[dns.edns.EDEOption(*self.ede)])
        if self.rcode:
            reply.set_rcode(dns.rcode.Rcode(self.rcode))
            return
        for _ in range(20):
            text = name.to_text(True).lower()
            for kind in (dns.rdatatype.to_text(type), "CNAME"):
                if values := self.tables.get((text, kind)):
                    reply.answer.append(dns.rrset.from_text_list(name, self.ttl, "IN", kind, values))
                    break
            else:
                if not any(known == text or known.endswith("." + text) for known, _ in self.tables):
                    reply.set_rcode(dns.rcode.NXDOMAIN)
                if self.minimum is not None:
                    soa = f"ns.example. admin.example. 1 2 3 4 {self.minimum}"
                    reply.authority.append(dns.rrset.from_text("example.", self.ttl, "IN", "SOA", soa))
                return
            if kind != "CNAME" or type == dns.rdatatype.CNAME or self.cut:
                return
            name = dns.name.from_text(values[0])


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self.server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        for wire in self.server.replies(data, "udp"):
            asyncio.get_running_loop().call_later(self.server.delay, self.transport.sendto, wire, addr)
