"""Results that a client is kept up to date of: UPDATE of SEARCH and SORT. RFC 5267 4.3.

A Context remembers what its search has found and looks, whenever the client is told of changes in its mailbox, at the
messages that have changed, and only at them. It ends with the selection of the mailbox, and with CANCELUPDATE; when
more has changed than is worth to be looked at, or there are too many contexts, with an untagged NO [NOUPDATE].
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from echomox.imap.fetch import Binary, FetchItem, Item
from echomox.imap.response import quoted, update_line
from echomox.imap.search import And, Body, Fuzzy, Header, Key, Not, Or, Text
from echomox.imap.sorting import Criterion
from echomox.imapd.command import No
from echomox.imapd.render import compile_plan, responses

if TYPE_CHECKING:
    from echomox.imapd.session import Session

CONTEXTS = 32
RESULTS = 200_000
"""Results of all contexts of a session."""
SORTED = 10_000
"""Results of a sorted one: each change sorts them again."""
TEXTS = 100
"""Changed messages that are read at once."""


class Context:
    """key: resolved. uids: what the client knows; in its order when there are criteria. items: what is fetched of new
    messages that match (RFC 5465 7)."""

    __slots__ = ("_order", "by_uid", "criteria", "items", "key", "tag", "uids")

    def __init__(
        self, tag: bytes, by_uid: bool, key: Key, criteria: tuple[Criterion, ...], found: Sequence[int]
    ) -> None:
        self.tag = tag
        self.by_uid = by_uid
        self.items: tuple[FetchItem, ...] = ()
        self.key = key
        self.criteria = criteria
        self.uids = set(found)
        self._order = list(found) if criteria else []

    def remove(self, session: Session, gone: Iterable[int]) -> bytes:
        """The response for results that are no more; b"" for none."""
        left = self.uids.intersection(gone)
        if not left:
            return b""
        self.uids -= left
        if not self.criteria:
            return self._line(session, [(b"REMOVEFROM", 0, sorted(left))])
        changes = []
        for first, uids in reversed(_runs(self._order, left)):  # from the end: positions before it stay
            changes.append((b"REMOVEFROM", first, uids))
        self._order = [uid for uid in self._order if uid not in left]
        return self._line(session, changes)

    def add(self, session: Session, new: Collection[int]) -> bytes:
        """The same for results that have come."""
        fresh = set(new) - self.uids
        if not fresh:
            return b""
        self.uids |= fresh
        if not self.criteria:
            return self._line(session, [(b"ADDTO", 0, sorted(fresh))])
        steps = session.box.store.ordering(session.selected.mailbox_id, sorted(self.uids), self.criteria, {})
        try:
            while True:
                next(steps)
        except StopIteration as end:
            self._order = end.value
        return self._line(session, [(b"ADDTO", first, uids) for first, uids in _runs(self._order, fresh)])

    def _line(self, session: Session, changes: Iterable[tuple[bytes, int, Sequence[int]]]) -> bytes:
        view = session.selected
        return update_line(
            self.tag, self.by_uid, [(word, at, view.numbers(uids, self.by_uid)) for word, at, uids in changes]
        )


Match = tuple[Context, set[int]]
"""What of some messages belongs to its results."""


def _runs(order: Sequence[int], wanted: Collection[int]) -> list[tuple[int, list[int]]]:
    """Neighbours in `order` that are wanted: (position of the first, counted from 1; they)."""
    runs: list[tuple[int, list[int]]] = []
    for place, uid in enumerate(order, 1):
        if uid in wanted:
            if runs and runs[-1][0] + len(runs[-1][1]) == place:
                runs[-1][1].append(uid)
            else:
                runs.append((place, [uid]))
    return runs


def is_used(session: Session, tag: bytes) -> bool:
    return session.contexts is not None and tag in session.contexts


def begin(session: Session, context: Context) -> None:
    """Or refuses (RFC 5267 4.3.1)."""
    known = session.contexts or {}
    results = sum(len(one.uids) for one in known.values()) + len(context.uids)
    relevancy = any(one.name == "RELEVANCY" for one in context.criteria)
    if len(known) >= CONTEXTS or results > RESULTS or relevancy or (context.criteria and len(context.uids) > SORTED):
        refuse(session, context.tag, b"Too many contexts or results")
        return
    session.contexts = {**known, context.tag: context}


def cancel(session: Session, tags: Iterable[bytes]) -> None:
    for tag in tags:
        if session.contexts:
            session.contexts.pop(tag, None)


def refuse(session: Session, tag: bytes, why: bytes) -> None:
    session.say(b"* NO [NOUPDATE %b] %b\r\n" % (quoted(tag), why))


def tell_gone(session: Session, gone: Collection[int]) -> None:
    """Before their EXPUNGE: numbers must still be valid (RFC 5267 4.3.4)."""
    for context in (session.contexts or {}).values():
        if line := context.remove(session, gone):
            session.say(line)


def checked(items: Sequence[FetchItem]) -> tuple[FetchItem, ...]:
    """What NOTIFY and UPDATE may fetch of new messages: always with the UID; it is told without waiting for anything,
    and never sets \\Seen."""
    if any(isinstance(item, Binary) for item in items):
        raise No("BINARY cannot be asked for here", "CANNOT")
    return tuple(dict.fromkeys((Item("UID"), *items))) if items else ()


def matching(session: Session, uids: Sequence[int]) -> list[Match]:
    """What the contexts find among these messages: new ones and those with other flags, ascending."""
    if not uids or not session.contexts:
        return []
    view = session.selected
    among = array("I", uids)
    matches = []
    for tag, context in list(session.contexts.items()):
        if len(uids) > TEXTS and reads_texts(context.key):
            cancel(session, (tag,))
            refuse(session, tag, b"Too much has changed at once")
            continue
        found = session.box.store.search(view.mailbox_id, context.key, among)
        matches.append((context, set(found).difference(view.pending)))
    return matches


def tell_changed(session: Session, uids: Sequence[int], matches: Sequence[Match]) -> None:
    """After EXISTS and FETCH. matches: of `matching`."""
    for context, found in matches:
        for line in (context.remove(session, set(uids) - found), context.add(session, found)):
            if line:
                session.say(line)


def tell_new(session: Session, count: int, matches: Sequence[Match], own: Collection[int]) -> None:
    """FETCH of the last `count` messages of the view, with what NOTIFY (RFC 5465 5.2) and the contexts that they belong
    to (section 7) ask for, in one response. own: UIDs that the client has added itself: NOTIFY asks for nothing of
    them."""
    view = session.selected
    items = session.watch.items if session.watch is not None else ()
    if not items and not any(context.items for context, _ in matches):
        return
    asked = {uid: dict.fromkeys(() if uid in own else items) for uid in view.uids[-count:]}
    for context, found in matches:
        for uid in found & asked.keys() if context.items else ():
            asked[uid] |= dict.fromkeys(context.items)
    for wanted, group in groupby(asked, key=lambda uid: tuple(asked[uid])):
        if wanted:
            items = tuple(item for item in wanted if item != Item("UID")) if session.uid_only else wanted
            plan = compile_plan(items, view.recent_from, sets_seen=False, by_uid=session.uid_only)
            for line in responses(plan, view, session.box.store, list(group)):
                session.say(line)


def reads_texts(key: Key) -> bool:
    if isinstance(key, And):
        return any(map(reads_texts, key.keys))
    if isinstance(key, Or):
        return reads_texts(key.left) or reads_texts(key.right)
    if isinstance(key, Not | Fuzzy):
        return reads_texts(key.key)
    return isinstance(key, Body | Text | Header)
