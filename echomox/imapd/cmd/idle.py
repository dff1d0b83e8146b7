"""IDLE. RFC 2177, RFC 9051 6.3.13: news are told as they come, until DONE. No task waits meanwhile; the hub
pokes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echomox.imap import grammar
from echomox.imapd.command import AUTHENTICATED, Command, Rule
from echomox.imapd.listening import begin_idle

if TYPE_CHECKING:
    from echomox.imapd.session import Session


def idle(session: Session, _: grammar.Nothing) -> bytes:
    """The tagged answer comes with DONE."""
    session.service.admit_idle(session)
    session.say(b"+ idling\r\n")
    begin_idle(session, session.tag)
    return b""


ROWS = (Command("IDLE", AUTHENTICATED, Rule.BREAKS_SEQUENCES, ("IDLE",), grammar.nothing, idle),)
