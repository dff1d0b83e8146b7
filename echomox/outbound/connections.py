"""Connections: opened with a time limit, and kept for a while for the next message to the same place.

A session is kept under its `Endpoint`: host, address, port, what TLS it had to have, the transport. Who needs another
security, or a login, gets another session. Kept ones end when idle for long, used up, or when the host says anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from echomox.config.schema import Outbound
from echomox.errors import Reply
from echomox.outbound import socks
from echomox.outbound.client import Login, Session, Trouble
from echomox.outbound.security import Contexts, Security
from echomox.outbound.wire import Wire

AGE_LIMIT = 300.0  # seconds after which a session is not used again: policies and addresses are looked at anew
KEPT_PER_ENDPOINT = 20


@dataclass(frozen=True, slots=True)
class Proxy:
    ip: str
    port: int
    user: str
    password: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """host: its name, for people and replies. login: None for other people's servers."""

    host: str
    ip: str
    port: int
    security: Security
    login: Login | None = None
    proxy: Proxy | None = None


class Connections:
    """of one process. own: our name in EHLO. count(name): counters."""

    def __init__(self, settings: Outbound, own: str, contexts: Contexts, count: Callable[[str], None]) -> None:
        self.settings = settings
        self.own = own
        self.contexts = contexts
        self.count = count
        self._idle: dict[Endpoint, list[tuple[Session, asyncio.TimerHandle]]] = {}
        self._number = 0

    def take(self, endpoint: Endpoint) -> Session | None:
        """A session that is kept, ready for a message."""
        kept = self._idle.get(endpoint)
        now = asyncio.get_running_loop().time()
        while kept:
            session, timer = kept.pop()
            timer.cancel()
            self._number -= 1
            if not kept:
                self._idle.pop(endpoint, None)
            if session.takes(self.settings.messages_per_connection) and now < session.began + AGE_LIMIT:
                self.count("outbound_reused")
                return session
            session.quit()
        return None

    def give(self, endpoint: Endpoint, session: Session) -> None:
        """A session after its message, clean: kept, or ended."""
        settings = self.settings
        kept = len(self._idle.get(endpoint, ()))
        room = self._number < settings.idle_connections and kept < KEPT_PER_ENDPOINT and settings.idle_time > 0
        if not room or not session.takes(settings.messages_per_connection):
            session.quit()
            return
        timer = asyncio.get_running_loop().call_later(settings.idle_time, self._expire, endpoint, session)
        self._idle.setdefault(endpoint, []).append((session, timer))
        self._number += 1

    def _expire(self, endpoint: Endpoint, session: Session) -> None:
        kept = self._idle.get(endpoint, [])
        left = [entry for entry in kept if entry[0] is not session]
        self._number -= len(kept) - len(left)
        if left:
            self._idle[endpoint] = left
        else:
            self._idle.pop(endpoint, None)
        session.quit()

    def idle(self) -> int:
        return self._number

    async def open(self, endpoint: Endpoint) -> Session:
        """A new session, greeted and with the TLS that the endpoint asks for. Raises Trouble."""
        plan = await self.contexts.plan(endpoint.security)
        wire = await self.connect(endpoint)
        local_ip = wire.local_ip()
        session = Session(wire, self.settings, endpoint.host, endpoint.ip)
        session.policy = endpoint.security.policy
        try:
            await session.open(self.own, plan, endpoint.login)
        except Trouble as trouble:
            trouble.local_ip = local_ip
            wire.abort()
            raise
        except BaseException:
            wire.abort()
            raise
        return session

    async def connect(self, endpoint: Endpoint) -> Wire:
        """The TCP connection alone, through the proxy if there is one. Raises Trouble."""
        loop = asyncio.get_running_loop()
        source = self.settings.source6 if ":" in endpoint.ip else self.settings.source4
        try:
            async with asyncio.timeout(self.settings.connect_timeout):
                if endpoint.proxy is not None:
                    proxy = endpoint.proxy
                    login = (proxy.user, proxy.password) if proxy.user else None
                    sock = await socks.connect((proxy.ip, proxy.port), (endpoint.ip, endpoint.port), login)
                    _, wire = await loop.create_connection(Wire, sock=sock)
                else:
                    local = (source, 0) if source else None
                    _, wire = await loop.create_connection(Wire, endpoint.ip, endpoint.port, local_addr=local)
        except TimeoutError:
            reason = f"no connection within {self.settings.connect_timeout:g} s"
        except OSError as error:
            reason = error.strerror or str(error) or type(error).__name__
        else:
            return wire
        text = f"{endpoint.host} [{endpoint.ip}]: {reason[:200]}"
        raise Trouble("connect", Reply(451, "4.4.1", text))

    def close(self) -> None:
        for kept in list(self._idle.values()):
            for session, timer in kept:
                timer.cancel()
                session.quit()
        self._idle.clear()
        self._number = 0
