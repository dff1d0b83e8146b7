"""Sets of message numbers or UIDs (RFC 9051 9, sequence-set): as a client writes them, and as we write them.

A `SequenceSet` is kept sorted and merged: 5:3,4,9 is 3:5,9. "*" is the highest number there is in the
mailbox, so it is known only later: `STAR` stands for it, and `resolve` puts the number in (5:* in a mailbox
of 3 is 3:5, so it holds 3). In an empty mailbox "*" is nothing. "$" is the saved result of a search (RFC
5182): `saved`, with no ranges of its own.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

LARGEST = 0xFFFFFFFF
"""A UID may be that; it is not "*"."""
STAR = LARGEST + 1
ELEMENTS = 20_000
"""Most elements (numbers and ranges) of a set that is taken."""

Ranges = tuple[tuple[int, int], ...]
"""Inclusive, low <= high, ascending, not touching."""

_SIMPLE = re.compile(rb"([1-9][0-9]{0,9})(?::(\*|[1-9][0-9]{0,9}))?")
_ELEMENT = rb"(?:\*|[1-9][0-9]{0,9})(?::(?:\*|[1-9][0-9]{0,9}))?"
_WHOLE = re.compile(_ELEMENT + rb"(?:," + _ELEMENT + rb")*")


@dataclass(frozen=True, slots=True)
class SequenceSet:
    ranges: Ranges
    saved: bool = False

    @classmethod
    def parse(cls, text: bytes) -> SequenceSet:
        """Raises ValueError with a reason fit for the client."""
        if text == b"$":
            return SAVED
        simple = _SIMPLE.fullmatch(text)
        if simple is not None and simple[2] is None:
            return cls(((low := _number(simple[1]), low),))
        if _WHOLE.fullmatch(text) is None:
            raise ValueError("Not a set of messages")
        elements = text.split(b",")
        if len(elements) > ELEMENTS:
            raise ValueError(f"More than {ELEMENTS} elements in a set of messages")
        return cls(merge([_range(element) for element in elements]))

    @classmethod
    def of(cls, numbers: Iterable[int]) -> SequenceSet:
        """numbers: ascending, each once."""
        return cls(tuple(runs(numbers)))

    @property
    def open_ended(self) -> bool:
        """Holds "*"."""
        return bool(self.ranges) and self.ranges[-1][1] == STAR

    def __bytes__(self) -> bytes:
        if self.saved:
            return b"$"
        return format_ranges(self.ranges)

    def resolve(self, highest: int) -> Ranges:
        """With `highest` (a count, or the last UID; 0: empty mailbox) for "*", and nothing above it."""
        if not self.ranges or not highest:
            return ()
        if self.ranges[-1][1] <= highest:
            return self.ranges
        kept = [(low, min(high, highest)) for low, high in self.ranges if low <= highest]
        if self.open_ended and (not kept or kept[-1][1] < highest):
            kept.append((highest, highest))
        return merge(kept)

    def count(self) -> int:
        """How many numbers; only of a set without "*" and "$"."""
        return sum(high - low + 1 for low, high in self.ranges)

    def exceeds(self, count: int) -> bool:
        """Names a message number above `count`: BAD for numbers, nothing for UIDs (RFC 9051 9,
        sequence-set). "*" alone is such a number in an empty mailbox; 7:* is let pass, for clients ask for
        1:* without looking."""
        if not self.ranges:
            return False
        if self.ranges[-1] == (STAR, STAR) and not count:
            return True
        closed = self.ranges[:-1] if self.open_ended else self.ranges
        return bool(closed) and closed[-1][1] > count

    def contains(self, number: int, highest: int) -> bool:
        return any(low <= number <= high for low, high in self.resolve(highest))

    def positions(self, count: int) -> list[range]:
        """For message numbers: indexes (number - 1) into a view of `count` messages, ascending."""
        return [range(low - 1, high) for low, high in self.resolve(count)]

    def uid_positions(self, uids: Sequence[int]) -> list[range]:
        """For UIDs: indexes into `uids` (ascending), ascending. UIDs that are not there are passed over."""
        if not uids:
            return []
        found = []
        place = 0
        for low, high in self.resolve(uids[-1]):
            start = bisect_left(uids, low, place)
            place = bisect_right(uids, high, start)
            if start < place:
                found.append(range(start, place))
        return found

    def uids(self, uids: array[int]) -> array[int]:
        """Those of `uids` (ascending, array('I')) that the set holds."""
        chosen = array("I")
        for part in self.uid_positions(uids):
            chosen += uids[part.start : part.stop]
        return chosen


SAVED = SequenceSet((), saved=True)


def _number(digits: bytes) -> int:
    if digits == b"*":
        return STAR
    value = int(digits)
    if value > LARGEST:
        raise ValueError("A number of more than 32 bits")
    return value


def _range(element: bytes) -> tuple[int, int]:
    """RFC 9051 9, seq-range: 2:4 and 4:2 are the same."""
    first, colon, second = element.partition(b":")
    low = _number(first)
    if not colon:
        return low, low
    high = _number(second)
    return (low, high) if low <= high else (high, low)


def merge(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Sorted, with overlapping and touching ranges made one."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            if high > merged[-1][1]:
                merged[-1] = (merged[-1][0], high)
        else:
            merged.append((low, high))
    return tuple(merged)


def runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """(first, last) of each run of consecutive numbers. numbers: ascending, each once."""
    first = last = -1
    for number in numbers:
        if number == last + 1 and first >= 0:
            last = number
            continue
        if first >= 0:
            yield first, last
        first = last = number
    if first >= 0:
        yield first, last


def partial_slice(partial: tuple[int, int], count: int) -> slice:
    """The places that a range of PARTIAL means in a list of `count` (RFC 9394 3.1)."""
    low, high = sorted(partial)
    if low > 0:
        return slice(low - 1, high)
    return slice(max(count + low, 0), max(count + high + 1, 0))


def format_ranges(ranges: Iterable[tuple[int, int]]) -> bytes:
    return b",".join(_end(low) if low == high else b"%b:%b" % (_end(low), _end(high)) for low, high in ranges)


def _end(number: int) -> bytes:
    return b"*" if number == STAR else b"%d" % number


def format_numbers(numbers: Iterable[int]) -> bytes:
    """1,2,3,5 -> b"1:3,5". numbers: ascending, each once; an empty set has no form and gives b""."""
    return format_ranges(runs(numbers))
