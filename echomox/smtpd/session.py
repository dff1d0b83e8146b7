"""One SMTP connection: bytes in, replies out (RFC 5321). A subclass of aiosmtpd's `SMTP`, of which it keeps
the name, `Session` and `Envelope`; the rest is replaced, because a connection here costs a tenth.

aiosmtpd reads through a StreamReader in a task per connection and looks up its methods by inspection each
time. Here `data_received` assembles lines (`lines`) and runs commands from the service's table at once; a
task exists only while something is awaited: the end of data, a login step, a TLS handshake. Until it is
done further input waits, unread beyond 64 KiB. Replies to what came together go out in one write (RFC 2920
3.1).

State: `session` (who the client is) lives until STARTTLS, `envelope` (one transaction) until RSET, the end
of data, or EHLO. Time limits: one timer a connection, which looks at `_deadline` when it fires and re-arms
itself.

Whatever escapes a command is our fault: 451 4.3.0 for the client, the traceback for the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from time import monotonic
from typing import TYPE_CHECKING, Any

from aiosmtpd.smtp import SMTP, Session

from echomox.errors import MailError, Reply
from echomox.log import DEBUG, Log, new_cid
from echomox.net.listen import peer_ip
from echomox.net.tls import NO_CHANNEL, Channel, channel_of, describe
from echomox.smtpd.body import Body
from echomox.smtpd.command import Needs
from echomox.smtpd.lines import ChunkReader, DataReader, LineInput, Trouble
from echomox.smtpd.reply import wire
from echomox.smtpd.transaction import Transaction

if TYPE_CHECKING:
    from echomox.net.sessions import Entry
    from echomox.smtpd.service import SmtpService

TURN = 0.002  # seconds that one connection may go on before the others have their turn
WAITING_INPUT = 64 * 1024
NOT_UNDERSTOOD = frozenset({500, 501, 502, 504})
"""Replies that count towards limits.bad_commands."""
OUR_FAULT = Reply(451, "4.3.0", "Local error, try again later")
TIMEOUT = Reply(421, "4.4.2", "Timeout, closing connection")
TOO_MANY = Reply(421, "4.7.0", "Too many commands that are not understood, closing connection")
STRANGERS = 100
"""Recipients that do not exist, on one connection: more are not a mistake but a search for addresses."""
SLOW_STRANGERS, SLOW_LOGINS = 20, 3
"""From so many on, answers come byte by byte (limits.slow_answers)."""
SLOW_PAUSE, SLOW_BYTES = 1.0, 60
TOO_MANY_STRANGERS = Reply(421, "4.7.0", "Too many unknown recipients, closing connection")
HTTP = Reply(554, "5.5.1", "This is a mail server, it does not speak HTTP")
UNKNOWN = Reply(500, "5.5.2", "Command not recognized")
BARE_COMMAND = Reply(500, "5.5.2", "Commands end in CRLF and hold no other CR, LF or NUL")
LONG_COMMAND = Reply(500, "5.5.2", "Command line is too long")
GO_AHEAD = b"354 End data with <CRLF>.<CRLF>\r\n"
SMUGGLING = {
    Trouble.BARE: Reply(550, "5.6.11", "Bare CR or LF in message data is not accepted (SMTP smuggling)"),
    Trouble.NUL: Reply(550, "5.6.11", "NUL in message data is not accepted"),
    Trouble.LONG: Reply(554, "5.6.0", "The message has a line that is too long"),
}
REFUSALS = {
    Needs.HELLO: Reply(503, "5.5.1", "Say EHLO or HELO first"),
    Needs.EXTENDED: Reply(503, "5.5.1", "Say EHLO first"),
    Needs.LOGIN: Reply(530, "5.7.0", "Authentication required"),
    Needs.NO_MAIL: Reply(503, "5.5.1", "A transaction is already under way"),
    Needs.MAIL: Reply(503, "5.5.1", "MAIL first"),
}
AFTER_BDAT = Reply(503, "5.5.1", "BDAT has begun: only BDAT and RSET may follow")
EARLY = Reply(554, "5.5.1", "You spoke before the greeting, closing connection")
HTTP_VERBS = frozenset(
    {"GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "CONNECT", "TRACE", "PATCH", "PRI", "HOST:"}
)


class SmtpSession(SMTP):
    """The protocol object of a connection; all it needs to know of the server is in `service`."""

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
        self.login: str = ""
        """The account, after AUTH."""
        self.login_address = ""
        self.entry: Entry | None = None
        """How it logged in."""
        self.answer: Any = None
        """Takes the next line instead of a command (AUTH)."""
        self.bad_commands = 0
        self.strangers = 0
        self.failed_logins = 0
        self.messages = 0
        self.delay = 0.0
        """Seconds that the next reply waits (S42)."""
        self._lines = LineInput(service.line_limit)
        self._data: DataReader | None = None
        self._body: Body | None = None
        self._chunks: ChunkReader | None = None
        """Of a message that comes by BDAT, from its first chunk to its last."""
        self._chunk_left = -1
        """Octets of the chunk at hand that are to come; -1: no chunk is being read."""
        self._chunk_last = False
        self._chunk_refusal: Reply | None = None
        self._until = 0.0
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

    # what commands ask and do

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
        return self._task is None and not self._reading and self.envelope.mail_from is None

    @property
    def _reading(self) -> bool:
        """Within a message."""
        return self._data is not None or self._chunk_left >= 0

    @property
    def silent(self) -> float:
        """Seconds since the last command; 0 while one runs."""
        if self._task is not None or self._reading:
            return 0.0
        return max(0.0, self.loop.time() + self.service.limits.command_timeout - self._deadline)

    @property
    def unread(self) -> int:
        """Octets that came after the line at hand."""
        return self._lines.pending

    def reset(self) -> None:
        """Forgets the transaction, and what of its message has come by BDAT."""
        self.envelope = Transaction()
        if self._chunks is not None:
            self._chunks = None
            if self._body is not None:
                self._body.discard()
                self._body = None

    def reset_hello(self) -> None:
        """RFC 3207 4.2: nothing that was said before TLS counts."""
        self.session.host_name = None
        self.session.extended_smtp = False
        self.reset()

    def begin_data(self) -> Reply | bytes:
        if self._chunks is not None:
            return AFTER_BDAT  # RFC 3030 2
        self._data = DataReader(self.service.limits.line_length)
        self._begin_body()
        return GO_AHEAD

    def begin_chunk(self, size: int, last: bool, refusal: Reply | None) -> None:
        """Octets of a message follow. refusal: they are dropped, and this is answered when they have come."""
        self._chunk_left, self._chunk_last, self._chunk_refusal = size, last, refusal
        if refusal is None and self._chunks is None:
            self._chunks = ChunkReader(self.service.limits.line_length)
            self._begin_body()
        elif self._chunks is None:
            self._until = self.loop.time() + self.service.limits.message_timeout

    def _begin_body(self) -> None:
        limits = self.service.limits
        self._body = Body(self.service.spool, limits.message_size)
        self._until = self.loop.time() + limits.message_timeout

    @property
    def chunking(self) -> bool:
        """A message is coming by BDAT."""
        return self._chunks is not None

    def wait(self, work: Coroutine[Any, Any, Reply | bytes | None]) -> None:
        """Runs `work`; its reply goes out when it ends, input waits till then."""
        self._task = self.loop.create_task(self._work(work))
        self.service.tasks.add(self._task)

    def send(self, reply: bytes) -> None:
        """A reply before the one that the command returns."""
        self._out.append(reply)

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
            refusal = service.admit(self)
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
        self._admitted = self.service.admit(self) is None
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
        if self._body is not None:
            self._body.discard()
            self._body = None
        self._chunks = None
        if self._admitted:
            self.service.release(self)
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

    # input

    def _process(self) -> None:
        """Works off what has come, until more is needed, something has to be waited for, or others should run."""
        self._scheduled = False
        end = monotonic() + TURN  # not the loop's time, which stands still within a callback
        while self._task is None and not self._closing and not self._choked:
            if self._data is not None:
                if not self._read_data(self._data):
                    break
                continue
            if self._chunk_left >= 0:
                if not self._read_chunk():
                    break
                if monotonic() > end:
                    self._yield()
                    return
                continue
            line = self._lines.line()
            if line is None:
                break
            self._arm(self.service.limits.command_timeout)
            self._run(line)
            if monotonic() > end:
                self._yield()
                return
        self._flush()
        if self._closing:
            return
        if self.service.farewell is not None and self.idle:
            self.close(self.service.farewell)
            return
        if self._paused and self._task is None and not self._choked:
            self._paused = False
            self.transport.resume_reading()
        if self._ended and self._task is None:
            self.close()

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

    def _run(self, line: bytes | Trouble) -> None:
        try:
            if isinstance(line, Trouble):
                self.answer = None
                reply: Reply | bytes | None = LONG_COMMAND if line is Trouble.LONG else BARE_COMMAND
            elif self.answer is not None:
                taker, self.answer = self.answer, None
                reply = taker(self, line)
            else:
                reply = self._command(line)
        except MailError as error:
            reply = error.reply
        except Exception:
            reply = self._trouble()
        if reply is not None:
            if self.delay or self.slow:
                self.wait(self._given(reply))
            else:
                self._answer(reply)

    def _command(self, line: bytes) -> Reply | bytes | None:
        verb, _, argument = line.partition(b" ")
        name = verb.decode("latin-1").upper()
        command = self.service.commands.get(name)
        if command is None:
            if name in HTTP_VERBS:
                self.close(HTTP)
                return None
            return UNKNOWN
        if len(line) + 2 > command.limit:
            return LONG_COMMAND
        if command.needs:
            refusal = self.refusal(command.needs)
            if refusal is not None:
                return refusal
        try:
            text = argument.strip(b" \t").decode("utf-8")
        except UnicodeDecodeError:
            return Reply(501, "5.5.2", "Argument is not UTF-8")
        return command.run(self, text)

    def refusal(self, needs: Needs) -> Reply | None:
        """What is to be answered where something that has to come first has not."""
        if needs & Needs.LOGIN and self.service.role.login and not self.login:
            return REFUSALS[Needs.LOGIN]
        if needs & Needs.HELLO and self.session.host_name is None:
            return REFUSALS[Needs.HELLO]
        if needs & Needs.EXTENDED and not self.session.extended_smtp:
            return REFUSALS[Needs.EXTENDED]
        if needs & Needs.NO_MAIL and self.envelope.mail_from is not None:
            return REFUSALS[Needs.NO_MAIL]
        if needs & Needs.MAIL and self.envelope.mail_from is None:
            return REFUSALS[Needs.MAIL]
        return None

    def _read_data(self, reader: DataReader) -> bool:
        """False when more is needed."""
        data = self._lines.take()
        if not data:
            return False
        body = self._body
        assert body is not None
        text, rest = reader.feed(data)
        if reader.trouble is None:
            body.write(text)
        elif body.trouble is None:
            body.refuse(SMUGGLING[reader.trouble])
        if rest is None:
            self._deadline = min(self.loop.time() + self.service.limits.data_timeout, self._until)
            return False
        self._data = self._body = None
        self._lines.feed(rest)
        self._arm(self.service.limits.command_timeout)
        trouble = SMUGGLING[reader.trouble] if reader.trouble is not None else body.trouble
        if trouble is not None:
            self._refused(body, trouble)
        else:
            self.wait(self._message(body))
        return True

    def _read_chunk(self) -> bool:
        """False when more is needed."""
        if self._chunk_left:
            data = self._lines.take()
            if not data:
                self._deadline = min(self.loop.time() + self.service.limits.data_timeout, self._until)
                return False
            taken = data[: self._chunk_left]
            self._lines.feed(data[len(taken) :])
            self._chunk_left -= len(taken)
            if self._chunk_refusal is None:
                self._take_chunk(taken)
            if self._chunk_left:
                self._deadline = min(self.loop.time() + self.service.limits.data_timeout, self._until)
                return False
        self._chunk_left = -1
        self._arm(self.service.limits.command_timeout)
        self._end_chunk()
        return True

    def _take_chunk(self, data: bytes) -> None:
        body, reader = self._body, self._chunks
        assert body is not None and reader is not None
        text = reader.feed(data)
        if reader.trouble is None:
            body.write(text)
        elif body.trouble is None:
            body.refuse(SMUGGLING[reader.trouble])

    def _end_chunk(self) -> None:
        """All octets of a chunk have come: its reply (RFC 3030 2), and with the last one the message."""
        refusal, self._chunk_refusal = self._chunk_refusal, None
        if refusal is not None:
            self.reset()
            self._answer(refusal)
            return
        body, reader = self._body, self._chunks
        assert body is not None and reader is not None
        if self._chunk_last:
            body.write(reader.end())
        trouble = SMUGGLING[reader.trouble] if reader.trouble is not None else body.trouble
        if trouble is None and self.loop.time() > self._until:
            trouble = TIMEOUT
        if trouble is not None:
            self._refused(body, trouble)
        elif self._chunk_last:
            self._chunks = self._body = None
            self.wait(self._message(body))
        else:
            self._answer(Reply(250, "2.0.0", f"{body.size} octets received"))

    def _refused(self, body: Body, reply: Reply) -> None:
        body.discard()
        self.service.count("smtp_messages_refused")
        self.log.info("message refused", mail_from=self.envelope.mail_from, size=body.size, reply=reply)
        self._answer(reply)
        self.reset()

    async def _message(self, body: Body) -> Reply:
        try:
            reply = await self.service.role.message(self, body)
            if reply.code == 250 and self.service.notifier is not None:
                await self.service.notifier.delivered(self, body)
            return reply
        finally:
            body.discard()
            self.messages += 1
            self.reset()

    # output

    def _answer(self, reply: Reply | bytes) -> None:
        if isinstance(reply, bytes):
            self._out.append(reply)
            return
        self._out.append(wire(reply))
        self._judge(reply)

    def _judge(self, reply: Reply) -> None:
        """What is counted against the client."""
        if reply.code in NOT_UNDERSTOOD:
            self.bad_commands += 1
            if self.bad_commands >= self.service.limits.bad_commands:
                self.close(TOO_MANY)
        elif reply.code == 550 and reply.enhanced == "5.1.1":
            self.strangers += 1
            if self.strangers >= STRANGERS:
                self.close(TOO_MANY_STRANGERS)

    def _flush(self) -> None:
        if self._out:
            out, self._out = self._out, []
            if self.transport is not None and not self._closing:
                self.transport.write(out[0] if len(out) == 1 else b"".join(out))

    async def _work(self, work: Coroutine[Any, Any, Reply | bytes | None]) -> None:
        self._flush()
        reply: Reply | bytes | None
        try:
            reply = await work
        except MailError as error:
            reply = error.reply
        except Exception:
            reply = self._trouble()
        if reply is not None and (self.delay or self.slow):
            reply = await self._held(reply)
        if self._task is not None:
            self.service.tasks.discard(self._task)
        self._task = None
        if self._lost or self._closing:
            return
        self._arm(self.service.limits.command_timeout)
        if reply is not None:
            self._answer(reply)
        self._process()

    @property
    def slow(self) -> bool:
        """Whether this client looks for addresses or passwords, and has no better to expect."""
        return (self.strangers >= SLOW_STRANGERS or self.failed_logins >= SLOW_LOGINS) and (
            self.service.limits.slow_answers
        )

    def _is_open(self) -> bool:
        return not self._lost and not self._closing

    async def _given(self, reply: Reply | bytes) -> Reply | bytes:
        return reply

    async def _held(self, reply: Reply | bytes) -> Reply | bytes:
        """The reply after its delay; of a slow one what is left when all but its end has been sent byte by byte."""
        seconds, self.delay = self.delay, 0.0
        if seconds:
            await asyncio.sleep(seconds)
        if not self.slow or not self._is_open():
            return reply
        whole = reply
        if isinstance(reply, Reply):
            self._judge(reply)
            whole = wire(reply)
        assert isinstance(whole, bytes)
        for place in range(min(len(whole) - 2, SLOW_BYTES)):
            if not self._is_open():
                break
            self.transport.write(whole[place : place + 1])
            await asyncio.sleep(SLOW_PAUSE)
        return whole[min(len(whole) - 2, SLOW_BYTES) :]

    def _trouble(self) -> Reply:
        self.service.count("exceptions")
        self.log.exception("command failed")
        return OUR_FAULT

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
            self.log.info("timeout", in_data=self._reading)
            self._timer = self.loop.call_later(self.service.tick, self._abort)
            self.close(TIMEOUT)
            return
        tick = self.service.tick
        self._timer = self.loop.call_later(min(left, tick) if left > 0 else tick, self._tick)

    def _abort(self) -> None:
        """A client that does not read keeps a closing transport open: no longer than this."""
        if self.transport is not None:
            self.transport.abort()
