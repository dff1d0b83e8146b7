"""Annotations that others have changed, told after a command and in IDLE once the client has said ENABLE METADATA. RFC
5464 4.1 and 4.4: names only, those of the account, of its own mailboxes and of mailboxes that others share with it. A
client that uses NOTIFY says there what it wants to hear of (RFC 5465 5.6, 5.7), and hears that.

The bells of other accounts are not listened to for this: what has changed in their mailboxes is found after the next
command, or with the next news of one's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from echomox.imap.notify import Group
from echomox.imapd.box import shared_mailboxes
from echomox.imapd.watch import OWNERS, Watch, entries_of, may_read
from echomox.store.engine import StoreError

if TYPE_CHECKING:
    from echomox.imapd.session import Session

GROUPS = (Group("PERSONAL", (), frozenset(("MailboxMetadataChange", "ServerMetadataChange"))),)


class Shared(NamedTuple):
    """What another account shares, at a modseq of its store. entries: (name, annotations) by the mailbox's id."""

    modseq: int
    entries: Mapping[int, tuple[str, Mapping[str, bytes]]]


class Annotated:
    """What the client knows of: everything up to a modseq, of each account."""

    __slots__ = ("_modseq", "_shared", "_watch")

    def __init__(self, session: Session) -> None:
        self._modseq = session.store.modseq()
        self._watch = Watch(GROUPS, ())
        self._watch.look(session, quiet=True)
        self._shared: dict[str, Shared] = {}
        self._look_at_others(session, quiet=True)

    def look(self, session: Session, quiet: bool = False) -> None:
        """Says what is new. quiet: the client has done it itself."""
        quiet = quiet or session.watch is not None
        now = session.store.modseq()
        if now != self._modseq:
            self._modseq = now
            self._watch.look(session, quiet)
        self._look_at_others(session, quiet)

    def _look_at_others(self, session: Session, quiet: bool) -> None:
        known, self._shared = self._shared, {}
        for owner in session.service.owners(session.store.name)[:OWNERS]:
            with suppress(StoreError):  # an account that is going, or whose store cannot be opened
                self._shared[owner] = look_at(session, owner, known.get(owner), quiet)


def look_at(session: Session, owner: str, before: Shared | None, quiet: bool) -> Shared:
    """What is shared now; says what is new in what was known before."""
    now = session.service.engine.open(owner).modseq()
    if before is not None and before.modseq == now:
        return before
    found = shared_mailboxes(session, (owner,))
    entries = {one.mailbox.id: (one.mailbox.name, entries_of(one)) for one in found if may_read(one)}
    if before is not None and not quiet:
        tell_changed(session, before, entries.items())
    return Shared(now, entries)


def tell_changed(session: Session, before: Shared, now: Iterable[tuple[int, tuple[str, Mapping[str, bytes]]]]) -> None:
    """Of mailboxes that could be read before."""
    for mailbox_id, (name, entries) in now:
        _, old = before.entries.get(mailbox_id, ("", entries))
        changed = [entry for entry in entries.keys() | old.keys() if entries.get(entry) != old.get(entry)]
        if changed:
            names = " ".join(sorted(changed)).encode("ascii")
            session.say(b"* METADATA %b %b\r\n" % (session.mailbox_name(name), names))
