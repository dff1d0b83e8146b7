"""REPLACE and UID REPLACE: a message takes the place of another, as drafts do. RFC 8508.

The new message is durable before the old one goes: a crash in between leaves both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echomox.imap import grammar
from echomox.imap.response import appenduid
from echomox.imapd.box import require
from echomox.imapd.cmd.append import add, target_of
from echomox.imapd.command import SELECTED, BadCommand, Command, No, Rule

if TYPE_CHECKING:
    from echomox.imapd.session import Session


async def replace(session: Session, arguments: grammar.Replace) -> bytes | None:
    return await replace_message(session, arguments, by_uid=False)


async def uid_replace(session: Session, arguments: grammar.Replace) -> bytes | None:
    return await replace_message(session, arguments, by_uid=True)


async def replace_message(session: Session, arguments: grammar.Replace, by_uid: bool) -> bytes | None:
    view = session.selected
    old = view.at(session.positions(arguments.messages, by_uid))
    if len(old) != 1:
        raise No("One message is to be replaced", "NONEXISTENT") if by_uid else BadCommand("One message, by its number")
    require(session, "te")
    target = target_of(session, arguments.mailbox)
    sizes = [size for _, size in session.box.store.fetch(view.mailbox_id, old[0], old[0], ("uid", "size"))]
    if not sizes:
        raise No("The message is gone", "EXPUNGEISSUED")
    # RFC 8508 3.4: the quota is asked for the difference.
    added = await add(session, target, (arguments.message,), sizes if target.store is session.box.store else ())
    session.brought(target.store, target.mailbox.id, (added[0].uid,))
    code = appenduid(added[0].uidvalidity, (added[0].uid,))
    session.say(f"* OK [{code}] Replacement message is in place\r\n".encode("ascii"))  # RFC 8508 4.3
    session.box.store.remove(view.mailbox_id, old)
    return None


FLAGS = Rule.BREAKS_SEQUENCES | Rule.WRITES
ROWS = (
    Command("REPLACE", SELECTED, FLAGS | Rule.NUMBERS, ("REPLACE",), grammar.replace, replace),
    Command("UID REPLACE", SELECTED, FLAGS | Rule.UIDS, ("REPLACE",), grammar.replace, uid_replace),
)
