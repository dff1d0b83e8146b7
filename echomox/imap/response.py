"""What the server writes: strings, flags, names and whole response lines, as bytes. RFC 9051 7 and 9, RFC
3501 7.

Made for speed where it counts, in FETCH: `fetch_template` gives for a list of items one template, so that a
message costs one formatting (`template % (number, uid, flags, ...)`); `FlagFormatter` remembers the flag
lists it has written. No text that came from a client is put into a line unchecked: CR and LF never leave here
outside of literals.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence

from echomox.imap import mutf7
from echomox.imap.fetch import Binary, FetchItem, Section
from echomox.imap.lexer import MONTHS, Bad
from echomox.imap.seqset import format_numbers, partial_slice

QUOTED = 1000
"""A longer string is sent as a literal."""
FLAG_LISTS = 4096
"""Flag lists a FlagFormatter remembers."""

_ATOM = re.compile(rb"[!#$&'+,\-./0-9:;<=>?@A-Z\[\]^_`a-z|}~]+")
_QUOTABLE = re.compile(rb"[^\r\n\0\x80-\xff]*")
_UNFIT = re.compile(r"[^ -~]+")

FETCH_FORMS: Mapping[str, bytes] = {
    "BODY": b"BODY %b",
    "BODYSTRUCTURE": b"BODYSTRUCTURE %b",
    "EMAILID": b"EMAILID (%b)",
    "ENVELOPE": b"ENVELOPE %b",
    "FLAGS": b"FLAGS %b",
    "INTERNALDATE": b"INTERNALDATE %b",
    "MODSEQ": b"MODSEQ (%d)",
    "PREVIEW": b"PREVIEW %b",
    "RFC822.SIZE": b"RFC822.SIZE %d",
    "SAVEDATE": b"SAVEDATE %b",
    "THREADID": b"THREADID %b",
    "UID": b"UID %d",
}
"""Forms of the items of a FETCH response (RFC 9051 7.5.2), each with one place for the value."""


def fetch_template(items: Sequence[FetchItem], by_uid: bool = False) -> bytes:
    """A line for `%` with (message number, value of each item); the value of a Section is `literal` or
    `string` of its octets. by_uid: UIDFETCH, with the UID for the number (RFC 9586 3.3).

    >>> fetch_template((Item("UID"), Item("FLAGS"))) % (3, 17, b"()")
    b'* 3 FETCH (UID 17 FLAGS ())\\r\\n'
    """
    forms = [
        item.label.replace(b"%", b"%%") + b" %b" if isinstance(item, Section | Binary) else FETCH_FORMS[item.name]
        for item in items
    ]
    return (b"* %d UIDFETCH (" if by_uid else b"* %d FETCH (") + b" ".join(forms) + b")\r\n"


def literal(value: bytes) -> bytes:
    return b"{%d}\r\n%b" % (len(value), value)


def string(value: bytes) -> bytes:
    """Quoted when it may be, else a literal."""
    if len(value) <= QUOTED and _QUOTABLE.fullmatch(value):
        return quoted(value)
    return literal(value)


def nstring(value: bytes | None) -> bytes:
    return b"NIL" if value is None else string(value)


def astring(value: bytes) -> bytes:
    """An atom when it may be."""
    if _ATOM.fullmatch(value) and value.upper() != b"NIL":
        return value
    return string(value)


def quoted(value: bytes) -> bytes:
    """value: without CR, LF and NUL."""
    if b"\\" in value or b'"' in value:
        value = value.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return b'"%b"' % value


def mailbox(name: str, utf8: bool = False) -> bytes:
    """utf8: the client has enabled UTF8=ACCEPT or IMAP4rev2 (RFC 6855 3, RFC 9051 5.1)."""
    if not utf8:
        return astring(mutf7.encode(name))
    data = name.encode("utf-8")
    return astring(data) if name.isascii() else quoted(data)


def date_time(seconds: float) -> bytes:
    """Unix time as INTERNALDATE, in UTC."""
    year, month, day, hour, minute, second = time.gmtime(seconds)[:6]
    return b'"%2d-%b-%04d %02d:%02d:%02d +0000"' % (day, MONTHS[month - 1], year, hour, minute, second)


def text(words: str) -> str:
    """Words for a response line: one line of printing US-ASCII, never empty (RFC 9051 9, resp-text)."""
    return _UNFIT.sub("?", words).strip() or "."


class FlagFormatter:
    """Flags between bits and wire. names: bit -> name on the wire ("\\\\Seen", "$Junk"); all other flags
    are keywords."""

    __slots__ = ("_bits", "_cache", "_names")

    def __init__(self, names: Mapping[int, str]) -> None:
        self._names = tuple((int(bit), name.encode("ascii")) for bit, name in names.items())
        self._bits = {name.lower(): int(bit) for bit, name in names.items()}
        self._cache: dict[tuple[int, str, bool], bytes] = {}

    def format(self, bits: int, keywords: str = "", recent: bool = False) -> bytes:
        """In parentheses. keywords: space-separated, "" for none, as the store keeps them."""
        key = (bits, keywords, recent)
        found = self._cache.get(key)
        if found is None:
            if len(self._cache) >= FLAG_LISTS:
                self._cache.clear()
            found = self._cache[key] = self._write(*key)
        return found

    def _write(self, bits: int, keywords: str, recent: bool) -> bytes:
        flags = [name for bit, name in self._names if bits & bit]
        if recent:
            flags.append(b"\\Recent")
        if keywords:
            flags.append(keywords.encode("ascii"))
        return b"(" + b" ".join(flags) + b")"

    def split(self, flags: Iterable[str]) -> tuple[int, tuple[str, ...]]:
        """Flags of STORE or APPEND as (bits, keywords sorted, each once whatever its case). Raises Bad for
        a system flag that we do not have, and for \\Recent, which no client may set."""
        bits = 0
        keywords: dict[str, str] = {}
        for flag in flags:
            bit = self._bits.get(flag.lower())
            if bit is not None:
                bits |= bit
            elif flag.startswith("\\"):
                raise Bad(f"Unknown system flag {flag}")
            else:
                keywords.setdefault(flag.lower(), flag)
        return bits, tuple(sorted(keywords.values()))


def condition(tag: bytes, kind: str, words: str, code: str = "") -> bytes:
    """A status response: tag (b"*" for untagged), kind OK NO BAD BYE PREAUTH, code without its brackets
    (RFC 9051 7.1)."""
    middle = f"[{text(code)}] " if code else ""
    return tag + f" {kind} {middle}{text(words)}\r\n".encode("ascii")


def continuation(words: str = "") -> bytes:
    return f"+ {text(words) if words else ''}\r\n".encode("ascii")


def capability(names: Iterable[str]) -> bytes:
    """The CAPABILITY response; see `capability_code` for the code of the same content."""
    return f"* {capability_code(names)}\r\n".encode("ascii")


def capability_code(names: Iterable[str]) -> str:
    return "CAPABILITY " + " ".join(names)


def flags_line(formatted: bytes) -> bytes:
    """FLAGS (RFC 9051 7.3.5); formatted: of a FlagFormatter."""
    return b"* FLAGS %b\r\n" % formatted


def list_line(
    kind: str, attributes: Iterable[str], separator: str, name: bytes, extended: bytes = b""
) -> bytes:
    """LIST or LSUB (RFC 9051 7.3.1). attributes: "\\\\HasChildren" ...; name: of `mailbox`; extended: b""
    or the items in parentheses, as of `childinfo` or `oldname`."""
    return b'* %b (%b) "%b" %b%b\r\n' % (
        kind.encode("ascii"),
        " ".join(attributes).encode("ascii"),
        separator.encode("ascii"),
        name,
        b" " + extended if extended else b"",
    )


def oldname(name: bytes) -> bytes:
    """RFC 9051 6.3.9.7, RFC 5465 8. name: of `mailbox`."""
    return b'("OLDNAME" (%b))' % name


def childinfo(options: Iterable[str]) -> bytes:
    """RFC 5258 3.5: ("CHILDINFO" ("SUBSCRIBED"))."""
    return b'("CHILDINFO" (%b))' % " ".join(f'"{option}"' for option in options).encode("ascii")


def status_line(name: bytes, items: Iterable[tuple[str, int | str]]) -> bytes:
    """STATUS (RFC 9051 7.3.4)."""
    values = " ".join(f"{item} {value}" for item, value in items)
    return b"* STATUS %b (%b)\r\n" % (name, values.encode("ascii"))


def search_line(numbers: Sequence[int], modseq: int = 0) -> bytes:
    """SEARCH (RFC 3501 7.2.5); modseq: the highest of the messages found, when asked for (RFC 7162 3.1.5)."""
    found = b"".join(b" %d" % number for number in numbers)
    return b"* SEARCH%b%b\r\n" % (found, b" (MODSEQ %d)" % modseq if modseq and numbers else b"")


def esearch_line(
    tag: bytes,
    uid: bool,
    numbers: Sequence[int],
    returning: Iterable[str],
    modseq: int = 0,
    partial: tuple[int, int] | None = None,
    scores: Sequence[int] = (),
    correlators: bytes = b"",
) -> bytes:
    """ESEARCH (RFC 4731 3.1, RFC 9394 3.1, RFC 6203 4). numbers: ascending, or as sorted (RFC 5267 3.1); returning: MIN
    MAX ALL COUNT PARTIAL RELEVANCY (others are passed over). scores: of the numbers. correlators: of
    `mailbox_correlators`."""
    parts = [b"* ESEARCH (TAG %b%b)" % (quoted(tag), correlators)]
    if uid:
        parts.append(b"UID")
    for option in returning:
        if option == "COUNT":
            parts.append(b"COUNT %d" % len(numbers))
        elif numbers and option == "MIN":
            parts.append(b"MIN %d" % numbers[0])
        elif numbers and option == "MAX":
            parts.append(b"MAX %d" % numbers[-1])
        elif numbers and option == "ALL":
            parts.append(b"ALL " + format_numbers(numbers))
        elif option == "PARTIAL" and partial:
            chosen = format_numbers(numbers[partial_slice(partial, len(numbers))]) or b"NIL"
            parts.append(b"PARTIAL (%d:%d %b)" % (*partial, chosen))
        elif option == "RELEVANCY":
            shown = scores[partial_slice(partial, len(scores))] if partial else scores
            parts.append(b"RELEVANCY (%b)" % b" ".join([b"%d" % score for score in shown]))
    if modseq and numbers:
        parts.append(b"MODSEQ %d" % modseq)
    return b" ".join(parts) + b"\r\n"


def mailbox_correlators(name: bytes, uidvalidity: int) -> bytes:
    """RFC 7377 2.1. name: of `mailbox`."""
    return b" MAILBOX %b UIDVALIDITY %d" % (name, uidvalidity)


def update_line(tag: bytes, uid: bool, changes: Iterable[tuple[bytes, int, Sequence[int]]]) -> bytes:
    """ESEARCH with ADDTO and REMOVEFROM (RFC 5267 4.3). changes: (word, context position, numbers in their order)."""
    parts = [b" %b (%d %b)" % (word, place, format_numbers(numbers)) for word, place, numbers in changes]
    return b"* ESEARCH (TAG %b)%b%b\r\n" % (quoted(tag), b" UID" if uid else b"", b"".join(parts))


def sort_line(numbers: Iterable[int], modseq: int = 0) -> bytes:
    """SORT (RFC 5256 4); modseq: as of `search_line` (RFC 7162 3.1.6)."""
    found = b"".join([b" %d" % number for number in numbers])
    return b"* SORT%b%b\r\n" % (found, b" (MODSEQ %d)" % modseq if modseq and found else b"")


def thread_line(threads: bytes) -> bytes:
    """THREAD (RFC 5256 4)."""
    return b"* THREAD %b\r\n" % threads if threads else b"* THREAD\r\n"


def vanished_line(uids: Iterable[int], earlier: bool = False) -> bytes:
    """VANISHED (RFC 7162 3.2.10); uids: ascending, at least one."""
    return b"* VANISHED %b%b\r\n" % (b"(EARLIER) " if earlier else b"", format_numbers(uids))


def copyuid(uidvalidity: int, pairs: Iterable[tuple[int, int]]) -> str:
    """COPYUID (RFC 4315 3). pairs: (source, target) in the order of copying; both ascend when copied in
    order."""
    source, target = zip(*pairs, strict=True)
    return f"COPYUID {uidvalidity} {format_numbers(source).decode()} {format_numbers(target).decode()}"


def appenduid(uidvalidity: int, uids: Iterable[int]) -> str:
    """APPENDUID (RFC 4315 3); several for MULTIAPPEND."""
    return f"APPENDUID {uidvalidity} {format_numbers(uids).decode()}"
