"""One IMAP connection: bytes to commands, commands to answers, one after the other. RFC 9051 3, 5.3 to 5.5,
6.2.1, 7.1.

`echomox.imap.receive` cuts the input (pure), a row of `commands` says what a command may and does, `tell`
says what has happened meanwhile. A command that waits for nothing runs at once; one that does (a commit, a
password, a client that reads slowly) is a task, and while it runs no further command is taken and no more
input is read. Between commands a session is a few hundred bytes and no task.

Output of one turn is joined and written at once. A client that does not read stops its own output: `breathe`
waits until it does. Whatever escapes from a command is logged with its traceback and answered NO [SERVERBUG]
(RFC 5530)."""

from __future__ import annotations

import asyncio
import socket
import zlib
from array import array
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from echomox.errors import MailError
from echomox.imap.grammar import nothing
from echomox.imap.lexer import Bad, Parser
from echomox.imap.receive import (
    Command,
    Event,
    Line,
    LiteralTooLarge,
    NeedContinuation,
    ProtocolError,
    Receiver,
    StreamChunk,
    StreamEnd,
    StreamStart,
)
from echomox.imap.response import mailbox as mailbox_name
from echomox.imap.searching import BadCharset
from echomox.imap.seqset import SequenceSet
from echomox.imap.state import State
from echomox.imapd import command as rows
from echomox.imapd.command import BadCommand, No, Outcome, Rule
from echomox.imapd.tell import BYE_GONE, MailboxGone, renew_rights, tell_news
from echomox.imapd.upload import Upload
from echomox.imapd.view import OutOfRange
from echomox.imapd.watch import OWN, Watch
from echomox.log import new_cid
from echomox.net.limit import BLOCKED
from echomox.store.engine import (
    BadMailboxName,
    LimitExceeded,
    MailboxExists,
    NoSuchMailbox,
    OverQuota,
    StoreError,
)

if TYPE_CHECKING:
    from echomox.imapd.box import Box
    from echomox.imapd.contexts import Context
    from echomox.imapd.deflate import Deflate
    from echomox.imapd.hub import Hub
    from echomox.imapd.service import Service
    from echomox.imapd.view import View
    from echomox.net.sessions import Entry
    from echomox.store.engine import AccountStore

CHUNK = 96 * 1024  # bytes of output that are gathered before they are written
HIGH_WATER = 256 * 1024
TURN = 0.002  # seconds that one connection may go on before the others have their turn

REFUSED: Mapping[type[StoreError], tuple[str, str]] = {
    NoSuchMailbox: ("No such mailbox", "NONEXISTENT"),
    MailboxExists: ("Mailbox exists", "ALREADYEXISTS"),
    BadMailboxName: ("", "CANNOT"),
    OverQuota: ("Over quota", "OVERQUOTA"),
    LimitExceeded: ("", "LIMIT"),
}
"""What the store refuses, as text and code of RFC 5530; text "": the store's own."""


TOO_MANY = b"* BYE [UNAVAILABLE] Too many connections, try again later\r\n"
BLOCKED_BYE = b"* BYE [UNAVAILABLE] Your address is blocked after failed logins, try again later\r\n"
NOTHING_SAVED: array[int] = array("I")
NO_ROW = rows.Command("", frozenset(), Rule.NONE, (), nothing, lambda session, arguments: None)
"""Stands for the row of a command that there is not."""


class Session(asyncio.Protocol):
    """view: None unless a mailbox is selected; where that is, and what may be done there, is `box`: another account's
    for a shared one. store: the account's own mail. entry: how it logged in. enabled: upper-case names (RFC 5161).
    hidden: keywords that this account's clients are not offered. own: modseq by UID of what this session has done
    and its client knows. saved: UIDs of the last search with SAVE, "$" (RFC 5182). tag, row: of the last command.
    idle_tag: of an IDLE under way. waiting: for the line of the client that a task needs. flow: for the client
    to read on. contexts: by tag, of searches with UPDATE (RFC 5267). uploads: the streamed literals of the command
    under way."""

    __slots__ = (
        "_box", "bad", "bucket", "cid", "contexts", "deadline", "deflate", "enabled", "ended", "ending", "entry",
        "flow", "hidden", "hub",
        "idle_tag", "lost", "out", "out_size", "own", "paused", "reading", "receiver", "remote_ip", "row", "saved",
        "scheduled", "service", "state", "tag", "task", "tls", "transport", "uploads", "view", "waiting", "watch",
    )  # fmt: skip

    def __init__(self, service: Service, implicit_tls: bool) -> None:
        self.service: Service = service
        self.tls = implicit_tls
        self.ended = False
        self.receiver = Receiver()
        self.state = State.NOT_AUTHENTICATED
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self.remote_ip = ""
        self.cid = new_cid()
        self.tag = b""
        self.row: rows.Command = NO_ROW
        self.hub: Hub | None = None
        self.view: View | None = None
        self._box: Box | None = None
        self.entry: Entry | None = None
        self.enabled: frozenset[str] = frozenset()
        self.hidden: frozenset[str] = frozenset()
        self.own: dict[int, int] = {}
        self.saved: array[int] = NOTHING_SAVED
        self.out: list[bytes] = []
        self.out_size = 0
        self.bad = 0
        self.idle_tag = b""
        self.ending = b""
        self.task: asyncio.Task[None] | None = None
        self.waiting: asyncio.Future[bytes] | None = None
        self.flow: asyncio.Future[None] | None = None
        self.uploads: tuple[Upload, ...] = ()
        self.deflate: Deflate | None = None
        self.watch: Watch | None = None
        self.contexts: dict[bytes, Context] | None = None
        self.lost = self.paused = self.scheduled = False
        self.reading = True
        self.deadline = 0.0
        self.bucket = 0

    # -- what commands use

    @property
    def store(self) -> AccountStore:
        assert self.hub is not None, "no account without a login"
        return self.hub.store

    @property
    def selected(self) -> View:
        assert self.view is not None, "states of the command's row"
        return self.view

    @property
    def box(self) -> Box:
        """Of the selected mailbox."""
        assert self._box is not None, "states of the command's row"
        return self._box

    @property
    def rev2(self) -> bool:
        """The client has enabled IMAP4rev2 (RFC 9051 6.3.1)."""
        return "IMAP4REV2" in self.enabled

    @property
    def utf8(self) -> bool:
        """Mailbox names and other strings are UTF-8 on the wire (RFC 6855 3, RFC 9051 5.1)."""
        return "UTF8=ACCEPT" in self.enabled or "IMAP4REV2" in self.enabled

    @property
    def uid_only(self) -> bool:
        """No sequence numbers are used any more (RFC 9586)."""
        return "UIDONLY" in self.enabled

    def mailbox_name(self, name: str) -> bytes:
        """As this client wants to read it."""
        return mailbox_name(name, self.utf8)

    def positions(self, messages: SequenceSet, by_uid: bool) -> list[range]:
        """Indexes into the view's UIDs; see `View.positions`."""
        if messages.saved:
            return SequenceSet.of(self.saved).uid_positions(self.selected.uids)
        return self.selected.positions(messages, by_uid)

    def say(self, line: bytes) -> None:
        """A whole response with its CRLF; goes out with the rest of the turn."""
        self.out.append(line)
        self.out_size += len(line)

    def flush(self) -> None:
        if self.out:
            data = b"".join(self.out) if len(self.out) > 1 else self.out[0]
            self.out = []
            self.out_size = 0
            if not self.lost and not self.transport.is_closing():
                self.transport.write(data if self.deflate is None else self.deflate.compress(data))

    async def breathe(self) -> None:
        """Writes what there is, lets others run, and waits for a client that does not read. Raises
        ConnectionResetError when there is nobody any more to go on for."""
        self.flush()
        if self.paused and not self.lost:
            self.flow = self.service.loop.create_future()
            await self.flow
        else:
            await asyncio.sleep(0)
        if self.lost:
            raise ConnectionResetError

    async def ask(self, challenge: bytes) -> bytes:
        """A continuation request, and the line that answers it. Raises ConnectionResetError."""
        if self.lost:
            raise ConnectionResetError
        self.receiver.expect_line()
        self.say(b"+ " + challenge + b"\r\n")
        self.flush()
        self.waiting = self.service.loop.create_future()
        self._resume_reading()
        self.service.loop.call_soon(self.turn)
        return await self.waiting

    def enable_condstore(self) -> None:
        """By a command that uses it (RFC 7162 3.1)."""
        if "CONDSTORE" not in self.enabled:
            self.enabled |= {"CONDSTORE"}
            if self.view is not None:
                modseq = self.box.store.mailbox_by_id(self.view.mailbox_id).modseq
                self.say(b"* OK [HIGHESTMODSEQ %d] Highest\r\n" % modseq)

    def told(self, uid: int, modseq: int) -> None:
        """The client knows the flags that this message had at `modseq`."""
        self.own[uid] = modseq

    def enter(self, box: Box, view: View) -> None:
        """A mailbox is selected; none was."""
        self._box, self.view = box, view
        self.state = State.SELECTED
        if self.watch is not None:
            box.hub.join(self)

    def has_selected(self, store: AccountStore, mailbox_id: int) -> bool:
        """Ids are those of an account."""
        return self.view is not None and self.view.mailbox_id == mailbox_id and self.box.store is store

    def unselect(self) -> None:
        if self.view is not None:
            box, self._box = self.box, None
            if box.hub is not self.hub:
                box.hub.leave(self)
                self.service.leave(box.hub)
            self.view = None
            self.own = {}
            self.saved = NOTHING_SAVED
            self.contexts = None
            self.state = State.AUTHENTICATED

    def log(self, event: str, **fields: Any) -> None:
        self.service.log.info(event, cid=self.cid, ip=self.remote_ip, account=self.account, **fields)

    @property
    def account(self) -> str | None:
        return self.hub.account if self.hub else None

    # -- the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=HIGH_WATER)
        peer = transport.get_extra_info("peername")
        self.remote_ip = str(peer[0]) if peer else ""
        refusal = "" if self.tls else self.service.admit(self.remote_ip)
        if refusal:
            self.lost = True
            self.transport.write(BLOCKED_BYE if refusal == BLOCKED else TOO_MANY)
            self.transport.close()
            return
        self.service.opened(self)
        self.greet()

    def greet(self) -> None:
        self.say(b"* OK [%b] %b IMAP ready\r\n" % (self.service.capabilities(self), self.service.hostname))
        self.flush()

    def data_received(self, data: bytes) -> None:
        if self.state is State.LOGOUT:
            return
        if self.state is not State.NOT_AUTHENTICATED:
            self.deadline = self.service.now() + self.service.limits.imap_timeout
        if self.deflate is None:
            self.receiver.feed(data)
        else:
            self.deflate.put(data)
        if not self.scheduled:
            self.turn()

    def eof_received(self) -> bool:
        """The client will send no more: what it has sent is answered, unless TLS is in the way."""
        self.ended = True
        return not self.tls and (self.task is not None or self.scheduled)

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self.deadline = max(self.deadline, self.service.now() + self.service.limits.login_timeout)
        if self.flow is not None and not self.flow.done():
            self.flow.set_result(None)
            self.flow = None
        elif self.task is None:
            if self.idle_tag:
                self._look(Rule.BREAKS_SEQUENCES)  # bells were passed over while the client did not read
            self.turn()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.lost:
            return
        self.lost = True
        self.state = State.LOGOUT
        self.end_idle()
        self.stop_watching()
        self.unselect()
        for future in (self.waiting, self.flow):
            if future is not None and not future.done():
                future.set_exception(ConnectionResetError())
        if self.task is None:
            self._forget_uploads()  # else the task does, when it needs it no more
        if self.hub is not None:
            self.log("session ended")
        self.service.closed(self)

    def overdue(self) -> None:
        """The wheel: the deadline has passed."""
        if self.lost:
            return
        if self.paused or self.transport.is_closing():
            self.transport.abort()  # what the client does not read need not be said
            return
        self.bye(b"* BYE [UNAVAILABLE] Idle for too long\r\n")
        self.deadline = self.service.now() + self.service.limits.tls_timeout
        self.service.wheel.add(self)

    def bye(self, line: bytes) -> None:
        self.say(line)
        self.end()

    def end(self) -> None:
        """Says what is to be said and closes; nothing more is read."""
        self.state = State.LOGOUT
        self.flush()
        if not self.lost:
            self.transport.close()

    def finish_by(self, line: bytes) -> None:
        """The worker drains: ends now, or after the command that runs."""
        if self.task is None:
            self.bye(line)
        else:
            self.ending = line

    # -- input

    def turn(self) -> None:
        """Takes what has come, until a command waits, the client does not read, or others should run."""
        self.scheduled = False
        end = monotonic() + TURN  # not the loop's time, which stands still within a callback
        while (self.task is None or self.waiting is not None) and not self.paused and self.state is not State.LOGOUT:
            event = self.receiver.next()
            if event is None:
                if self._inflated():
                    continue
                break
            self._take(event)
            if self.out_size >= CHUNK:
                self.flush()
            if monotonic() > end:
                self.scheduled = True
                self.service.loop.call_soon(self.turn)
                break
        self.flush()
        if (self.task is not None and self.waiting is None) or self.paused or self.scheduled:
            self._pause_reading()
        else:
            self._resume_reading()
            if self.receiver.in_command and not self.lost:
                self._acknowledge()
        if self.ended and self.task is None and not self.scheduled and not self.lost:
            self.transport.close()

    def _acknowledge(self) -> None:
        """A client that sends a command in pieces, as imaplib does with a literal and the line after it, keeps the next
        one back until the kernel has acknowledged this one, which it would do 40 ms later."""
        connection = self.transport.get_extra_info("socket")
        if connection is not None and connection.family != socket.AF_UNIX:
            with suppress(OSError):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def _inflated(self) -> bool:
        """The receiver has got more of a compressed stream."""
        if self.deflate is None:
            return False
        try:
            data = self.deflate.take()
        except zlib.error:
            self.log("compressed stream not understood")
            self.bye(b"* BYE The compressed stream cannot be understood\r\n")
            return False
        self.receiver.feed(data)
        return bool(data)

    @property
    def _holding(self) -> bool:
        """Input has come that cannot be worked off yet."""
        return self.receiver.in_command or self.deflate is not None

    def _pause_reading(self) -> None:
        if self.reading and not self.lost and not self.transport.is_closing() and self._holding:
            self.reading = False
            self.transport.pause_reading()

    def _resume_reading(self) -> None:
        if not self.reading and not self.lost:
            self.reading = True
            if not self.transport.is_closing():
                self.transport.resume_reading()

    def _take(self, event: Event) -> None:
        if isinstance(event, Command):
            self._run(event)
            if self.uploads and self.task is None:
                self._forget_uploads()  # a command that was refused, or is none that takes it
        elif isinstance(event, Line):
            self._line(event.data)
        elif isinstance(event, NeedContinuation):
            refusal = self.service.refuse_literal(self, event)
            if event.name not in self.service.rows:
                self.receiver.refuse()
                self._reject(event.tag, b"BAD Unknown command")
            elif refusal is None:
                self.say(b"+ OK\r\n")
            else:
                self.receiver.refuse()
                self.say(event.tag + b" " + refusal.line() + b"\r\n")
        elif isinstance(event, StreamStart):
            if event.index == 0:
                self._forget_uploads()
            self.uploads += (Upload.start(self.service.spool, event.index),)
        elif isinstance(event, StreamChunk):
            if self.uploads:
                self.uploads[-1].write(event.data)
        elif isinstance(event, StreamEnd):
            if self.uploads:
                self.uploads[-1].end()
        elif isinstance(event, LiteralTooLarge):
            self._reject(event.tag, b"NO [TOOBIG] Literal larger than %d octets" % event.limit, event.fatal)
        else:
            self._misunderstood(event)

    def _forget_uploads(self) -> None:
        uploads, self.uploads = self.uploads, ()
        for upload in uploads:
            upload.discard()

    def _line(self, data: bytes) -> None:
        if self.waiting is not None:
            waiting, self.waiting = self.waiting, None
            if not waiting.done():
                waiting.set_result(data)
        elif self.idle_tag:
            tag = self.idle_tag
            if data.upper() == b"DONE":
                self.end_idle()
                self._look(Rule.BREAKS_SEQUENCES)
                self._answer(tag, b"OK IDLE completed")
            else:
                self.end_idle()
                self._reject(tag, b"BAD Expected DONE")

    def _misunderstood(self, event: ProtocolError) -> None:
        self._reject(event.tag, b"BAD " + event.text.encode("ascii", "replace"), event.fatal)

    def _reject(self, tag: bytes, text: bytes, fatal: bool = False) -> None:
        """A command that was not understood; too many of them end the connection."""
        self.bad += 1
        self.service.count("imap_bad_commands")
        self.say((tag or b"*") + b" " + text + b"\r\n")
        if fatal:
            self.bye(b"* BYE Cannot go on\r\n")
        elif self.bad >= self.service.limits.bad_commands:
            self.log("too many bad commands")
            self.bye(b"* BYE Too many bad commands\r\n")

    # -- commands

    def _run(self, event: Command) -> None:
        """Looks up the row, parses, runs; a coroutine goes on as the task of this session."""
        row = self.service.rows.get(event.name)
        self.tag, self.row = event.tag, row or NO_ROW
        self.service.count("imap_commands")
        try:
            if row is None:
                raise BadCommand("Unknown command")
            if self.state not in row.states:
                raise BadCommand(f"{event.name} is not possible now: {self.state.value}")
            if row.flags & Rule.NUMBERS and self.uid_only:
                raise BadCommand("UIDONLY is enabled", "UIDREQUIRED")
            arguments = row.parse(Parser(event.arguments, self.utf8))
            if self._box is not None and self._box.prefix:
                self._renew()
            if row.flags & Rule.WRITES and self.selected.read_only:
                raise No("Mailbox is open for reading only", "READ-ONLY")
            outcome = row.run(self, arguments)
        except MailboxGone:
            self.bye(BYE_GONE)
            return
        except Exception as error:
            self._fail(event.tag, row, error)
            return
        if outcome is None or isinstance(outcome, bytes):
            self._succeed(event.tag, row, outcome)
        else:
            self.task = self.service.loop.create_task(self._follow(event.tag, row, outcome))

    async def _follow(self, tag: bytes, row: rows.Command, running: Awaitable[Outcome]) -> None:
        try:
            self._succeed(tag, row, await running)
        except Exception as error:
            self._fail(tag, row, error)
        finally:
            self.task = None
            self.waiting = self.flow = None
            self._forget_uploads()
        self.turn()
        if self.ending and self.task is None and self.state is not State.LOGOUT:
            self.bye(self.ending)

    def _succeed(self, tag: bytes, row: rows.Command, outcome: Outcome) -> None:
        if self.lost:
            return
        if self.hub is not None:
            self.bad = 0
        self._look(row.flags)
        if self.watch is not None and self.state is not State.LOGOUT:
            self.watch.look(self, quiet=row.name in OWN)
        if outcome != b"":
            self._answer(tag, b"OK " + (outcome or row.name.encode("ascii") + b" completed"))

    def _answer(self, tag: bytes, text: bytes) -> None:
        self.say(tag + b" " + text + b"\r\n")
        if self.state is State.LOGOUT:
            self.end()

    def _renew(self) -> None:
        """Before a command in a mailbox of another account: what may be done there now."""
        try:
            renew_rights(self)
        except NoSuchMailbox:
            raise MailboxGone from None

    def _look(self, flags: Rule, modseq: int = 0) -> None:
        """What others did to the selected mailbox meanwhile, as far as this command lets it be told. modseq: of the
        store, 0 to ask it."""
        if self.view is None or flags & Rule.SILENT:
            return
        try:
            tell_news(self, flags, modseq or self.box.store.modseq())
        except MailboxGone:
            self.bye(BYE_GONE)

    def _fail(self, tag: bytes, row: rows.Command | None, error: Exception) -> None:
        if self.lost:
            return
        if isinstance(error, BadCommand | Bad | OutOfRange) and not isinstance(error, BadCharset):
            text = (
                error.line() if isinstance(error, BadCommand) else b"BAD " + str(getattr(error, "text", error)).encode()
            )
            self._reject(tag, text)
            return
        if row is not None and self.state is not State.LOGOUT:
            self._look(row.flags)
        self._answer(tag, self._refusal(error))

    def _refusal(self, error: Exception) -> bytes:
        """Word, code and text of a NO."""
        if isinstance(error, BadCharset):
            return b"NO [BADCHARSET (US-ASCII UTF-8)] Unknown charset"
        if isinstance(error, No):
            return error.line()
        if isinstance(error, StoreError):
            text, code = REFUSED.get(type(error), ("Not possible", "CANNOT"))
            return No(text or str(error), code).line()
        if isinstance(error, MailError):
            return No(error.reply.text, "UNAVAILABLE").line()
        if isinstance(error, OSError):
            self.service.log.error("input or output", cid=self.cid, account=self.account, error=str(error))
            return No("Storage failed, try again later", "UNAVAILABLE").line()
        self.service.log.exception("unexpected exception", cid=self.cid, account=self.account)
        self.service.count("exceptions")
        return No("Internal error, try again later", "SERVERBUG").line()

    # -- IDLE (RFC 2177)

    def begin_idle(self, tag: bytes) -> None:
        assert self.hub is not None, "states of IDLE's row"
        self.idle_tag = tag
        self.receiver.expect_line()
        self.listened.join(self)
        self.service.count("imap_idle", 1)

    def end_idle(self) -> None:
        if self.idle_tag:
            self.idle_tag = b""
            self.service.idle_ended(self)
            self.service.count("imap_idle", -1)
            if self.hub is not None and self.watch is None:
                self.listened.leave(self)

    @property
    def listened(self) -> Hub:
        """Of the account whose news an IDLE tells."""
        assert self.hub is not None, "logged in"
        return self.hub if self._box is None else self._box.hub

    def start_watching(self, watch: Watch) -> None:
        """From now on the client is told at any time (RFC 5465)."""
        assert self.hub is not None, "states of NOTIFY's row"
        self.watch = watch
        self.hub.join(self)
        self.listened.join(self)

    def stop_watching(self) -> None:
        if self.watch is not None:
            self.watch = None
            if self.hub is not None and not self.idle_tag:
                self.hub.leave(self)
                self.listened.leave(self)

    def poke(self, modseq: int) -> None:
        """The hub: there may be news."""
        watch = self.watch
        if self.paused or self.hub is None or self.task is not None or (self.view is None and watch is None):
            return  # a command that runs tells at its end
        if self.listened is not self.hub:
            modseq = 0  # of one of two accounts: each is asked
        try:
            if watch is None:
                self._look(Rule.BREAKS_SEQUENCES, modseq)
            else:
                if watch.selected is not None:
                    self._look(watch.rules(), modseq)
                watch.look(self)
        except Exception:
            self.service.log.exception("not told", cid=self.cid, account=self.account)
            self.service.count("exceptions")
            self.hub.look_again()
            self.listened.look_again()
        self.flush()

    # -- TLS (RFC 9051 6.2.1)

    async def secure(self) -> None:
        """The handshake. Octets that came before it are forgotten: nobody has vouched for them."""
        context = self.service.tls_context
        assert context is not None, "not offered without"
        self.receiver.clear()
        try:
            transport = await self.service.loop.start_tls(
                self.transport,
                self,
                context,
                server_side=True,
                ssl_handshake_timeout=self.service.limits.tls_timeout,
            )
        except OSError as error:  # of ssl too
            self.service.log.debug("tls failed", cid=self.cid, ip=self.remote_ip, error=str(error))
            self.connection_lost(error)
            return
        assert transport is not None, "start_tls raises"
        self.transport = transport
        self.transport.set_write_buffer_limits(high=HIGH_WATER)
        self.tls = True
