"""CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE. RFC 9051 6.3.4 to 6.3.8; RFC 6154 3
(CREATE-SPECIAL-USE)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echomox.imap import grammar
from echomox.imapd.command import AUTHENTICATED, Command, No, Rule
from echomox.imapd.usage import check_mailbox_room
from echomox.store.engine import SPECIAL_USES, StoreError

if TYPE_CHECKING:
    from echomox.imapd.session import Session

CREATABLE = {use.lower(): use for use in SPECIAL_USES if use not in ("\\All", "\\Flagged")}
"""\\All and \\Flagged would be views of other mailboxes, which we do not have."""


def create(session: Session, arguments: grammar.Create) -> None:
    check_mailbox_room(session)
    use = special_use(session, arguments.special_use)
    session.store.create_mailbox(arguments.mailbox, use)


def special_use(session: Session, wanted: tuple[str, ...]) -> str:
    """RFC 6154 3: a use that cannot be given fails the command."""
    uses = {CREATABLE.get(use.lower(), "") for use in wanted}
    if not uses:
        return ""
    use = uses.pop()
    if uses or not use:
        raise No("A mailbox has one special use, of those that LIST shows", "USEATTR")
    if session.store.special_mailbox(use) is not None:
        raise No(f"There is a mailbox with {use} already", "USEATTR")
    return use


def delete(session: Session, arguments: grammar.OfMailbox) -> None:
    """One's own selected mailbox is closed by it."""
    view = session.view
    mailbox = session.store.mailbox(arguments.mailbox)
    session.store.delete_mailbox(arguments.mailbox)
    if view is not None and mailbox.id == view.mailbox_id:
        session.unselect()
        session.say(b"* OK [CLOSED] The selected mailbox was deleted\r\n")


def rename(session: Session, arguments: grammar.Rename) -> None:
    session.store.rename_mailbox(arguments.old, arguments.new)


def subscribe(session: Session, arguments: grammar.OfMailbox) -> None:
    session.store.subscribe(arguments.mailbox, True)


def unsubscribe(session: Session, arguments: grammar.OfMailbox) -> None:
    """A name that cannot be one was never subscribed to."""
    try:
        session.store.subscribe(arguments.mailbox, False)
    except StoreError as error:
        raise No(str(error), "NONEXISTENT") from None


ROWS = (
    Command("CREATE", AUTHENTICATED, Rule.BREAKS_SEQUENCES, ("CREATE-SPECIAL-USE",), grammar.create, create),
    Command("DELETE", AUTHENTICATED, Rule.BREAKS_SEQUENCES, (), grammar.of_mailbox, delete),
    Command("RENAME", AUTHENTICATED, Rule.BREAKS_SEQUENCES, (), grammar.rename, rename),
    Command("SUBSCRIBE", AUTHENTICATED, Rule.BREAKS_SEQUENCES, (), grammar.of_mailbox, subscribe),
    Command("UNSUBSCRIBE", AUTHENTICATED, Rule.BREAKS_SEQUENCES, (), grammar.of_mailbox, unsubscribe),
)
