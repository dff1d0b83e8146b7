"""Rights and the ACL commands' arguments. RFC 4314."""

from __future__ import annotations

import pytest

from echomox.imap import acl
from echomox.imap.lexer import Bad, Parser


@pytest.mark.parametrize(
    "written, kept, told",
    [
        ("", "", ""),
        ("lrswida", "lrswitea", "lrswiteda"),  # 2.1.1, first example
        ("lrswikda", "lrswiktea", "lrswiktecda"),
        ("cd", "kxte", "kxtecd"),
        ("aetxkpiwsrl", "lrswipkxtea", "lrswipkxtecda"),
        ("llrr", "lr", "lr"),
        ("x", "x", "xc"),
        ("e", "e", "ed"),
    ],
)
def test_rights(written: str, kept: str, told: str) -> None:
    assert acl.read_rights(written) == kept
    assert acl.shown(acl.read_rights(written)) == told


@pytest.mark.parametrize("text", ["q", "L", "lr ", "0", "+l", "é"])
def test_unknown_rights_are_bad(text: str) -> None:
    """RFC 4314 3.1."""
    with pytest.raises(Bad):
        acl.read_rights(text)


@pytest.mark.parametrize(
    "entries, rights",
    [
        ({}, ""),
        ({"bob": "lr"}, "lr"),
        ({"anyone": "l", "bob": "sr"}, "lrs"),
        ({"anyone": "lrs", "-bob": "s"}, "lr"),
        ({"anyone": "lrs", "-anyone": "r", "bob": "r"}, "ls"),
        ({"-bob": "l"}, ""),
        ({"carol": "lrswipkxtea"}, ""),
    ],
)
def test_what_bob_may(entries: dict[str, str], rights: str) -> None:
    assert acl.granted(entries, "bob") == rights


def test_arguments() -> None:
    assert acl.set_acl(Parser(b" Drafts chris +cda")) == acl.SetAcl("Drafts", "chris", "+", "kxtea")
    assert acl.set_acl(Parser(b' Drafts "chris" ""')) == acl.SetAcl("Drafts", "chris", "", "")
    assert acl.set_acl(Parser(b" inbox -fred -l")) == acl.SetAcl("INBOX", "-fred", "-", "l")
    assert acl.of_identifier(Parser(b" INBOX anyone")) == acl.OfIdentifier("INBOX", "anyone")
    for wrong in (b" INBOX", b" INBOX x", b' INBOX "" l', b" INBOX - l", b" INBOX x l more", b' INBOX "\x01" l', b""):
        with pytest.raises(Bad):
            acl.set_acl(Parser(wrong))


def test_changes() -> None:
    assert acl.changed("lr", "+", "sl") == "lrs"
    assert acl.changed("lrs", "-", "sk") == "lr"
    assert acl.changed("lrs", "", "a") == "a"
