"""imap.listing: RFC 3501 6.3.8 to 6.3.10, RFC 5258 5, RFC 5819, RFC 6154."""

from __future__ import annotations

import pytest

from echomox.imap.lexer import Bad
from echomox.imap.listing import Listing, Status
from tests.unit.imap.rows import parse

CASES = [
    # RFC 3501 6.3.8
    (b'"" ""', Listing("", ("",))),
    (b'#news.comp.mail.misc ""', Listing("#news.comp.mail.misc", ("",))),
    (b"~/Mail/ %", Listing("~/Mail/", ("%",))),
    # RFC 5258 5
    (b'"" "*"', Listing("", ("*",))),
    (b'(SUBSCRIBED) "" "*"', Listing("", ("*",), ("SUBSCRIBED",), extended=True)),
    (b'() "" "%" RETURN (CHILDREN)', Listing("", ("%",), (), ("CHILDREN",), extended=True)),
    (b'(remote) "" "%" return (children)', Listing("", ("%",), ("REMOTE",), ("CHILDREN",), extended=True)),
    (b'(REMOTE SUBSCRIBED) "" "*"', Listing("", ("*",), ("REMOTE", "SUBSCRIBED"), extended=True)),
    (b'"" ("INBOX" "Drafts" "Sent/%")', Listing("", ("INBOX", "Drafts", "Sent/%"), extended=True)),
    (
        b'(RECURSIVEMATCH SUBSCRIBED) "" "*2"',
        Listing("", ("*2",), ("RECURSIVEMATCH", "SUBSCRIBED"), extended=True),
    ),
    (b'"" (% music/rock)', Listing("", ("%", "music/rock"), extended=True)),
    # RFC 5819 2
    (
        b'"" % RETURN (STATUS (MESSAGES UNSEEN))',
        Listing("", ("%",), (), ("STATUS",), ("MESSAGES", "UNSEEN"), True),
    ),
    (
        b'"" % RETURN (SUBSCRIBED STATUS (SIZE) SPECIAL-USE)',
        Listing("", ("%",), (), ("SUBSCRIBED", "STATUS", "SPECIAL-USE"), ("SIZE",), True),
    ),
    # RFC 6154 5.2
    (b'(SPECIAL-USE) "" "*"', Listing("", ("*",), ("SPECIAL-USE",), extended=True)),
    (b'"" * RETURN ()', Listing("", ("*",), extended=True)),
]


@pytest.mark.parametrize("text, value", CASES)
def test_list(text, value):
    assert parse("LIST", b" " + text) == value


@pytest.mark.parametrize(
    "text",
    [
        b'""',
        b'"" ()',
        b'"" (a',
        b'(RECURSIVEMATCH) "" *',  # RFC 5258 3.1
        b'(RECURSIVEMATCH REMOTE) "" *',
        b'(FOO) "" *',
        b'"" * CHILDREN',
        b'"" * RETURN',
        b'"" * RETURN (FOO)',
        b'"" * RETURN (STATUS)',
        b'"" * RETURN (STATUS ())',
        b'"" * RETURN (STATUS (FOO))',
        b'"" (' + b" ".join([b"a"] * 101) + b")",
        b'"" a&b',
    ],
)
def test_what_is_no_list(text):
    with pytest.raises(Bad):
        parse("LIST", b" " + text)


def test_lsub():
    """RFC 3501 6.3.9."""
    assert parse("LSUB", b' "#news." "comp.mail.*"') == Listing("#news.", ("comp.mail.*",), ("SUBSCRIBED",))


def test_status():
    """RFC 3501 6.3.10, RFC 7162 3.1.7."""
    assert parse("STATUS", b" blurdybloop (UIDNEXT MESSAGES)") == Status(
        "blurdybloop", ("UIDNEXT", "MESSAGES")
    )
    assert parse("STATUS", b" inbox (uidnext HIGHESTMODSEQ uidnext)") == Status(
        "INBOX", ("UIDNEXT", "HIGHESTMODSEQ")
    )
    for wrong in (b" a", b" a ()", b" a (FOO)", b" a MESSAGES", b" a (MESSAGES) x"):
        with pytest.raises(Bad):
            parse("STATUS", wrong)
