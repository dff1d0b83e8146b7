"""Address lists of From, To and their kin (RFC 5322 3.4, 4.4; RFC 6532), and domains in comparable form.

Takes what the rule allows and what is sent instead: groups, nested comments, quoted strings, source routes,
domain literals, obsolete empty list members, encoded words, UTF-8, a missing domain, a stray bracket. One
pass over the tokens, bounded number of addresses; never raises. Names are kept as written (quotes taken off,
encoded words not decoded): `decoded` gives text for people.

A value comes in as str: UTF-8 with surrogateescape for bytes that are not (`address_text`), so that ENVELOPE
can give the very bytes back. Paths of SMTP commands are another grammar and not here.
"""

from __future__ import annotations

import encodings.punycode  # noqa: F401 - idna looks it up by name, when rights may be dropped already
import re
from collections.abc import Iterable
from typing import NamedTuple

from echomox.message import encoded, header
from echomox.message.wire import MAX_QUOTED, imap_string

MAX_ADDRESSES = header.DEFAULT.addresses


class Mailbox(NamedTuple):
    """local and domain without quotes and white space, case as written; domain "" when it is missing. route:
    "@a,@b" or ""."""

    name: str
    local: str
    domain: str
    route: str = ""

    @property
    def address(self) -> str:
        """local@domain, the local part quoted where it must be (RFC 5321 4.1.2); only the local part without
        a domain."""
        local = self.local if _DOT_ATOM.fullmatch(self.local) else _quote(self.local)
        return f"{local}@{self.domain}" if self.domain else local


class Group(NamedTuple):
    name: str
    members: tuple[Mailbox, ...]


Address = Mailbox | Group

_DOT_ATOM = re.compile(r"[^\x00-\x20\x7f\"(),:;<>@\[\\\].]+(?:\.[^\x00-\x20\x7f\"(),:;<>@\[\\\].]+)*")
# The usual forms: name <a@b>, "name" <a@b>, <a@b>, a@b; each up to its comma or the end.
_USUAL = re.compile(
    r"\s*+(?:(?:\"([^\"\\\r\n]*+)\"\s*+|([^\x00-\x08\x0a-\x1f\"\\<>()@,;:\[\].]*+))"
    r"<([^\s\"\\<>()@,;:\[\]]++)@([^\s\"\\<>()@,;:\[\]]++)>"
    r"|([^\s\"\\<>()@,;:\[\]]++)@([^\s\"\\<>()@,;:\[\]]++))\s*+(?:,|\Z)"
)
_TOKEN = re.compile(
    r"(?P<space>\s++)|\"(?P<quoted>(?:[^\"\\]++|\\.)*+)\"?|(?P<literal>\[[^\[\]]*+\]?)|(?P<special>[()<>@,;:])|"
    r"(?P<atom>[^\s\"()<>@,;:\[\]\\]++)|\\(?P<escaped>.?)|(?P<other>.)",
    re.S,
)
_ESCAPE = re.compile(r"\\(.)", re.S)
_SPACE = re.compile(r"\s+")
_IN_COMMENT = re.compile(r"\\.|[()]|[^\\()]++|\\", re.S)


def address_text(value: bytes) -> str:
    """A raw field value as the str that `parse_addresses` takes."""
    return value.decode("utf-8", "surrogateescape")


def parse_addresses(value: str, limit: int = MAX_ADDRESSES) -> list[Address]:
    """Mailboxes and groups in order, at most `limit` of both; what is no address at all is left out."""
    found: list[Address] = []
    position, size = 0, len(value)
    while position < size and len(found) < limit:
        match = _USUAL.match(value, position)
        if match is None:
            if value[position:].strip(" \t\r\n,"):
                _Parser(value, position, limit, found).run()
            break
        quoted, phrase, local, domain, bare_local, bare_domain = match.groups()
        if bare_local is not None:
            found.append(Mailbox("", bare_local, bare_domain))
        else:
            found.append(Mailbox(_tidy(phrase if quoted is None else quoted), local, domain))
        position = match.end()
    return found


def _tidy(name: str) -> str:
    name = name.strip()
    return _SPACE.sub(" ", name) if "  " in name or "\n" in name or "\t" in name else name


class _Parser:
    """The general case, one token after another.

    words: of the part before "<" or of a bare address; local: the part before "@" once that was seen; angle:
    inside "<…>".
    """

    def __init__(self, value: str, position: int, limit: int, found: list[Address]) -> None:
        self.value = value
        self.position = position
        self.limit = limit - len(found)
        self.found = found
        self.group: str | None = None
        self.members: list[Mailbox] = []
        self._clear()

    def _clear(self) -> None:
        self.words: list[str] = []
        self.name: str | None = None
        self.local: str | None = None
        self.comment = ""
        self.route = ""
        self.angle = False
        self.done = False
        self.space = False

    def run(self) -> None:
        value, size = self.value, len(self.value)
        while self.position < size and self.limit > 0:
            match = _TOKEN.match(value, self.position)
            assert match is not None
            self.position = match.end()
            kind, text = match.lastgroup, match[match.lastgroup or 0]
            if kind == "space":
                self.space = True
            elif kind == "special":
                self._special(text)
            elif not self.done:
                self._word(_ESCAPE.sub(r"\1", text) if kind == "quoted" and "\\" in text else text)
        self._finish()
        if self.group is not None:
            self.found.append(Group(self.group, tuple(self.members)))

    def _word(self, text: str) -> None:
        """White space joins words of a name with a space; in an address it is nothing beside a dot (RFC 5322
        4.4), and elsewhere a forgotten comma."""
        if self.words and self.space and not self.angle:
            if self.local is None:
                self.words.append(" ")
            elif text[:1] != "." and self.words[-1][-1:] != ".":
                self._finish()
        self.words.append(text)
        self.space = False

    def _special(self, text: str) -> None:
        if text == "(":
            self._comment()
        elif text == ",":
            if self.angle and self.local is not None and not self.local:
                self._route()
            else:
                self._finish()
        elif text == ";":
            self._finish()
            if self.group is not None:
                self.found.append(Group(self.group, tuple(self.members)))
                self.group, self.members = None, []
                self.limit -= 1
        elif text == ":":
            self._colon()
        elif text == "<":
            if not self.angle and not self.done:
                self._open()
        elif text == ">":
            if self.angle:
                self.angle, self.done = False, True
        elif not self.done:
            self._at()

    def _comment(self) -> None:
        """Nested comments (RFC 5322 3.2.2); the last one names a bare address: joe@example.org (Joe)."""
        depth, start = 1, self.position
        for match in _IN_COMMENT.finditer(self.value, start):
            piece = match[0]
            depth += (piece == "(") - (piece == ")")
            self.position = match.end()
            if depth == 0:
                break
        inner = self.value[start : self.position - (depth == 0)]
        self.comment = _ESCAPE.sub(r"\1", inner).strip()
        self.space = True

    def _open(self) -> None:
        """ "<": the words before it are the name; with an "@" among them they are a name too, of people who
        write a@b <a@b>."""
        name = "".join(self.words)
        self.name = f"{self.local}@{name}" if self.local is not None else name
        self.words, self.local, self.angle, self.space = [], None, True, False

    def _colon(self) -> None:
        if self.angle:
            self._route()
        elif self.group is None and self.local is None and not self.done:
            name = "".join(self.words)
            self._clear()
            self.group = name
        # else: a stray colon is nothing

    def _route(self) -> None:
        """@a,@b: (RFC 5322 4.4, obs-route): one domain of it is complete."""
        domain = "".join(self.words)
        if self.local == "" and domain:
            self.route = f"{self.route},@{domain}" if self.route else f"@{domain}"
        self.words, self.local = [], None

    def _at(self) -> None:
        if self.local is None:
            self.local = "".join([word for word in self.words if word != " "])
            self.words = []
        elif self.words:  # a second "@": the last one parts local and domain
            self.local = f"{self.local}@{''.join(self.words)}"
            self.words = []
        self.space = False

    def _finish(self) -> None:
        """The end of one list member."""
        text = "".join(self.words)
        if self.name is not None or self.local is not None or text:
            local, domain = (text, "") if self.local is None else (self.local, text)
            name = _tidy(self.name or "") or self.comment
            if local or domain or name:
                box = Mailbox(name, local, domain, self.route)
                self.limit -= 1
                if self.group is None:
                    self.found.append(box)
                else:
                    self.members.append(box)
        self._clear()


def mailboxes(addresses: Iterable[Address]) -> list[Mailbox]:
    """All mailboxes, those in groups too."""
    out: list[Mailbox] = []
    for item in addresses:
        if isinstance(item, Group):
            out.extend(item.members)
        else:
            out.append(item)
    return out


def decoded(text: str) -> str:
    """A name of an address as text for people."""
    if text.isascii():
        return encoded.decode_words(text) if "=?" in text or not text.isprintable() else text
    return encoded.decode_words(text.encode("utf-8", "surrogateescape"))


def display(addresses: Iterable[Address]) -> str:
    """Decoded text of a list for search and view: "Name <a@b>, c@d"; a group is "name: a@b, c@d;"."""
    out = []
    for item in addresses:
        if isinstance(item, Group):
            out.append(f"{decoded(item.name)}: {display(item.members)};")
        elif item.name:
            out.append(f"{decoded(item.name)} <{decoded(item.address)}>")
        else:
            out.append(decoded(item.address))
    return ", ".join(out)


def format_mailbox(box: Mailbox) -> str:
    """For a field we compose: the name as atoms, quoted string or encoded words (RFC 2047 5), as it needs."""
    if not box.name:
        return box.address
    if not box.name.isascii() or not box.name.isprintable():
        return f"{encoded.encode_words(box.name)} <{box.address}>"
    plain = re.fullmatch(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+", box.name) and "=?" not in box.name
    return f"{box.name if plain else _quote(box.name)} <{box.address}>"


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def envelope_list(addresses: Iterable[Address]) -> bytes:
    """The parenthesised list of ENVELOPE (RFC 9051 7.5.2); NIL for no address. Bytes are those of the
    message."""
    out: list[bytes] = []
    for item in addresses:
        if isinstance(item, Group):
            out.append(b"(NIL NIL " + _string(item.name) + b" NIL)")
            out.extend(map(_one, item.members))
            out.append(b"(NIL NIL NIL NIL)")
        else:
            out.append(_one(item))
    return b"(" + b"".join(out) + b")" if out else b"NIL"


def _one(box: Mailbox) -> bytes:
    # A missing domain is "", never NIL, which would make it a group (RFC 9051 9, addr-host).
    name, local, domain, route = box
    whole = name + local + domain
    simple = whole.isascii() and whole.isprintable() and '"' not in whole and "\\" not in whole
    if simple and not route and len(whole) <= MAX_QUOTED:
        first = f'("{name}" NIL ' if name else "(NIL NIL "
        return f'{first}"{local}" "{domain}")'.encode("ascii")
    name_string = _string(name) if name else b"NIL"
    route_string = _string(route) if route else b"NIL"
    return b"(%b %b %b %b)" % (name_string, route_string, _string(local), _string(domain))


def _string(text: str) -> bytes:
    return imap_string(text.encode("utf-8", "surrogateescape"))


# Domains

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")


def normalise_domain(domain: str) -> str:
    """The form in which domains are compared: lower-case A-labels (IDNA2008 with the mappings of UTS 46), no last dot;
    an address literal in lower case. Raises ValueError for what is no domain name."""
    if domain.startswith("[") and domain.endswith("]"):
        return domain.lower()
    name = domain.removesuffix(".")
    if name.isascii():
        name = name.lower()
    else:
        import idna  # only here: most processes never see a U-label

        try:
            name = idna.encode(name, uts46=True).decode("ascii").lower()
        except (idna.IDNAError, UnicodeError) as error:
            raise ValueError(f"not a domain name ({error})") from error
    if len(name) > 253 or not all(map(_LABEL.fullmatch, name.split("."))):
        raise ValueError("not a domain name: labels of letters, digits and hyphens, joined by dots")
    return name


def same_domain(one: str, other: str) -> bool:
    """Equal after `normalise_domain`; what is no domain equals only itself, without case."""
    if one.isascii() and other.isascii():
        return one.lower().removesuffix(".") == other.lower().removesuffix(".")
    try:
        return normalise_domain(one) == normalise_domain(other)
    except ValueError:
        return one.lower() == other.lower()


def unicode_domain(domain: str) -> str:
    """For people: A-labels as Unicode where they are valid IDNA2008; else as they are."""
    return ".".join(_unicode_label(label) for label in domain.split("."))


def _unicode_label(label: str) -> str:
    if not label.lower().startswith("xn--"):
        return label
    import idna

    try:
        return idna.ulabel(label.lower())
    except (idna.IDNAError, UnicodeError, IndexError):
        return label
