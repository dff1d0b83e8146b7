"""Untagged responses of themselves: what happened in the selected mailbox since the client was last told.

RFC 9051 5.2, 7.4, 7.5.1; RFC 3501 7.3.2 (RECENT); RFC 7162 3.2.4 and 3.2.10 (MODSEQ with every FETCH, UID and
VANISHED after ENABLE QRESYNC). The order is: expunges, then EXISTS and RECENT, then flags, so that every
number is the client's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from echomox.imap.response import vanished_line
from echomox.imapd.box import renew
from echomox.imapd.command import Rule
from echomox.imapd.contexts import matching, tell_changed, tell_gone, tell_new
from echomox.imapd.flags import FLAGS, flags_lines
from echomox.store.engine import NoSuchMailbox, StoreError

if TYPE_CHECKING:
    from echomox.imapd.session import Session
    from echomox.imapd.view import View

BYE_GONE = b"* BYE [UNAVAILABLE] The selected mailbox is gone\r\n"


class MailboxGone(Exception):
    """The selected mailbox was deleted: RFC 2180 3.3 lets the session end."""


def tell_news(session: Session, rules: Rule, modseq: int) -> None:
    """rules: of the command under way. modseq: what the store's has just been."""
    view = session.selected
    count = len(view)
    own = session.own
    flags: list[tuple[int, int, str, int]] = []
    touched: list[int] = []
    words: list[str] = []
    if modseq > view.told or view.mailbox_id < 0:  # one's own change may end a membership
        try:
            changes = session.box.hub.changes(view.mailbox_id, view.told, modseq)
            if changes.renamed:
                check_mailbox(session, view)
        except NoSuchMailbox:
            raise MailboxGone from None
        flags = view.advance(changes, own)
        words = [change[2] for change in changes.changed if change[2]]
        session.own = {}
        if session.contexts:
            touched = [change[0] for change in changes.changed]
            tell_gone(session, changes.expunged)
    grown = len(view) - count
    if grown and view.recent_from <= view.last_uid:
        share_recent(session, view, grown)
    if session.watch is not None and not session.watch.wants("FlagChange"):
        flags = []
    if view.pending and rules & Rule.BREAKS_SEQUENCES:
        before = view.recent()
        tell_expunged(session, view)
        if not grown and view.recent() != before:  # RFC 3501 7.3.2: the size of the mailbox has changed
            session.say(b"* %d RECENT\r\n" % view.recent())
    matches = matching(session, touched)
    if grown:
        recent = b"" if session.rev2 else b"* %d RECENT\r\n" % view.recent()
        session.say(b"* %d EXISTS\r\n%b" % (len(view), recent))
        tell_keywords(session, view, words)
        tell_new(session, grown, matches, own)
    if flags:
        tell_keywords(session, view, words)
        # With the UID: RFC 5465 5.1, RFC 9051 7.5.2
        tell_flags(session, flags, bool(rules & Rule.UIDS) or session.watch is not None or session.rev2)
    tell_changed(session, touched, matches)
    settle(session, view)


def share_recent(session: Session, view: View, count: int) -> None:
    """Of the last `count` messages, those that no session was told of before are \\Recent in this one (RFC 3501
    2.3.2)."""
    try:
        first = session.box.store.claim_recent(view.mailbox_id, view.last_uid + 1 if view.claims else 0)
    except (StoreError, OSError):  # a full disk: the mail is told, and nobody's
        first = view.last_uid + 1
    view.not_recent(view.uids[-count:], first)


def settle(session: Session, view: View) -> None:
    """RFC 7162 6: while a VANISHED has to wait, the client may not believe the higher mod-sequences that it
    sees."""
    if not view.pending:
        view.settled = view.told
        if view.delayed:
            view.delayed = False
            session.say(b"* OK [HIGHESTMODSEQ %d] All is told\r\n" % view.told)
    elif "QRESYNC" in session.enabled:
        view.delayed = True
        session.say(b"* OK [HIGHESTMODSEQ %d] VANISHED is delayed\r\n" % view.settled)


def check_mailbox(session: Session, view: View) -> None:
    """Renamed: the session goes on under the new name. Another UIDVALIDITY: what the client knows is worth
    nothing."""
    box = session.box
    mailbox = box.store.mailbox_by_id(view.mailbox_id)
    if mailbox.uidvalidity != view.uidvalidity:
        raise NoSuchMailbox("another UIDVALIDITY")
    view.name = box.prefix + mailbox.name
    if box.prefix:
        renew_rights(session)


def renew_rights(session: Session) -> None:
    """RFC 4314 5.1.1: the client is told when it may do more or less than it knew."""
    if renew(session):
        view = session.selected
        session.say(flags_lines(sorted(view.keywords), view.read_only, session.box.rights))


def tell_expunged(session: Session, view: View) -> None:
    numbers, gone = view.expunge()
    if "QRESYNC" in session.enabled or session.uid_only:
        session.say(vanished_line(gone))
        return
    session.say(b"".join([b"* %d EXPUNGE\r\n" % number for number in numbers]))


def tell_keywords(session: Session, view: View, keywords: Iterable[str]) -> None:
    """A keyword that the client has not seen yet is announced before it is used (RFC 9051 7.3.5)."""
    new = {word for words in keywords if words for word in words.split()} - view.keywords
    if new:
        view.keywords |= new
        session.say(flags_lines(sorted(view.keywords), view.read_only, session.box.rights))


def tell_flags(session: Session, flags: Iterable[tuple[int, int, str, int]], uids: bool) -> None:
    """FETCH responses for (uid, bits, keywords, modseq)."""
    view = session.selected
    with_modseq = "CONDSTORE" in session.enabled
    if session.uid_only:
        tell_flags_by_uid(session, flags, with_modseq)
        return
    uids = uids or "QRESYNC" in session.enabled
    for uid, bits, keywords, modseq in flags:
        text = FLAGS.format(bits, keywords, uid >= view.recent_from)
        if with_modseq and uids:
            line = b"* %d FETCH (UID %d FLAGS %b MODSEQ (%d))\r\n" % (view.number(uid), uid, text, modseq)
        elif with_modseq:
            line = b"* %d FETCH (FLAGS %b MODSEQ (%d))\r\n" % (view.number(uid), text, modseq)
        elif uids:
            line = b"* %d FETCH (UID %d FLAGS %b)\r\n" % (view.number(uid), uid, text)
        else:
            line = b"* %d FETCH (FLAGS %b)\r\n" % (view.number(uid), text)
        session.say(line)


def tell_flags_by_uid(session: Session, flags: Iterable[tuple[int, int, str, int]], with_modseq: bool) -> None:
    """UIDFETCH responses (RFC 9586 3.3)."""
    recent_from = session.selected.recent_from
    for uid, bits, keywords, modseq in flags:
        modseq_item = b" MODSEQ (%d)" % modseq if with_modseq else b""
        text = FLAGS.format(bits, keywords, uid >= recent_from)
        session.say(b"* %d UIDFETCH (FLAGS %b%b)\r\n" % (uid, text, modseq_item))
