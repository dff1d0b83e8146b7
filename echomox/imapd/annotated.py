"""Annotations that others have changed, told after a command and in IDLE once the client has said ENABLE METADATA. RFC
5464 4.1 and 4.4: names only, those of the account and of its own mailboxes. A client that uses NOTIFY says there what
it wants to hear of (RFC 5465 5.6, 5.7), and hears that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echomox.imap.notify import Group
from echomox.imapd.watch import Watch

if TYPE_CHECKING:
    from echomox.imapd.session import Session

GROUPS = (Group("PERSONAL", (), frozenset(("MailboxMetadataChange", "ServerMetadataChange"))),)


class Annotated:
    """What the client knows of: everything up to a modseq."""

    __slots__ = ("_modseq", "_watch")

    def __init__(self, session: Session) -> None:
        self._modseq = session.store.modseq()
        self._watch = Watch(GROUPS, ())
        self._watch.look(session, quiet=True)

    def look(self, session: Session, quiet: bool = False) -> None:
        """Says what is new. quiet: the client has done it itself."""
        now = session.store.modseq()
        if now != self._modseq:
            self._modseq = now
            self._watch.look(session, quiet or session.watch is not None)
