"""CANCELUPDATE. RFC 5267 4.3.5; what it ends is `imapd.contexts`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echomox.imap.sorting import cancel_update
from echomox.imapd import contexts
from echomox.imapd.command import SELECTED, Command, Rule

if TYPE_CHECKING:
    from echomox.imapd.session import Session


def cancel(session: Session, tags: tuple[bytes, ...]) -> None:
    """A tag that names none is passed over: its updates may have ended already."""
    contexts.cancel(session, tags)


CAPABILITY = ("CONTEXT=SEARCH", "CONTEXT=SORT")
ROWS = (Command("CANCELUPDATE", SELECTED, Rule.BREAKS_SEQUENCES, CAPABILITY, cancel_update, cancel),)
