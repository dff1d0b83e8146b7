"""From a command that has come to its answer. RFC 9051 5.2, 5.5, 7.1; RFC 5530 (response codes).

`run` looks up the row, parses and runs; what waits for something goes on as the session's task. Whatever escapes from
a command is logged with its traceback and answered NO [SERVERBUG]."""

from __future__ import annotations

from array import array
from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING

from echomox.errors import MailError
from echomox.imap.grammar import nothing
from echomox.imap.lexer import Bad, Parser
from echomox.imap.searching import BadCharset
from echomox.imap.state import State
from echomox.imapd import command as rows
from echomox.imapd.command import BadCommand, No, Outcome, Rule
from echomox.imapd.tell import BYE_GONE, MailboxGone, renew_rights, tell_news
from echomox.imapd.view import OutOfRange
from echomox.imapd.watch import OWN, look_watched
from echomox.store.engine import (
    BadMailboxName,
    LimitExceeded,
    MailboxExists,
    NoSuchMailbox,
    OverQuota,
    StoreError,
)

if TYPE_CHECKING:
    from echomox.imap.receive import Command
    from echomox.imapd.session import Session

REFUSED: Mapping[type[StoreError], tuple[str, str]] = {
    NoSuchMailbox: ("No such mailbox", "NONEXISTENT"),
    MailboxExists: ("Mailbox exists", "ALREADYEXISTS"),
    BadMailboxName: ("", "CANNOT"),
    OverQuota: ("Over quota", "OVERQUOTA"),
    LimitExceeded: ("", "LIMIT"),
}
"""What the store refuses, as text and code of RFC 5530; text "": the store's own."""
NO_ROW = rows.Command("", frozenset(), Rule.NONE, (), nothing, lambda session, arguments: None)
"""Stands for the row of a command that there is not."""


def run(session: Session, event: Command) -> None:
    """Looks up the row, parses, runs; a coroutine goes on as the task of this session."""
    row = session.service.rows.get(event.name)
    session.tag, session.row = event.tag, row or NO_ROW
    session.service.count("imap_commands")
    try:
        if row is None:
            raise BadCommand("Unknown command")
        if session.state not in row.states:
            raise BadCommand(f"{event.name} is not possible now: {session.state.value}")
        if row.flags & Rule.NUMBERS and session.uid_only:
            raise BadCommand("UIDONLY is enabled", "UIDREQUIRED")
        arguments = row.parse(Parser(event.arguments, session.utf8))
        if session.prefix:
            renew_selected(session)
        if row.flags & Rule.WRITES and session.selected.read_only:
            raise No("Mailbox is open for reading only", "READ-ONLY")
        outcome = row.run(session, arguments)
    except MailboxGone:
        session.bye(BYE_GONE)
        return
    except Exception as error:
        fail(session, event.tag, row, error)
        return
    if outcome is None or isinstance(outcome, bytes):
        succeed(session, event.tag, row, outcome)
    else:
        session.task = session.service.loop.create_task(follow(session, event.tag, row, outcome))


async def follow(session: Session, tag: bytes, row: rows.Command, running: Awaitable[Outcome]) -> None:
    try:
        succeed(session, tag, row, await running)
    except Exception as error:
        fail(session, tag, row, error)
    finally:
        session.task = None
        session.waiting = session.flow = None
        forget_uploads(session)
    session.turn()
    if session.ending and session.task is None and session.state is not State.LOGOUT:
        session.bye(session.ending)


def succeed(session: Session, tag: bytes, row: rows.Command, outcome: Outcome) -> None:
    if session.lost:
        return
    if session.hub is not None:
        session.bad = 0
    look(session, row.flags)
    if session.watch is not None and session.state is not State.LOGOUT:
        look_watched(session, quiet=row.name in OWN)
    if session.annotated is not None and session.state is not State.LOGOUT:
        session.annotated.look(session, quiet=row.name == "SETMETADATA")
    if outcome is None and leaves_pending(session, row.flags):
        outcome = b"[EXPUNGEISSUED] %b completed" % row.name.encode("ascii")
    if outcome != b"":
        answer(session, tag, b"OK " + (outcome or row.name.encode("ascii") + b" completed"))


def leaves_pending(session: Session, flags: Rule) -> bool:
    """Messages are gone that this command, which names them by number, did not let tell (RFC 5530 3): a search does
    not find them any more."""
    return bool(session.view and session.view.pending and flags & Rule.NUMBERS and not flags & Rule.BREAKS_SEQUENCES)


def answer(session: Session, tag: bytes, text: bytes) -> None:
    session.say(tag + b" " + text + b"\r\n")
    if session.state is State.LOGOUT:
        session.end()


def renew_selected(session: Session) -> None:
    """Before a command in a mailbox of another account: what may be done there now."""
    try:
        renew_rights(session)
    except NoSuchMailbox:
        raise MailboxGone from None


def look(session: Session, flags: Rule, modseq: int = 0) -> None:
    """What others did to the selected mailbox meanwhile, as far as this command lets it be told. modseq: of the
    store, 0 to ask it."""
    if session.view is None or flags & Rule.SILENT:
        return
    try:
        tell_news(session, flags, modseq or session.box.store.modseq())
    except MailboxGone:
        session.bye(BYE_GONE)


def fail(session: Session, tag: bytes, row: rows.Command | None, error: Exception) -> None:
    if session.lost:
        return
    if isinstance(error, BadCommand | Bad | OutOfRange) and not isinstance(error, BadCharset):
        text = error.line() if isinstance(error, BadCommand) else b"BAD " + str(getattr(error, "text", error)).encode()
        reject(session, tag, text)
        return
    if row is not None and session.state is not State.LOGOUT:
        look(session, row.flags)
    answer(session, tag, refusal(session, error))


def refusal(session: Session, error: Exception) -> bytes:
    """Word, code and text of a NO."""
    if isinstance(error, BadCharset):
        if error.saves:
            session.saved = array("I")  # RFC 9051 6.4.4.4, example 5
        return b"NO [BADCHARSET (US-ASCII UTF-8)] Unknown charset"
    if isinstance(error, No):
        return error.line()
    if isinstance(error, StoreError):
        text, code = REFUSED.get(type(error), ("Not possible", "CANNOT"))
        return No(text or str(error), code).line()
    if isinstance(error, MailError):
        return No(error.reply.text, "UNAVAILABLE").line()
    if isinstance(error, OSError):
        session.service.log.error("input or output", cid=session.cid, account=session.account, error=str(error))
        return No("Storage failed, try again later", "UNAVAILABLE").line()
    session.service.log.exception("unexpected exception", cid=session.cid, account=session.account)
    session.service.count("exceptions")
    return No("Internal error, try again later", "SERVERBUG").line()


def reject(session: Session, tag: bytes, text: bytes, fatal: bool = False) -> None:
    """A command that was not understood; too many of them end the connection."""
    session.bad += 1
    session.service.count("imap_bad_commands")
    session.say((tag or b"*") + b" " + text + b"\r\n")
    if fatal:
        session.bye(b"* BYE Cannot go on\r\n")
    elif session.bad >= session.service.limits.bad_commands:
        session.log("too many bad commands")
        session.bye(b"* BYE Too many bad commands\r\n")


def forget_uploads(session: Session) -> None:
    uploads, session.uploads = session.uploads, ()
    for upload in uploads:
        upload.discard()
