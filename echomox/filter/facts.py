"""What can be said of a message without knowing its reader: the objects that the membranes start with (F19).

A fact is an `Object` in one of the membranes: its type says what, its value how much. `FACTS` lists them all,
by membrane; `words` lines of the rule file add types of their own, one object for all phrases of a type that
the message holds. Nothing here judges: what a fact is worth is said in the rules.

Read are the sender's own header fields (`head`: lower-case name -> text of the first field of that name), the
parts, the envelope, and in `outside` what the server found out, each optional:

    spf, dkim, dmarc    result words of RFC 8601 ("pass", "fail", ...)
    received            Unix seconds when the message came, for Date
    reputation          -1 to 1 of the sending network or sender
    known               True when the reader has written to the sender

Words and links are looked for in the first TEXT_CHARS characters and MOST_LINKS links. Links are judged by their shape,
in any language. Pure; the same message gives the same facts in the same order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import filterfalse

from echomox.filter.factheader import box_of, head_of, header_facts, is_list, outside_facts
from echomox.filter.factlinks import link_facts
from echomox.filter.facttable import FACTS, NOTHING, Collector, Outside
from echomox.filter.features import Features
from echomox.filter.tokens import words_of
from echomox.message.html import HtmlText
from echomox.reservoir.membrane import Object
from echomox.reservoir.rules import Words

__all__ = ["FACTS", "NOTHING", "Outside", "WordTable", "facts", "head_of", "word_table"]


TEXT_CHARS = 3000
_ENDINGS = frozenset(
    "exe scr pif com bat cmd vbs vbe js jse wsf wsh hta cpl msi jar lnk ps1 reg iso img vhd one".split()  # noqa: SIM905
)
_PAGES = frozenset({"htm", "html", "shtml", "xhtml", "svg", "mht"})
_CODE_LINE = re.compile(r"\n(?:diff -|@@ -|Index: |\+\+\+ |#include|    def |\$ |#!/)")
_CODE = ("();", ") {", "Traceback (")
_FOOTERS = ("\n____________", "\n--~--", "/mailman/listinfo")
_MAILING = ("mailing list\n", "mailing list\r\n", "/mailing-list")
_BROKEN = re.compile(r"<!--[^>]{0,60}-->(?=[A-Za-z])")
_LOUD = (
    "color=red",
    'color="red',
    "#ff0000",
    "size=4",
    "size=5",
    "size=6",
    "size=7",
    'size="4',
    'size="5',
    'size="6',
    'size="7',
    "size=+",
    'size="+',
)
_FREE = re.compile(r"8(?:00|88|77|66)")
_PHONE = re.compile(r"8(?:00|88|77|66)[-. )]{1,2}\d{3}[-. ]\d{4}(?!\d)|0800[ /-]?\d{5}")
_LEET = str.maketrans("0134578@$|!", "oieastbasll".replace("ll", "li"), ".-_*'’")
_SIGNATURE = re.compile(r"\n-- ?\r?\n")
_ATTRIBUTION = re.compile(r":(?:\n\n?|\r\n(?:\r\n)?)>")
_NOT_UPPER = bytes(c for c in range(256) if not 65 <= c <= 90)
_NOT_LOWER = bytes(c for c in range(256) if not 97 <= c <= 122)


@dataclass(frozen=True, slots=True)
class WordTable:
    """The phrases of the rule file, indexed by one word of each. kinds: type -> membrane."""

    index: Mapping[str, tuple[tuple[str, str, frozenset[str]], ...]]
    """word -> (type, " phrase " or "" when the word is all of it, its words)"""
    kinds: Mapping[str, str]
    vocabulary: frozenset[str]
    single: frozenset[str]
    """Words of five letters and more that are phrases by themselves."""


def word_table(lines: Iterable[Words]) -> WordTable:
    """Built once for a rule file."""
    index: dict[str, list[tuple[str, str, frozenset[str]]]] = {}
    kinds: dict[str, str] = {}
    for kind, membrane, phrases, _ in lines:
        kinds.setdefault(kind, membrane)
        for text in phrases:
            words = [word.rstrip("!%") for word in words_of(text)]
            if words:
                rare = max(words, key=len)
                phrase = f" {' '.join(words)} " if len(words) > 1 else ""
                index.setdefault(rare, []).append((kind, phrase, frozenset(words)))
    single = frozenset(word for word, entries in index.items() if len(word) > 4 and any(not e[1] for e in entries))
    return WordTable({word: tuple(entries) for word, entries in index.items()}, kinds, frozenset(index), single)


def facts(
    features: Features, head: Mapping[str, str], table: WordTable, outside: Outside = NOTHING
) -> dict[str, list[Object]]:
    """The first objects of every membrane that gets any."""
    found = Collector()
    sender = box_of(head.get("from", ""), features.structure.from_text)
    pages = [(part.text, html) for part, html in features.parts if html]
    text = "\n".join([html.text if html else part.text for part, html in features.parts])[:TEXT_CHARS]
    _words(found, features, table, "!" in text or "%" in text or "!" in features.structure.subject)
    _text(found, text, bool(pages), is_list(head))
    _shape(found, features, text)
    for source, html in pages[:3]:
        _page(found, source, html, text)
    link_facts(found, pages, text, sender)
    header_facts(found, features, head, sender)
    outside_facts(found, features, sender, outside)
    return found.objects()


def _words(found: Collector, features: Features, table: WordTable, marks: bool) -> None:
    """marks: some words may end with ! or %."""
    known, odd = features.vocabulary()
    if marks:
        bare = [word.rstrip("!%") for word in odd if word[-1] in "!%"]
        known = known.union(bare)
        odd = tuple({*odd, *filterfalse(str.isalpha, bare)})
    hits: dict[str, int] = {}
    joined = ""
    for word in table.vocabulary & known:
        for kind, phrase, needed in table.index[word]:
            if phrase:
                if not needed <= known:
                    continue
                joined = joined or _joined(features)
                if phrase not in joined:
                    continue
            hits[kind] = hits.get(kind, 0) + 1
    for kind in sorted(hits):
        found.add(table.kinds[kind], kind, hits[kind])
    long = [word for word in odd if len(word) > 4]
    plains = "\n".join(long).translate(_LEET).split("\n")  # no word holds a line end
    if not table.single.isdisjoint(plains):
        pairs = zip(long, plains)
        found.add("content", "disguised_word", sum([p in table.single and _is_disguise(w, p) for w, p in pairs]))


def _joined(features: Features) -> str:
    """The words that a reader sees, a space around each."""
    runs = [" ".join(run) for tag, run in features.text.runs if run and tag in ("", "subject:")]
    return f" {' '.join(runs)} ".replace("!", "")


def _is_disguise(word: str, plain: str) -> bool:
    """v1agra and v.i.a.g.r.a are; on-line and won't are not."""
    letters = word.rstrip("!%")
    if any(c.isdigit() for c in letters):
        return letters[0].isalpha() or not letters.isalnum()
    return len(letters) - len(plain) >= len(plain) // 2 and letters != plain


def _text(found: Collector, text: str, html: bool, listed: bool) -> None:
    if not text.strip():
        found.add("content", "no_text")
        return
    raw = text.encode("latin-1", "ignore")
    upper, lower = len(raw.translate(None, _NOT_UPPER)), len(raw.translate(None, _NOT_LOWER))
    if upper + lower > 60 and upper > 0.3 * (upper + lower):
        found.add("content", "capitals")
    found.add("content", "exclamations", text.count("!"))
    if "%" in text:
        found.add("content", "percents", text.count("%"))
    of_others = 0 if text.isascii() else text.count("€") + text.count("£")
    found.add("content", "dollars", text.count("$") + of_others)
    if _FREE.search(text) and _PHONE.search(text):
        found.add("content", "phone")
    if html:
        return
    found.add("ham_words", "quoted", text.count("\n>") + text.startswith(">"))
    if not listed and _SIGNATURE.search(text):
        found.add("ham_words", "signature")
    if _CODE_LINE.search(text) or _holds(text, _CODE):
        found.add("ham_words", "code")
    if "-----BEGIN PGP" in text:
        found.add("ham_words", "pgp")
    if _holds(text, _FOOTERS) or ("mailing" in text and _holds(text, _MAILING)):
        found.add("ham_words", "list_footer")
    if _ATTRIBUTION.search(text):
        found.add("ham_words", "attribution")
    found.add("ham_words", "long_text", len(text) / 1000 if len(text) > 1500 else 0)


def _holds(text: str, marks: Iterable[str]) -> bool:
    """Any of them."""
    for mark in marks:  # noqa: SIM110 - a third of the time of any()
        if mark in text:
            return True
    return False


def _shape(found: Collector, features: Features, text: str) -> None:
    """What the parts are."""
    structure = features.structure
    kinds = [part.content_type for part in structure.parts if part.disposition != "attachment"]
    if "text/html" in kinds and "text/plain" not in kinds:
        found.add("content", "html_only")
    elif all(kind == "text/plain" for kind in kinds):
        found.add("content", "plain_only")
    if structure.defects:
        found.add("content", "broken_mime")
    for part in structure.parts:
        if part.content_type == "application/pgp-signature":
            found.add("ham_words", "pgp")
        if part.filename:
            _file(found, part.filename, part.disposition)
        if (
            part.encoding == "base64"
            and part.content_type.startswith("text/")
            and part.disposition != "attachment"
            and text.isascii()
            and part.size > 100
        ):
            found.add("content", "base64_text")
        if part.charset.lower() in ("", "us-ascii") and part.content_type.startswith("text/") and not text.isascii():
            found.add("content", "unnamed_charset")


def _file(found: Collector, name: str, disposition: str) -> None:
    pieces = name.lower().rstrip(" .").split(".")
    ending = pieces[-1]
    if len(pieces) > 1 and ending in _ENDINGS:
        found.add("content", "run_file")
        if len(pieces) > 2 and 2 <= len(pieces[-2].strip()) <= 4:
            found.add("content", "double_ending")
    elif len(pieces) > 1 and ending in _PAGES and disposition == "attachment":
        found.add("content", "page_file")


def _page(found: Collector, source: str, html: HtmlText, text: str) -> None:
    head = source[:6000].lower()
    if html.images and len(html.text) < 200:
        found.add("content", "image_only")
    found.add("content", "remote_images", len(html.remote))
    found.add("content", "web_bug", html.tiny)
    found.add("content", "hidden_text", len(html.hidden) / 100)
    found.add("content", "html_form", html.forms)
    if "<script" in head:
        found.add("content", "html_script")
    if "<!--" in head:
        inside = [m for m in _BROKEN.finditer(head) if head[m.start() - 1 : m.start()].isalpha()]
        found.add("content", "broken_words", len(inside))
    if 2000 < len(source) > 20 * len(html.text):
        found.add("content", "mostly_tags")
    found.add("content", "loud_colours", sum([head.count(mark) for mark in _LOUD]))
