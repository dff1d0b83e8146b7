"""Paths and parameters of MAIL and RCPT, host names of EHLO: the grammar of RFC 5321 4.1.2 and 4.1.3,
strict; pure.

RFC 5321 4.5.3.1 (lengths, in octets), RFC 6531 3.3 (UTF-8, with SMTPUTF8 only). Stricter than
common practice in nothing, laxer in two points: white space may stand between the colon and "<", and a
domain may hold underscores. Source routes ("<@a,@b:c@d>") are read and dropped (RFC 5321 appendix C).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

LOCAL_LIMIT = 64
DOMAIN_LIMIT = 255
PATH_LIMIT = 254

_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-]"
_DOT_STRING = rf"{_ATEXT}++(?:\.{_ATEXT}++)*+"
_QUOTED = r'"(?:[ !#-\[\]-~\x80-\U0010ffff]|\\[ -~])*+"'
_LABEL = r"[A-Za-z0-9_\x80-\U0010ffff](?:[A-Za-z0-9_\x80-\U0010ffff-]{0,61}[A-Za-z0-9_\x80-\U0010ffff])?"
_DOMAIN = rf"{_LABEL}(?:\.{_LABEL})*+"
_LITERAL = r"\[[!-Z^-~]++\]"
_MAILBOX = rf"({_DOT_STRING}|{_QUOTED})@({_DOMAIN}|{_LITERAL})"
_ROUTE = rf"(?:@(?:{_DOMAIN}|{_LITERAL})(?:,@(?:{_DOMAIN}|{_LITERAL}))*+:)?"
_PATH = re.compile(rf"<{_ROUTE}{_MAILBOX}>")
_SIMPLE = re.compile(r"<([A-Za-z0-9._-]++)@([A-Za-z0-9.-]++)>")
_POSTMASTER = re.compile(r"<(postmaster)>", re.I)
_ADDRESS = re.compile(_MAILBOX)
_LITERAL_TAG = re.compile(r"[A-Za-z0-9-]*[A-Za-z0-9]:[!-Z^-~]+")
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~\x80-\U0010ffff]+))?")
_HOST = re.compile(r"[!-~]{1,255}")


class BadAddress(ValueError):
    """str() says what is wrong, in words for the client that hold nothing of what it sent."""


class NeedsUtf8(BadAddress):
    """Not ASCII, and the client did not ask for SMTPUTF8."""


@dataclass(frozen=True, slots=True)
class Path:
    """address: "" for <>; else "local@domain", the local part in quotes only where it needs them;
    "postmaster" alone for <postmaster>. ascii: whether it is all ASCII."""

    address: str
    ascii: bool = True


NULL = Path("")


def parse_path(text: str, null: bool = False, postmaster: bool = False) -> tuple[Path, str]:
    """The path that `text` begins with, and what follows it, without the space between.

    null: "<>" is allowed (MAIL). postmaster: "<postmaster>" is allowed (RCPT, RFC 5321 4.1.1.3). Raises
    BadAddress.
    """
    if null and text.startswith("<>"):
        return NULL, _rest(text, 2)
    match = _PATH.match(text)
    if match is None:
        found = _POSTMASTER.match(text) if postmaster else None
        if found is None:
            raise BadAddress("an address in angle brackets is needed, as <user@example.com>")
        return Path(found[1]), _rest(text, found.end())
    return Path(_canonical(match[1], match[2]), match[0].isascii()), _rest(text, match.end())


def parse_address(text: str) -> str:
    """An address without brackets, normalised as in Path; raises BadAddress."""
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise BadAddress("not an address, as user@example.com")
    return _canonical(match[1], match[2])


def _rest(text: str, end: int) -> str:
    if end < len(text) and text[end] != " ":
        raise BadAddress("a space is needed after the address")
    return text[end:].strip(" ")


def _canonical(local: str, domain: str) -> str:
    if local[0] == '"':
        local = _unquote(local)
    if domain[0] == "[":
        check_literal(domain)
    if local.isascii() and domain.isascii():
        sizes = len(local), len(domain)
    else:
        if _has_control(local) or _has_control(domain):
            raise BadAddress("control characters are not allowed in an address")
        sizes = len(local.encode()), len(domain.encode())
    if sizes[0] > LOCAL_LIMIT:
        raise BadAddress("the local part is longer than 64 octets")
    if sizes[1] > DOMAIN_LIMIT:
        raise BadAddress("the domain is longer than 255 octets")
    if sizes[0] + sizes[1] + 1 > PATH_LIMIT:
        raise BadAddress("the address is longer than 254 octets")
    return f"{local}@{domain}"


_BARE = re.compile(_DOT_STRING)


def _unquote(local: str) -> str:
    """Quotes only where they are needed, no needless backslashes (RFC 5321 4.1.2: the two are one
    address)."""
    content = re.sub(r"\\(.)", r"\1", local[1:-1])
    if not content:
        raise BadAddress("the local part is empty")
    if _BARE.fullmatch(content):
        return content
    return '"' + re.sub(r'(["\\])', r"\\\1", content) + '"'


def _has_control(text: str) -> bool:
    """C1 controls, and line and paragraph separators: ASCII controls are not in the grammar."""
    return not all(c.isprintable() or c == " " for c in text)


def check_literal(literal: str) -> None:
    """[192.0.2.1], [IPv6:2001:db8::1] or [tag:content]; raises BadAddress."""
    inside = literal[1:-1]
    try:
        if inside[:5].lower() == "ipv6:":
            IPv6Address(inside[5:])
        elif not _LITERAL_TAG.fullmatch(inside):
            IPv4Address(inside)
    except ValueError:
        raise BadAddress("the address literal is not valid") from None


def parse_parameters(text: str) -> dict[str, str | None]:
    """ "SIZE=1 BODY=8BITMIME SMTPUTF8" to upper-case keywords and values, None without "="; raises
    BadAddress."""
    found: dict[str, str | None] = {}
    for word in text.split():
        match = _PARAMETER.fullmatch(word)
        if match is None:
            raise BadAddress("a parameter is malformed")
        keyword = match[1].upper()
        if keyword in found:
            raise BadAddress("a parameter is given twice")
        found[keyword] = match[2]
    return found


def parse_host(text: str) -> str:
    """The name that a client gives itself. Any visible ASCII is taken: it proves nothing, and many send odd
    ones."""
    if not _HOST.fullmatch(text):
        raise BadAddress("a host name is needed")
    return text
