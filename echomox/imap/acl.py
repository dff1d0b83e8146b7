"""Rights to a mailbox, and the arguments of the ACL commands. RFC 4314 2, 3 and 7.

    l lookup   r read   s \\Seen   w other flags   i insert   p post   k create below   x delete the mailbox
    t \\Deleted   e expunge   a administer;  c = kx and d = te are those of RFC 2086

An access list gives identifiers their rights: names of accounts, or "anyone"; "-" before an identifier takes rights
away. Rights are strings of letters in the order of RIGHTS. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from echomox.imap.grammar import OfMailbox, of_mailbox
from echomox.imap.lexer import Bad, Parser

__all__ = ["ALL", "ANYONE", "OfIdentifier", "OfMailbox", "SetAcl", "granted", "of_identifier", "of_mailbox", "set_acl"]

RIGHTS = "lrswipkxtea"
ALL = RIGHTS
ANYONE = "anyone"
VIRTUAL: Mapping[str, str] = {"c": "kx", "d": "te"}
"""Rights of RFC 2086 and what they stand for (RFC 4314 2.1.1)."""


@dataclass(frozen=True, slots=True)
class OfIdentifier:
    """DELETEACL, LISTRIGHTS."""

    mailbox: str
    identifier: str


@dataclass(frozen=True, slots=True)
class SetAcl:
    """change: "+" adds, "-" removes, "" replaces."""

    mailbox: str
    identifier: str
    change: str
    rights: str


def in_order(letters: str) -> str:
    """Each right once."""
    return "".join(right for right in RIGHTS if right in letters)


def read_rights(text: str) -> str:
    """Rights as a client writes them; raises Bad for one that there is not (RFC 4314 3.1)."""
    for letter in text:
        if letter not in RIGHTS and letter not in VIRTUAL:
            raise Bad(f"There is no right {letter}")
    return in_order("".join(VIRTUAL.get(letter, letter) for letter in text))


def shown(rights: str) -> str:
    """As a response has them, with the virtual ones (RFC 4314 2.1.1)."""
    virtual = "".join(letter for letter, members in VIRTUAL.items() if set(members) & set(rights))
    return "".join(right for right in RIGHTS[:-1] + virtual + RIGHTS[-1] if right in rights + virtual)


def changed(old: str, change: str, rights: str) -> str:
    if change == "+":
        return in_order(old + rights)
    if change == "-":
        return "".join(right for right in old if right not in rights)
    return rights


def granted(acl: Mapping[str, str], account: str) -> str:
    """What an account that does not own the mailbox may do: rights of its own and of anyone, without those taken away
    from either."""
    given = acl.get(account, "") + acl.get(ANYONE, "")
    if not given:
        return ""
    taken = acl.get("-" + account, "") + acl.get("-" + ANYONE, "")
    return "".join(right for right in RIGHTS if right in given and right not in taken)


def _identifier(parser: Parser) -> str:
    """RFC 4314 3: one that is empty is refused with BAD."""
    name = parser.text_string()
    if not name or name == "-" or not name.isprintable():
        raise Bad("Expected an identifier")
    return name


def of_identifier(parser: Parser) -> OfIdentifier:
    parser.space()
    mailbox = parser.mailbox()
    parser.space()
    identifier = _identifier(parser)
    parser.end()
    return OfIdentifier(mailbox, identifier)


def set_acl(parser: Parser) -> SetAcl:
    parser.space()
    mailbox = parser.mailbox()
    parser.space()
    identifier = _identifier(parser)
    parser.space()
    text = parser.text_string()
    parser.end()
    change = text[:1] if text[:1] in ("+", "-") else ""
    return SetAcl(mailbox, identifier, change, read_rights(text[len(change) :]))
