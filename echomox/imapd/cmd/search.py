"""SEARCH and UID SEARCH, and what SORT, THREAD and ESEARCH have in common with them. RFC 9051 6.4.4; RFC 4731
(ESEARCH); RFC 5032 (WITHIN); RFC 5182 (SEARCHRES); RFC 9585 (INPROGRESS); RFC 9394 (PARTIAL); RFC 7162 3.1.5 and 3.1.6
(MODSEQ); RFC 5267 (CONTEXT); RFC 6203 (FUZZY); RFC 5466 (FILTERS); RFC 5255 4 (I18NLEVEL=1).

Sets of messages in the program are turned into UIDs of this view before the store sees them: the store knows
no numbers of ours. A search that takes long gives way every few milliseconds, and others run in between; one that has
worked for BUDGET ends with NO [LIMIT].
"""

from __future__ import annotations

from array import array
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from echomox.imap import response
from echomox.imap.search import And, Filter, Fuzzy, HasFlag, Key, Not, ObjectId, Or
from echomox.imap.search import Sequence as Messages
from echomox.imap.searching import SAVED_RANGES, Search
from echomox.imap.searching import search as parse
from echomox.imap.seqset import SequenceSet, partial_slice
from echomox.imapd import contexts
from echomox.imapd.command import SELECTED, BadCommand, Command, No, Outcome, Rule
from echomox.imapd.filters import Filters
from echomox.imapd.limit import answered, searched
from echomox.imapd.objectid import number_of
from echomox.imapd.session import NOTHING_SAVED
from echomox.imapd.view import OutOfRange

if TYPE_CHECKING:
    from echomox.imap.sorting import Criterion
    from echomox.imapd.session import Session
    from echomox.imapd.view import View
    from echomox.store.engine import AccountStore

PROGRESS = 10.0  # seconds of a search after which the client is told that it goes on (RFC 9585 3)
BUDGET = 30.0
"""Seconds of work (waiting not counted) that one command may cost."""
T = TypeVar("T")


class Found(NamedTuple):
    """uids: ascending, or as sorted. scores: of FUZZY, by UID."""

    uids: list[int]
    scores: dict[int, int]


async def search(session: Session, arguments: Search) -> Outcome:
    return await answer(session, arguments, by_uid=False)


async def uid_search(session: Session, arguments: Search) -> Outcome:
    return await answer(session, arguments, by_uid=True)


async def answer(session: Session, arguments: Search, by_uid: bool, criteria: Sequence[Criterion] = ()) -> Outcome:
    """Of SEARCH, and with criteria of SORT."""
    view = session.selected
    returning = arguments.returning
    if returning is None and session.rev2 and not criteria:
        returning = ("ALL",)  # RFC 9051 6.4.4
    options = returning or ()
    check(session, arguments, options, criteria)
    items = contexts.checked(arguments.items)
    if arguments.modseq:
        session.enable_condstore()
    program = Program(session, session.box.store, view)
    with saving(session, options):
        key = program.resolve(arguments.key)
        with_scores = "RELEVANCY" in options or any(one.name == "RELEVANCY" for one in criteria)
        among, lowest = searched(session, key, view.uids[:], whole=bool(criteria))
        found = await run(Work(session), program, key, criteria, with_scores, among)
    if "SAVE" in options:
        session.saved = to_save(found.uids, options, arguments.partial)
    modseq = program.highest_modseq(returned(found.uids, options)) if arguments.modseq and found.uids else 0
    if returning is None:
        numbers = as_numbers(view, found.uids, by_uid)
        session.say(response.sort_line(numbers, modseq) if criteria else response.search_line(numbers, modseq))
    elif set(options) != {"SAVE"}:
        session.say(result_line(session, found, arguments, options, by_uid, modseq))
    if "UPDATE" in options:
        context = contexts.Context(session.tag, by_uid, key, tuple(criteria), found.uids)
        context.items = items
        contexts.begin(session, context)
    return answered(session, None, lowest)


def result_line(
    session: Session, found: Found, arguments: Search, options: tuple[str, ...], by_uid: bool, modseq: int
) -> bytes:
    numbers = as_numbers(session.selected, found.uids, by_uid)
    scores = [found.scores.get(uid, 1) for uid in found.uids] if "RELEVANCY" in options else ()
    return response.esearch_line(session.tag, by_uid, numbers, options, modseq, arguments.partial, scores)


@contextmanager
def saving(session: Session, options: tuple[str, ...]) -> Iterator[None]:
    """RFC 5182 2.1: of a search with SAVE that is answered NO nothing stays in "$"; of one that is BAD what was there.
    Until it has ended "$" is what it was, for the search may be one within it."""
    try:
        yield
    except (BadCommand, OutOfRange):
        raise
    except Exception:
        if "SAVE" in options:
            session.saved = NOTHING_SAVED
        raise


def check(session: Session, arguments: Search, options: tuple[str, ...], criteria: Sequence[Criterion]) -> None:
    """RFC 6203 4 and 6: RELEVANCY needs FUZZY. RFC 5267 4.3: a tag is the name of its updates. RFC 9755 3: after ENABLE
    UTF8=ACCEPT strings are UTF-8, and SEARCH says no charset."""
    if arguments.charset and not criteria and "UTF8=ACCEPT" in session.enabled:
        raise BadCommand("With UTF8=ACCEPT a search is in UTF-8 and names no CHARSET")
    relevancy = "RELEVANCY" in options or any(one.name == "RELEVANCY" for one in criteria)
    if relevancy and not is_fuzzy(arguments.key):
        raise BadCommand("RELEVANCY without FUZZY")
    if "UPDATE" in options and contexts.is_used(session, session.tag):
        raise BadCommand("Tag reuse")


def is_fuzzy(key: Key) -> bool:
    if isinstance(key, And):
        return any(map(is_fuzzy, key.keys))
    if isinstance(key, Or):
        return is_fuzzy(key.left) or is_fuzzy(key.right)
    if isinstance(key, Not):
        return is_fuzzy(key.key)
    return isinstance(key, Fuzzy | Filter)


def to_save(found: list[int], returning: tuple[str, ...], partial: tuple[int, int] | None) -> array[int]:
    """RFC 5182 2.4: with MIN or MAX, and neither ALL nor COUNT, only those. RFC 9394 3.2: with PARTIAL its part besides
    them, and all with COUNT."""
    ends = {"MIN", "MAX"} & set(returning)
    if not found or {"ALL", "COUNT"} & set(returning) or not (ends or partial):
        return array("I", sorted(found))
    kept = set(found[partial_slice(partial, len(found))]) if partial else set()
    kept |= {found[0] if option == "MIN" else found[-1] for option in ends}
    return array("I", sorted(kept))


def returned(found: Sequence[int], options: tuple[str, ...]) -> Sequence[int]:
    """The messages whose mod-sequences count (RFC 4731 3.2): with MIN or MAX and nothing else, only those."""
    ends = {"MIN": found[0], "MAX": found[-1]}
    wanted = [option for option in options if option != "SAVE"]
    return [ends[option] for option in wanted] if wanted and set(wanted) <= ends.keys() else found


def as_numbers(view: View, uids: Sequence[int], by_uid: bool) -> list[int]:
    """`view.numbers` of many that are all in the view, in any order."""
    if by_uid or len(uids) < 100:
        return view.numbers(uids, by_uid)
    known = np.frombuffer(view.uids, np.uint32)
    numbers: list[int] = (np.searchsorted(known, np.array(uids, np.uint32)) + 1).tolist()
    return numbers


# -- the work -----------------------------------------------------------------------


class Work:
    """What one command may cost: runs steps, and lets others run in between."""

    __slots__ = ("_due", "_left", "_session")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._due = monotonic() + PROGRESS
        self._left = BUDGET

    async def run(self, steps: Generator[None, None, T]) -> T:
        """Its value. Raises No when the budget is used up."""
        session = self._session
        try:
            while True:
                start = monotonic()
                next(steps)
                now = monotonic()
                self._left -= now - start
                if self._left < 0:
                    raise No("The search takes too long, ask for less", "LIMIT")
                if now > self._due:
                    self._due = now + PROGRESS
                    tag = response.quoted(session.tag)
                    session.say(b"* OK [INPROGRESS (%b NIL NIL)] Still searching\r\n" % tag)
                await session.breathe()
        except StopIteration as end:
            found: T = end.value
            return found
        finally:
            steps.close()


async def run(
    work: Work,
    program: Program,
    key: Key,
    criteria: Sequence[Criterion],
    with_scores: bool,
    among: array[int] | None = None,
) -> Found:
    """What matches in the program's mailbox, or among these of its UIDs, sorted if there are criteria. key:
    resolved."""
    store, view = program.store, program.view
    uids = await work.run(store.searching(view.mailbox_id, key, view.uids[:] if among is None else among))
    scores = await work.run(store.scoring(view.mailbox_id, key, uids)) if with_scores else {}
    if criteria:
        uids = await work.run(store.ordering(view.mailbox_id, uids, criteria, scores))
    return Found(uids, scores)


# -- the program ---------------------------------------------------------------------


class Program:
    """Search keys as one mailbox's store understands them. view: of that mailbox; the session's, if it is selected."""

    __slots__ = ("_filters", "_session", "store", "view")

    def __init__(self, session: Session, store: AccountStore, view: View) -> None:
        self._session = session
        self._filters = Filters(session)
        self.store = store
        self.view = view

    def resolve(self, key: Key) -> Key:
        """The same with UIDs for sets, "$" and \\Recent, numbers for object ids, and the searches that FILTER
        names."""
        if isinstance(key, And):
            return And(tuple(map(self.resolve, key.keys)))
        if isinstance(key, Or):
            return Or(self.resolve(key.left), self.resolve(key.right))
        if isinstance(key, Not):
            return Not(self.resolve(key.key))
        if isinstance(key, Fuzzy):
            return Fuzzy(self.resolve(key.key))
        if isinstance(key, Filter):
            with self._filters.opened(key.name) as kept:
                return self.resolve(kept)
        if isinstance(key, Messages):
            return self._set(key)
        if isinstance(key, ObjectId):
            return replace(key, number=number_of(self.store, key.field, key.value))
        if isinstance(key, HasFlag) and key.flag.lower() == "\\recent":
            return Messages(self.view.recent_ranges(), uid=True)
        return key

    def _set(self, key: Messages) -> Messages:
        session, view = self._session, self.view
        saved = key.ranges == SAVED_RANGES
        if session.uid_only and not key.uid and not saved:
            raise BadCommand("UIDONLY is enabled", "UIDREQUIRED")
        if saved:
            known = session.saved if view is session.view else NOTHING_SAVED
            positions = SequenceSet.of(known).uid_positions(view.uids)
        else:  # of numbers that there are not, none is found
            messages = SequenceSet(key.ranges)
            positions = messages.uid_positions(view.uids) if key.uid else messages.positions(len(view.uids))
        return Messages(tuple((view.uids[part.start], view.uids[part.stop - 1]) for part in positions), uid=True)

    def highest_modseq(self, found: Sequence[int]) -> int:
        """Of the messages found (RFC 7162 3.1.5)."""
        wanted = set(found)
        rows = self.store.fetch(self.view.mailbox_id, min(found), max(found), ("uid", "modseq"))
        return max((modseq for uid, modseq in rows if uid in wanted), default=0)


CAPABILITY = (
    "ESEARCH",
    "SEARCHRES",
    "WITHIN",
    "INPROGRESS",
    "PARTIAL",
    "CONTEXT=SEARCH",
    "SEARCH=FUZZY",
    "FILTERS",
    "I18NLEVEL=1",
)
ROWS = (
    Command("SEARCH", SELECTED, Rule.NUMBERS, CAPABILITY, parse, search),
    Command("UID SEARCH", SELECTED, Rule.UIDS | Rule.BREAKS_SEQUENCES, CAPABILITY, parse, uid_search),
)
