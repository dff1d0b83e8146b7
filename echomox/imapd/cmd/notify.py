"""NOTIFY. RFC 5465; what is then told is `imapd.watch`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echomox.imap import notify as grammar
from echomox.imap.fetch import Binary, Item
from echomox.imapd.command import AUTHENTICATED, Command, No, Rule
from echomox.imapd.listening import start_watching, stop_watching
from echomox.imapd.render import Plan, compile_plan
from echomox.imapd.watch import Watch

if TYPE_CHECKING:
    from echomox.imapd.session import Session


def notify(session: Session, arguments: grammar.Notify) -> None:
    if arguments.groups is None:
        stop_watching(session)
        return
    if any(group.unknown for group in arguments.groups):
        raise No("An event that is not known", f"BADEVENT ({' '.join(grammar.EVENTS)})")
    watch = Watch(arguments.groups, plan_of(session, arguments.groups))
    try:
        watch.look(session, quiet=True)
    except BaseException:
        watch.close(session.service)
        raise
    start_watching(session, watch)
    watch.tell_start(session, arguments.status)


def plan_of(session: Session, groups: tuple[grammar.Group, ...]) -> Plan | None:
    """What is fetched of new messages; always with the UID, and never so that it sets \\Seen."""
    items = next((group.items for group in groups if group.items), ())
    if not items:
        return None
    if any(isinstance(item, Binary) for item in items):
        raise No("BINARY cannot be asked for here", "CANNOT")
    complete = dict.fromkeys((*(() if session.uid_only else (Item("UID"),)), *items))
    return compile_plan(list(complete), 0, sets_seen=False, by_uid=session.uid_only)


ROWS = (Command("NOTIFY", AUTHENTICATED, Rule.BREAKS_SEQUENCES, ("NOTIFY",), grammar.notify, notify),)
