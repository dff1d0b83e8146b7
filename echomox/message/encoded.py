"""Text of header fields: encoded words (RFC 2047), encoded parameters (RFC 2231), raw 8-bit bytes (RFC 6532),
both ways.

Decoding takes any bytes, never raises, and is linear in its input: an encoded word is looked for from its
end, so that a megabyte of "=?x" costs one pass.
"""

from __future__ import annotations

import base64
import binascii
import re
from urllib.parse import unquote_to_bytes

from echomox.message.charset import decode_charset, decode_raw

_UNSAFE = dict.fromkeys((*range(9), *range(10, 32), 127), " ")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_WORD = re.compile(r"=\?([^?\s*]{1,64})(?:\*[^?\s]{0,64})?\?([bBqQ])\?")
_NOT_BASE64 = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="))


def decode_base64(data: bytes) -> bytes:
    """Base64 with foreign characters, missing padding, or several padded runs; never raises (RFC 2045
    6.8)."""
    clean = data.translate(None, _NOT_BASE64)
    runs = [clean] if b"=" not in clean else clean.split(b"=")
    out = []
    for run in runs:
        if run:
            rest = len(run) % 4
            out.append(binascii.a2b_base64((run[:-1] if rest == 1 else run) + b"=" * (-(len(run) - (rest == 1)) % 4)))
    return b"".join(out)


def decode_words(value: bytes | str) -> str:
    """An unstructured value, or a phrase, as text on one line: encoded words decoded, raw 8-bit bytes taken
    as `charset.decode_raw` does; line ends and control characters become spaces. A word that is broken stays
    as written."""
    text = value if isinstance(value, str) else decode_raw(value)
    if "=?" in text:
        text = _decode_words(text)
    return text.translate(_UNSAFE) if _CONTROL.search(text) else text


def _decode_words(text: str) -> str:
    out: list[str] = []
    pending, charset = (
        b"",
        "",
    )  # bytes of neighbouring words: a character may be split between two (not by RFC 2047 5, but in fact)
    copied = position = 0
    while True:
        start = text.find("=?", position)
        head = _WORD.match(text, start) if start >= 0 else None
        if start >= 0 and head is None:
            position = start + 2
            continue
        end = text.find("?=", head.end()) if head else -1
        if head is None or end < 0:
            break
        nested = text.rfind("=?", head.end(), end)
        if nested >= 0:  # no word ends before here: only the last start can be one
            position = nested
            continue
        gap = text[copied:start]
        if pending and (head[1] != charset or (gap and not gap.isspace())):
            out.append(decode_charset(pending, charset))
            pending = b""
        if not (copied and gap.isspace()):
            out.append(gap)
        pending += _word(head[2], text[head.end() : end])
        charset = head[1]
        copied = position = end + 2
    if pending:
        out.append(decode_charset(pending, charset))
    out.append(text[copied:])
    return "".join(out)


def _word(encoding: str, text: str) -> bytes:
    data = text.encode("utf-8", "surrogateescape")
    if encoding in "bB":
        return decode_base64(data)
    return binascii.a2b_qp(data.replace(b"\n", b""), header=True)


def decode_extended(value: bytes) -> tuple[str, str]:
    """RFC 2231 4: "charset'language'percent-encoded" -> (text, charset); a value without the first two is UTF-8."""
    pieces = value.split(b"'", 2)
    charset, coded = (pieces[0].decode("latin-1"), pieces[2]) if len(pieces) == 3 else ("", value)
    return decode_charset(unquote_to_bytes(coded), charset), charset


def decode_parameter(name: str, parameters: list[tuple[bytes, bytes]]) -> str | None:
    """The text of a parameter from the list that `parameters.parse_parameters` gives, None if it is not
    there: plain, extended (RFC 2231 4), or, against the rule but often, with encoded words. The extended form
    wins."""
    plain = name.encode("ascii")
    extended = plain + b"*"
    found = None
    for key, value in parameters:
        if key == extended:
            return decode_extended(value)[0].translate(_UNSAFE)
        if key == plain and found is None:
            found = value
    return None if found is None else decode_words(found)


def encode_words(text: str, first: int = 0) -> str:
    """Unstructured text for a field, as encoded words where it needs them (RFC 2047 2, UTF-8, whichever of B
    and Q is shorter), folded so that no line is over 76 characters. first: columns already used on the first
    line."""
    if (
        text.isascii()
        and "=?" not in text
        and not _CONTROL.search(text)
        and all(len(word) < 60 for word in text.split(" "))
    ):
        return _fold(text, first)
    words, chunk, used = [], b"", first
    for character in text.translate(_UNSAFE):
        more = chunk + character.encode("utf-8", "replace")
        if chunk and used + len(_encode(more)) > 75:
            words.append(_encode(chunk))
            chunk, used = character.encode("utf-8", "replace"), 1
        else:
            chunk = more
    if chunk:
        words.append(_encode(chunk))
    return "\r\n ".join(words)


def _encode(data: bytes) -> str:
    plain = sum(byte == 32 or (byte < 128 and chr(byte).isalnum()) for byte in data)
    if plain + 3 * (len(data) - plain) <= 4 * ((len(data) + 2) // 3):
        quoted = "".join("_" if b == 32 else chr(b) if b < 128 and chr(b).isalnum() else f"={b:02X}" for b in data)
        return f"=?utf-8?q?{quoted}?="
    return f"=?utf-8?b?{base64.b64encode(data).decode('ascii')}?="


def _fold(text: str, first: int) -> str:
    if first + len(text) <= 76:
        return text
    lines, line, used = [], "", first
    for word in text.split(" "):
        if line and used + len(line) + 1 + len(word) > 76 and word:
            lines.append(line)
            line, used = word, 1
        else:
            line = f"{line} {word}" if line else word
    return "\r\n ".join([*lines, line])


def encode_parameter(name: str, value: str) -> str:
    """`name=value` for a MIME field: token, quoted string, or RFC 2231 extended, whichever the value needs.
    Not folded."""
    if re.fullmatch(r"[A-Za-z0-9!#$&+.^_`{|}~-]+", value):
        return f"{name}={value}"
    if value.isascii() and not _CONTROL.search(value):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'{name}="{escaped}"'
    # RFC 2231 7: attribute-char
    data = value.encode("utf-8", "replace")
    percent = "".join(chr(b) if (b < 128 and chr(b).isalnum()) or b in b"!#$&+-.^_`{|}~" else f"%{b:02X}" for b in data)
    return f"{name}*=utf-8''{percent}"
