"""One IMAP connection: its transport, its input and output, and what stands for as long as it lasts. RFC 9051 3, 5.3
to 5.5, 6.2.1, 7.1.

`echomox.imap.receive` cuts the input (pure), `taking` brings the pieces where they belong, `dispatch` runs commands:
a row of `commands` says what a command may and does, `tell` says what has happened meanwhile, `listening` has the
bells of IDLE and NOTIFY. A command that waits for nothing runs at once; one that does (a commit, a
password, a client that reads slowly) is a task, and while it runs no further command is taken and no more
input is read. Between commands a session is a few hundred bytes and no task.

Output of one turn is joined and written at once. A client that does not read stops its own output: `breathe`
waits until it does."""

from __future__ import annotations

import asyncio
import socket
import zlib
from array import array
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from echomox.imap.receive import Receiver
from echomox.imap.response import mailbox as mailbox_name
from echomox.imap.seqset import SequenceSet
from echomox.imap.state import State
from echomox.imapd import command as rows
from echomox.imapd.command import Rule
from echomox.imapd.dispatch import NO_ROW, forget_uploads, look
from echomox.imapd.listening import end_idle, poke
from echomox.imapd.taking import take
from echomox.imapd.watch import listen, stop_watching
from echomox.log import new_cid
from echomox.net.limit import BLOCKED
from echomox.net.listen import peer_ip

if TYPE_CHECKING:
    from collections.abc import Iterable

    from echomox.imapd.annotated import Annotated
    from echomox.imapd.box import Box
    from echomox.imapd.contexts import Context
    from echomox.imapd.deflate import Deflate
    from echomox.imapd.hub import Hub
    from echomox.imapd.service import Service
    from echomox.imapd.upload import Upload
    from echomox.imapd.view import View
    from echomox.imapd.watch import Watch
    from echomox.net.sessions import Entry
    from echomox.store.engine import AccountStore

CHUNK = 96 * 1024  # bytes of output that are gathered before they are written
HIGH_WATER = 256 * 1024
TURN = 0.002  # seconds that one connection may go on before the others have their turn

TOO_MANY = b"* BYE [UNAVAILABLE] Too many connections, try again later\r\n"
BLOCKED_BYE = b"* BYE [UNAVAILABLE] Your address is blocked after failed logins, try again later\r\n"
NOTHING_SAVED: array[int] = array("I")


class Session(asyncio.Protocol):
    """view: None unless a mailbox is selected; where that is, and what may be done there, is `box`: another account's
    for a shared one. store: the account's own mail. entry: how it logged in. enabled: upper-case names (RFC 5161).
    heard: hubs whose bells poke it.
    hidden: keywords that this account's clients are not offered. own: modseq by UID of what this session has done
    and its client knows. saved: UIDs of the last search with SAVE, "$" (RFC 5182). tag, row: of the last command.
    idle_tag: of an IDLE under way. waiting: for the line of the client that a task needs. flow: for the client
    to read on. contexts: by tag, of searches with UPDATE (RFC 5267). uploads: the streamed literals of the command
    under way."""

    __slots__ = (
        "_box", "annotated", "bad", "bucket", "cid", "contexts", "deadline", "deflate", "enabled", "ended", "ending",
        "entry", "flow", "heard", "hidden", "hub",
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
        self.heard: tuple[Hub, ...] = ()
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
        self.annotated: Annotated | None = None
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
    def prefix(self) -> str:
        """What stands before the name of the selected mailbox in its account: "" for one's own, or none."""
        return "" if self._box is None else self._box.prefix

    @property
    def listened(self) -> Hub:
        """Of the account whose news an IDLE tells."""
        assert self.hub is not None, "logged in"
        return self.hub if self._box is None else self._box.hub

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
                deflate = self.deflate
                self.transport.write(data if deflate is None or deflate.ending else deflate.compress(data))

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

    def brought(self, store: AccountStore, mailbox_id: int, uids: Iterable[int]) -> None:
        """A command has added these messages: if that was to the selected mailbox, NOTIFY makes no FETCH of them (RFC
        5465 5.2)."""
        if self.watch is not None and self.has_selected(store, mailbox_id):
            self.own |= dict.fromkeys(uids, 0)

    def enter(self, box: Box, view: View) -> None:
        """A mailbox is selected; none was."""
        self._box, self.view = box, view
        self.state = State.SELECTED
        if self.watch is not None:
            listen(self)

    def has_selected(self, store: AccountStore, mailbox_id: int) -> bool:
        """Ids are those of an account."""
        return self.view is not None and self.view.mailbox_id == mailbox_id and self.box.store is store

    def unselect(self) -> None:
        if self.view is not None:
            box, self._box = self.box, None
            if self.heard:
                listen(self)
            if box.hub is not self.hub:
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
        self.remote_ip = peer_ip(transport)
        refusal = "" if self.tls else self.service.admit(self.remote_ip)
        if refusal:
            self.lost = True
            self.transport.write(BLOCKED_BYE if refusal == BLOCKED else TOO_MANY)
            self.transport.close()
            return
        self.service.opened(self)
        self.greet()

    def handshake_failed(self, error: BaseException) -> None:
        """Of TLS from the first byte: there is no session then."""
        self.service.release(self.remote_ip)
        self.service.log.debug("tls failed", ip=self.remote_ip, error=str(error))

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
                look(self, Rule.BREAKS_SEQUENCES)  # bells were passed over while the client did not read
            self.turn()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.lost:
            return
        self.lost = True
        self.state = State.LOGOUT
        end_idle(self)
        stop_watching(self)
        self.unselect()
        for future in (self.waiting, self.flow):
            if future is not None and not future.done():
                future.set_exception(ConnectionResetError())
        if self.task is None:
            forget_uploads(self)  # else the task does, when it needs it no more
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
            take(self, event)
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
        if self.deflate.over:
            data += self.deflate.rest()
            self.deflate = None
        self.receiver.feed(data)
        return bool(data)

    def end_compression(self) -> None:
        """What has been said is the last that is compressed (RFC 8437 4.1)."""
        self.flush()
        if self.deflate is not None:
            self.deflate.ending = True

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

    def poke(self, modseq: int) -> None:
        """hub.Idler"""
        poke(self, modseq)
