"""A whole IMAP service in this process: real store in a scratch directory, real logins, in-memory
connections."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from echomox.config.paths import Paths
from echomox.config.schema import Account, Auth, Domain, Dynamic, Limits, Static
from echomox.config.snapshot import Snapshot
from echomox.imapd.service import Backend, Service
from echomox.imapd.session import Session
from echomox.log import Log, Sink
from echomox.message.mime import parse
from echomox.net.blocks import Blocks
from echomox.net.login import Authenticator
from echomox.sasl.derive import derive
from echomox.store import open_engine
from echomox.store.engine import Added, Addition, Target
from shm.limiter import LimiterSlabs

USER = "mrc@example.test"
OTHER = "other@example.test"
PASSWORD = "secret"
ACCOUNTS = {
    "mrc": Account(addresses=(USER,), quota=0),
    "other": Account(addresses=(OTHER,), quota=20_480, quota_messages=3, quota_mailboxes=8),
}
RECEIVED = 1_700_000_000.0


@lru_cache(maxsize=1)
def secrets() -> dict[str, str]:
    return derive(PASSWORD, cost=4)


def quiet() -> Log:
    """A log that keeps its lines in `.sink.lines`."""
    sink = Sink()
    sink.lines = []  # type: ignore[attr-defined]
    sink.write = sink.lines.append  # type: ignore[attr-defined,method-assign]
    return Log("imapd", sink=sink)


class FakeHost:
    """What a worker gives."""

    name = "imap.0"

    def __init__(self, root: Path, **limits: Any) -> None:
        loose = {"connections_per_ip": 0, "connection_rate_per_ip": 0, "message_size": 1 << 20, **limits}
        self.static = Static(
            hostname="mail.example.test",
            limits=Limits(**loose),
            auth=Auth(plaintext_from=("192.0.2.0/24",), bcrypt_cost=4),
        )
        self.paths = Paths.home(root)
        self.log = quiet()
        self.limiter = LimiterSlabs.private()
        self.blocks = Blocks(self.paths, lambda: 0, self.log)
        self.counts: dict[str, int] = {}
        dynamic = Dynamic(domains={"example.test": Domain()}, accounts=ACCOUNTS)
        self._snapshot = Snapshot(dynamic, self.static, 1)

    def snapshot(self) -> Snapshot:
        return self._snapshot

    def count(self, counter: str, n: int = 1) -> None:
        self.counts[counter] = self.counts.get(counter, 0) + n

    def use_connections(self, n: int) -> None:
        self.counts["connections"] = n


class FakeBells:
    """Bells that the test rings."""

    def __init__(self) -> None:
        self.callbacks: dict[str, list[Callable[[int], None]]] = {}

    def listen(self, account: str, callback: Callable[[int], None]) -> Callable[[], None]:
        self.callbacks.setdefault(account, []).append(callback)
        return lambda: self.callbacks[account].remove(callback)

    def ring(self, account: str, modseq: int) -> None:
        for callback in list(self.callbacks.get(account, ())):
            callback(modseq)


class Wire(asyncio.Transport):
    """The server's end of a connection in memory."""

    def __init__(self, ip: str) -> None:
        super().__init__()
        self.ip = ip
        self.received = bytearray()
        self.closed = False
        self.reading = True
        self.news = asyncio.Event()
        self.session: Session | None = None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return (self.ip, 4711) if name == "peername" else default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def write(self, data: Any) -> None:
        assert not self.closed, "written after close"
        self.received += data
        self.news.set()

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.news.set()
            assert self.session is not None
            asyncio.get_running_loop().call_soon(self.session.connection_lost, None)

    abort = close

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Connection:
    """The client's end."""

    def __init__(self, service: Service, ip: str = "192.0.2.1") -> None:
        self.wire = Wire(ip)
        self.session = service.session(False)
        self.wire.session = self.session
        self.session.connection_made(self.wire)

    def send(self, data: bytes) -> None:
        assert not self.wire.closed, "the server has closed"
        self.session.data_received(data)

    async def line(self, seconds: float = 60.0) -> bytes | None:
        """The next line without its end; None when the server has closed."""
        while (end := self.wire.received.find(b"\r\n")) < 0:
            if self.wire.closed:
                return None
            self.wire.news.clear()
            await asyncio.wait_for(self.wire.news.wait(), seconds)
        line = bytes(self.wire.received[:end])
        del self.wire.received[: end + 2]
        return line

    async def exactly(self, count: int, seconds: float = 60.0) -> bytes:
        while len(self.wire.received) < count:
            assert not self.wire.closed
            self.wire.news.clear()
            await asyncio.wait_for(self.wire.news.wait(), seconds)
        data = bytes(self.wire.received[:count])
        del self.wire.received[:count]
        return data

    async def command(self, text: bytes, tag: bytes = b"t") -> list[bytes]:
        """All lines of the answer, the tagged one last."""
        self.send(tag + b" " + text + b"\r\n")
        lines: list[bytes] = []
        while True:
            line = await self.line()
            assert line is not None, lines
            lines.append(line)
            if line.startswith(tag + b" "):
                return lines

    async def settle(self) -> None:
        """Until nothing more is going on."""
        for _ in range(20):
            await asyncio.sleep(0)

    def hang_up(self) -> None:
        if not self.wire.closed:
            self.wire.closed = True
            self.session.connection_lost(None)


class Server:
    def __init__(self, root: Path, tls: ssl.SSLContext | None = None, **limits: Any) -> None:
        self.host = FakeHost(root, **limits)
        (self.host.paths.spool / self.host.name).mkdir(parents=True)
        self.engine = open_engine(self.host.paths)
        for account in ACCOUNTS:
            self.engine.create(account)
            self.engine.open(account).set_secrets(secrets())
        self.committer = self.engine.committer(self.host.name)
        self.bells = FakeBells()
        self.authenticator = Authenticator(self.host, self.engine, "imap")
        backend = Backend(self.engine, self.committer, self.authenticator, self.bells, tls)
        self.service = Service(self.host, backend, asyncio.get_running_loop())
        self.engine.on_change = self._changed

    def _changed(self, account: str, modseq: int) -> None:
        self.service.changed(account)

    async def connect(self, login: bool = True, user: str = USER) -> Connection:
        connection = Connection(self.service)
        greeting = await connection.line()
        assert greeting and greeting.startswith(b"* OK [CAPABILITY IMAP4rev1 "), greeting
        if login:
            answer = await connection.command(f"LOGIN {user} {PASSWORD}".encode())
            assert answer[-1].startswith(b"t OK "), answer
        return connection

    async def deliver(self, mailbox: str, data: bytes, account: str = "mrc", prefix: bytes = b"", **more: Any) -> Added:
        """As the delivery does, of another process as it were."""
        addition = Addition(
            source=data,
            structure=parse(data),
            targets=(Target(account, mailbox, prefix=prefix, **more),),
            delivery=f"d{id(data)}{self.host.counts.setdefault('delivered', 0)}",
            received=RECEIVED + self.host.counts["delivered"],
            delivered=True,
        )
        self.host.count("delivered")
        return (await self.committer.add(addition))[0]

    async def close(self) -> None:
        for session in tuple(self.service.sessions):
            session.connection_lost(None)
        await self.authenticator.close()
        await self.committer.close()
        self.engine.close()


@contextlib.asynccontextmanager
async def serving(root: Path, tls: ssl.SSLContext | None = None, **limits: Any) -> AsyncIterator[Server]:
    server = Server(root, tls, **limits)
    try:
        yield server
    finally:
        await server.close()
    trouble = [line for line in server.host.log.sink.lines if "traceback" in line]  # type: ignore[attr-defined]
    assert not trouble, trouble
