"""Passwords and names as they are compared (A27), pure: PRECIS (RFC 8265) by the library, RFC 4013 for what is older.

A password is prepared by OpaqueString (RFC 8265 4.2): NFC, other spaces as spaces, only what FreeformClass has.
SASLprep (RFC 4013), which clients of SCRAM still use and other servers derived their secrets with, has NFKC instead,
so that "\u2168" and "IX" are one there and two here. `older_password` gives that form where it is another one; it is
tried, never asked for. Passwords of US-ASCII, nearly all, are the same in both.
"""

from __future__ import annotations

import stringprep
import unicodedata
from functools import cache
from typing import Any

PASSWORD_OCTETS = 1024
_PROHIBITED = (
    stringprep.in_table_c12, stringprep.in_table_c21_c22, stringprep.in_table_c3, stringprep.in_table_c4,
    stringprep.in_table_c5, stringprep.in_table_c6, stringprep.in_table_c7, stringprep.in_table_c8,
    stringprep.in_table_c9,
)  # fmt: skip


class BadPassword(ValueError):
    """str() says why it cannot be one."""


@cache
def _profile(name: str) -> Any:
    from precis_i18n import get_profile  # only here: most processes never see a name or password beyond ASCII

    return get_profile(name)


def _within_limit(text: str) -> bytes:
    data = text.encode("utf-8")
    if len(data) > PASSWORD_OCTETS:
        raise BadPassword(f"a password cannot be longer than {PASSWORD_OCTETS} octets")
    return data


def prepare_password(password: str) -> bytes:
    """RFC 8265 4.2, OpaqueString, for a new password. Raises BadPassword."""
    if not password:
        raise BadPassword("a password cannot be empty")
    if len(password) > PASSWORD_OCTETS:
        raise BadPassword(f"a password cannot be longer than {PASSWORD_OCTETS} octets")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in password):
        raise BadPassword("a password cannot hold control characters")
    if password.isascii():
        return password.encode("ascii")
    try:
        text: str = _profile("OpaqueString").enforce(password)
    except UnicodeEncodeError as error:
        reason = str(error.reason).partition("/")[2] or "not allowed"
        raise BadPassword(f"a password cannot hold U+{ord(password[error.start]):04X} ({reason})") from None
    return _within_limit(text)


def known_password(password: str) -> bytes:
    """The form to compare with what is kept: as `prepare_password`, or, for one that is not taken any more, as it was
    taken once: NFC, other spaces as spaces. Raises BadPassword for what never was a password."""
    try:
        return prepare_password(password)
    except BadPassword:
        spaced = "".join(" " if unicodedata.category(c) == "Zs" else c for c in password[: PASSWORD_OCTETS + 1])
        text = unicodedata.normalize("NFC", spaced)
        if not text or any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
            raise
        return _within_limit(text)


def older_password(password: str) -> bytes | None:
    """RFC 4013, SASLprep, where its form is another than `known_password` gives; None where it does not."""
    if password.isascii() or len(password) > PASSWORD_OCTETS:
        return None
    mapped = "".join(" " if stringprep.in_table_c12(c) else "" if stringprep.in_table_b1(c) else c for c in password)
    text = unicodedata.normalize("NFKC", mapped)
    if not text or any(prohibited(c) for c in text for prohibited in _PROHIBITED) or not _direction(text):
        return None
    data = text.encode("utf-8", "replace")
    try:
        return None if len(data) > PASSWORD_OCTETS or data == known_password(password) else data
    except BadPassword:
        return data


def _direction(text: str) -> bool:
    """RFC 3454 6."""
    if not any(stringprep.in_table_d1(c) for c in text):
        return True
    ends = stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
    return ends and not any(stringprep.in_table_d2(c) for c in text)


def prepare_username(name: str) -> str:
    """RFC 8265 3.4, UsernameCasePreserved: the case is left to who compares; wide and narrow forms, as from an input
    method, become the usual ones. Raises ValueError for what is no name."""
    if name.isascii():
        if not name or not name.isprintable():
            raise ValueError("not a name")
        return name
    text: str = _profile("UsernameCasePreserved").enforce(name)  # UnicodeEncodeError is a ValueError
    return text
