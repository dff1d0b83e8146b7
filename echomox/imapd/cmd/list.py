"""LIST and LSUB. RFC 9051 6.3.9, RFC 3501 6.3.8 and 6.3.9; RFC 5258 (LIST-EXTENDED), RFC 3348 (CHILDREN), RFC
5819 (LIST-STATUS), RFC 9590 (LIST-METADATA), RFC 8440 (LIST-MYRIGHTS), RFC 6154 (SPECIAL-USE).

Names are those of mailboxes, of the parents that a deleted or never made mailbox left between them
(\\NonExistent), of what other users share (`imapd.box`), and, when subscriptions are asked for, of subscriptions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from echomox.imap import listing, response
from echomox.imap.pattern import Patterns
from echomox.imapd.box import Found, is_elsewhere, seen_in_list, shared_mailboxes
from echomox.imapd.cmd.acl import tell_rights
from echomox.imapd.cmd.metadata import chosen as chosen_entries
from echomox.imapd.cmd.metadata import readable, tell_metadata
from echomox.imapd.cmd.status import check_items, tell_status
from echomox.imapd.command import AUTHENTICATED, Command, Rule
from echomox.store.engine import SEPARATOR

if TYPE_CHECKING:
    from echomox.imapd.session import Session


@dataclass(frozen=True, slots=True)
class Tree:
    """All names that an account knows. parents: names with a name below them that is a mailbox; watched: parents of
    subscriptions."""

    mailboxes: dict[str, Found]
    subscribed: frozenset[str]
    parents: frozenset[str]
    watched: frozenset[str]

    def names(self, with_subscriptions: bool) -> list[str]:
        """INBOX first, then by name, so that a parent comes before its children."""
        found = self.mailboxes.keys() | self.parents
        if with_subscriptions:
            found |= self.subscribed | self.watched
        return sorted(found, key=lambda name: (name != "INBOX", name))


def above(names: Iterable[str]) -> frozenset[str]:
    """All parents of these names."""
    found: set[str] = set()
    for name in names:
        place = name.rfind(SEPARATOR)
        while place > 0 and (parent := name[:place]) not in found:
            found.add(parent)
            place = parent.rfind(SEPARATOR)
    return frozenset(found)


def tree(session: Session) -> Tree:
    own = session.store
    mailboxes = {mailbox.name: Found(own, mailbox) for mailbox in own.mailboxes() if not is_elsewhere(mailbox.name)}
    mailboxes |= {one.name: Found(own, seen_in_list(one)) for one in own.virtual_mailboxes()}
    mailboxes |= {found.mailbox.name: found for found in shared_mailboxes(session)}
    subscribed = frozenset(session.store.subscriptions())
    return Tree(mailboxes, subscribed, above(mailboxes), above(subscribed))


def list_(session: Session, arguments: listing.Listing) -> None:
    check_items(session, arguments.status)
    if not arguments.extended and arguments.patterns == ("",):
        # RFC 9051 6.3.9: an empty pattern asks for the separator and the root of the reference.
        session.say(b'* LIST (\\Noselect) "%b" ""\r\n' % SEPARATOR.encode("ascii"))
        return
    names = tree(session)
    patterns = Patterns(arguments.reference, arguments.patterns, SEPARATOR)
    subscribed_only = "SUBSCRIBED" in arguments.select
    hinting = above(name for name in names.subscribed if not patterns.match(name)) if recursive(arguments) else ()
    for name in names.names(subscribed_only):
        if not patterns.match(name):
            continue
        chosen = selected(names, name, arguments.select)
        if not chosen and name not in hinting:  # RFC 5258 3.3, 2.B: what is below and matches is listed itself
            continue
        below = recursive(arguments) and name in names.watched
        child = response.childinfo(("SUBSCRIBED",)) if below else b""
        words = attributes(names, name, arguments)
        session.say(response.list_line("LIST", words, SEPARATOR, session.mailbox_name(name), child))
        found = names.mailboxes.get(name)
        if found is not None and chosen:
            tell_more(session, found, arguments)


def recursive(arguments: listing.Listing) -> bool:
    return "RECURSIVEMATCH" in arguments.select


def tell_more(session: Session, found: Found, arguments: listing.Listing) -> None:
    """What RETURN asks for besides attributes. RFC 8440 3; RFC 5819; RFC 9590."""
    if "MYRIGHTS" in arguments.returns:
        tell_rights(session, found)
    if arguments.status and "r" in found.rights:
        if found.mailbox.id < 0:
            found = found._replace(mailbox=found.store.mailbox_by_id(found.mailbox.id))
        tell_status(session, found, arguments.status)
    if arguments.metadata:
        kept = chosen_entries(readable(found), arguments.metadata, depth=0)
        if kept:
            tell_metadata(session, found.mailbox.name, kept)


def selected(names: Tree, name: str, options: tuple[str, ...]) -> bool:
    """RFC 5258 3.1: all selection options have to hold; REMOTE adds nothing here."""
    if "SUBSCRIBED" in options and name not in names.subscribed:
        return False
    if "SPECIAL-USE" in options:
        found = names.mailboxes.get(name)
        return found is not None and bool(found.mailbox.special_use)
    return True


def attributes(names: Tree, name: str, arguments: listing.Listing) -> list[str]:
    found = names.mailboxes.get(name)
    words = [] if found else ["\\NonExistent", "\\Noselect"]
    if "SUBSCRIBED" in (*arguments.returns, *arguments.select) and name in names.subscribed:
        words.append("\\Subscribed")
    words.append("\\HasChildren" if name in names.parents else "\\HasNoChildren")
    if found and found.mailbox.special_use:
        words.append(found.mailbox.special_use)
    return words


def lsub(session: Session, arguments: listing.Listing) -> None:
    """RFC 3501 6.3.9: with "%", a parent that is not subscribed to stands for what is below it."""
    if arguments.patterns == ("",):
        session.say(b'* LSUB (\\Noselect) "%b" ""\r\n' % SEPARATOR.encode("ascii"))
        return
    names = tree(session)
    patterns = Patterns(arguments.reference, arguments.patterns, SEPARATOR)
    hidden = above(name for name in names.subscribed if not patterns.match(name)) - names.subscribed
    for name in sorted(names.subscribed | hidden, key=lambda name: (name != "INBOX", name)):
        if patterns.match(name):
            found = names.mailboxes.get(name)
            use = [found.mailbox.special_use] if found and found.mailbox.special_use else []
            words = ["\\Noselect"] if name in hidden else use
            session.say(response.list_line("LSUB", words, SEPARATOR, session.mailbox_name(name)))


ROWS = (
    Command(
        "LIST",
        AUTHENTICATED,
        Rule.BREAKS_SEQUENCES,
        ("LIST-EXTENDED", "LIST-STATUS", "LIST-METADATA", "LIST-MYRIGHTS", "SPECIAL-USE", "CHILDREN"),
        listing.list_,
        list_,
    ),
    Command("LSUB", AUTHENTICATED, Rule.BREAKS_SEQUENCES, (), listing.lsub, lsub),
)
