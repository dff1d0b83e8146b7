"""Text as the search compares it, and as the full-text index cuts it into terms. Pure.

`fold` takes the difference of upper and lower case out. It looks at no neighbours, so that a part of a folded text is
the folded part, and "contains" may be asked of folded texts (RFC 9051 6.4.4, RFC 5051).

A term is a maximal run of letters, digits, marks and other characters of words; what parts words (white space,
punctuation) is in no term. Scripts that write no spaces between words (Chinese, Japanese, Thai, …) give each pair of
neighbouring characters as a term, a single one alone. A string of one run is in a text exactly if it is in one of
the text's terms; a string of several runs can only be where all their terms are, and the text itself must be asked.
"""

from __future__ import annotations

import re
from typing import NamedTuple

Folded = bytes | str
"""Folded text: bytes if it is ASCII, else str."""

_PAIRED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3041-\u30fa\u30fc-\u30ff"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
# Beyond ASCII all is part of words but these: blanks, and the marks that stand between words.
_PARTING = (
    "\u0080-\u00a9\u00ab-\u00b4\u00b6-\u00b9\u00bb-\u00bf\u00d7\u00f7\u0589\u05be\u05c0\u05c3\u060c\u061b\u061f\u06d4"
    "\u0964\u0965\u1680\u2000-\u206f\u20a0-\u20cf\u2190-\u2bff\u2e00-\u2e7f\u3000-\u3004\u3008-\u3020\u3030\u303d"
    "\u30fb\ufe10-\ufe1f\ufe30-\ufe6f\ufeff\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65"
)
_RUN = re.compile(f"([{_PAIRED}]+)|[^\0-/:-@\\[-^`{{-\x7f{_PAIRED}{_PARTING}]+")
_ASCII_WORDS = bytes(code if chr(code).isalnum() or code == 0x5F else 0x20 for code in range(128)) + bytes(128)
LONGEST_PAIRS = 16  # of a long run without spaces, so many pairs are looked up; the text is asked in any case


def fold(text: str) -> str:
    """Lower case; the two small sigmas are one letter."""
    text = text.lower()
    return text if text.isascii() else text.replace("\u03c2", "\u03c3")


def octets(text: str) -> bytes:
    """As terms are kept: UTF-8, lone surrogates as they are."""
    return text.encode("utf-8", "surrogatepass")


def terms(folded: Folded) -> set[bytes]:
    """All terms of a folded text."""
    if isinstance(folded, bytes):
        return set(folded.translate(_ASCII_WORDS).split())
    if folded.isascii():
        return set(folded.encode("ascii").translate(_ASCII_WORDS).split())
    found: set[str] = set()
    for match in _RUN.finditer(folded):
        run = match[1]
        if run is None or len(run) == 1:
            found.add(match[0])
        else:
            found.update([run[n : n + 2] for n in range(len(run) - 1)])
    return {octets(term) for term in found}


class Plan(NamedTuple):
    """Where a string can be. needles: each must be in the text "\nterm\nterm\n" of the terms; exact: a text with
    such terms has the string for sure."""

    needles: tuple[bytes, ...]
    exact: bool


def plan(text: str) -> Plan | None:
    """How to look for the folded string `text`; None if it has nothing that terms are made of."""
    needles: dict[bytes, None] = {}
    runs = list(_RUN.finditer(text))
    for match in runs:
        needles.update(dict.fromkeys(_needles(match, len(text))))
    if not needles:
        return None
    run = runs[0]
    alone = run.end() - run.start() == len(text) and (run[1] is None or len(run[1]) <= 2)
    return Plan(tuple(needles), alone)


def _needles(match: re.Match[str], length: int) -> list[bytes]:
    """Of one run: whole words within, the end of a word at the beginning of the string, the start of one at its end."""
    run = match[1]
    if run is None:
        start = b"" if match.start() == 0 else b"\n"
        return [start + octets(match[0]) + (b"" if match.end() == length else b"\n")]
    if len(run) == 1:
        return [octets(run)]
    return [b"\n" + octets(run[n : n + 2]) + b"\n" for n in range(min(len(run) - 1, LONGEST_PAIRS))]


def plan_value(text: str) -> Plan | None:
    """For sections whose terms are whole values: always exact; None for what no value holds."""
    return Plan((octets(text),), True) if text and "\n" not in text and "\1" not in text else None
