"""Paths, parameters and host names (RFC 5321 4.1.2, RFC 6531 3.3)."""

import pytest

from echomox.smtpd.address import BadAddress, parse_address, parse_host, parse_parameters, parse_path

L64, L65 = "l" * 64, "l" * 65
GOOD = [
    ("<a@b.example>", "a@b.example", ""),
    ("<a@b.example> SIZE=1", "a@b.example", "SIZE=1"),
    ("<a@localhost>", "a@localhost", ""),
    ("<A.B+c=d@Example.ORG>", "A.B+c=d@Example.ORG", ""),
    ("<!#$%&'*+-/=?^_`{|}~@b.c>", "!#$%&'*+-/=?^_`{|}~@b.c", ""),
    ('<"a b"@c.example>', '"a b"@c.example', ""),
    ('<"plain"@c.example>', "plain@c.example", ""),
    ('<"a\\"b\\\\c"@c.example>', '"a\\"b\\\\c"@c.example', ""),
    ('<"a\\@b"@c.example>', '"a@b"@c.example', ""),
    ('<">"@c.example>', '">"@c.example', ""),
    ("<a@[192.0.2.1]>", "a@[192.0.2.1]", ""),
    ("<a@[IPv6:2001:db8::1]>", "a@[IPv6:2001:db8::1]", ""),
    ("<a@[x-tag:content]>", "a@[x-tag:content]", ""),
    # RFC 5321 appendix C: source routes are accepted and ignored.
    ("<@hosta.int,@jkl.org:userc@d.bar.org>", "userc@d.bar.org", ""),
    ("<@one.example:a@b.example>", "a@b.example", ""),
    (f"<{L64}@b.example>", f"{L64}@b.example", ""),
    ("<a@foo_bar.example>", "a@foo_bar.example", ""),
]
BAD = [
    "", "<>", "a@b.example", "<a@b.example", "a@b.example>", "<a>", "<@b.example>", "<a@>", "<a b@c>", "<a@b c>",
    "<.a@b>", "<a.@b>", "<a..b@c>", "<a@b..c>", "<a@.b>", "<a@b.>", "<a@-b.c>", "<a@b-.c>", "<a@b>x", "<a@b>\tSIZE=1",
    "<<a@b>>", "<a@@b>", "<a@b@c>", "<a(comment)@b>", "<a@b(comment)>", "<a,b@c>", "<a;b@c>", '<"a@b>', '<a"b@c>',
    "<a\x00@b>", "<a\r@b>", "<a\n@b>", "<a\x7f@b>", '<"a\x01"@b>', '<""@b>', "<\xa0\x85@b.c>", "<a@b\u2028.c>",
    "<a@[1.2.3]>", "<a@[1.2.3.400]>", "<a@[IPv6:zz]>", "<a@[]>", "<a@[192.0.2.1>", "<user%host@>",
    f"<{L65}@b.example>", f"<a@{'d' * 64}.example>", f"<a@{'.'.join(['d' * 60] * 5)}>", f"<{'ü' * 33}@b.example>",
    f"<{'l' * 60}@{'.'.join(['d' * 60] * 4)}>", "<postmaster>",
]  # fmt: skip


@pytest.mark.parametrize("text, address, rest", GOOD)
def test_a_path_is_read_and_normalised(text, address, rest):
    path, after = parse_path(text)
    assert (path.address, after) == (address, rest)


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_path_is_refused(text):
    with pytest.raises(BadAddress):
        parse_path(text)


def test_the_null_path_is_for_senders_and_postmaster_for_recipients():
    assert parse_path("<> SIZE=1", null=True)[0].address == ""
    assert parse_path("<PostMaster>", postmaster=True)[0].address == "PostMaster"
    with pytest.raises(BadAddress):
        parse_path("<>x", null=True)


@pytest.mark.parametrize(
    "text, ascii", [("<ü@b.c>", False), ("<a@bücher.example>", False), ("<a@b.c>", True)]
)
def test_utf8_is_read_and_told(text, ascii):
    assert parse_path(text)[0].ascii is ascii


def test_an_address_without_brackets():
    assert parse_address('"a b"@c.example') == '"a b"@c.example'
    with pytest.raises(BadAddress):
        parse_address("a@b.example junk")


def test_long_input_is_refused_in_linear_time():
    for text in (
        "<" + "a." * 100_000 + "@b>",
        "<a@" + "b." * 100_000,
        '<"' + "a" * 200_000,
        "<@a" + ",@a" * 100_000,
    ):
        with pytest.raises(BadAddress):
            parse_path(text)


def test_parameters():
    assert parse_parameters("size=5 BODY=8BITMIME smtputf8") == {
        "SIZE": "5",
        "BODY": "8BITMIME",
        "SMTPUTF8": None,
    }
    for text in ("SIZE=1 size=2", "=5", "A=", "A=b=c", "A_B=1", "A=b\x01"):
        with pytest.raises(BadAddress):
            parse_parameters(text)


@pytest.mark.parametrize("text", ["", "a b", "a\tb", "x" * 256, "bü"])
def test_what_is_no_host_name(text):
    with pytest.raises(BadAddress):
        parse_host(text)
