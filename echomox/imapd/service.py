"""What all IMAP sessions of one worker share: limits, accounts, timers, capabilities.

State: the open sessions, one `Hub` per account with a session, the wheel of deadlines. `run` in
workers/imap.py makes one, gives `session` to its listeners, calls `tick` now and then and `drain` at the end.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from echomox.config.paths import Paths
from echomox.config.quota import Quota, quota_of
from echomox.config.schema import Limits as ConfiguredLimits
from echomox.config.schema import Static
from echomox.config.snapshot import Snapshot
from echomox.errors import MailError
from echomox.imap.grammar import append_mailbox
from echomox.imap.lexer import Bad, Parser
from echomox.imap.receive import BEFORE_LOGIN, Limits, NeedContinuation
from echomox.imap.state import State
from echomox.imapd.box import find
from echomox.imapd.command import No
from echomox.imapd.commands import BY_NAME, KEYWORDS
from echomox.imapd.hub import Hub, Ringer
from echomox.imapd.limit import keywords
from echomox.imapd.session import Session
from echomox.imapd.watch import stop_watching
from echomox.imapd.wheel import TICK, Wheel
from echomox.log import Log
from echomox.net.blocks import Blocks
from echomox.net.limit import BLOCKED, ConnectionLimits, IdleLimits, Slabs
from echomox.net.listen import normal_ip
from echomox.net.login import Authenticator
from echomox.net.sessions import LiveSession
from echomox.net.tls import Channel, channel_of, describe
from echomox.store.engine import BadMailboxName, Committer, Engine, NoSuchMailbox

GRACE = 1.0  # seconds for commands that run when the drain ends
POLL = 15.0  # seconds between looks at the store for idling sessions: bells may be lost
LITERAL = 1 << 20  # octets of all literals of one command that are held in memory
STREAM_FROM = 64 * 1024
SKIP = 1 << 20  # octets of refused non-synchronising literals that are read over before we close


class Host(Protocol):
    """What a worker gives (workers.base.Worker is one)."""

    name: str
    static: Static
    paths: Paths
    log: Log
    blocks: Blocks

    @property
    def limiter(self) -> Slabs: ...
    def snapshot(self) -> Snapshot: ...
    def count(self, counter: str, n: int = 1) -> None: ...
    def use_connections(self, n: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Backend:
    """Where mail is kept and logins are checked."""

    engine: Engine
    committer: Committer
    authenticator: Authenticator
    bells: Ringer
    tls: ssl.SSLContext | None


class Service:
    """One per worker."""

    def __init__(self, host: Host, backend: Backend, loop: asyncio.AbstractEventLoop) -> None:
        static = host.static
        self.loop = loop
        self.now: Callable[[], float] = loop.time
        self.log = host.log
        self.count: Callable[..., None] = host.count
        self.limits: ConfiguredLimits = static.limits
        self.hostname = (static.hostname or "localhost").encode("ascii", "replace")
        self.control: Path = host.paths.socket("control")
        self.spool: Path = host.paths.spool / host.name
        self.engine = backend.engine
        self.committer = backend.committer
        self.authenticator = backend.authenticator
        self.tls_context = backend.tls
        self.rows = BY_NAME
        self.receive_limits = Limits(
            literal=LITERAL, message=self.limits.message_size, stream_from=STREAM_FROM, skip=SKIP
        )
        self.sessions: set[Session] = set()
        self.hubs: dict[str, Hub] = {}
        self.wheel = Wheel(self.now())
        self._bells = backend.bells
        self._use_connections = host.use_connections
        self._snapshot = host.snapshot
        self._empty: asyncio.Event | None = None
        self._admission = ConnectionLimits(host.limiter, "imap", self.limits, blocked=host.blocks.has)
        self._idlers = IdleLimits(host.limiter, self.limits)
        self._next_poll = self.now() + POLL

    def session(self, implicit_tls: bool) -> Session:
        return Session(self, implicit_tls)

    def implicit_tls(self, ip: str) -> Session | None:
        """A session whose TLS begins with the first byte, admitted before its handshake; None: it is not."""
        if self.admit(ip):
            return None
        session = Session(self, True)
        session.remote_ip = ip
        return session

    # -- connections

    def admit(self, ip: str) -> str:
        """Empty, and counted, when one more connection may stay: `release` must follow. Else why not."""
        self.count("imap_connections")
        if len(self.sessions) >= self.limits.connections:
            reason = "worker is full"
        else:
            reason = self._admission.admit(ip)
        if reason:
            if reason == BLOCKED:
                self.count("connections_blocked")
            self.log.info("connection refused", ip=ip, reason=reason)
        return reason

    def release(self, ip: str) -> None:
        self._admission.release(ip)

    def opened(self, session: Session) -> None:
        """A session with its transport, admitted."""
        self.sessions.add(session)
        self._use_connections(len(self.sessions))
        session.deadline = self.now() + self.limits.login_timeout
        self.wheel.add(session)

    def closed(self, session: Session) -> None:
        self.release(session.remote_ip)
        self.sessions.discard(session)
        self._use_connections(len(self.sessions))
        if not self.sessions and self._empty is not None:
            self._empty.set()
        self.wheel.remove(session)
        self._leave(session)

    def _leave(self, session: Session) -> None:
        hub, session.hub = session.hub, None
        if hub is not None:
            self.leave(hub)

    def enter(self, account: str) -> Hub:
        """One more uses the hub of the account: `leave` must follow. Raises StoreError when it cannot be opened."""
        hub = self.hubs.get(account)
        if hub is None:
            hub = Hub(account, self.engine.open(account), self._bells, self.loop)
            self.hubs[account] = hub
        hub.users += 1
        return hub

    def leave(self, hub: Hub) -> None:
        hub.users -= 1
        if not hub.users:
            del self.hubs[hub.account]

    def detach(self, session: Session) -> None:
        """The session is as before its login (RFC 8437)."""
        stop_watching(session)
        self._leave(session)
        session.entry = session.annotated = None
        session.hidden = session.enabled = frozenset()
        session.state = State.NOT_AUTHENTICATED
        session.receiver.limits = BEFORE_LOGIN
        session.deadline = self.now() + self.limits.login_timeout

    def attach(self, session: Session, account: str) -> None:
        """The session has logged in. Raises StoreError when the account cannot be opened."""
        session.hub = self.enter(account)
        session.hidden = frozenset(self._snapshot().account(account).imap_without)
        session.state = State.AUTHENTICATED
        session.bad = 0
        session.receiver.limits = self.receive_limits
        session.deadline = self.now() + self.limits.imap_timeout

    def quota(self, account: str) -> Quota:
        return quota_of(self._snapshot().dynamic, self.limits, account)

    def owners(self, account: str) -> list[str]:
        """Accounts that may share something with this one (RFC 4314)."""
        return [owner for owner in self.engine.owners(account) if self.is_account(owner)]

    def is_account(self, name: str) -> bool:
        return name in self._snapshot().dynamic.accounts

    def account_named(self, name: str) -> str | None:
        """By its name or by one of its addresses; None for none."""
        return name if self.is_account(name) else self._snapshot().login_account(name)

    def is_admin(self, account: str) -> bool:
        return self._snapshot().account(account).admin

    # -- who is logged in (A13)

    def live_sessions(self) -> list[LiveSession]:
        heard = self.now() + self.limits.imap_timeout  # of one that says something now: what its deadline would be
        return [
            LiveSession(
                session.cid,
                session.hub.account,
                session.entry.name,
                "imap",
                session.entry.mechanism,
                normal_ip(session.remote_ip),
                describe(session.transport.get_extra_info("ssl_object")),
                session.entry.since,
                max(0.0, heard - session.deadline),
            )
            for session in self.sessions
            if session.hub is not None and session.entry is not None
        ]

    def end_session(self, cid: str) -> bool:
        """After the command that runs, within GRACE."""
        found = next((session for session in self.sessions if session.hub is not None and session.cid == cid), None)
        if found is None:
            return False
        self.loop.call_later(GRACE, self._cut, found)
        found.log("session is to end")
        found.finish_by(b"* BYE [UNAVAILABLE] Your session was ended by the administrator\r\n")
        return True

    def _cut(self, session: Session) -> None:
        if session in self.sessions:
            session.transport.abort()

    # -- IDLE (I06)

    def admit_idle(self, session: Session) -> None:
        if not self._idlers.admit(session.remote_ip):
            raise No("Too many IDLE commands from your address, end another one first", "LIMIT")

    def idle_ended(self, session: Session) -> None:
        self._idlers.release(session.remote_ip)

    def changed(self, account: str) -> None:
        """This process has committed a write of the account: its own idlers hear of it without the
        notifier."""
        hub = self.hubs.get(account)
        if hub is not None and hub.idlers:
            hub.bell(0)

    # -- time

    def tick(self) -> None:
        """To be called every few seconds."""
        now = self.now()
        self.wheel.tick(now)
        if now >= self._next_poll:
            self._next_poll = now + POLL
            for hub in self.hubs.values():
                hub.bell(0)

    async def ticking(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            try:
                self.tick()
            except Exception:
                self.log.exception("tick")
                self.count("exceptions")

    async def drain(self, seconds: float) -> None:
        """Sessions may go on for so long; then they are told to come back, each after the command that it
        runs."""
        await self._until_empty(seconds)
        for session in tuple(self.sessions):
            session.finish_by(b"* BYE [UNAVAILABLE] Server is restarting\r\n")
        await self._until_empty(GRACE)
        for session in tuple(self.sessions):
            session.transport.abort()

    async def _until_empty(self, seconds: float) -> None:
        if self.sessions:
            self._empty = asyncio.Event()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), seconds)

    # -- answers

    def capabilities(self, session: Session) -> bytes:
        """CAPABILITY and its keywords, for the code or the response."""
        if session.state is not State.NOT_AUTHENTICATED:
            limits = self.limits
            limit = keywords(limits.imap_messages, limits.imap_saves)
            return capability_text(True, False, (), limits.message_size, session.hidden, limit)
        offered = tuple(self.authenticator.offered(session.tls, session.remote_ip, session_channel(session)))
        starttls = self.tls_context is not None and not session.tls
        return capability_text(False, starttls, offered, 0)

    def refuse_literal(self, session: Session, event: NeedContinuation) -> No | None:
        """Whether a synchronising literal is not wanted: an APPEND into a mailbox that is not there need not
        be sent."""
        if event.name != "APPEND" or session.state is State.NOT_AUTHENTICATED or not session.receiver.partial():
            return None
        try:
            mailbox = append_mailbox(Parser(session.receiver.partial()))
            find(session, mailbox, "i")
        except Bad:
            return None  # the mailbox itself may be the literal
        except NoSuchMailbox:
            return No("No such mailbox", "TRYCREATE")
        except No as refusal:
            return refusal
        except BadMailboxName as error:
            return No(str(error), "CANNOT")
        except (MailError, OSError):
            return None
        return None


def session_channel(session: Session) -> Channel:
    """What its TLS has to say for a login: SCRAM-*-PLUS, and EXTERNAL by a client's certificate."""
    return channel_of(session.transport.get_extra_info("ssl_object"))


@lru_cache(maxsize=64)
def capability_text(
    logged_in: bool,
    starttls: bool,
    mechanisms: tuple[str, ...],
    append_limit: int,
    hidden: frozenset[str] = frozenset(),
    limit: str = "",
) -> bytes:
    """Computed from KEYWORDS, so that the banner cannot lie."""
    shown = [keyword.name for keyword in KEYWORDS if (keyword.after if logged_in else keyword.before)]
    words = [name for name in shown if name not in hidden]
    if logged_in:
        words.append(f"APPENDLIMIT={append_limit}")
        words += [limit] if limit and limit.partition("=")[0] not in hidden else []
    else:
        words += ["STARTTLS"] if starttls else []
        words += [f"AUTH={name}" for name in mechanisms]
        words += [] if "PLAIN" in mechanisms else ["LOGINDISABLED"]
    return " ".join(("CAPABILITY", *words)).encode("ascii")
