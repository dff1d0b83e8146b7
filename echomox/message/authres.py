"""Authentication-Results (RFC 8601): the field that says what our checks of a message found: written, and found in mail
that comes with one in our name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

Result = tuple[str, str, str, Mapping[str, str]]
"""(method, result, reason or "", properties such as {"smtp.mailfrom": "example.org"}, in the order they are
written)"""

_KEYWORD = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?")
_PROPERTY = re.compile(r"[a-z]+\.[A-Za-z0-9_-]+")
# RFC 8601 2.2 pvalue: a token (RFC 2045 5.1), or [[local-part] "@"] domain-name; anything else is a quoted
# string.
_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]+"  # noqa: S105
_PLAIN = re.compile(
    rf"(?:{_TOKEN}|(?:{_TOKEN})?@[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*)"
)
_UNSAFE = re.compile(r"[^\x20-\x7e]")


def format_authres(authserv_id: str, results: Sequence[Result]) -> bytes:
    """The field with its line end, one result a line; "none" without results (RFC 8601 2.2). Values may hold
    anything: what is not printable ASCII becomes "?", and what is no token is quoted. Raises ValueError for a
    method, result or property name that is not a keyword."""
    if not results:
        return f"Authentication-Results: {_value(authserv_id)}; none\r\n".encode("ascii")
    lines = [f"Authentication-Results: {_value(authserv_id)}"]
    for method, result, reason, properties in results:
        if not _KEYWORD.fullmatch(method) or not _KEYWORD.fullmatch(result):
            raise ValueError(f"not a method and result: {method!r} {result!r}")
        words = [f"{method}={result}"]
        if reason:
            words.append(f"reason={_quoted(reason)}")
        for name, value in properties.items():
            if not _PROPERTY.fullmatch(name):
                raise ValueError(f"not a property: {name!r}")
            words.append(f"{name}={_value(value)}")
        lines.append(_folded(words))
    return (";\r\n".join(lines) + "\r\n").encode("ascii")


def _folded(words: list[str]) -> str:
    lines, line = [], "\t" + words[0]
    for word in words[1:]:
        if len(line) + 1 + len(word) > 76:
            lines.append(line)
            line = "\t " + word
        else:
            line = f"{line} {word}"
    return "\r\n".join([*lines, line])


def _value(text: str) -> str:
    return text if _PLAIN.fullmatch(text) and len(text) <= 500 else _quoted(text)


def _quoted(text: str) -> str:
    safe = _UNSAFE.sub("?", text[:500]).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{safe}"'


_FIELD = re.compile(rb"^Authentication-Results(?=[ \t]*:([^\n]*+(?:\n[ \t][^\n]*+)*+))", re.I | re.M)
_SERVER = re.compile(rb"\s*+(?:\((?:[^()\\]|\\.)*+\)\s*+)*+(\"(?:[^\"\\]|\\.)*+\"|[^\s;\"(]++)", re.S)
REMOVED = b"X-Removed-Auth-Results"
"""As long as the name that it takes the place of, so that no offset changes."""


def forged(header: bytes, authserv_id: str) -> list[int]:
    """Where in a received header block the fields begin that claim to be our own (RFC 8601 5), and those that cannot be
    read: a border server must take them out; their names are written over with REMOVED."""
    ours = authserv_id.lower().encode()
    found = []
    for field in _FIELD.finditer(header):
        named = _SERVER.match(field[1])
        if named is None or named[1].strip(b'"').lower() == ours:
            found.append(field.start())
    return found


def without_forged(data: bytes, places: Sequence[int]) -> bytes:
    """A message with those fields renamed."""
    out = bytearray(data)
    for place in places:
        out[place : place + len(REMOVED)] = REMOVED
    return bytes(out)
