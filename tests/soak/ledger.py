"""What was promised: how many copies of which letter each account must have, at least and at most.

At least and at most differ where a connection was cut before the answer: then nobody knows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

UNKNOWN = "?"


class Wrong(NamedTuple):
    account: str
    token: int
    found: int
    least: int
    most: int

    def __str__(self) -> str:
        return f"{self.account}: letter {self.token} is there {self.found} times, not {self.least} to {self.most}"


class Ledger:
    """opinions: what a user's moves have said last of a letter: "spam", "ham", "" (taken back) or UNKNOWN."""

    def __init__(self) -> None:
        self._least: Counter[tuple[str, int]] = Counter()
        self._most: Counter[tuple[str, int]] = Counter()
        self.refused: set[tuple[str, int]] = set()
        self.opinions: dict[tuple[str, int], str] = {}

    def add(self, account: str, token: int, sure: bool = True) -> None:
        self._least[account, token] += sure
        self._most[account, token] += 1

    def take(self, account: str, token: int, sure: bool = True) -> None:
        self._least[account, token] -= 1
        self._most[account, token] -= sure

    def refuse(self, account: str, token: int) -> None:
        """A copy may stand in Rejects."""
        self.refused.add((account, token))

    def moved(self, account: str, token: int, source: str, target: str, sure: bool = True) -> None:
        """As the filter understands moves: see echomox.store.flags.after_transfer."""
        key = account, token
        before = self.opinions.get(key)
        if "Junk" not in (source, target):
            return
        if not sure or before == UNKNOWN:
            self.opinions[key] = UNKNOWN
        elif target == "Junk":
            self.opinions[key] = "spam"
        else:
            self.opinions[key] = "" if before == "spam" else "ham"

    def wrong(self, account: str, found: Mapping[int, int]) -> list[Wrong]:
        """found: copies by token, those in Rejects left out."""
        tokens = {token for name, token in self._most if name == account} | set(found)
        rows = (
            Wrong(account, token, found.get(token, 0), max(self._least[account, token], 0), self._most[account, token])
            for token in sorted(tokens)
        )
        return [row for row in rows if not row.least <= row.found <= row.most]

    def promised(self) -> Iterable[tuple[str, int]]:
        return self._most.keys()

    def sure(self) -> int:
        """Copies that must be there."""
        return sum(value for value in self._least.values() if value > 0)

    def unsure(self) -> int:
        return sum(self._most[key] - max(self._least[key], 0) for key in self._most)

    def lessons(self, account: str) -> dict[int, str]:
        """What the filter must have learnt, or not learnt (""), by token."""
        return {token: said for (name, token), said in self.opinions.items() if name == account and said != UNKNOWN}


def spread(tokens: Iterable[int]) -> Counter[int]:
    return Counter(token for token in tokens if token)
