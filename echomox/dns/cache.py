"""Answers kept for as long as their TTL says, in one process's memory.

RFC 1035 3.2.1, RFC 2308 5 (absences, for the SOA's minimum; without SOA not at all), RFC 9520 3.2 (failures, for a
second). Times are capped, and so are the number of answers and the memory they take: what was not used for longest goes
first. The secure bit is part of the answer.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from echomox.dns.types import Answer, DnsTemporary

POSITIVE = 6 * 3600  # seconds at most
NEGATIVE = 900
FAILURE = 1.0
ENTRY = 400  # bytes, about, of an answer without its values
MEAN = 2048  # bytes: so many for each entry that may be kept, over all

Key = tuple[str, str]


@dataclass(slots=True)
class _Kept:
    """answer: with the rest of its time when it was last given."""

    expires: float
    answer: Answer | DnsTemporary
    weight: int


class Cache:
    """entries: how many answers; 0 keeps none."""

    def __init__(self, entries: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.entries = entries
        self.clock = clock
        self.bytes = 0
        self._kept: OrderedDict[Key, _Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Key) -> Answer | None:
        """The answer with the rest of its time; None if it is not kept. Raises the failure that was kept, anew."""
        found = self._kept.get(key)
        if found is None:
            return None
        rest = found.expires - self.clock()
        if rest <= 0:
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        answer = found.answer
        if isinstance(answer, DnsTemporary):
            raise type(answer)(answer.reason, answer.name, answer.type)
        if answer.ttl != int(rest):  # once a second at most
            found.answer = answer = Answer(
                answer.name, answer.type, answer.values, answer.exists, answer.secure, int(rest), answer.canonical
            )
        return answer

    def put(self, key: Key, answer: Answer | DnsTemporary, size: int = 0) -> None:
        """Keeps an answer for its `ttl`, a failure for FAILURE. size: bytes of the values, about."""
        if isinstance(answer, DnsTemporary):
            seconds: float = FAILURE
        else:
            seconds = min(answer.ttl, POSITIVE if answer.values else NEGATIVE)
        weight = ENTRY + size
        if seconds <= 0 or self.entries <= 0 or weight > self.entries * MEAN // 4:
            return
        self._drop(key)
        self._kept[key] = _Kept(self.clock() + seconds, answer, weight)
        self.bytes += weight
        while len(self._kept) > self.entries or self.bytes > self.entries * MEAN:
            self._drop(next(iter(self._kept)))

    def clear(self) -> None:
        self._kept.clear()
        self.bytes = 0

    def _drop(self, key: Key) -> None:
        found = self._kept.pop(key, None)
        if found is not None:
            self.bytes -= found.weight
