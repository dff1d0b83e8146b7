"""NOTIFY. RFC 5465; what is then told is `imapd.watch`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echomox.imap import notify as grammar
from echomox.imap.fetch import FetchItem
from echomox.imapd.command import AUTHENTICATED, Command, No, Rule
from echomox.imapd.contexts import checked
from echomox.imapd.listening import start_watching
from echomox.imapd.watch import Overflow, Watch, stop_watching

if TYPE_CHECKING:
    from echomox.imapd.session import Session


def notify(session: Session, arguments: grammar.Notify) -> None:
    if arguments.groups is None:
        stop_watching(session)
        return
    if any(group.unknown for group in arguments.groups):
        raise No("An event that is not known", f"BADEVENT ({' '.join(grammar.EVENTS)})")
    watch = Watch(arguments.groups, items_of(arguments.groups))
    try:
        watch.look(session, quiet=True)
    except Overflow:
        watch.close(session.service)
        raise No("Too many accounts are to be watched, name fewer", "NOTIFICATIONOVERFLOW") from None
    except BaseException:
        watch.close(session.service)
        raise
    start_watching(session, watch)
    watch.tell_start(session, arguments.status)


def items_of(groups: tuple[grammar.Group, ...]) -> tuple[FetchItem, ...]:
    """What is fetched of new messages."""
    return checked(next((group.items for group in groups if group.items), ()))


ROWS = (Command("NOTIFY", AUTHENTICATED, Rule.BREAKS_SEQUENCES, ("NOTIFY",), grammar.notify, notify),)
