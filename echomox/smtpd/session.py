"""One SMTP connection: commands in, replies out (RFC 5321). Bytes, time and TLS are `connection`, the text of messages
is `reading`; here are the order of commands, what is answered, and what is counted against a client.

Commands are run from the service's table as their lines come. State: `session` (who the client is) lives until
STARTTLS, `envelope` (one transaction) until RSET, the end of data, or EHLO.

Whatever escapes a command is our fault: 451 4.3.0 for the client, the traceback for the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from time import monotonic
from typing import TYPE_CHECKING, Any

from echomox.errors import MailError, Reply
from echomox.log import TRACE
from echomox.smtpd.body import Body
from echomox.smtpd.command import Needs
from echomox.smtpd.connection import Connection
from echomox.smtpd.lines import Trouble
from echomox.smtpd.reading import AFTER_BDAT, NOTHING, Ended
from echomox.smtpd.reply import wire
from echomox.smtpd.transaction import Transaction

if TYPE_CHECKING:
    from echomox.net.sessions import Entry
    from echomox.smtpd.service import SmtpService

TURN = 0.002  # seconds that one connection may go on before the others have their turn
NOT_UNDERSTOOD = frozenset({500, 501, 502, 504})
"""Replies that count towards limits.bad_commands."""
OUR_FAULT = Reply(451, "4.3.0", "Local error, try again later")
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
REFUSALS = {
    Needs.HELLO: Reply(503, "5.5.1", "Say EHLO or HELO first"),
    Needs.EXTENDED: Reply(503, "5.5.1", "Say EHLO first"),
    Needs.LOGIN: Reply(530, "5.7.0", "Authentication required"),
    Needs.NO_MAIL: Reply(503, "5.5.1", "A transaction is already under way"),
    Needs.MAIL: Reply(503, "5.5.1", "MAIL first"),
}
_HELLO, _LOGIN, _NO_MAIL, _MAIL, _EXTENDED = map(
    int, (Needs.HELLO, Needs.LOGIN, Needs.NO_MAIL, Needs.MAIL, Needs.EXTENDED)
)
HTTP_VERBS = frozenset(
    {"GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "CONNECT", "TRACE", "PATCH", "PRI", "HOST:"}
)

__all__ = ["AFTER_BDAT", "SmtpSession"]


class SmtpSession(Connection):
    """The protocol object of a connection."""

    def __init__(self, service: SmtpService) -> None:
        super().__init__(service)
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
        self.delay = 0.0
        """Seconds that the next reply waits (S42)."""

    def _admit(self) -> Reply | None:
        return self.service.admit(self)

    def _release(self) -> None:
        self.service.release(self)

    # what commands ask and do

    def reset(self) -> None:
        """Forgets the transaction, and what of its message has come by BDAT."""
        self.envelope = Transaction()
        if self._text.chunking:
            self._text.discard()

    def reset_hello(self) -> None:
        """RFC 3207 4.2: nothing that was said before TLS counts."""
        self.session.host_name = None
        self.session.extended_smtp = False
        self.reset()

    def begin_data(self) -> Reply | bytes:
        return self._text.begin_data()

    def begin_chunk(self, size: int, last: bool, refusal: Reply | None) -> None:
        """Octets of a message follow. refusal: they are dropped, and this is answered when they have come."""
        self._text.begin_chunk(size, last, refusal)

    @property
    def chunking(self) -> bool:
        """A message is coming by BDAT."""
        return self._text.chunking

    def wait(self, work: Coroutine[Any, Any, Reply | bytes | None]) -> None:
        """Runs `work`; its reply goes out when it ends, input waits till then."""
        self._task = self.loop.create_task(self._work(work))
        self.service.tasks.add(self._task)

    # input

    def _process(self) -> None:
        """Works off what has come, until more is needed, something has to be waited for, or others should run."""
        self._scheduled = False
        end = monotonic() + TURN  # not the loop's time, which stands still within a callback
        while self._task is None and not self._closing and not self._choked:
            if self._text.within:
                if not self._read():
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

    def _run(self, line: bytes | Trouble) -> None:
        if self.service.log.enabled(TRACE):
            self.log.trace("command", line=self._traced(line))
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

    def _traced(self, line: bytes | Trouble) -> str:
        """A line as the log may have it (G09): no answer of a login, nothing that is no command, which may be one."""
        if isinstance(line, Trouble):
            return f"({line.value})"
        words = line.split(b" ", 2)
        if self.answer is not None or words[0].decode("latin-1").upper() not in self.service.commands:
            return f"({len(line)} octets)"
        shown = b" ".join((*words[:2], b"***")) if words[0].upper() == b"AUTH" and len(words) > 2 else line
        return shown.decode("utf-8", "replace")

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
        bits = int(needs)  # the operators of enums are slow, and every command comes here
        if bits & _LOGIN and self.service.role.login and not self.login:
            return REFUSALS[Needs.LOGIN]
        if bits & _HELLO and self.session.host_name is None:
            return REFUSALS[Needs.HELLO]
        if bits & _EXTENDED and not self.session.extended_smtp:
            return REFUSALS[Needs.EXTENDED]
        if bits & _NO_MAIL and self.envelope.mail_from is not None:
            return REFUSALS[Needs.NO_MAIL]
        if bits & _MAIL and self.envelope.mail_from is None:
            return REFUSALS[Needs.MAIL]
        return None

    def _read(self) -> bool:
        """False when more is needed."""
        reader = self._text
        ended = reader.read(self._lines)
        if ended is None or ended is NOTHING:
            if ended is None:
                self._deadline = min(self.loop.time() + self.service.limits.data_timeout, reader.until)
            return False
        self._arm(self.service.limits.command_timeout)
        if ended.refused:
            self._refused(ended)
        elif ended.body is not None:
            self.wait(self._message(ended.body))
        elif ended.reply is not None:
            self._answer(ended.reply)
        return True

    def _refused(self, ended: Ended) -> None:
        """A message, or a chunk, is not taken; the transaction is over."""
        body, reply = ended.body, ended.reply
        assert reply is not None
        if body is not None:
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
