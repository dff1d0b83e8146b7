"""Regular expressions that people write into the configuration: RE2, whose time grows with the text alone.

Backreferences and look-around are not in it, and so nothing that an expression or a message may hold makes a match
slow (G04). Case does not count. Pure.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import re2

LENGTH = 1000
MEMORY = 1 << 20
"""Bytes that one expression may take; `x{1000}{1000}` does not fit."""
SUBJECT = 16 * 1024
"""Characters of a text that are looked at."""


class BadPattern(ValueError):
    """str() says why it is no expression."""


class Pattern:
    """One expression."""

    __slots__ = ("_found", "text")

    def __init__(self, text: str) -> None:
        """Raises BadPattern."""
        if len(text) > LENGTH:
            raise BadPattern(f"longer than {LENGTH} characters")
        options = re2.Options()
        options.case_sensitive = False
        options.log_errors = False
        options.max_mem = MEMORY
        try:
            self._found: Any = re2.compile(text, options)
        except re2.error as error:
            reason = error.args[0] if error.args else b""
            said = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
            raise BadPattern(f"no regular expression of RE2: {said}") from None
        except (UnicodeError, TypeError) as error:
            raise BadPattern(f"no regular expression of RE2: {error}") from None
        self.text = text

    def fits(self, subject: str) -> bool:
        """Whether it fits anywhere in the first SUBJECT characters."""
        return self._found.search(_clean(subject)) is not None

    def fits_whole(self, subject: str) -> bool:
        return self._found.fullmatch(_clean(subject)) is not None


def _clean(subject: str) -> str:
    """Without lone surrogates, which cannot be matched."""
    return subject[:SUBJECT].encode("utf-8", "replace").decode("utf-8")


@lru_cache(maxsize=4096)
def pattern(text: str) -> Pattern:
    """The same for the same text; raises BadPattern."""
    return Pattern(text)
