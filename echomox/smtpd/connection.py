"""What an SMTP session is at the bottom: the bytes, the time and the TLS of one connection.

A subclass of aiosmtpd's `SMTP`, of which it keeps the name, `Session` and `Envelope`; the rest is replaced, because a
connection here costs a tenth. aiosmtpd reads through a StreamReader in a task per connection and looks up its methods
by inspection each time. Here `data_received` assembles lines (`lines`), and `session` works them off at once; a task
exists only while something is awaited: the end of data, a login step, a TLS handshake. Until it is done further input
waits, unread beyond 64 KiB. Replies to what came together go out in one write (RFC 2920 3.1).

Time limits: one timer a connection, which looks at `_deadline` when it fires and re-arms itself.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from aiosmtpd.smtp import SMTP, Session

from echomox.delivery.subjectpass import hidden
from echomox.errors import Reply
from echomox.log import DEBUG, TRACE, Log, new_cid
from echomox.net.listen import peer_ip
from echomox.net.tls import NO_CHANNEL, Channel, channel_of, describe
from echomox.smtpd.lines import LineInput
from echomox.smtpd.reading import MessageReader
from echomox.smtpd.reply import wire
from echomox.smtpd.transaction import Transaction

if TYPE_CHECKING:
    from echomox.smtpd.service import SmtpService

WAITING_INPUT = 64 * 1024
TIMEOUT = Reply(421, "4.4.2", "Timeout, closing connection")
EARLY = Reply(554, "5.5.1", "You spoke before the greeting, closing connection")


class Connection(SMTP, ABC):
    """The protocol object of a connection, without what it says; all it needs to know of the server is in `service`."""

    session: Session
    envelope: Transaction

    def __init__(self, service: SmtpService) -> None:
        # aiosmtpd's own __init__ is not called: see the module's text.
        self.service = service
        self.loop = service.loop
        self.transport: Any = None
        self.session = Session(self.loop)
        self.envelope = Transaction()
        self.remote_ip = ""
        self.tls = ""
        self.channel: Channel = NO_CHANNEL
        self.messages = 0
        self._lines = LineInput(service.line_limit)
        self._text = MessageReader(service)
        self._out: list[bytes] = []
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self._admitted = False
        self._closing = False
        self._lost = False
        self._choked = False
        self._waits = False
        """For the greeting."""
        self._paused = False
        self._scheduled = False
        self._ended = False
        self._cid = ""
        self._log: Log | None = None

    # of the session above

    @abstractmethod
    def _process(self) -> None:
        """Works off what has come, until more is needed, something has to be waited for, or others should run."""

    @abstractmethod
    def wait(self, work: Coroutine[Any, Any, Reply | bytes | None]) -> None:
        """Runs `work`; its reply goes out when it ends, input waits till then."""

    @abstractmethod
    def reset_hello(self) -> None:
        """The client is a stranger again."""

    @abstractmethod
    def _admit(self) -> Reply | None:
        """A refusal, or None and the connection is counted until `_release`."""

    @abstractmethod
    def _release(self) -> None:
        """The connection counts no more."""

    # what is known of it

    @property
    def cid(self) -> str:
        if not self._cid:
            self._cid = new_cid()
        return self._cid

    @property
    def log(self) -> Log:
        if self._log is None:
            self._log = self.service.log.bind(cid=self.cid, remote=self.remote_ip)
        return self._log

    @property
    def idle(self) -> bool:
        """Neither in a transaction nor waited for."""
        return self._task is None and not self._text.within and self.envelope.mail_from is None

    @property
    def silent(self) -> float:
        """Seconds since the last command; 0 while one runs."""
        if self._task is not None or self._text.within:
            return 0.0
        return max(0.0, self.loop.time() + self.service.limits.command_timeout - self._deadline)

    @property
    def unread(self) -> int:
        """Octets that came after the line at hand."""
        return self._lines.pending

    @property
    def resting(self) -> bool:
        """Nothing is awaited, and all that has come is worked off."""
        return self._task is None and not self._scheduled

    # output

    def send(self, reply: bytes) -> None:
        """A reply before the one that the command returns."""
        self._out.append(reply)

    def _flush(self) -> None:
        if self._out:
            out, self._out = self._out, []
            if self.service.log.enabled(TRACE):
                self._trace(out)
            if self.transport is not None and not self._closing:
                self.transport.write(out[0] if len(out) == 1 else b"".join(out))

    def _trace(self, out: list[bytes]) -> None:
        for reply in out:
            shown = b"334 ***" if reply.startswith(b"334 ") else hidden(reply.rstrip(b"\r\n"))
            self.log.trace("reply", text=shown.decode("utf-8", "replace"))

    def close(self, reply: Reply | None = None) -> None:
        """Ends the connection after `reply` and what was written before."""
        if not self._closing:
            if reply is not None:
                self._out.append(wire(reply))
            self._flush()
            self._closing = True
            if self.transport is not None:
                self.transport.close()

    def drain(self, reply: Reply) -> None:
        """The server is ending: at once if nothing is under way, else after it (`_process`)."""
        if self.idle:
            self.close(reply)

    # asyncio.Protocol

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        service = self.service
        if not self._admitted:
            self.remote_ip = peer_ip(transport)
            refusal = self._admit()
            if refusal is not None:
                self.close(refusal)
                return
            self._admitted = True
        elif self._closing:  # drained during the handshake
            transport.close()
            return
        else:
            self._secured(transport)
        self.session.peer = self.remote_ip
        self._arm(service.limits.command_timeout)
        if service.greeting_delay:
            self._timer = self.loop.call_later(service.greeting_delay, self._greet)
            self._waits = True
            return
        self._timer = self.loop.call_later(service.tick, self._tick)
        transport.write(service.greeting)

    def _greet(self) -> None:
        """After limits.greeting_delay, if the client has waited for it."""
        self._waits = False
        if not self._lost and not self._closing:
            self._timer = self.loop.call_later(self.service.tick, self._tick)
            self._arm(self.service.limits.command_timeout)
            self.transport.write(self.service.greeting)

    def admitted(self, remote_ip: str) -> bool:
        """Implicit TLS: asked before the handshake, and before connection_made."""
        self.remote_ip = remote_ip
        self._admitted = self._admit() is None
        return self._admitted

    def handshake_failed(self, error: BaseException) -> None:
        self.log.info("TLS handshake failed", error=str(error) or type(error).__name__)
        self.connection_lost(None)

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        if self._waits:
            self._too_early()
            return
        self._lines.feed(data)
        if self._task is None and not self._choked and not self._scheduled:
            self._process()
        elif self._lines.pending > WAITING_INPUT and not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def _too_early(self) -> None:
        """RFC 5321 3.1 and 4.3.1: a client waits for the greeting. Those that cannot are no mail servers."""
        self.service.count("smtp_early_talkers")
        self.log.info("client spoke before the greeting")
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(self.service.tick, self._abort)
        self._waits = False
        self.close(EARLY)

    def eof_received(self) -> bool:
        """The client will send no more; what it is owed is still sent, unless TLS is in the way."""
        self._ended = True
        if (self._task is None and not self._scheduled) or self.tls:
            self.close()
            return False
        return True

    def connection_lost(self, error: Exception | None) -> None:
        if self._lost:
            return
        self._lost = self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        self._text.discard()
        if self._admitted:
            self._release()
            if self.service.log.enabled(DEBUG):
                self.log.debug("connection ended", messages=self.messages, error=error)
        self.transport = None

    def pause_writing(self) -> None:
        """The client does not read its replies: neither do we read its commands."""
        self._choked = True
        if not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        self._choked = False
        if self._task is None and not self._closing and not self._scheduled:
            self._process()

    # turns

    def _yield(self) -> None:
        """The other connections' turn; we go on behind them."""
        self._flush()
        if self._closing or self._scheduled:
            return
        self._scheduled = True
        if not self._paused:
            self._paused = True
            self.transport.pause_reading()
        self.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        if self._task is None and not self._lost and not self._choked:
            self._process()
        else:
            self._scheduled = False

    # TLS

    def start_tls(self) -> None:
        """Begins the handshake after STARTTLS; nothing in the clear is read from now on."""
        self.transport.pause_reading()
        self.wait(self._handshake())

    async def _handshake(self) -> None:
        """The transport is another one afterwards, and the client a stranger. A failure ends the
        connection."""
        transport = self.transport
        context = self.service.context
        assert context is not None
        timeout = self.service.limits.tls_timeout
        try:
            upgraded: Any = await self.loop.start_tls(
                transport, self, context, server_side=True, ssl_handshake_timeout=timeout
            )
        except (TimeoutError, OSError) as error:
            transport.abort()
            self.handshake_failed(error)
            return
        if self._lost:
            return
        if upgraded is None:
            self.connection_lost(None)
            return
        self.transport = upgraded
        self.reset_hello()
        self._secured(upgraded)

    def _secured(self, transport: Any) -> None:
        connection = transport.get_extra_info("ssl_object")
        self.tls = describe(connection) or "TLS"
        if self.service.role.login:
            self.channel = channel_of(connection)
        self.session.ssl = {"description": self.tls}

    # time

    def _arm(self, seconds: float) -> None:
        self._deadline = self.loop.time() + seconds

    def _tick(self) -> None:
        if self._lost:
            return
        left = self._deadline - self.loop.time()
        if self._closing and left <= 0:
            self._abort()
            return
        if left <= 0 and self._task is None:
            self.log.info("timeout", in_data=self._text.within)
            self._timer = self.loop.call_later(self.service.tick, self._abort)
            self.close(TIMEOUT)
            return
        tick = self.service.tick
        self._timer = self.loop.call_later(min(left, tick) if left > 0 else tick, self._tick)

    def _abort(self) -> None:
        """A client that does not read keeps a closing transport open: no longer than this."""
        if self.transport is not None:
            self.transport.abort()
