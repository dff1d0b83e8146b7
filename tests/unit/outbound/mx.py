"""A host that takes mail as it is told to, and a delivery to it: on loopback, with a resolver of plain tables."""

import asyncio
import contextlib
import dataclasses
import random
import ssl
from collections import Counter
from functools import cache
from pathlib import Path

import trustme

from echomox.clock import FakeClock
from echomox.config.schema import Outbound
from echomox.dns.fake import FakeResolver
from echomox.log import Log, Sink
from echomox.outbound.remote import Means, RemoteDelivery
from echomox.outbound.security import Contexts
from echomox.queue.outcome import Job, JobRecipient
from echomox.tlspolicy.mtasts import Policy
from echomox.tlspolicy.policies import NOTHING, Found

EHLO = ("mx.example", "PIPELINING", "SIZE 1000000", "8BITMIME", "ENHANCEDSTATUSCODES", "DSN", "SMTPUTF8")
LIMITS = dict.fromkeys(
    (
        "connect_timeout", "greeting_timeout", "command_timeout", "tls_timeout", "data_timeout", "block_timeout",
        "end_timeout",
    ),
    60.0,
)  # fmt: skip
BODY = b"From: a@here.example\r\nSubject: x\r\n\r\nHello\r\n.dot\r\nend\r\n"


@cache
def authority():
    return trustme.CA()


def server_context(*names, ca=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (ca or authority()).issue_cert(*names).configure_cert(context)
    return context


class Mx:
    """replies: by verb (the first word, upper case; "GREETING", "." for the end of a message) bytes to send, "close"
    for ending the connection, a list for one reply after the other (the last stays), or a function of the line."""

    def __init__(self, replies=None, ehlo=EHLO, tls=None, implicit=False):
        self.replies = dict(replies or {})
        self.ehlo = ehlo
        self.tls = tls
        self.implicit = implicit
        self.lines = []
        self.mail = []
        self.connections = 0
        self.secured = 0

    async def __aenter__(self):
        context = self.tls if self.implicit else None
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context, limit=2**20)
        self.port = self.server.sockets[0].getsockname()[1]
        self.tasks = set()
        return self

    async def __aexit__(self, *_):
        self.server.close()
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    @property
    def verbs(self):
        return [line.split(b" ")[0].decode().upper() for line in self.lines]

    async def _serve(self, reader, writer):
        self.tasks.add(asyncio.current_task())
        self.connections += 1
        with contextlib.suppress(asyncio.CancelledError, asyncio.LimitOverrunError, EOFError, OSError):
            await self._talk(reader, writer)
        writer.close()

    def _said(self, verb, line=b""):
        said = self.replies.get(verb)
        if isinstance(said, list):
            said = said.pop(0) if len(said) > 1 else said[0]
        return said(line) if callable(said) else said

    def _default(self, verb, secure):
        if verb == "EHLO":
            offers = [*self.ehlo, *(["STARTTLS"] if self.tls and not secure and not self.implicit else [])]
            lines = [f"250-{line}" for line in offers[:-1]] + [f"250 {offers[-1]}"]
            return "".join(line + "\r\n" for line in lines).encode()
        table = {
            "GREETING": b"220 mx.example hello\r\n", "DATA": b"354 go\r\n", "QUIT": b"221 bye\r\n",
            "STARTTLS": b"220 go\r\n", ".": b"250 2.6.0 taken\r\n",
        }  # fmt: skip
        return table.get(verb, b"250 2.0.0 ok\r\n")

    async def _talk(self, reader, writer):
        secure = self.implicit
        if not await self._answer(writer, "GREETING", secure):
            return
        while line := await reader.readline():
            line = line.rstrip(b"\r\n")
            self.lines.append(line)
            verb = line.split(b" ")[0].decode("latin-1").upper()
            answer = await self._answer(writer, verb, secure, line)
            if not answer or verb == "QUIT":
                return
            if verb == "STARTTLS" and answer.startswith(b"220"):
                await writer.start_tls(self.tls)
                self.secured += 1
                secure = True
            if verb == "DATA" and answer.startswith(b"354"):
                data = b""
                while not (data == b".\r\n" or data.endswith(b"\r\n.\r\n")):
                    data += await reader.readuntil(b".\r\n")
                if not await self._answer(writer, ".", secure, data):
                    return
                self.mail.append(data)
            if verb == "BDAT":
                self.mail.append(await reader.readexactly(int(line.split()[1])))

    async def _answer(self, writer, verb, secure, line=b""):
        said = self._said(verb, line)
        if said is None:
            said = self._default(verb, secure)
        if asyncio.iscoroutine(said):
            return await said
        if said == "close":
            return b""
        writer.write(said)
        await writer.drain()
        return said


class FixedPolicies:
    """In place of the memory of policies: one for all domains, and results as they are recorded."""

    def __init__(self, policy=None, found=None):
        self.found = found or (Found(policy, "1") if policy else NOTHING)
        self.results = []

    async def find(self, domain):
        return self.found

    def record(self, result):
        self.results.append(result)

    async def close(self):
        pass


def zone(*hosts, domain="there.example", **more):
    """MX records in order of preference, each host at 127.0.0.1."""
    tables = {(domain, "MX"): [(10 * n, host) for n, host in enumerate(hosts, 1)]}
    tables.update({(host, "A"): "127.0.0.1" for host in hosts})
    return {**tables, **more}


def job(**changes):
    base = Job(
        id="1", domain="there.example", sender="a@here.example",
        recipients=(JobRecipient(1, "b@there.example", "", frozenset({"failure"})),), prefix=b"", body=BODY, file=None,
        size=len(BODY),
    )  # fmt: skip
    return dataclasses.replace(base, **changes)


def recipients(*addresses):
    return tuple(JobRecipient(n, address, "", frozenset({"never"})) for n, address in enumerate(addresses, 1))


def policy(mode="enforce", *mx):
    return Policy(mode, mx or ("*.example",), 86_400)


@contextlib.asynccontextmanager
async def delivery(port, resolver, policies=None, base=Path("."), **settings):
    """A RemoteDelivery that trusts `authority()`; .counts has what it counted."""
    counts = Counter()
    quiet = Sink()
    quiet.default = 100
    contexts = Contexts()
    contexts._verified = ssl.create_default_context()
    authority().configure_trust(contexts._verified)
    means = Means(
        Outbound(port=port, **{**LIMITS, **settings}), "here.example", base, resolver, policies, contexts, FakeClock()
    )
    remote = RemoteDelivery(means, Log("delivery", sink=quiet), lambda name: counts.update([name]), random.Random(1))
    remote.counts = counts
    try:
        yield remote
    finally:
        await remote.close()


def deliver(mx, one=None, tables=None, policies=None, *, secure=False, **settings):
    """Delivers one job to a fresh host; returns its outcomes."""

    async def run():
        async with mx:
            resolver = tables if isinstance(tables, FakeResolver) else FakeResolver(
                tables or zone("mx.example"), secure=secure
            )
            async with delivery(mx.port, resolver, policies, **settings) as remote:
                outcomes = await remote.deliver(one or job())
                mx.counts = remote.counts
                return outcomes

    return asyncio.run(run())
