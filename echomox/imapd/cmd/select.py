"""SELECT and EXAMINE, CLOSE and UNSELECT. RFC 9051 6.3.2, 6.3.3, 6.4.1, 6.4.2; RFC 3501 (RECENT, UNSEEN); RFC
3691; RFC 7162 3.1.8 (CONDSTORE), 3.2.5 (QRESYNC), 3.2.11 (CLOSED); RFC 8474 4.2 (MAILBOXID).

With QRESYNC the client's own list of numbers and UIDs ("seq-match-data") is not needed: expunged messages are
known to the store for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echomox.imap import grammar
from echomox.imap.response import list_line, oldname, vanished_line
from echomox.imap.seqset import STAR
from echomox.imapd.box import CHANGING, Box, Found, find
from echomox.imapd.command import AUTHENTICATED, SELECTED, BadCommand, Command, Rule
from echomox.imapd.flags import flags_lines
from echomox.imapd.objectid import mailbox_code
from echomox.imapd.tell import tell_flags
from echomox.imapd.view import View
from echomox.store.engine import SEPARATOR

if TYPE_CHECKING:
    from echomox.imapd.session import Session
    from echomox.store.engine import Mailbox, Selected


def select(session: Session, arguments: grammar.Select) -> bytes:
    return open_mailbox(session, arguments, read_only=False)


def examine(session: Session, arguments: grammar.Select) -> bytes:
    return open_mailbox(session, arguments, read_only=True)


def open_mailbox(session: Session, arguments: grammar.Select, read_only: bool) -> bytes:
    """What was selected is closed, even when this fails (RFC 9051 6.3.2)."""
    if arguments.qresync is not None and "QRESYNC" not in session.enabled:
        raise BadCommand("QRESYNC is to be enabled first")  # RFC 7162 3.2.3
    if session.uid_only and arguments.qresync is not None and arguments.qresync.match is not None:
        raise BadCommand("UIDONLY is enabled", "UIDREQUIRED")  # RFC 9586 3: message numbers stand in it
    if session.view is not None:
        session.unselect()
        session.say(b"* OK [CLOSED] Previous mailbox closed\r\n")
    if arguments.condstore or arguments.qresync:
        session.enabled |= {"CONDSTORE"}
    found = find(session, arguments.mailbox, "r")
    own = not found.prefix
    claims = own and not (read_only or session.rev2)
    selected = found.store.select(found.mailbox.id, claim_recent=claims)
    view = View(selected, read_only or not CHANGING.intersection(found.rights), claims)
    view.name = found.mailbox.name
    session.enter(box_of(session, found), view)
    session.say(picture(session, selected, view, arguments.written))
    if arguments.qresync is not None:
        tell_earlier(session, arguments.qresync)
    if read_only:
        return b"[READ-ONLY] EXAMINE completed"
    return b"[READ-ONLY] SELECT completed" if view.read_only else b"[READ-WRITE] SELECT completed"


def box_of(session: Session, found: Found) -> Box:
    assert session.hub is not None, "states of the row"
    if not found.prefix:
        return session.hub.box
    return Box(session.service.enter(found.store.name), found.prefix, found.rights)


def picture(session: Session, selected: Selected, view: View, written: str) -> bytes:
    """IMAP4rev2 has no RECENT and no UNSEEN, and names the mailbox by LIST (RFC 9051 6.3.2). written: its name as the
    client has it."""
    mailbox = selected.mailbox
    if session.rev2:
        view.forget_recent()
        words = [mailbox.special_use] if mailbox.special_use and not session.box.prefix else []
        old = oldname(session.mailbox_name(written)) if written != view.name else b""
        named = list_line("LIST", words, SEPARATOR, session.mailbox_name(view.name), old)
        flags = flags_lines(selected.keywords, view.read_only, session.box.rights)
        return b"%b* %d EXISTS\r\n%b%b" % (flags, len(view), codes(session, mailbox), named)
    unseen = view.number(selected.first_unseen) if selected.first_unseen and not session.uid_only else 0
    return b"".join(
        (
            flags_lines(selected.keywords, view.read_only, session.box.rights),
            b"* %d EXISTS\r\n* %d RECENT\r\n" % (len(view), view.recent()),
            b"* OK [UNSEEN %d] First unseen message\r\n" % unseen if unseen else b"",
            codes(session, mailbox),
        )
    )


def codes(session: Session, mailbox: Mailbox) -> bytes:
    return (
        b"* OK [UIDVALIDITY %d] UIDs valid\r\n* OK [UIDNEXT %d] Predicted next UID\r\n"
        b"* OK [HIGHESTMODSEQ %d] Highest\r\n* OK [%b] Ok\r\n"
        % (mailbox.uidvalidity, mailbox.uidnext, mailbox.modseq, mailbox_code(session.box.store, mailbox.id))
    )


def tell_earlier(session: Session, wanted: grammar.Qresync) -> None:
    """What the client has missed since it was here (RFC 7162 3.2.5.1)."""
    view = session.selected
    if wanted.uidvalidity != view.uidvalidity:
        return
    changes = session.box.store.changes(view.mailbox_id, wanted.modseq)
    known = wanted.known_uids
    gone = [uid for uid in changes.expunged if not view.number(uid) and (known is None or known.contains(uid, STAR))]
    if gone:
        session.say(vanished_line(gone, earlier=True))
    changed = [
        change
        for change in changes.changed
        if change[3] <= view.told and view.number(change[0]) and (known is None or known.contains(change[0], STAR))
    ]
    tell_flags(session, changed, uids=True)


def close(session: Session, _: grammar.Nothing) -> None:
    """Expunges without telling, unless opened by EXAMINE or without the right to (RFC 4314 4)."""
    view = session.selected
    if not view.read_only and "e" in session.box.rights:
        session.box.store.expunge(view.mailbox_id, None)
    session.unselect()


def unselect(session: Session, _: grammar.Nothing) -> None:
    session.unselect()


ROWS = (
    Command("SELECT", AUTHENTICATED, Rule.SILENT, (), grammar.select, select),
    Command("EXAMINE", AUTHENTICATED, Rule.SILENT, (), grammar.select, examine),
    Command("CLOSE", SELECTED, Rule.SILENT, (), grammar.nothing, close),
    Command("UNSELECT", SELECTED, Rule.SILENT, ("UNSELECT",), grammar.nothing, unselect),
)
