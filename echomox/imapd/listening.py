"""Being told without asking: whose bells a session hears while it idles (RFC 2177) or watches (NOTIFY, RFC 5465), and
what it does when one rings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echomox.imapd.command import Rule
from echomox.imapd.dispatch import look
from echomox.imapd.watch import listen, look_watched

if TYPE_CHECKING:
    from echomox.imapd.session import Session
    from echomox.imapd.watch import Watch


def begin_idle(session: Session, tag: bytes) -> None:
    session.idle_tag = tag
    session.receiver.expect_line()
    listen(session)
    session.service.count("imap_idle", 1)


def end_idle(session: Session) -> None:
    if session.idle_tag:
        session.idle_tag = b""
        session.service.idle_ended(session)
        session.service.count("imap_idle", -1)
        listen(session)


def start_watching(session: Session, watch: Watch) -> None:
    """From now on the client is told at any time; of nothing that an earlier NOTIFY wanted."""
    old, session.watch = session.watch, watch
    listen(session)
    if old is not None:
        old.close(session.service)


def poke(session: Session, modseq: int) -> None:
    """A hub: there may be news."""
    watch = session.watch
    if session.paused or session.hub is None or session.task is not None:
        return  # a command that runs tells at its end
    if any(hub is not session.hub for hub in session.heard):
        modseq = 0  # of one of several accounts: each is asked
    try:
        if watch is None:
            look(session, Rule.BREAKS_SEQUENCES, modseq)
            if session.annotated is not None:
                session.annotated.look(session)
        else:
            if watch.selected is not None:
                look(session, watch.rules(), modseq)
            look_watched(session)
    except Exception:
        session.service.log.exception("not told", cid=session.cid, account=session.account)
        session.service.count("exceptions")
        for hub in session.heard:
            hub.look_again()
    session.flush()
