"""The stub resolver: questions to the recursive resolvers of this host, with a cache.

RFC 1034 5.3.1, RFC 1035 7, RFC 2308, RFC 5452, RFC 6891, RFC 7766. Equal questions that are open at once are asked
once. A server that does not answer in its share of the time, refuses or fails is followed by the next, and is asked
last for a while. A server that does not know EDNS is asked without (RFC 6891 6.2.2). The search list of resolv.conf is
never used: a name is asked as it is.

The AD bit (RFC 4035 3.2.3) is only believed of a server on loopback, or of any if the administrator trusts them; only
then is validation asked for. We do not validate ourselves.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from echomox.dns import codec
from echomox.dns.cache import Cache
from echomox.dns.exchange import Server
from echomox.dns.types import Answer, DnsBogus, DnsTemporary, canonical_name

CHAIN = 16  # CNAMEs followed
ASKED = 8  # questions for one chain, where a server gives it in pieces
OPEN = 2000  # questions at once; more fail
BAD_TIME = 30.0  # seconds that a server which did not answer is asked last
TRIES = 3  # of a single server; of several, each twice


@dataclass(slots=True)
class _Found:
    """What has been gathered of one question."""

    values: tuple[Any, ...] = ()
    exists: bool = True
    secure: bool = True
    ttl: int = codec.TTL_MAX
    canonical: str = ""
    names: set[str] = field(default_factory=set)


class StubResolver:
    """servers: gives the (host, port) to ask, looked at before each question that is not in the cache. One event loop
    for all calls. timeout: seconds for one question, all tries together.
    """

    def __init__(
        self,
        servers: Callable[[], Sequence[tuple[str, int]]],
        *,
        trusted: bool = False,
        timeout: float = 5.0,
        entries: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._addresses = servers
        self._trusted = trusted
        self._timeout = timeout
        self._cache = Cache(entries, clock)
        self._servers: dict[tuple[str, int], Server] = {}
        self._open: dict[tuple[str, str], asyncio.Task[Answer]] = {}
        self._numbers: dict[str, int] = {}
        self._closed = False

    async def lookup(self, name: str, type: str) -> Answer:
        found = self._cache.get((name, type))
        if found is not None:
            return found
        type = type.upper()
        self._number(type)
        asked = canonical_name(name)
        if asked is None:
            return Answer(name, type, exists=False, canonical=name)
        key = (asked, type)
        if key != (name, type) and (found := self._cache.get(key)) is not None:
            return found
        task = self._open.get(key)
        if task is None:
            if self._closed or len(self._open) >= OPEN:
                raise DnsTemporary("the resolver is closed" if self._closed else "too many open questions", *key)
            task = asyncio.get_running_loop().create_task(self._resolve(*key))
            self._open[key] = task
            task.add_done_callback(lambda done: self._done(key, done))
        try:
            return await asyncio.shield(task)
        except DnsTemporary as error:
            # The task's own is shared by all who wait, and would grow a traceback of each.
            raise error.__class__(error.reason, error.name, error.type) from None
        except asyncio.CancelledError:
            if task.cancelled():
                raise DnsTemporary("the resolver is closed", *key) from None
            raise

    async def close(self) -> None:
        self._closed = True
        tasks = list(self._open.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for server in self._servers.values():
            server.close()
        self._servers.clear()

    def _number(self, type: str) -> int:
        number = self._numbers.get(type)
        if number is None:
            number = codec.type_number(type)
            self._numbers[type] = number
        return number

    def _done(self, key: tuple[str, str], task: asyncio.Task[Answer]) -> None:
        del self._open[key]
        if not task.cancelled():
            task.exception()  # was given to who waited, if anyone still does

    # one question

    async def _resolve(self, name: str, type: str) -> Answer:
        """Asks until the end of the CNAMEs. The answer, or the failure, is kept."""
        found, size = _Found(canonical=name), 0
        try:
            for _ in range(ASKED):
                reply, length = await self._ask(found.canonical, type)
                size += length
                if not _follow(found, reply, type):
                    break
            else:
                raise DnsTemporary("the CNAMEs do not end", name, type)
        except DnsTemporary as error:
            self._cache.put((name, type), error)
            raise
        answer = Answer(name, type, found.values, found.exists, found.secure, found.ttl, found.canonical)
        self._cache.put((name, type), answer, size)
        return answer

    async def _ask(self, name: str, type: str) -> tuple[codec.Reply, int]:
        """A reply of any server, with NOERROR or NXDOMAIN, and its length. Raises DnsTemporary."""
        servers, asked = self._order(), codec.question(name, self._number(type))
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout
        rounds = 2 if len(servers) > 1 else TRIES
        share = self._timeout / (rounds * max(1, len(servers)))
        reasons: dict[str, str] = {}
        bogus = False
        for _ in range(rounds):
            for server in servers[:]:
                if (rest := deadline - loop.time()) <= 0:
                    break
                try:
                    reply, length = await self._ask_server(server, asked, min(share, rest), deadline)
                except TimeoutError:
                    reasons[str(server)] = "no answer in time"
                    server.bad_until = loop.time() + BAD_TIME
                    continue
                except (OSError, codec.BadReply) as error:
                    reasons[str(server)] = error.strerror or str(error) if isinstance(error, OSError) else str(error)
                    server.bad_until = loop.time() + BAD_TIME
                    continue
                if reply.rcode in (0, codec.NXDOMAIN):
                    server.bad_until = 0.0
                    return reply, length
                bogus = bogus or reply.bogus
                reasons[str(server)] = reply.trouble()
                servers.remove(server)  # it has answered; asking again gives the same
        reason = "; ".join(f"{server}: {why}" for server, why in reasons.items()) or "no resolver is configured"
        raise (DnsBogus if bogus else DnsTemporary)(reason, name, type)

    async def _ask_server(
        self, server: Server, asked: bytes, wait: float, deadline: float
    ) -> tuple[codec.Reply, int]:
        dnssec = self._trusted or server.loopback
        wire = await server.ask(asked, wait, deadline, dnssec=dnssec)
        reply = codec.parse(wire)
        if server.edns and reply.rcode in (codec.FORMERR, codec.NOTIMP):
            server.edns = False
            try:
                wire = await server.ask(asked, wait, deadline, dnssec=False)
                reply = codec.parse(wire)
            finally:
                # Only a server that does better without is known not to know EDNS.
                server.edns = reply.rcode in (codec.FORMERR, codec.NOTIMP)
        reply.authentic = reply.authentic and dnssec
        return reply, len(wire)

    def _order(self) -> list[Server]:
        """The servers: those of late without trouble first, in their order."""
        addresses = list(dict.fromkeys(self._addresses()))
        for gone in self._servers.keys() - set(addresses):
            self._servers.pop(gone).close()
        for address in addresses:
            if address not in self._servers:
                self._servers[address] = Server(*address)
        now = asyncio.get_running_loop().time()
        return sorted((self._servers[address] for address in addresses), key=lambda server: server.bad_until > now)


def _follow(found: _Found, reply: codec.Reply, type: str) -> bool:
    """Takes from a reply what it says of found.canonical, over its CNAMEs. True: the end of the chain is to be asked
    for. A chain that does not end has no values, as one that leads nowhere.
    """
    found.secure = found.secure and reply.authentic
    moved = False
    for _ in range(CHAIN):
        here = reply.records.get((found.canonical, type))
        if here is not None:
            found.values = here[0]
            found.ttl = min(found.ttl, here[1])
            return False
        alias = reply.records.get((found.canonical, "CNAME"))
        if alias is None or found.canonical in found.names:
            break
        found.names.add(found.canonical)
        found.ttl = min(found.ttl, alias[1])
        found.canonical = alias[0][0]
        moved = True
    if moved and reply.rcode == 0 and reply.negative_ttl is None and found.canonical not in found.names:
        return canonical_name(found.canonical) is not None
    found.exists = reply.rcode != codec.NXDOMAIN
    # RFC 2308 5: without SOA an absence is not kept.
    found.ttl = min(found.ttl, reply.negative_ttl or 0)
    return False
