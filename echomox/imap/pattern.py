"""Patterns of LIST and LSUB: "*" is any characters, "%" any but the separator. RFC 9051 6.3.9, RFC 3501
6.3.8.

A pattern is matched by following all places in it at once, as bits of one number: the time is that of the
name's length, whatever wildcards stand in the pattern. INBOX matches in any case; all other names as they are
written.
"""

from __future__ import annotations

from collections.abc import Iterable

MAX_PATTERN = 2000
"""A longer pattern matches nothing: no name is that long."""


class Pattern:
    """One pattern, with the reference before it (see `join`)."""

    __slots__ = ("_any", "_end", "_letters", "_level", "_separator", "_start", "text")

    def __init__(self, text: str, separator: str = "/") -> None:
        self.text = _inbox(text, separator)
        self._separator = separator
        self._letters: dict[str, int] = {}
        """character -> bits of the places that take it"""
        self._any = self._level = 0
        """bits of the places of * and of %"""
        tokens = _collapse(self.text[:MAX_PATTERN])
        for place, sign in enumerate(tokens):
            if sign == "*":
                self._any |= 1 << place
            elif sign == "%":
                self._level |= 1 << place
            else:
                self._letters[sign] = self._letters.get(sign, 0) | 1 << place
        self._end = 1 << len(tokens) if len(self.text) <= MAX_PATTERN else 0
        self._start = self._skip(1)

    def _skip(self, places: int) -> int:
        """A wildcard may stand for nothing; two never stand side by side."""
        return places | (places & (self._any | self._level)) << 1

    def matches(self, name: str) -> bool:
        places = self._start
        letters, anything, level, separator = self._letters, self._any, self._level, self._separator
        wild = anything | level
        for character in name:
            stay = places & (anything if character == separator else wild)
            places = (places & letters.get(character, 0)) << 1 | stay
            if not places:
                return False
            places |= (places & wild) << 1
        return bool(places & self._end)


def _collapse(text: str) -> list[str]:
    """Wildcards side by side made one: with a "*" among them they are "*"."""
    tokens: list[str] = []
    for character in text:
        if character in "*%" and tokens and tokens[-1] in "*%":
            if character == "*":
                tokens[-1] = "*"
        else:
            tokens.append(character)
    return tokens


def _inbox(text: str, separator: str) -> str:
    """inbox, iNbOx/* -> INBOX, INBOX/*."""
    head = text[:5]
    if head.upper() == "INBOX" and (len(text) == 5 or text[5] in (separator, "*", "%")):
        return "INBOX" + text[5:]
    return text


def join(reference: str, pattern: str, separator: str = "/") -> str:
    """The pattern that LIST reference pattern asks for. One that begins with the separator stands alone
    (RFC 3501 6.3.8)."""
    if pattern.startswith(separator):
        return pattern[len(separator) :]
    return reference + pattern


class Patterns:
    """Several patterns, of which one has to match. A partly written inbox ("inb%", "iNBOX*") finds INBOX
    too."""

    __slots__ = ("_caseless", "_patterns")

    def __init__(self, reference: str, patterns: Iterable[str], separator: str = "/") -> None:
        joined = [join(reference, pattern, separator) for pattern in patterns]
        self._patterns = [Pattern(pattern, separator) for pattern in joined]
        self._caseless = [Pattern(pattern.upper(), separator) for pattern in joined]

    def match(self, name: str) -> bool:
        chosen = self._caseless if name == "INBOX" else self._patterns
        return any(pattern.matches(name) for pattern in chosen)
