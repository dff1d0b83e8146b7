"""Authentication-Results (RFC 8601): the field that says what our checks of a message found. Writing only."""

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
