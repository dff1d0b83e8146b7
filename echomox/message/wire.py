"""Raw bytes as IMAP strings (RFC 9051 4.3, RFC 3501 4.3): what ENVELOPE and BODYSTRUCTURE are made of."""

from __future__ import annotations

from echomox.message.header import unfold

MAX_QUOTED = 1000

_QUOTED_SAFE = bytes(byte for byte in range(1, 128) if byte not in b'\r\n"\\')


def imap_string(value: bytes) -> bytes:
    """A quoted string if it may be one (7-bit, no CR, LF, NUL) and is not longer than MAX_QUOTED, else a
    literal. The bytes of a literal may be 8-bit (CHAR8) but not NUL, which becomes 0x80, as other servers
    have it."""
    rest = value.translate(None, _QUOTED_SAFE)
    if len(value) <= MAX_QUOTED:
        if not rest:
            return b'"' + value + b'"'
        if not rest.translate(None, b'"\\'):
            return b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
    if b"\0" in rest:
        value = value.replace(b"\0", b"\x80")
    return b"{%d}\r\n%b" % (len(value), value)


def nstring(value: bytes | None) -> bytes:
    """A raw field value as nstring, unfolded; NIL for a field that is not there."""
    return b"NIL" if value is None else imap_string(unfold(value))
