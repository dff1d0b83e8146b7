"""What a client has asked to be told at any time (NOTIFY, RFC 5465): of its selected mailbox and of all others.

A Watch keeps a picture of the mailboxes that it watches, and says how the store differs from it, as STATUS, LIST and
METADATA responses. It is looked at when a bell has rung and no command is under way, and after each command; what the
client itself did to names and subscriptions goes into the picture untold. News of the selected mailbox come from
`tell`, which asks here which of them are wanted.

Mailboxes of other accounts are watched where a group names them (by name, subtree or subscription), with the rights
"l" and "r" (RFC 5465 3.1, 5, 5.9): what may not be looked up does not exist, what may not be read is \\NoAccess. Their
owners' bells are heard as long as the watch lasts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from echomox.imap import response
from echomox.imap.notify import MESSAGE_EVENTS, SELECTED, Group
from echomox.imapd.box import BELOW, OTHERS, Found, is_elsewhere, seen_in_list, shared_mailboxes
from echomox.imapd.command import Rule
from echomox.store.engine import SEPARATOR, Mailbox, NoSuchMailbox, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from echomox.imap.fetch import FetchItem
    from echomox.imapd.hub import Hub
    from echomox.imapd.service import Service
    from echomox.imapd.session import Session

OWN = frozenset(("CREATE", "DELETE", "RENAME", "SUBSCRIBE", "UNSUBSCRIBE", "SETMETADATA"))
"""Commands whose effects are not told to the client that gave them."""
SERVER = 0
OWNERS = 100
"""Most accounts whose mailboxes one client watches."""
SHARED_ENTRIES = "/shared/"
Key = tuple[str, int]
"""Account and id of a mailbox."""


class Overflow(Exception):
    """More than will be watched (RFC 5465 3.1, 5.8)."""


class Picture(NamedTuple):
    mailboxes: Mapping[Key, Found]
    subscribed: frozenset[str]
    entries: Mapping[Key, Mapping[str, bytes]]
    """Annotations by mailbox."""


def listen(session: Session) -> None:
    """To the hubs of exactly the accounts whose news are to be told; called when that has changed."""
    wanted: dict[Hub, None] = {}
    if session.idle_tag or session.watch is not None:
        wanted[session.listened] = None
    if session.watch is not None and session.hub is not None:
        wanted |= dict.fromkeys((session.hub, *session.watch.hubs.values()))
    for hub in session.heard:
        if hub not in wanted:
            hub.leave(session)
    for hub in wanted:
        if hub not in session.heard:
            hub.join(session)
    session.heard = tuple(wanted)


def look_watched(session: Session, quiet: bool = False) -> None:
    """`Watch.look` of the session; when it has become too much, nothing is watched any more (RFC 5465 5.8)."""
    watch = session.watch
    if watch is None:
        return
    try:
        watch.look(session, quiet)
    except Overflow:
        stop_watching(session)
        session.say(b"* OK [NOTIFICATIONOVERFLOW] Too many accounts are to be watched; nothing is any more\r\n")


def stop_watching(session: Session) -> None:
    watch, session.watch = session.watch, None
    if watch is not None:
        listen(session)
        watch.close(session.service)


class Watch:
    """selected: None when nothing of the selected mailbox is wanted. items: what is fetched of new messages there.
    hubs: of the other accounts that are listened to, by name; `close` gives them back."""

    __slots__ = ("_others", "hubs", "items", "picture", "selected")

    def __init__(self, groups: Iterable[Group], items: tuple[FetchItem, ...]) -> None:
        every = tuple(groups)
        self.selected = next((group for group in every if group.kind in SELECTED), None)
        self.items = items
        self.hubs: dict[str, Hub] = {}
        self._others = tuple(group for group in every if group.kind not in SELECTED)
        self.picture = Picture({}, frozenset(), {})

    def close(self, service: Service) -> None:
        """Nobody is poked any more: `listen` was called before."""
        hubs, self.hubs = self.hubs, {}
        for hub in hubs.values():
            service.leave(hub)

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
        subscribed = frozenset(store.subscriptions())
        mailboxes = {(found.store.name, found.mailbox.id): found for found in self._watched(session, subscribed)}
        entries: dict[Key, Mapping[str, bytes]] = {}
        if self._any("ServerMetadataChange"):
            entries[store.name, SERVER] = store.annotations(SERVER)
        if self._any("MailboxMetadataChange"):
            entries |= {key: entries_of(found) for key, found in mailboxes.items()}
        return Picture(mailboxes, subscribed, entries)

    def _watched(self, session: Session, subscribed: frozenset[str]) -> Iterator[Found]:
        """All of one's own, and those of others of which something is to be told."""
        store = session.store
        for mailbox in store.mailboxes():
            yield Found(store, mailbox)
        for one in store.virtual_mailboxes():
            # Counting what is in them takes time: only where it is told.
            if self.events(one.name, subscribed).isdisjoint(MESSAGE_EVENTS):
                yield Found(store, seen_in_list(one))
                continue
            try:
                yield Found(store, store.mailbox_by_id(one.id))
            except NoSuchMailbox:
                continue
        owners = self._owners(session, subscribed)
        self._hear(session, owners)
        known = set(session.service.owners(store.name)) if owners else set()
        for found in shared_mailboxes(session, [owner for owner in owners if owner in known]):
            if self.events(found.mailbox.name, subscribed):
                yield found

    def _owners(self, session: Session, subscribed: frozenset[str]) -> list[str]:
        """Accounts, whether they share anything or not, that the groups speak of."""
        found: dict[str, None] = {}
        for group in self._others:
            names = sorted(subscribed) if group.kind == "SUBSCRIBED" else group.mailboxes
            if group.kind == "SUBTREE" and OTHERS in names:
                found |= dict.fromkeys(session.service.owners(session.store.name))
            found |= dict.fromkeys(name[len(BELOW) :].partition(SEPARATOR)[0] for name in names if is_elsewhere(name))
        real = [owner for owner in found if owner != session.store.name and session.service.is_account(owner)]
        if len(real) > OWNERS:
            raise Overflow
        return real

    def _hear(self, session: Session, owners: Iterable[str]) -> None:
        new = [owner for owner in owners if owner not in self.hubs]
        for owner in new:
            try:
                self.hubs[owner] = session.service.enter(owner)
            except StoreError:
                continue  # an account without mail, or without a future
        if new and session.watch is self:
            listen(session)

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
        for key in old.mailboxes.keys() - new.mailboxes.keys():
            self._tell_gone(session, old.mailboxes[key].mailbox, old)
        for key, found in new.mailboxes.items():
            self._tell_mailbox(session, old.mailboxes.get(key), found, new)
        for name in sorted(old.subscribed ^ new.subscribed):
            if "SubscriptionChange" in self.events(name, old.subscribed | new.subscribed):
                tell_name(session, name, new)
        self._tell_entries(session, old, new)

    def _events_of(self, found: Found, picture: Picture) -> frozenset[str]:
        return self.events(found.mailbox.name, picture.subscribed, found.mailbox.special_use)

    def _tell_gone(self, session: Session, mailbox: Mailbox, old: Picture) -> None:
        if "MailboxName" in self.events(mailbox.name, old.subscribed, mailbox.special_use):
            line = response.list_line("LIST", ["\\NonExistent"], SEPARATOR, session.mailbox_name(mailbox.name))
            session.say(line)

    def _tell_mailbox(self, session: Session, before: Found | None, now: Found, picture: Picture) -> None:
        """Its name, then what is in it, as far as that may be read (RFC 5465 5.9)."""
        events, name = self._events_of(now, picture), now.mailbox.name
        renamed = before is None or before.mailbox.name != name
        if renamed and "MailboxName" in events:
            tell_name(session, name, picture, before.mailbox.name if before else "")
        elif events and before is not None and may_read(before) != may_read(now):
            tell_name(session, name, picture)
        if before is None or not may_read(now):
            return
        if may_read(before):
            self._tell_messages(session, events, before, now)
        else:
            self._tell_status(session, events, now)

    def _tell_messages(self, session: Session, events: frozenset[str], before: Found, now: Found) -> None:
        old, new = before.mailbox, now.mailbox
        if session.has_selected(now.store, new.id):
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
        for key, entries in new.entries.items():
            before = old.entries.get(key, {})
            changed = [name for name in entries.keys() | before.keys() if entries.get(name) != before.get(name)]
            if not changed:
                continue
            found = new.mailboxes.get(key)
            if found is None:
                wanted, shown = self._any("ServerMetadataChange"), b'""'
            else:
                wanted = "MailboxMetadataChange" in self._events_of(found, new)
                shown = session.mailbox_name(found.mailbox.name)
            if wanted:
                session.say(b"* METADATA %b %b\r\n" % (shown, " ".join(sorted(changed)).encode("ascii")))

    def tell_start(self, session: Session, status: bool) -> None:
        """RFC 5465 3.1: of what may not be read, that it may not; with STATUS, how things stand in all watched
        mailboxes but the selected one."""
        for found in self.picture.mailboxes.values():
            events = self._events_of(found, self.picture)
            if events and not may_read(found):
                tell_name(session, found.mailbox.name, self.picture)
            elif status:
                self._tell_status(session, events, found)

    @staticmethod
    def _tell_status(session: Session, events: frozenset[str], found: Found) -> None:
        mailbox = found.mailbox
        if "MessageNew" not in events or session.has_selected(found.store, mailbox.id):
            return
        items = [("MESSAGES", mailbox.total), ("UIDNEXT", mailbox.uidnext), ("UIDVALIDITY", mailbox.uidvalidity)]
        if "FlagChange" in events:
            items += [("UNSEEN", mailbox.unseen), ("HIGHESTMODSEQ", mailbox.modseq)]
        session.say(response.status_line(session.mailbox_name(mailbox.name), items))


def may_read(found: Found) -> bool:
    """RFC 5465 5: all events need the right "r"."""
    return "r" in found.rights


def entries_of(found: Found) -> Mapping[str, bytes]:
    """Annotations that may be known: of what is another's, the shared ones."""
    if not may_read(found):
        return {}
    entries = found.store.annotations(found.mailbox.id)
    return {name: entries[name] for name in entries if not found.prefix or name.startswith(SHARED_ENTRIES)}


def belongs(group: Group, name: str, subscribed: frozenset[str], special_use: str) -> bool:
    """RFC 5465 6.2 to 6.6. INBOXES: where mail is delivered to, INBOX and Junk."""
    if group.kind == "PERSONAL":
        return not is_elsewhere(name)
    if group.kind == "INBOXES":
        return name == "INBOX" or special_use == "\\Junk"
    if group.kind == "SUBSCRIBED":
        return name in subscribed
    if group.kind == "SUBTREE":
        return any(name == top or name.startswith(top + SEPARATOR) for top in group.mailboxes)
    return name in group.mailboxes


def tell_name(session: Session, name: str, picture: Picture, old: str = "") -> None:
    """LIST of a mailbox that is new, was renamed from `old`, or has got or lost its subscription."""
    found = next((one for one in picture.mailboxes.values() if one.mailbox.name == name), None)
    words = ["\\NonExistent"] if found is None else [] if may_read(found) else ["\\NoAccess"]
    if name in picture.subscribed:
        words.append("\\Subscribed")
    extended = response.oldname(session.mailbox_name(old)) if old else b""
    session.say(response.list_line("LIST", words, SEPARATOR, session.mailbox_name(name), extended))
