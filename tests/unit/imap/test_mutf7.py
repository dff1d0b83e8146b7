"""imap.mutf7: RFC 3501 5.1.3."""

from __future__ import annotations

import pytest

from echomox.imap import mutf7

PAIRS = [
    ("~peter/mail/台北/日本語", b"~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
    ("☺!", b"&Jjo-!"),
    ("台北日本語", b"&U,BTF2XlZyyKng-"),
    ("", b""),
    ("INBOX", b"INBOX"),
    ("&", b"&-"),
    ("R&D", b"R&-D"),
    ("☺&", b"&Jjo-&-"),
    ("&☺", b"&-&Jjo-"),
    ("Entwürfe", b"Entw&APw-rfe"),
    ("Отправленные", b"&BB4EQgQ,BEAEMAQyBDsENQQ9BD0ESwQ1-"),
    ("😀", b"&2D3eAA-"),
    ("a\tb", b"a&AAk-b"),
]


@pytest.mark.parametrize("text, wire", PAIRS)
def test_names_on_the_wire(text, wire):
    assert mutf7.encode(text) == wire
    assert mutf7.decode(wire) == text


@pytest.mark.parametrize(
    "wire",
    [
        b"&Jjo!",  # no shift back
        b"&U,BTFw-&ZeVnLIqe-",  # superfluous shift
        b"&Jjo",
        b"&",
        b"a&b",
        b"&AGE-",  # "a" stands for itself
        b"&AGE",
        b"&Jj-",  # an octet and a half
        b"&Jjp-",  # bits left over
        b"&2D0-",  # half a surrogate pair
        b"&3gA-",
        b"&Jjo=-",
        b"&Jj/-",
        b"\xc3\xa4",
        b"a\tb",
        b"a\x7f",
        b"&ACY-",  # "&" is &-
    ],
)
def test_malformed_names_are_refused(wire):
    with pytest.raises(ValueError):
        mutf7.decode(wire)


def test_a_lone_surrogate_cannot_be_written():
    with pytest.raises(ValueError):
        mutf7.encode("\ud83d")
