"""Text as the search compares it, and as the full-text index cuts it into terms. Pure.

`fold` makes equal what i;unicode-casemap holds for equal. It looks at no neighbours, so that a part of a folded text is
the folded part, and "contains" may be asked of folded texts (RFC 9051 6.4.4, RFC 5051).

A term is a maximal run of letters, digits, marks and other characters of words; what parts words (white space,
punctuation) is in no term. Scripts that write no spaces between words (Chinese, Japanese, Thai, …) give each pair of
neighbouring characters as a term, a single one alone. A string of one run is in a text exactly if it is in one of
the text's terms; a string of several runs can only be where all their terms are, and the text itself must be asked.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from itertools import pairwise
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


class _Decomposed(dict[int, str]):
    """By character: what it is made of, in lower case. Syllables of Hangul have no decomposition in UnicodeData."""

    def __missing__(self, code: int) -> str:
        letter = chr(code)
        made = letter if 0xAC00 <= code <= 0xD7A3 else unicodedata.normalize("NFKD", letter).lower()
        self[code] = made
        return made


_DECOMPOSED = _Decomposed()
_BEYOND_ASCII = re.compile("[^\0-\x7f]+")


def _decomposed(run: re.Match[str]) -> str:
    return run[0].translate(_DECOMPOSED)


def fold(text: str) -> str:
    """What i;unicode-casemap holds for equal (RFC 5255 4.6, RFC 5051 2) becomes equal: upper and lower case, composed
    and decomposed letters, forms of one letter. In lower case, where the collation has upper."""
    text = text.lower()
    if text.isascii():
        return text
    if not unicodedata.is_normalized("NFKD", text):
        # Most of a text that is not ASCII is: only the rest is looked up letter by letter.
        text = _BEYOND_ASCII.sub(_decomposed, text)
    return text.replace("\u03c2", "\u03c3").replace("\u0131", "i")


def words(folded: str) -> list[tuple[str, bool]]:
    """The words of a text, each once, in order; True for pairs of letters of a script without spaces."""
    found: dict[tuple[str, bool], None] = {}
    for match in _RUN.finditer(folded):
        run = match[1]
        if run is None:
            found[match[0], False] = None
        else:
            found.update(dict.fromkeys((run[n : n + 2], True) for n in range(max(1, len(run) - 1))))
    return list(found)


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


PAIR = 4  # octets of each word of a pair: see tables.py
WORD_OCTETS = b"0123456789_abcdefghijklmnopqrstuvwxyz" + bytes(range(0x80, 0x100))
"""Of words, in a folded text as octets."""
_ASCII_MARKS = re.compile(rb"[^0-9a-z_]+")
MARKS_KEPT = 64  # characters of a run of marks in one term
MARKS_ASKED = 32


def marks(folded: Folded) -> set[bytes]:
    """What stands between words: all runs of blanks and punctuation. A long run gives pieces that overlap, so that any
    MARKS_ASKED characters of it are in one."""
    runs = set(_ASCII_MARKS.findall(folded)) if isinstance(folded, bytes) else set(_RUN.split(folded)[::2])
    found: set[bytes] = set()
    for run in runs:
        found.update(_pieces(run) if len(run) <= MARKS_KEPT else _cut(run))
    found.discard(b"")
    return found


@lru_cache(maxsize=20_000)
def _pieces(run: bytes | str) -> tuple[bytes, ...]:
    """Of a short run; most messages have the same ones."""
    return _cut(run)


def _cut(run: bytes | str) -> tuple[bytes, ...]:
    """The terms of a run."""
    text = run.decode("latin-1") if isinstance(run, bytes) else run
    starts = range(0, max(len(text) - MARKS_ASKED, 1), MARKS_KEPT - MARKS_ASKED)
    return tuple([_mark(text[start : start + MARKS_KEPT]) for start in starts])


def _mark(run: str) -> bytes:
    """Terms have no newlines; \1 stands for itself elsewhere."""
    return octets(run.translate(_NO_NEWLINES))


_NO_NEWLINES = {10: "\2", 1: "\3"}


class Plan(NamedTuple):
    """Where a string can be. needles: each must be in the text "\nterm\nterm\n" of the terms; exact: a text with
    such terms has the string for sure; pairs: the same as needles, in the terms that are pairs."""

    needles: tuple[bytes, ...]
    exact: bool
    pairs: tuple[bytes, ...] = ()


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
    met = [
        _meeting(text, left, right)
        for left, right in pairwise(runs)
        if left[1] is None and right[1] is None and text[left.end() : right.start()] == " "
    ]
    return Plan(tuple(needles), alone, tuple(met))


def _meeting(text: str, left: re.Match[str], right: re.Match[str]) -> bytes:
    """What two neighbours leave among the pairs. A border can be told only where ASCII stands: a text's other marks
    are octets of words there."""
    first, second = octets(left[0]), octets(right[0])
    before, after = text[: left.start()][-1:], text[right.end() :][:1]
    start = b"\n" if len(first) >= PAIR or (before and before.isascii()) else b""
    end = b"\n" if len(second) >= PAIR or (after and after.isascii()) else b""
    return start + first[-PAIR:] + b" " + second[:PAIR] + end


def plan_pair(text: str) -> Plan | None:
    """The same for two short words and a blank, in the sections of pairs; else None."""
    runs = list(_RUN.finditer(text))
    if len(runs) != 2 or any(run[1] is not None or len(octets(run[0])) > PAIR for run in runs):
        return None
    return Plan((octets(text),), True) if text == f"{runs[0][0]} {runs[1][0]}" else None


def plan_marks(text: str) -> Plan | None:
    """The same for a string without a word, in the sections of marks; None when it is too long."""
    if not 0 < len(text) <= MARKS_ASKED or _RUN.search(text) or "\1" in text or "\2" in text or "\3" in text:
        return None
    return Plan((_mark(text),), True)


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
