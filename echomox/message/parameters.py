"""Structured MIME fields: a value with parameters (RFC 2045 5.1, RFC 2183 2), values kept raw, continuations
joined.

Names of parameters are given in lower case. Content-Type and Content-Disposition have one shape: `value *(";"
name "=" value)`. Read with patience: missing quotes, comments, empty parameters and stray characters do not
lose what follows. RFC 2231 6 asks an IMAP server to join the pieces `name*0`, `name*1` …; that is done here,
decoding is not (see `encoded.decode_parameter`).
"""

from __future__ import annotations

import re
from itertools import islice

MAX_PARAMETERS = 100

Parameters = list[tuple[bytes, bytes]]

_VALUE = re.compile(rb"\s*+([^\s;]*+)[^;]*+")
_PARAMETER = re.compile(rb';[\s;]*+([^\s=;"]++)\s*+=\s*+(?:"((?:[^"\\]++|\\.)*+)"|([^;\s]*+))[^;]*+', re.S)
_TYPE = re.compile(rb"\s*+([^\s;/\"]++)\s*+/\s*+([^\s;/\"]++)")
_PIECE = re.compile(rb"([^*]++)\*(\d{1,3})(\*?)")
_ESCAPE = re.compile(rb"\\(.)", re.S)
_LINE = re.compile(rb"\r?\n[ \t]?")


def parse_type(value: bytes) -> tuple[bytes, bytes, Parameters] | None:
    """Content-Type -> (type, subtype, parameters), as written; None if it is not one (RFC 2045 5.2 then says
    text/plain)."""
    match = _TYPE.match(value)
    if match is None:
        return None
    return match[1], match[2], _parameters(value, match.end())


def parse_value(value: bytes) -> tuple[bytes, Parameters]:
    """Content-Disposition and its like -> (value, parameters)."""
    match = _VALUE.match(value)
    assert match is not None
    return match[1].strip(b'"'), _parameters(value, match.end(1))


def token(value: bytes) -> bytes:
    """The first word of a value, without comments and quotes: Content-Transfer-Encoding."""
    if b"(" in value:
        value = _without_comments(value)
    words = value.split(None, 1)
    return words[0].strip(b'";') if words else b""


def _parameters(value: bytes, start: int) -> Parameters:
    if start >= len(value) or value.find(b"=", start) < 0:
        return []
    if value.find(b"(", start) >= 0:
        value, start = _without_comments(value[start:]), 0
    found: Parameters = []
    pieces = False
    for match in islice(_PARAMETER.finditer(value, start), MAX_PARAMETERS):
        name, quoted, plain = match.groups()
        name = name.lower()
        if quoted is None:
            quoted = plain.strip(b'"')
        elif b"\\" in quoted or b"\n" in quoted:
            quoted = _ESCAPE.sub(rb"\1", _LINE.sub(b" ", quoted))
        pieces = pieces or b"*" in name
        found.append((name, quoted))
    return _joined(found) if pieces else found


def _joined(parameters: Parameters) -> Parameters:
    """RFC 2231 3: name*0, name*1 -> name; if a piece is extended (name*0*), name*, with the plain pieces
    percent-encoded."""
    out: Parameters = []
    series: dict[bytes, dict[int, tuple[bytes, bool]]] = {}
    for name, value in parameters:
        match = _PIECE.fullmatch(name)
        if match is None:
            out.append((name, value))
        else:
            series.setdefault(match[1], {}).setdefault(int(match[2]), (value, bool(match[3])))
    for name, pieces in series.items():
        run: list[tuple[bytes, bool]] = []
        while len(run) in pieces:
            run.append(pieces[len(run)])
        if any(extended for _, extended in run):
            text = b"".join(value if extended else value.replace(b"%", b"%25") for value, extended in run)
            # Only the first piece can name the charset; without one there is none.
            out.append((name + b"*", text if run[0][1] else b"''" + text))
        elif run:
            out.append((name, b"".join(value for value, _ in run)))
    return out


_COMMENT_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|\\.|[()]|[^"\\()]++|\\', re.S)


def _without_comments(value: bytes) -> bytes:
    """Comments (RFC 5322 3.2.2, nested) become a space; a parenthesis inside a word (boundary=(x), against
    the rule) stays."""
    out: list[bytes] = []
    depth = 0
    for match in _COMMENT_TOKEN.finditer(value):
        piece = match[0]
        if piece == b"(" and (depth or not out or out[-1][-1:] in (b" ", b"\t", b";", b"\n", b'"')):
            depth += 1
        elif depth:
            depth -= piece == b")"
            if not depth:
                out.append(b" ")
        else:
            out.append(piece)
    return b"".join(out)
