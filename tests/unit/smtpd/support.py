"""An SMTP session on a transport in memory: bytes in, bytes out, no sockets and no waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from echomox.config.schema import Limits
from echomox.delivery.incoming import Destination
from echomox.errors import Reply
from echomox.log import Log, Sink
from echomox.net.limit import ConnectionLimits
from echomox.smtpd.body import Body, Spool
from echomox.smtpd.service import Settings, SmtpService
from echomox.smtpd.session import SmtpSession
from shm.limiter import LimiterSlabs

QUIET = Log("test", sink=Sink())
QUIET.sink.set_levels({}, "error")
GREETING = b"220 mx.example.org ESMTP EchoMox\r\n"
NO_LIMITS = Limits(
    connections_per_ip=0, connection_rate_per_ip=0, unknown_delay=0, login_delay=0, first_time_delay=0,
    slow_answers=False,
)


class Wire:
    """The transport: collects what is written."""

    def __init__(self, protocol: Any, ip: str = "192.0.2.1") -> None:
        self.protocol = protocol
        self.ip = ip
        self.out = b""
        self.closed = False
        self.reading = True

    def write(self, data: bytes) -> None:
        assert not self.closed, "written after close"
        self.out += data

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    abort = close

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def get_extra_info(self, name: str) -> Any:
        return (self.ip, 40000) if name == "peername" else None


class Recorder:
    """A role that takes mail for any user@example.org and keeps it."""

    service = "smtp"

    def __init__(self, login: bool = False) -> None:
        self.login = login
        self.mail: list[tuple[str | None, list[str], bytes]] = []

    def offered(self, session: SmtpSession) -> list[str]:
        authenticator = session.service.authenticator
        return authenticator.offered(bool(session.tls), session.remote_ip) if authenticator else []

    def sender(self, session: SmtpSession, address: str) -> Reply | None:
        return None

    def recipient(self, session: SmtpSession, address: str) -> Reply | None:
        if address != "postmaster" and not address.endswith("@example.org"):
            return Reply(550, "5.7.1", "Relaying denied")
        session.envelope.destinations.append(Destination("user", address))
        return None

    async def message(self, session: SmtpSession, body: Body) -> Reply:
        await asyncio.sleep(0)
        self.mail.append((session.envelope.mail_from, list(session.envelope.rcpt_tos), body.read()))
        return Reply(250, "2.0.0", "Accepted")


class Talk:
    """One connection. Within a running loop."""

    def __init__(
        self,
        spool: Path = Path("/nonexistent"),
        limits: Limits = NO_LIMITS,
        role: Any = None,
        authenticator: Any = None,
        service: SmtpService | None = None,
        ip: str = "192.0.2.1",
    ) -> None:
        self.counts: dict[str, int] = {}
        self.role = role or Recorder()
        if service is None:
            connections = ConnectionLimits(LimiterSlabs.private(), "smtp", limits)
            settings = Settings(
                "mx.example.org", limits, None, Spool(spool), connections, QUIET, self._count, lambda n: None
            )
            service = SmtpService(settings, self.role, authenticator)
        self.service = service
        self.session = service.plain()
        self.wire = Wire(self.session, ip)
        self.session.connection_made(self.wire)

    def _count(self, name: str, n: int = 1) -> None:
        self.counts[name] = self.counts.get(name, 0) + n

    async def settle(self) -> None:
        """Until nothing is under way."""
        for turn in range(60_000):
            await asyncio.sleep(0 if turn < 1000 else 0.001)  # what is done in a thread takes its time
            if self.session.resting:
                await asyncio.sleep(0)
                return
        raise AssertionError("the session does not come to rest")

    async def send(self, *chunks: bytes) -> bytes:
        """What is answered to these bytes, given in these pieces."""
        before = len(self.wire.out)
        for chunk in chunks:
            if self.wire.closed:
                break
            self.session.data_received(chunk)
            await self.settle()
        return self.wire.out[before:]


def talk(*chunks: bytes, limits: Limits = NO_LIMITS, role: Any = None, **changes: Any) -> bytes:
    """The whole output of one connection, the greeting left out."""

    async def run() -> bytes:
        one = Talk(limits=replace(limits, **changes), role=role)
        await one.send(*chunks)
        return one.wire.out.removeprefix(GREETING)

    return asyncio.run(run())


def codes(output: bytes) -> list[int]:
    """The code of each reply."""
    return [int(line[:3]) for line in output.split(b"\r\n") if line[3:4] == b" "]


def script(*lines: str) -> bytes:
    return "".join(line + "\r\n" for line in lines).encode()


def bytewise(data: bytes) -> Sequence[bytes]:
    return [data[place : place + 1] for place in range(len(data))]
