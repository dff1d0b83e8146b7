"""A search that a client is kept up to date of (RFC 5267 4.3): what ADDTO and REMOVEFROM make of its result."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.model.reference import Box

LINE = re.compile(
    rb'\* ESEARCH \(TAG "(?P<tag>\w+)"\)(?P<uid> UID)?(?P<changes>(?: (?:ADDTO|REMOVEFROM) \(\d+ [\d:,]+\))+)'
)
CHANGE = re.compile(rb" (ADDTO|REMOVEFROM) \((\d+) ([\d:,]+)\)")


def expand(text: bytes) -> list[int]:
    """Of a set whose order counts."""
    found: list[int] = []
    for part in text.split(b","):
        low, _, high = part.partition(b":")
        found += range(int(low), int(high or low) + 1)
    return found


@dataclass(repr=False)
class Kept:
    """uids: the result as the client has it; in its order, if it is sorted: by subject, which is the token."""

    wanted: Callable[[frozenset[str]], bool]
    by_uid: bool
    is_sorted: bool
    uids: list[int]

    def update(self, changes: bytes, view: Sequence[int]) -> None:
        for word, at, numbers in CHANGE.findall(changes):
            named = expand(numbers)
            uids = named if self.by_uid else [view[number - 1] for number in named]
            assert bool(int(at)) is self.is_sorted, changes
            if word == b"ADDTO":
                assert not set(uids) & set(self.uids), (changes, self.uids)
                place = int(at) - 1 if self.is_sorted else len(self.uids)
                assert place <= len(self.uids), (changes, self.uids)
                self.uids[place:place] = uids
            elif self.is_sorted:
                place = int(at) - 1
                assert self.uids[place : place + len(uids)] == uids, (changes, self.uids)
                del self.uids[place : place + len(uids)]
            else:
                assert set(uids) <= set(self.uids), (changes, self.uids)
                self.uids = [uid for uid in self.uids if uid not in uids]

    def check(self, box: Box, view: Sequence[int]) -> None:
        """That it is what the search would find now."""
        right = found(box, view, self.wanted, self.is_sorted)
        assert (self.uids if self.is_sorted else sorted(self.uids)) == right, (self.uids, right)


def found(box: Box, view: Sequence[int], wanted: Callable[[frozenset[str]], bool], is_sorted: bool) -> list[int]:
    uids = [uid for uid in view if uid in box.messages and wanted(box.messages[uid].flags)]
    return sorted(uids, key=lambda uid: (box.messages[uid].token.upper(), uid)) if is_sorted else uids
