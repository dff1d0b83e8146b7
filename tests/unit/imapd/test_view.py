"""What a client is told: numbers, expunges, and that it ends up with the picture that the store has."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from echomox.imap.seqset import SequenceSet
from echomox.imapd.view import OutOfRange, View
from echomox.store.engine import Changes, Mailbox, Selected


def view_of(uids: Iterable[int], modseq: int = 10, recent_from: int = 1) -> View:
    known = array("I", uids)
    mailbox = Mailbox(1, "INBOX", 7, 100, "", True, len(known), 0, 0, 0, 0, modseq, 1)
    return View(Selected(mailbox, known, recent_from, 0, ("kw",), modseq), read_only=False)


def test_expunges_are_numbered_as_in_rfc9051_7_5_1() -> None:
    """RFC 3501 6.4.3 example: 3, 4, 7 and 11 are \\Deleted."""
    view = view_of(range(101, 112))
    view.advance(Changes(11, [], [103, 104, 107, 111]))
    assert view.expunge() == ([3, 3, 5, 8], [103, 104, 107, 111])
    assert list(view.uids) == [101, 102, 105, 106, 108, 109, 110]


def test_pending_expunges_keep_their_numbers() -> None:
    view = view_of([5, 6, 9])
    view.advance(Changes(11, [], [5]))
    view.advance(Changes(12, [(10, 0, "", 12)], [9]))
    assert [view.number(uid) for uid in (5, 6, 9, 10)] == [1, 2, 3, 4]
    assert view.expunge() == ([1, 2], [5, 9])
    assert list(view.uids) == [6, 10]


def test_a_message_that_came_and_went_between_two_looks_is_no_news() -> None:
    view = view_of([5])
    assert view.advance(Changes(12, [], [6])) == []
    assert view.expunge() == ([], [])
    view.advance(Changes(13, [(7, 0, "", 13)], []))
    assert list(view.uids) == [5, 7]


def test_recent_are_new_messages_that_no_other_session_has() -> None:
    view = view_of([3, 5], recent_from=4)
    view.advance(Changes(12, [(uid, 0, "", 12) for uid in (6, 7, 9)], []))
    view.not_recent([6, 7, 9], 8)
    assert [uid for uid in view.uids if uid >= view.recent_from] == [5, 9]
    assert (view.recent(), view.recent_ranges()) == (2, ((5, 5), (9, 9)))
    view.advance(Changes(14, [(11, 0, "", 13)], [6, 5]))
    view.not_recent([11], 12)
    view.expunge()
    assert [uid for uid in view.uids if uid >= view.recent_from] == [9] and view.recent() == 1
    view.forget_recent()
    assert view.recent() == 0 and not [uid for uid in view.uids if uid >= view.recent_from]


def test_flags_of_new_messages_are_not_told_by_themselves() -> None:
    """The client asks for them after EXISTS."""
    view = view_of([5])
    assert view.advance(Changes(12, [(5, 1, "", 11), (6, 1, "", 12)], [])) == [(5, 1, "", 11)]


def test_own_changes_are_not_told_again_but_later_ones_of_others_are() -> None:
    view = view_of([5, 6])
    changed = [(5, 1, "", 11), (6, 9, "", 12)]
    assert view.advance(Changes(12, changed, []), own={5: 11, 6: 11}) == [(6, 9, "", 12)]


def test_old_changes_are_passed_over() -> None:
    view = view_of([5], modseq=10)
    assert view.advance(Changes(10, [(5, 1, "", 10)], [5])) == []
    assert not view.pending


@pytest.mark.parametrize(
    "text, by_uid, expected",
    [
        (b"1", False, [5]),
        (b"2:3", False, [6, 9]),
        (b"*", False, [9]),
        (b"2:*", False, [6, 9]),
        (b"7:*", False, [9]),
        (b"1:4294967295", True, [5, 6, 9]),
        (b"100:*", True, [9]),
        (b"6:8,5", True, [5, 6]),
        (b"1:4,7:8", True, []),
    ],
)
def test_sets_of_messages(text: bytes, by_uid: bool, expected: list[int]) -> None:
    view = view_of([5, 6, 9])
    assert list(view.at(view.positions(SequenceSet.parse(text), by_uid))) == expected


@pytest.mark.parametrize("text", [b"4", b"1:4", b"0:0"[:0] + b"9,1"])
def test_an_unknown_number_is_an_error(text: bytes) -> None:
    with pytest.raises(OutOfRange):
        view_of([5, 6, 9]).positions(SequenceSet.parse(text), by_uid=False)


@pytest.mark.parametrize("by_uid", [False, True])
def test_everything_of_an_empty_mailbox_is_nothing(by_uid: bool) -> None:
    view = view_of([])
    assert view.at(view.positions(SequenceSet.parse(b"1:*"), by_uid)) == array("I")


def test_recent_counts_from_the_first_that_nobody_has_seen() -> None:
    view = view_of([5, 6, 9], recent_from=6)
    assert view.recent() == 2
    view.advance(Changes(11, [(10, 0, "", 11)], [6]))
    view.expunge()
    assert view.recent() == 2


class Mailboxes(RuleBasedStateMachine):
    """One mailbox, three clients. The model keeps, for each client, what it was told as a client would: a
    list that EXISTS lengthens, EXPUNGE shortens, FETCH changes."""

    CLIENTS = 3
    clients = st.integers(0, CLIENTS - 1)

    @initialize(count=st.integers(0, 6))
    def begin(self, count: int) -> None:
        self.modseq = 1
        self.uidnext = 1
        self.messages: dict[int, tuple[int, str, int]] = {}
        self.gone: dict[int, int] = {}
        for _ in range(count):
            self.arrive()
        self.views = [view_of(self.messages, self.modseq) for _ in range(self.CLIENTS)]
        self.told = [[[uid, self.messages[uid][0]] for uid in self.messages] for _ in range(self.CLIENTS)]

    def _next(self) -> int:
        self.modseq += 1
        return self.modseq

    @rule()
    def arrive(self) -> None:
        self.messages[self.uidnext] = (0, "", self._next())
        self.uidnext += 1

    @rule(data=st.data(), flags=st.integers(0, 31))
    def change(self, data: st.DataObject, flags: int) -> None:
        """By somebody who is none of the clients."""
        if self.messages:
            uid = data.draw(st.sampled_from(sorted(self.messages)))
            self.messages[uid] = (flags, "", self._next())

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        if self.messages:
            chosen = data.draw(st.sets(st.sampled_from(sorted(self.messages)), min_size=1))
            modseq = self._next()
            for uid in chosen:
                del self.messages[uid]
                self.gone[uid] = modseq

    @rule(client=clients, data=st.data(), flags=st.integers(0, 31), meanwhile=st.booleans())
    def store(self, client: int, data: st.DataObject, flags: int, meanwhile: bool) -> None:
        """A client's own STORE: it knows the outcome, then looks at changes, with another change in between
        or not."""
        view = self.views[client]
        here = [uid for uid in view.uids if uid in self.messages]
        if not here:
            return
        uid = data.draw(st.sampled_from(here))
        if self.messages[uid][0] == flags:
            return
        if meanwhile:
            self.change(data, flags ^ 1)
        self.messages[uid] = (flags, "", self._next())
        self.told[client][view.number(uid) - 1][1] = flags
        if view.told == self.modseq - 1:
            view.told = self.modseq
        else:
            self.look(client, False, {uid: self.modseq})

    @rule(client=clients, expunge=st.booleans())
    def sync(self, client: int, expunge: bool) -> None:
        self.look(client, expunge, {})

    def look(self, client: int, expunge: bool, own: dict[int, int]) -> None:
        view, told = self.views[client], self.told[client]
        count = len(view)
        changes = Changes(
            self.modseq,
            [(uid, *rest) for uid, rest in self.messages.items() if rest[2] > view.told],
            sorted(uid for uid, modseq in self.gone.items() if modseq > view.told),
        )
        flags = view.advance(changes, own)
        grown = len(view) - count
        if expunge:
            for number in view.expunge()[0]:
                del told[number - 1]
        for place in range(len(view) - grown, len(view)):
            uid = view.uids[place]
            told.append([uid, self.messages.get(uid, (0,))[0]])  # EXISTS; the client fetches what is new
        for uid, bits, _, _ in flags:
            assert own.get(uid) is None or self.messages[uid][2] > own[uid]
            told[view.number(uid) - 1][1] = bits
        if expunge:
            assert not view.pending

    @invariant()
    def numbers_agree(self) -> None:
        for view, told in zip(getattr(self, "views", ()), getattr(self, "told", ())):
            assert [uid for uid, _ in told] == list(view.uids)
            assert list(view.uids) == sorted(set(view.uids))

    def teardown(self) -> None:
        """A last NOOP of each: all have the store's picture."""
        for client in range(len(getattr(self, "views", ()))):
            self.look(client, True, {})
            assert self.told[client] == [[uid, rest[0]] for uid, rest in self.messages.items()]


TestMailboxes = Mailboxes.TestCase
TestMailboxes.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
