"""CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE. RFC 9051 6.3.4 to 6.3.8; RFC 6154 3
(CREATE-SPECIAL-USE)."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from echomox.imap import grammar, response
from echomox.imapd.box import find, find_parent, is_elsewhere
from echomox.imapd.command import AUTHENTICATED, Command, No, Rule
from echomox.imapd.objectid import mailbox_code
from echomox.imapd.usage import check_mailbox_room
from echomox.store.engine import SEPARATOR, SPECIAL_USES, LimitExceeded, StoreError

if TYPE_CHECKING:
    from echomox.imapd.session import Session

CREATABLE = {use.lower(): use for use in SPECIAL_USES if use not in ("\\All", "\\Flagged")}
"""\\All and \\Flagged would be views of other mailboxes, which we do not have."""


def create(session: Session, arguments: grammar.Create) -> bytes:
    """With the MAILBOXID of what was made (RFC 8474 4.1)."""
    name = arguments.mailbox
    if is_elsewhere(name.removesuffix(SEPARATOR)):
        if arguments.special_use:
            raise No("Special uses are the owner's", "USEATTR")
        store, inner = find_parent(session, name)
        check_mailbox_room(session, store)
        made = store.create_mailbox(inner)
        real = name.removesuffix(SEPARATOR).removesuffix(inner) + made.name
    else:
        store = session.store
        check_mailbox_room(session, store)
        made = store.create_mailbox(name, special_use(session, arguments.special_use))
        real = made.name
    tell_real_name(session, arguments.written, real)
    return b"[%b] CREATE completed" % mailbox_code(store, made.id)


def tell_real_name(session: Session, written: str, real: str, words: tuple[str, ...] = ()) -> None:
    """RFC 9051 6.3.9.7: to a client of IMAP4rev2, whose name of the mailbox was not in normal form (NFC)."""
    if session.rev2 and written.removesuffix(SEPARATOR) != real:
        old = response.oldname(session.mailbox_name(written))
        session.say(response.list_line("LIST", words, SEPARATOR, session.mailbox_name(real), old))


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
    found = find(session, arguments.mailbox, "x")
    selected = session.has_selected(found.store, found.mailbox.id)
    found.store.delete_mailbox(found.name)
    tell_real_name(session, arguments.written, found.mailbox.name, ("\\NonExistent",))
    if selected:
        session.unselect()
        session.say(b"* OK [CLOSED] The selected mailbox was deleted\r\n")


def rename(session: Session, arguments: grammar.Rename) -> None:
    """Mailboxes stay in their account."""
    old, new = arguments.old, arguments.new
    if not is_elsewhere(old) and not is_elsewhere(new.removesuffix(SEPARATOR)):
        session.store.rename_mailbox(old, new)
        if old == "INBOX":
            keep_annotations(session, new)
        tell_real_name(session, arguments.written, session.store.mailbox(new.removesuffix(SEPARATOR)).name)
        tell_validity(session)
        return
    found = find(session, old, "x")
    if not is_elsewhere(new) or found.name == "INBOX":
        raise No("This mailbox stays in its account", "CANNOT")
    store, inner = find_parent(session, new)
    if store is not found.store:
        raise No("Mailboxes stay in their account", "CANNOT")
    store.rename_mailbox(found.name, inner)
    tell_validity(session)


def keep_annotations(session: Session, new: str) -> None:
    """RFC 5464 4.1: those of INBOX are of the mailbox that has its messages now too."""
    store = session.store
    kept = store.annotations(store.mailbox("INBOX").id)
    with suppress(LimitExceeded):  # the messages have their new place already
        store.set_annotations(store.mailbox(new).id, dict(kept))


def tell_validity(session: Session) -> None:
    """The selected mailbox may have got another UIDVALIDITY with its name (RFC 9051 2.3.1.1): its UIDs are what they
    were, and who renamed it goes on. Whoever else has it selected has to come again."""
    view = session.view
    if view is None or view.mailbox_id < 0:
        return
    validity = session.box.store.mailbox_by_id(view.mailbox_id).uidvalidity
    if validity != view.uidvalidity:
        view.uidvalidity = validity
        session.say(b"* OK [UIDVALIDITY %d] The mailbox has another one under its new name\r\n" % validity)


def subscribe(session: Session, arguments: grammar.OfMailbox) -> None:
    if is_elsewhere(arguments.mailbox):
        find(session, arguments.mailbox, "l")
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
