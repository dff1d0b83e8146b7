"""What `echomox.imap.receive` has cut out of the input, to where it belongs: a command, a line that somebody waits for,
a piece of a message that is streamed to a file. RFC 9051 2.2.1, 4.3, 7.6."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echomox.imap.receive import (
    Command,
    Event,
    Line,
    LiteralTooLarge,
    NeedContinuation,
    ProtocolError,
    StreamChunk,
    StreamEnd,
    StreamStart,
)
from echomox.imapd.command import Rule
from echomox.imapd.dispatch import answer, forget_uploads, look, reject, run
from echomox.imapd.listening import end_idle
from echomox.imapd.upload import Upload

if TYPE_CHECKING:
    from echomox.imapd.session import Session


def take(session: Session, event: Event) -> None:
    if isinstance(event, Command):
        run(session, event)
        if session.uploads and session.task is None:
            forget_uploads(session)  # a command that was refused, or is none that takes it
    elif isinstance(event, Line):
        take_line(session, event.data)
    elif isinstance(event, NeedContinuation):
        refusal = session.service.refuse_literal(session, event)
        if event.name not in session.service.rows:
            session.receiver.refuse()
            reject(session, event.tag, b"BAD Unknown command")
        elif refusal is None:
            session.say(b"+ OK\r\n")
        else:
            session.receiver.refuse()
            session.say(event.tag + b" " + refusal.line() + b"\r\n")
    elif isinstance(event, StreamStart):
        if event.index == 0:
            forget_uploads(session)
        session.uploads += (Upload.start(session.service.spool, event.index),)
    elif isinstance(event, StreamChunk):
        if session.uploads:
            session.uploads[-1].write(event.data)
    elif isinstance(event, StreamEnd):
        if session.uploads:
            session.uploads[-1].end()
    elif isinstance(event, LiteralTooLarge):
        reject(session, event.tag, b"NO [TOOBIG] Literal larger than %d octets" % event.limit, event.fatal)
    else:
        misunderstood(session, event)


def take_line(session: Session, data: bytes) -> None:
    if session.waiting is not None:
        waiting, session.waiting = session.waiting, None
        if not waiting.done():
            waiting.set_result(data)
    elif session.idle_tag:
        tag = session.idle_tag
        if data.upper() == b"DONE":
            end_idle(session)
            look(session, Rule.BREAKS_SEQUENCES)
            answer(session, tag, b"OK IDLE completed")
        else:
            end_idle(session)
            reject(session, tag, b"BAD Expected DONE")


def misunderstood(session: Session, event: ProtocolError) -> None:
    reject(session, event.tag, b"BAD " + event.text.encode("ascii", "replace"), event.fatal)
