"""What a client has asked to be told at any time (NOTIFY, RFC 5465): of its selected mailbox and of all others.

A Watch keeps a picture of the mailboxes that it watches, and says how the store differs from it, as STATUS, LIST and
METADATA responses. It is looked at when a bell has rung and no command is under way, and after each command; what the
client itself did to names and subscriptions goes into the picture untold. News of the selected mailbox come from
`tell`, which asks here which of them are wanted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from echomox.imap import response
from echomox.imap.notify import SELECTED, Group
from echomox.imapd.command import Rule
from echomox.imapd.render import Plan
from echomox.store.engine import SEPARATOR, Mailbox

if TYPE_CHECKING:
    from collections.abc import Iterable

    from echomox.imapd.session import Session

OWN = frozenset(("CREATE", "DELETE", "RENAME", "SUBSCRIBE", "UNSUBSCRIBE", "SETMETADATA"))
"""Commands whose effects are not told to the client that gave them."""
SERVER = 0


class Picture(NamedTuple):
    mailboxes: Mapping[int, Mailbox]
    subscribed: frozenset[str]
    entries: Mapping[int, Mapping[str, bytes]]
    """Annotations by mailbox."""


class Watch:
    """selected: None when nothing of the selected mailbox is wanted. plan: what is fetched of new messages there."""

    __slots__ = ("_others", "picture", "plan", "selected")

    def __init__(self, groups: Iterable[Group], plan: Plan | None) -> None:
        every = tuple(groups)
        self.selected = next((group for group in every if group.kind in SELECTED), None)
        self.plan = plan
        self._others = tuple(group for group in every if group.kind not in SELECTED)
        self.picture = Picture({}, frozenset(), {})

    def wants(self, event: str) -> bool:
        """Of the selected mailbox."""
        return self.selected is not None and event in self.selected.events

    def rules(self) -> Rule:
        """For news between commands: SELECTED-DELAYED keeps the numbers (RFC 5465 6.1)."""
        delayed = self.selected is not None and self.selected.kind == "SELECTED-DELAYED"
        return Rule.NONE if delayed else Rule.BREAKS_SEQUENCES

    # -- other mailboxes

    def take(self, session: Session) -> Picture:
        store = session.store
        mailboxes = {mailbox.id: mailbox for mailbox in store.mailboxes()}
        entries: dict[int, Mapping[str, bytes]] = {}
        if self._any("ServerMetadataChange"):
            entries[SERVER] = store.annotations(SERVER)
        if self._any("MailboxMetadataChange"):
            entries |= {id_: store.annotations(id_) for id_ in mailboxes}
        return Picture(mailboxes, frozenset(store.subscriptions()), entries)

    def _any(self, event: str) -> bool:
        return any(event in group.events for group in self._others)

    def events(self, name: str, subscribed: frozenset[str], special_use: str = "") -> frozenset[str]:
        """Of all groups that the mailbox belongs to (RFC 5465 6)."""
        found: frozenset[str] = frozenset()
        for group in self._others:
            if belongs(group, name, subscribed, special_use):
                found |= group.events
        return found

    def look(self, session: Session, quiet: bool = False) -> None:
        """Says what is new, and remembers it. quiet: remembers only."""
        old, self.picture = self.picture, self.take(session)
        if quiet or not self._others:
            return
        new = self.picture
        for id_ in old.mailboxes.keys() - new.mailboxes.keys():
            self._tell_gone(session, old.mailboxes[id_], old)
        for id_, mailbox in new.mailboxes.items():
            events = self.events(mailbox.name, new.subscribed, mailbox.special_use)
            before = old.mailboxes.get(id_)
            if (before is None or before.name != mailbox.name) and "MailboxName" in events:
                tell_name(session, mailbox.name, new, before.name if before else "")
            if before is not None:
                self._tell_messages(session, events, before, mailbox)
        for name in sorted(old.subscribed ^ new.subscribed):
            if "SubscriptionChange" in self.events(name, old.subscribed | new.subscribed):
                tell_name(session, name, new)
        self._tell_entries(session, old, new)

    def _tell_gone(self, session: Session, mailbox: Mailbox, old: Picture) -> None:
        if "MailboxName" in self.events(mailbox.name, old.subscribed, mailbox.special_use):
            line = response.list_line("LIST", ["\\NonExistent"], SEPARATOR, session.mailbox_name(mailbox.name))
            session.say(line)

    def _tell_messages(self, session: Session, events: frozenset[str], old: Mailbox, new: Mailbox) -> None:
        if session.has_selected(session.store, new.id):
            return
        items: dict[str, int] = {}
        if "MessageNew" in events and (old.uidnext, old.total) != (new.uidnext, new.total):
            items |= {"UIDNEXT": new.uidnext, "MESSAGES": new.total}
        flags = "FlagChange" in events and new.modseq != old.modseq
        if flags and (new.unseen != old.unseen or new.uidvalidity != old.uidvalidity):
            items |= {"UIDVALIDITY": new.uidvalidity, "UNSEEN": new.unseen}
        if "CONDSTORE" in session.enabled and (items or flags):
            items |= {"UIDVALIDITY": new.uidvalidity, "HIGHESTMODSEQ": new.modseq}
        if items:
            session.say(response.status_line(session.mailbox_name(new.name), items.items()))

    def _tell_entries(self, session: Session, old: Picture, new: Picture) -> None:
        for id_, entries in new.entries.items():
            before = old.entries.get(id_, {})
            changed = [name for name in entries.keys() | before.keys() if entries.get(name) != before.get(name)]
            if not changed:
                continue
            mailbox = new.mailboxes.get(id_)
            name = mailbox.name if mailbox else ""
            wanted = (
                "MailboxMetadataChange" in self.events(name, new.subscribed, mailbox.special_use)
                if mailbox
                else self._any("ServerMetadataChange")
            )
            if wanted:
                shown = session.mailbox_name(name) if name else b'""'
                session.say(b"* METADATA %b %b\r\n" % (shown, " ".join(sorted(changed)).encode("ascii")))

    def tell_status(self, session: Session) -> None:
        """NOTIFY SET STATUS: how things stand in all watched mailboxes but the selected one (RFC 5465 3.1)."""
        for mailbox in self.picture.mailboxes.values():
            events = self.events(mailbox.name, self.picture.subscribed, mailbox.special_use)
            if session.has_selected(session.store, mailbox.id):
                continue
            if "MessageNew" in events:
                items = [("MESSAGES", mailbox.total), ("UIDNEXT", mailbox.uidnext)]
                items.append(("UIDVALIDITY", mailbox.uidvalidity))
                if "FlagChange" in events:
                    items += [("UNSEEN", mailbox.unseen), ("HIGHESTMODSEQ", mailbox.modseq)]
                session.say(response.status_line(session.mailbox_name(mailbox.name), items))


def belongs(group: Group, name: str, subscribed: frozenset[str], special_use: str) -> bool:
    """RFC 5465 6.2 to 6.6. INBOXES: where mail is delivered to, INBOX and Junk."""
    if group.kind == "PERSONAL":
        return True
    if group.kind == "INBOXES":
        return name == "INBOX" or special_use == "\\Junk"
    if group.kind == "SUBSCRIBED":
        return name in subscribed
    if group.kind == "SUBTREE":
        return any(name == top or name.startswith(top + SEPARATOR) for top in group.mailboxes)
    return name in group.mailboxes


def tell_name(session: Session, name: str, picture: Picture, old: str = "") -> None:
    """LIST of a mailbox that is new, was renamed from `old`, or has got or lost its subscription."""
    words = [] if any(one.name == name for one in picture.mailboxes.values()) else ["\\NonExistent"]
    if name in picture.subscribed:
        words.append("\\Subscribed")
    extended = b'("OLDNAME" (%b))' % session.mailbox_name(old) if old else b""
    session.say(response.list_line("LIST", words, SEPARATOR, session.mailbox_name(name), extended))
