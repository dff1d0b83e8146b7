"""What the sessions of one worker share: tables, limits, greeting, the set of open connections, and their
end.

One per listening role and process. Tables are put together from `commands.COMMANDS` and `ext.EXTENSIONS`
once; EHLO answers are kept per state of a session (TLS, login, mechanisms offered), since they depend on
nothing else.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from echomox.clock import SYSTEM, Clock
from echomox.config.schema import Limits
from echomox.errors import Reply
from echomox.log import Log
from echomox.net.limit import BLOCKED, ConnectionLimits
from echomox.net.login import Authenticator
from echomox.net.sessions import LiveSession
from echomox.smtpd.body import Spool
from echomox.smtpd.command import AUTH_LINE, PATH_LINE, Command, Extension, Parameter, Role
from echomox.smtpd.commands import COMMANDS
from echomox.smtpd.ext import EXTENSIONS
from echomox.smtpd.notify import Notifier
from echomox.smtpd.reply import wire_lines
from echomox.smtpd.session import SmtpSession

SHUTDOWN = Reply(421, "4.3.2", "Server is shutting down, try again later")
TOO_MANY = Reply(421, "4.7.0", "Too many connections from your network, try again later")
BLOCKED_NOW = Reply(421, "4.7.0", "Your address is blocked after failed logins, try again later")
ENDED = Reply(421, "4.3.2", "Your session was ended by the administrator")
BUSY = Reply(421, "4.3.2", "Too many connections, try again later")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a service is made of. count: of shm counters. use: told how many connections are open. notifier: reports
    deliveries to senders who asked (DSN); None: nobody is told."""

    hostname: str
    limits: Limits
    context: ssl.SSLContext | None
    spool: Spool
    connections: ConnectionLimits
    log: Log
    count: Callable[[str, int], None]
    use: Callable[[int], None]
    notifier: Notifier | None = None


class SmtpService:
    def __init__(
        self,
        settings: Settings,
        role: Role,
        authenticator: Authenticator | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        """Within a running loop."""
        self.loop = asyncio.get_running_loop()
        self.role = role
        self.authenticator = authenticator
        self.clock = clock
        self.hostname = settings.hostname
        self.limits = settings.limits
        self.context = settings.context
        self.spool = settings.spool
        self.notifier = settings.notifier
        self.log = settings.log
        self.greeting_delay = settings.limits.greeting_delay if not role.login else 0.0
        self.greeting = f"220 {settings.hostname} ESMTP EchoMox\r\n".encode()
        self.commands = command_table(EXTENSIONS)
        self.mail_parameters = _merge(extension.mail for extension in EXTENSIONS)
        self.rcpt_parameters = _merge(extension.rcpt for extension in EXTENSIONS)
        self.line_limit = AUTH_LINE if authenticator is not None else PATH_LINE
        self.tick = max(1.0, min(self.limits.command_timeout, self.limits.data_timeout) / 4)
        self.sessions: set[SmtpSession] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.farewell: Reply | None = None
        """Set when sessions shall end as soon as nothing is under way."""
        self._connections = settings.connections
        self._count = settings.count
        self._use = settings.use
        self._ehlo: dict[tuple[str, ...], bytes] = {}
        self._changed: asyncio.Event | None = None
        """While draining: set when a session has ended."""

    def count(self, counter: str, n: int = 1) -> None:
        self._count(counter, n)

    def plain(self) -> SmtpSession:
        """The protocol of a connection that begins in the clear; a factory for create_server."""
        return SmtpSession(self)

    def implicit_tls(self, remote_ip: str) -> SmtpSession | None:
        """The protocol of a connection that begins with a TLS handshake, if it may stay; for net.listen."""
        session = SmtpSession(self)
        return session if session.admitted(remote_ip) else None

    # connections

    def admit(self, session: SmtpSession) -> Reply | None:
        """A refusal, or None and the connection is counted until `release`."""
        if len(self.sessions) >= self.limits.connections:
            return self._refuse(session, "too many connections in this worker", BUSY)
        reason = self._connections.admit(session.remote_ip)
        if reason == BLOCKED:
            self._count("connections_blocked", 1)
            return self._refuse(session, reason, BLOCKED_NOW)
        if reason:
            return self._refuse(session, reason, TOO_MANY)
        self.sessions.add(session)
        self._count("smtp_connections", 1)
        self._use(len(self.sessions))
        return None

    def _refuse(self, session: SmtpSession, reason: str, reply: Reply) -> Reply:
        self._count("smtp_refused_connections", 1)
        self.log.info("connection refused", remote=session.remote_ip, reason=reason)
        return reply

    def release(self, session: SmtpSession) -> None:
        self._connections.release(session.remote_ip)
        self.sessions.discard(session)
        self._use(len(self.sessions))
        if self._changed is not None:
            self._changed.set()

    # who is logged in (A13)

    def live_sessions(self) -> list[LiveSession]:
        protocol = self.authenticator.protocol if self.authenticator is not None else "smtp"
        return [
            LiveSession(
                session.cid,
                session.login,
                session.entry.name,
                protocol,
                session.entry.mechanism,
                session.remote_ip,
                session.tls,
                session.entry.since,
                session.silent,
            )
            for session in self.sessions
            if session.entry is not None
        ]

    def end_session(self, cid: str) -> bool:
        """At once; a message whose data has come is still stored."""
        found = next((session for session in self.sessions if session.entry and session.cid == cid), None)
        if found is None:
            return False
        found.log.info("session is to end", account=found.login)
        found.close(ENDED)
        return True

    # EHLO

    def ehlo(self, session: SmtpSession) -> bytes:
        """The whole answer to EHLO."""
        offered = self.role.offered(session)
        # The day: FUTURERELEASE tells a date.
        day = str(int(self.clock.now() // 86_400)) if self.role.login else ""
        key = (day, session.tls and "tls", session.login and "login", *offered)
        answer = self._ehlo.get(key)
        if answer is None:
            if len(self._ehlo) > 64:
                self._ehlo.clear()
            keywords = (extension.keyword(session) for extension in EXTENSIONS)
            answer = wire_lines(250, (self.hostname, *filter(None, keywords)))
            self._ehlo[key] = answer
        return answer

    def command_names(self, session: SmtpSession) -> list[str]:
        """For HELP: without those of extensions that this session is not shown."""
        shown = [extension for extension in EXTENSIONS if extension.keyword(session)]
        return list(command_table(shown))

    # the end

    async def drain(self, seconds: float, at_once: bool) -> None:
        """Ends all sessions: idle ones now if `at_once`, else when the time is up; transactions may finish
        until then. Returns when no session is left, and what they had under way is done."""
        deadline = self.loop.time() + seconds
        self._changed = changed = asyncio.Event()
        if at_once:
            self._say_farewell()
        while self.sessions and self.loop.time() < deadline:
            changed.clear()
            try:
                await asyncio.wait_for(changed.wait(), deadline - self.loop.time())
            except TimeoutError:
                break
        self._say_farewell()
        for session in list(self.sessions):
            session.close(SHUTDOWN)
        if self.tasks:  # deliveries whose client is cut off: what is being stored is stored
            await asyncio.wait(set(self.tasks), timeout=1.0)

    def _say_farewell(self) -> None:
        self.farewell = SHUTDOWN
        for session in list(self.sessions):
            session.drain(SHUTDOWN)


def command_table(extensions: Iterable[Extension]) -> dict[str, Command]:
    rows = [*COMMANDS, *(command for extension in extensions for command in extension.commands)]
    return {command.name: command for command in rows}


def _merge(tables: Iterable[Mapping[str, Parameter]]) -> dict[str, Parameter]:
    return {keyword: parameter for table in tables for keyword, parameter in table.items()}
