"""A message as tokens: what the word counts of an account are about (F01, F03).

Only what the sender wrote is read: fields that receivers add (`Received`, `Delivered-To`, verdicts of other
filters, our own trace prefix) are left out, because what they teach holds on one host only. A token is one
of

    word            a lower-cased word of the body, Chinese, Japanese and Thai text as pairs of characters
    word word       a run of up to `ngrams` words of the body or the subject
    from:word       a word, address or host of a header field, tagged with the field's name
    url:host        a link's host, and the domain above it
    part:text/html  facts of structure: content types, charsets, tags and attributes of HTML, shapes

Reading stops after `BODY_CHARS` characters of text and `MOST_TOKENS` tokens: the beginning of a message
carries most, and what follows is where good words are appended. Pure; the same bytes give the same tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import filterfalse
from typing import NamedTuple
from urllib.parse import unquote

from echomox.message.charset import decode_raw
from echomox.message.encoded import decode_words
from echomox.message.structure import Structure
from echomox.message.text import HtmlText, TextPart

BODY_CHARS = 5000
MOST_TOKENS = 1500
MOST_LINKS = 60
MOST_FIELDS = 60
FIELD_CHARS = 600
LONGEST_WORD = 40
REPEATED = 160
"""Bytes of a field's value whose tokens are remembered, as a few MiB at most."""

_RECEIVED_FIELDS = (
    "received return-path delivered-to x-original-to envelope-to x-envelope-to x-envelope-from "
    "x-delivered-to received-spf authentication-results arc-seal arc-message-signature arc- "
    "authentication-results x-received dkim-signature domainkey-signature status x-status x-uid x-uidl "
    "x-keywords x-loop x-virus-scanned x-bogosity x-mozilla-status x-mozilla-status2 x-mozilla-keys "
    "x-evolution x-gmail-labels x-gm-thrid lines xref bytes x-mail-from x-rcpt-to x-apparently-to "
    "x-resolved-to x-sieve x-filtered-by x-scanned-by x-imap"
)
RECEIVED_FIELDS = frozenset(_RECEIVED_FIELDS.split())
RECEIVED_PREFIXES = (
    "x-spam", "x-echomox", "x-ms-exchange", "x-rspamd", "x-crm114", "x-dspam", "x-mdaemon", "x-barracuda",
    "x-ironport", "x-proofpoint", "x-forefront", "x-google-", "x-amavis", "x-hmailserver", "x-annotation",
    "x-pyzor", "x-razor", "x-antivirus", "x-mimedefang", "x-assp", "x-popfile", "x-habeas",
)  # fmt: skip
_ADDRESS_FIELDS = "from to cc sender reply-to errors-to resent-from resent-to resent-sender disposition-notification-to"
ADDRESS_FIELDS = frozenset(_ADDRESS_FIELDS.split())
_SHAPED_FIELDS = "message-id in-reply-to references content-id resent-message-id thread-index"
SHAPED_FIELDS = frozenset(_SHAPED_FIELDS.split())

_WORD = re.compile(r"\$?\w+(?:['’.-]\w+)*[!%]*")
# The same words of ASCII text in half of the time: all that no word holds becomes a space, then what a word holds only
# beside letters does where there are none, so that `split` finds the words.
_IN_WORDS = b"abcdefghijklmnopqrstuvwxyz0123456789_$'.-!%"
_SPACED = bytes([code if code in _IN_WORDS else 32 for code in bytes(range(256)).lower()])
_APART = (
    *[(mark, re.compile(rf"{re.escape(mark)}(?:['.-]++|(?![a-z0-9_])|(?<![a-z0-9_].))"), " ") for mark in "'.-"],
    ("$", re.compile(r"\$(?![a-z0-9_])"), " "),
    ("$", re.compile(r"\$"), " $"),
    *[(mark, re.compile(rf"{mark}(?<![a-z0-9_!%].)[!%]*+"), " ") for mark in "!%"],
    *[(mark, re.compile(rf"{mark}(?=[a-z0-9_])"), f"{mark} ") for mark in "!%"],
)
"""(mark, where, what stands there instead), in this order."""
_ADDRESS = re.compile(r"([^\s<>\"'(),:;]{1,64})@([a-z0-9.-]{1,253})")
_HOST = re.compile(r"://(?:[^\s/@\"'<>]{0,60}@)?([^\s/\"'<>:?#)\]]{1,253})(:\d+)?")
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]+")
_TAG = re.compile(r"<(!--|[a-z][a-z0-9]{0,11})")
# Each way begins with its letters, so that the search steps over all others; `\b` would keep it from that.
_ATTRIBUTE = re.compile(
    "|".join(
        [rf"{name}(?<!\w{name})\s*=\s*[\"']?#?\w{{1,12}}" for name in ("bgcolor", "color")]
        + [
            rf"{name}(?<!\w{name})\s*=\s*[\"']?[+-]?[\w%]{{1,12}}"
            for name in ("size", "width", "height", "border", "align", "face", "target")
        ]
    )
)
_NOT_PLAIN = re.compile(r"[\s\"'#]")
# What most dates are, so that zone and shape need not be looked for.
_USUAL_DATE = re.compile(
    r"[A-Z][a-z]{2}, [0-9]{1,2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} ([+-][0-9]{4})( \([A-Z]{3,4}\))?"
)
_ZONE = re.compile(r"[+-]\d{4}\b|\b[A-Z]{2,4}\)?\s*$")
_SHAPE = re.compile(r"([0-9]+)|([A-F0-9]{4,}|[a-f0-9]{4,})|([a-zA-Z]+)")


class Text(NamedTuple):
    """singles: tokens that stand alone, the first `head` of them of the header. runs: (tag, words in order), of which
    n-grams are made."""

    singles: list[str]
    runs: list[tuple[str, list[str]]]
    head: int = 0


class Vocabulary(NamedTuple):
    """What a reader sees, subject and text, as a set. words: distinct ones. odd: those that are not letters only."""

    words: frozenset[str]
    odd: tuple[str, ...]


def vocabulary(text: Text) -> Vocabulary:
    words = frozenset().union(*[run for tag, run in text.runs if tag in ("", "subject:")])
    return Vocabulary(words, tuple(filterfalse(str.isalpha, words)))


def words_of(text: str) -> list[str]:
    """Lower-cased words in order; scripts without spaces as overlapping pairs of characters."""
    if text.isascii():
        text = text.encode("ascii").translate(_SPACED).decode("ascii")
        for mark, where, instead in _APART:
            if mark in text:
                text = where.sub(instead, text)
        words = text.split()
        if max(map(len, words), default=0) <= LONGEST_WORD:
            return words
        return [word for word in words if len(word) <= LONGEST_WORD]
    out: list[str] = []
    for word in _WORD.findall(text.lower()):
        if not word.isascii() and _UNSPACED.search(word):
            for run in _UNSPACED.findall(word):
                out += [run[at : at + 2] for at in range(max(1, len(run) - 1))]
        elif len(word) <= LONGEST_WORD:
            out.append(word)
    return out


# -- headers -------------------------------------------------------------------


class FieldName(NamedTuple):
    """What is to be known of a header field by its name. name: lower-case; sent: whether the field is the sender's own
    writing; written: as a token; tag: of the tokens of its value; again: short values of it come again."""

    name: str
    sent: bool
    written: str
    tag: str
    again: bool


def _field_name(raw: bytes) -> FieldName:
    written = raw.decode("latin-1")
    name, tag = written.lower(), written[:40].lower()
    sent = name not in RECEIVED_FIELDS and not name.startswith(RECEIVED_PREFIXES)
    return FieldName(name, sent, f"h:{written[:40]}", tag, tag not in SHAPED_FIELDS | {"date", "subject"})


_known_name = lru_cache(maxsize=4096)(_field_name)


def field_name(raw: bytes) -> FieldName:
    """Of a name as it stands in a header. Remembered: names come again, but for long ones."""
    return _known_name(raw) if len(raw) <= REPEATED else _field_name(raw)


def header_text(fields: Sequence[tuple[FieldName, bytes]]) -> Text:
    """The tokens of the sender's header fields. fields: with values without folds."""
    singles: list[str] = []
    runs: list[tuple[str, list[str]]] = []
    for (_, _, written, name, again), value in fields[:MOST_FIELDS]:
        singles.append(written)
        if again and len(value) <= REPEATED:
            singles += _repeated_tokens(name, value)
        elif name == "subject":
            subject = decode_words(value[:FIELD_CHARS])
            runs.append(("subject:", words_of(subject)))
            singles += _manner(subject)
        else:
            singles += _field_tokens(name, value[:FIELD_CHARS])
    return Text(singles, runs)


@lru_cache(maxsize=2048)
def _repeated_tokens(name: str, value: bytes) -> tuple[str, ...]:
    """Short values come again: programs, lists, correspondents."""
    return tuple(_field_tokens(name, value))


def _field_tokens(name: str, value: bytes) -> list[str]:
    if name in ADDRESS_FIELDS:
        return _address_tokens(name, decode_words(value))
    text = decode_raw(value)
    if name in SHAPED_FIELDS:
        return _id_tokens(name, text)
    if name == "date":
        usual = _USUAL_DATE.fullmatch(text)
        if usual:
            return [f"date:{usual[1]}", f"date:a, 0 a 0 0:0:0 {usual[1][0]}0{' (a)' if usual[2] else ''}"]
        zone = _ZONE.search(text)
        return [f"date:{zone[0].strip()}" if zone else "date:none", f"date:{shape(text)}"]
    if name == "content-type":
        kind, _, rest = text.partition(";")
        return [f"ct:{kind.strip().lower()}", f"ct:{shape(rest)[:80]}"]
    return [f"{name}:{word}" for word in words_of(text)[:20]]


def _manner(subject: str) -> list[str]:
    """How a subject is written, not what."""
    out = ["subject:#capitals"] if is_shouted(subject, 5) else []
    if "   " in subject:
        out.append("subject:#gap")
    out += [f"subject:#{mark}" for mark in "!?$" if mark in subject]
    if not subject.isascii():
        out.append("subject:#8bit")
    return out


def is_shouted(text: str, least: int) -> bool:
    """Of more than `least` letters more than 70 % are capitals."""
    capitals = sum(map(str.isupper, text))
    if capitals <= 0.7 * least:  # mostly so, and half of the work
        return False
    letters = sum(map(str.isalpha, text))
    return letters > least and capitals > 0.7 * letters


def _address_tokens(name: str, text: str) -> list[str]:
    lowered = text.lower()
    found = _ADDRESS.findall(lowered)
    out = []
    for local, domain in found[:10]:
        out += [f"{name}:{local}@{domain}", f"{name}:{domain}"]
        above = domain.partition(".")[2]
        if "." in above:
            out.append(f"{name}:{above}")
        out.append(f"{name}:{shape(local)}@")
    out += [f"{name}:{word}" for word in words_of(_ADDRESS.sub(" ", lowered))[:16]]
    out.append(f"{name}:#{min(len(found), 9)}")
    return out


def _id_tokens(name: str, text: str) -> list[str]:
    local, _, domain = text.strip(" <>").rpartition("@")
    return [f"{name}:{domain.lower()[:60]}", f"{name}:{shape(local)[:60]}"]


def shape(text: str) -> str:
    """What a text looks like: digits as 0, hexadecimal as f, letters as a, each run once; the rest as it
    stands.
    """
    return _SHAPE.sub(_shape_of, text[:120])


def _shape_of(run: re.Match[str]) -> str:
    """run: of _SHAPE. What may be hexadecimal is letters if it has no digit."""
    kind = run.lastindex
    return "0" if kind == 1 else "a" if kind == 3 or run[2].isalpha() else "f"


# -- body ----------------------------------------------------------------------


def part_tokens(structure: Structure) -> list[str]:
    """Facts of the MIME parts."""
    out = []
    for part in structure.parts[:20]:
        out.append(f"part:{part.content_type}")
        if part.charset:
            out.append(f"charset:{part.charset.lower()}")
        if part.encoding:
            out.append(f"encoding:{part.encoding}")
        if part.filename:
            out += [f"ext:{part.filename.lower().rpartition('.')[2][:10]}", f"disposition:{part.disposition}"]
    out += [f"defect:{defect}" for defect in structure.defects]
    return out


def body_text(parts: Iterable[tuple[TextPart, HtmlText | None]], limit: int = BODY_CHARS) -> Text:
    """The tokens of the text parts, `limit` characters together at most; an HTML part with what
    html_to_text made.
    """
    singles: list[str] = []
    runs: list[tuple[str, list[str]]] = []
    for part, html in parts:
        if limit <= 0:
            break
        visible = (html.text if html else part.text)[:limit]
        limit -= len(visible)
        if html:
            singles += html_tokens(part.text, html)
        singles += host_tokens(hosts(visible))
        runs.append(("", words_of(visible)))
        if html and html.hidden:
            runs.append(("hidden:", words_of(html.hidden[:500])))
    return Text(singles, runs)


def html_tokens(source: str, html: HtmlText) -> list[str]:
    """Facts of an HTML part: hosts of links and images, tags, attributes, what is hidden."""
    head = source[:8000].lower()
    out = [f"tag:{tag}" for tag in dict.fromkeys(_TAG.findall(head))]
    out += [_NOT_PLAIN.sub("", found) for found in dict.fromkeys(_ATTRIBUTE.findall(head)[:200])]
    targets = " ".join([*[link.href for link in html.links[:MOST_LINKS]], *html.remote[:MOST_LINKS]])
    out += host_tokens(hosts(targets))
    out += ["html:mailto"] if "mailto:" in targets else []
    for name, number in (
        ("images", html.images),
        ("tiny", html.tiny),
        ("forms", html.forms),
        ("links", len(html.links)),
    ):
        if number:
            out.append(f"html:{name}{min(number, 1 << number.bit_length() - 1)}")
    if html.hidden:
        out.append("html:hidden")
    return out


def hosts(text: str) -> list[tuple[str, str]]:
    """(host, port) of what begins like https://, in order."""
    found = [] if "://" not in text else _HOST.finditer(text)
    return [(match[1], match[2] or "") for match in found if text[max(0, match.start() - 2) : match.start()].isalnum()]


def host_tokens(found: Iterable[tuple[str, str]]) -> list[str]:
    """Link hosts, each with the domain above it; numbers and ports are facts of their own."""
    out: list[str] = []
    for host, port in list(dict.fromkeys(found))[:MOST_LINKS]:
        out += _host_tokens(host, port)
    return out


@lru_cache(maxsize=4096)
def _host_tokens(raw: str, port: str) -> tuple[str, ...]:
    """Remembered: hosts come again."""
    host = unquote(raw).lower().rstrip(".")[:100]
    if host.replace(".", "").isdigit():
        return f"url:{host}", "url:#address"
    labels = host.split(".")
    above = [f"url:{'.'.join(labels[at:])}" for at in range(1, len(labels) - 1)][:3]
    odd = ("url:#port",) if port and port not in (":80", ":443") else ()
    return (f"url:{host}", *above, *odd)
