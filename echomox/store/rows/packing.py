"""The packed forms of a row of `content`, so that an account's index is small beside its mail (T10).

A row says its form: 0 has every value as it stands in a column of its own (of versions before 7); 1 (of version 7),
those from 2 on (of version 8) and those below 0 (of version 9: close.py) are packed. All are read; only the last are
written. Of 1 and from 2 on:

    envelope   the ENVELOPE without what stands elsewhere: see `shorter_envelope`. Its first use is the fastest FETCH
               there is, so nothing in it is deflated. From form 2 on what is between strings is shorter
    prefix     deflated with what trace headers usually say
    verdict    deflated with what the trace headers in the prefix say of it. From form 2 on with `guess.verdict` of
               them, and the numbers of the profile are in `affect` alone (affect.py)
    rest       REST as a msgpack list, deflated with what is usual and the envelope, as it is kept, before it; the
               columns themselves are empty. From form 2 on rest and verdict stand in `bulk`
    parts      from form 2 on those of a message of one part are short: see `pack_parts`
    delivery   from form 2 on a checksum: it is only ever compared, with that of the same id

A value "" stays empty. Forms from 3 on have the words of the account before those of DICTIONARY: form - DENSE is the
number of its `vocabulary`. The deflated streams are raw (RFC 1951) and have a window of 32 KiB; what they were made
with is part of the form, so neither DICTIONARY, a vocabulary, `guess.verdict` nor the order of REST may ever change:
another one is another form. Pure.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import msgpack

from echomox.message.structure import Part
from echomox.store.rows import guess

PLAIN = 0
COMPACT = 1
DENSE = 2
REST = (
    "bodystructure",
    "body",
    "from_text",
    "to_text",
    "cc_text",
    "bcc_text",
    "in_reply_to",
    "refs",
    "mail_from",
    "remote_ip",
    "defects",
    "preview",
)
"""Columns of content that are kept together. body is the number of its octets where it is that much of bodystructure
and a parenthesis."""
EMPTY: tuple[bytes | str, ...] = tuple(b"" if name.startswith("body") else "" for name in REST)
DICTIONARY = (
    b"<html><head><title><body> http://www. This is a multi-part message in MIME format. and the you to of in for "
    b"that with your have from are this will not be can it is on we all as or at if has new but more our free "
    b"please about wrote: On Mon, Tue, Wed, Thu, Fri, Sat, Sun, Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec "
    b'2026 ("application" "octet-stream" ("name" "image.png") "<" NIL "base64" ("attachment" ("filename" '
    b'"document.pdf")) NIL NIL)("image" "jpeg" ("inline" "mixed" ("boundary" "----=_NextPart_000_ "alternative" '
    b'"related" "signed" "report" ("text" "plain" ("charset" "iso-8859-1" "format" "flowed") NIL NIL "8bit" ("text" '
    b'"html" ("charset" "utf-8") NIL NIL "quoted-printable" ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" '
    b"NIL NIL NIL NIL)multipart/mixed message/rfc822 text/plain; charset= Re: Fwd: <a@example.com>, .org> .net> "
    b'{"place": "reject", "{"place": "inbox", "reason": "from-inbox-to-junk,strict:no-tls+iprev+not-addressed", '
    b'{"place": "junk", "reason": "from-junk-to-reject", "account": "", "probability": 0., "evidence": [{"stage": '
    b'"bayes", "probability": 0.5, "weight": 0.0, "reasons": ["untrained 0/0"]}, {"stage": "ngrams", "probability": '
    b'0.5, "weight": 0.0, "reasons": ["untrained 0/0"]}, {"stage": "esn", "probability": 0.5, "weight": 0.0, '
    b'"reasons": ["untrained 0/0"]}, {"stage": "membranes", "probability": 0., "weight": 0.48484848484848486, '
    b'"reasons": ["spam=0.00/ham=0.00/phishing=0.00/auth=0.00/reputation=0.00", "links+0.", "removal+0.5", '
    b'"nameless+0.4", "subject_tail+1.1"]}, {"stage": "affect", "probability": 0.5, "weight": 0.030303030303030304, '
    b'"reasons": ["ask 0. (click here, get started)", "interest 0. (interest, free)", "pressure 0.07 (urgent)"]}, '
    b'{"stage": "reputation", "probability": 0.5, "weight": 0.0, "reasons": ["untrained", "first-time"]}, {"stage": '
    b'"auth", "probability": 0.574442516811659, "weight": 0.48484848484848486, "reasons": ["helo=fail", "spf=pass", '
    b'"dkim=pass", "dmarc=pass"]}], "parts": "all", "learned": 0, "acts": 0., "profile": [0.0, 0.0, 0.0, 0.0, 0.0, '
    b"0.0, 0.0, 0.0, 0.0, 0.0]}Return-Path: <@example.com>\r\nDelivered-To: @example.org\r\nReceived: from "
    b"mail.example.com ([127.0.0.1]) by mail. with ESMTPS\r\n\t(TLS1.3 TLS_AES_256_GCM_SHA384)\r\n\tid - for "
    b"<@>;\r\n\tSun, 22 Nov 2026 14:34:46 +0000\r\nReceived-SPF: pass (: domain of designates as permitted sender) "
    b"client-ip=; envelope-from=\r\nReceived-SPF: none (mail.: domain of has no\r\n\tSPF record) "
    b'client-ip=127.0.0.1; envelope-from="";\r\n\thelo=; identity=mailfrom; '
    b"receiver=mail.\r\nAuthentication-Results: mail.;\r\n\tspf=none smtp.mailfrom=;\r\n\tdkim=pass header.d= "
    b"header.s= header.b=;\r\n\tspf=pass dmarc=pass (p=none dis=none) header.from=;\r\n\tdkim=none;\r\n\tdmarc=none "
    b"header.from=;\r\n\tiprev=permerror policy.iprev=127.0.0.1\r\n\tiprev=pass policy.X-EchoMox-Verdict: inbox; "
    b"p=0.; reason=inbox; X-EchoMox-Verdict: junk; p=0.; reason=from-junk-to-reject; parts=all;\r\n\tby=membranes; "
    b"learned=0; bayes=0.5000*0.00 (untrained_0/0);\r\n\tngrams=0.5000*0.00 (untrained_0/0); esn=0.5000*0.00 "
    b"(untrained_0/0);\r\n\tmembranes=0.*0.48\r\n\t(spam=0.00/ham=0.00/phishing=0.00/auth=0.00/reputat"
    b"ion=0.00,+1.0);\r\n\taffect=0.5*0.03\r\n\t(ask_0.__click_here__,interest_0.__interest__free_,pre"
    b"ssure_0.07__);\r\n\treputation=0.5000*0.00 "
    b"(untrained); auth=0.5744*0.48 (helo=fail);\r\nX-EchoMox-Rule: "
    b"junk;\r\n\treason=from-junk-to-reject,strict:no-tls+iprev+not-addressed\r\n"
)
_LEVEL = 3  # higher ones take longer and save two in a hundred
_BITS = -13  # of the window when packing: DICTIONARY and what is packed fit in
_MEMORY = 5  # zlib sets its tables to nought for each stream, so they are small
_deflater = partial(zlib.compressobj, _LEVEL, zlib.DEFLATED, _BITS, _MEMORY, zlib.Z_DEFAULT_STRATEGY)
OF_REST = DICTIONARY[: DICTIONARY.index(b'{"place"')]
OF_VERDICT = DICTIONARY[len(OF_REST) : DICTIONARY.index(b"Return-Path")]
OF_PREFIX = DICTIONARY[DICTIONARY.index(b"Return-Path") :]
"""Only what is of use: reading a dictionary takes as long as packing a message's row does."""


class Words(NamedTuple):
    """What a form has its streams made with. verdict: and before the stream stands what `guessed` makes of the
    prefix."""

    prefix: bytes
    verdict: bytes
    rest: bytes
    guessed: Callable[[bytes], bytes]


def words_of(rest: bytes, trace: bytes) -> Words:
    """Of the forms from DENSE on. rest, trace: of a vocabulary; empty for form DENSE."""
    return Words(trace + OF_PREFIX, trace, rest + OF_REST, guess.verdict)


WORDS: dict[int, Words] = {
    COMPACT: Words(DICTIONARY, OF_VERDICT, OF_REST, lambda prefix: prefix),
    DENSE: words_of(b"", b""),
}
"""Of the forms that are the same in all accounts."""
_TYPES = {"text/plain": "p", "text/html": "h"}
_ONE_PART = re.compile(
    r'\[\["1","([^"\\ \[]+/[^"\\ ]*)","([^"\\ ]*)","([^"\\ ]*)","","",0,(\d+),(\d+),(\d+),(\d+),0\]\]'
)
_TYPE_OF = {short: name for name, short in _TYPES.items()}

_STRING = rb'(?:NIL|"[^"\\]*(?:\\.[^"\\]*)*")'
_START = re.compile(rb"(\(%b )(%b )(NIL|\((?:\(%b\))+\)) " % (_STRING, _STRING, b" ".join([_STRING] * 4)), re.DOTALL)
"""Of an ENVELOPE without literals up to From: date, subject, From; each but the last with its blank."""
_STRANGE = re.compile(rb"[\0-\6]")


def _deflated(data: bytes, dictionary: bytes) -> bytes:
    one = _deflater(dictionary)
    return one.compress(data) + one.flush()


def _inflated(data: bytes, dictionary: bytes) -> bytes:
    return zlib.decompressobj(-15, dictionary).decompress(data)


def pack_envelope(envelope: bytes, subject: str, message_id: str) -> bytes:
    """As `shorter_envelope`, with octets 4 to 6 for what is often between strings."""
    packed = shorter_envelope(envelope, subject, message_id)
    if b"\0" in packed:
        packed = packed.replace(b'(NIL NIL "', b"\4").replace(b'" NIL "', b"\5").replace(b'" "', b"\6")
    return packed


def unpack_envelope(packed: bytes, subject: str, message_id: str) -> bytes:
    """Raises ValueError for what `pack_envelope` did not make."""
    if b"\0" not in packed:
        return packed
    packed = packed.replace(b"\4", b'(NIL NIL "').replace(b"\5", b'" NIL "').replace(b"\6", b'" "')
    return longer_envelope(packed, subject, message_id)


def shorter_envelope(envelope: bytes, subject: str, message_id: str) -> bytes:
    """From stands between two octets 0; 1 is the subject, 2 the same as From and a blank, 3 the message id and the end.
    As it is where that is not shorter, or something in it is unusual; then there is no octet 0."""
    start = _START.match(envelope)
    if start is None or _STRANGE.search(envelope):
        return envelope
    date, title, origin = start.groups()
    if title == b'"%b" ' % subject.encode("utf-8", "replace"):
        title = b"\1"
    rest = envelope[start.end() :]
    again = origin + b" "
    if rest.startswith(again):
        rest = b"\2" + rest[len(again) :]
        if rest.startswith(again, 1):
            rest = b"\2\2" + rest[1 + len(again) :]
    end = b' "%b")' % message_id.encode("utf-8", "replace")
    if rest.endswith(end):
        rest = rest[: -len(end)] + b"\3"
    packed = b"%b%b\0%b\0%b" % (date, title, origin, rest)
    return packed if len(packed) < len(envelope) else envelope


def longer_envelope(packed: bytes, subject: str, message_id: str) -> bytes:
    """Raises ValueError for what `shorter_envelope` did not make."""
    if b"\0" not in packed:
        return packed
    start, origin, rest = packed.split(b"\0")
    if start[-1] == 1:
        start = b'%b"%b" ' % (start[:-1], subject.encode())
    if rest[-1] == 3:
        rest = b'%b "%b")' % (rest[:-1], message_id.encode())
    if rest[0] == 2:
        rest = b"%b %b %b" % (origin, origin, rest[2:]) if rest[1] == 2 else b"%b %b" % (origin, rest[1:])
    return b"%b%b %b" % (start, origin, rest)


def pack_prefix(prefix: bytes, words: Words) -> bytes:
    return _deflated(prefix, words.prefix) if prefix else b""


def unpack_prefix(packed: bytes, words: Words) -> bytes:
    return _inflated(packed, words.prefix) if packed else b""


def pack_verdict(verdict: str, prefix: bytes, words: Words) -> bytes | str:
    """prefix: as it is, not packed."""
    return _deflated(verdict.encode("utf-8", "replace"), words.verdict + words.guessed(prefix)) if verdict else ""


def unpack_verdict(packed: bytes | str, prefix: bytes, words: Words) -> str:
    if not isinstance(packed, bytes) or not packed:
        return ""
    return _inflated(packed, words.verdict + words.guessed(prefix)).decode()


def pack_rest(values: Sequence[Any], envelope: bytes, words: Words) -> bytes:
    """values: of REST. envelope: packed."""
    full, body, *others = values
    short = full.startswith(body[:-1]) and body[-1:] == b")"
    return _deflated(msgpack.packb((full, len(body) - 1 if short else body, *others)), words.rest + envelope)


def unpack_rest(packed: bytes, envelope: bytes, words: Words) -> tuple[Any, ...]:
    """The values of REST. Raises ValueError or zlib.error when damaged."""
    full, body, *others = msgpack.unpackb(_inflated(packed, words.rest + envelope))
    return (full, full[:body] + b")" if isinstance(body, int) else body, *others)


def pack_parts(text: str, header_size: int, file_size: int) -> str:
    """text: JSON of a list of Part, as `insert` writes it. That of one part without a name, from the header's end to
    the file's, becomes "type charset encoding lines", p and h for text/plain and text/html; all else stays."""
    one = _ONE_PART.fullmatch(text)
    if one is None:
        return text
    kind, charset, encoding, start, offset, size, lines = one.groups()
    if not start == offset == str(header_size) or size != str(file_size - header_size):
        return text
    return f"{_TYPES.get(kind, kind)} {charset} {encoding} {lines}"


def one_part(short: str, header_size: int, file_size: int) -> Part:
    """Of what `pack_parts` has made short."""
    kind, charset, encoding, lines = short.split(" ")
    size = file_size - header_size
    kind = _TYPE_OF.get(kind, kind)
    return Part("1", kind, charset, encoding, "", "", 0, header_size, header_size, size, int(lines), 0)


def unpack_parts(text: str, header_size: int, file_size: int) -> str:
    """The JSON. Raises ValueError when damaged."""
    if text[:1] == "[":
        return text
    return json.dumps((one_part(text, header_size, file_size),), separators=(",", ":"))


def delivery_mark(delivery: str) -> bytes:
    """What is kept of a delivery's name."""
    return zlib.crc32(delivery.encode("utf-8", "replace")).to_bytes(4, "big")
