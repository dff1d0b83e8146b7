"""Address lists (RFC 5322 3.4, 4.4, appendix A) and domains."""

import pytest

from echomox.message.address import (
    Group,
    Mailbox,
    address_text,
    display,
    envelope_list,
    format_mailbox,
    mailboxes,
    normalise_domain,
    parse_addresses,
    same_domain,
    unicode_domain,
)

ED = Mailbox("Ed Jones", "c", "a.test")
JOE = Mailbox("", "joe", "where.test")
JOHN = Mailbox("John", "jdoe", "one.test")

RFC5322_A = [
    # A.1.1
    ("John Doe <jdoe@machine.example>", [Mailbox("John Doe", "jdoe", "machine.example")]),
    # A.1.2
    ('"Joe Q. Public" <john.q.public@example.com>', [Mailbox("Joe Q. Public", "john.q.public", "example.com")]),
    (
        "Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>",
        [Mailbox("Mary Smith", "mary", "x.test"), Mailbox("", "jdoe", "example.org"), Mailbox("Who?", "one", "y.test")],
    ),
    (
        '<boss@nil.test>, "Giant; \\"Big\\" Box" <sysservices@example.net>',
        [Mailbox("", "boss", "nil.test"), Mailbox('Giant; "Big" Box', "sysservices", "example.net")],
    ),
    # A.1.3
    ("A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;", [Group("A Group", (ED, JOE, JOHN))]),
    ("Undisclosed recipients:;", [Group("Undisclosed recipients", ())]),
    # A.5
    (
        "Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>",
        [Mailbox("Pete", "pete", "silly.test")],
    ),
    (
        "A Group(Some people)\r\n     :Chris Jones <c@(Chris's host.)public.example>,\r\n         joe@example.org,\r\n"
        "  John <jdoe@one.test> (my dear friend); (the end of the group)",
        [
            Group(
                "A Group",
                (Mailbox("Chris Jones", "c", "public.example"), Mailbox("", "joe", "example.org"), JOHN),
            )
        ],
    ),
    ("(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;", [Group("Hidden recipients", ())]),
    # A.6.1
    ("Joe Q. Public <john.q.public@example.com>", [Mailbox("Joe Q. Public", "john.q.public", "example.com")]),
    (
        "Mary Smith <@node.test:mary@example.net>, , jdoe@test  . example",
        [Mailbox("Mary Smith", "mary", "example.net", "@node.test"), Mailbox("", "jdoe", "test.example")],
    ),
    # A.6.3
    ("John Doe <jdoe@machine(comment).  example>", [Mailbox("John Doe", "jdoe", "machine.example")]),
    ("Mary Smith\r\n  \r\n          <mary@example.net>", [Mailbox("Mary Smith", "mary", "example.net")]),
]


@pytest.mark.parametrize("value, expected", RFC5322_A)
def test_addresses_are_read_as_in_rfc5322_appendix_a(value, expected):
    assert parse_addresses(value) == expected


@pytest.mark.parametrize(
    "value, expected",
    [
        ("", []),
        (" , ,, ", []),
        ("undisclosed-recipients", [Mailbox("", "undisclosed-recipients", "")]),
        ("alice", [Mailbox("", "alice", "")]),
        ("Alice <alice>", [Mailbox("Alice", "alice", "")]),
        ("Alice <>", [Mailbox("Alice", "", "")]),
        ("<>", []),
        ("joe@example.org (Joe Doe)", [Mailbox("Joe Doe", "joe", "example.org")]),
        ("(((", []),
        ('"quoted local"@x.test', [Mailbox("", "quoted local", "x.test")]),
        ('"a@b"@x.test', [Mailbox("", "a@b", "x.test")]),
        ("a@b@x.test", [Mailbox("", "a@b", "x.test")]),
        ("joe@[192.0.2.1]", [Mailbox("", "joe", "[192.0.2.1]")]),
        ("joe@[IPv6:2001:db8::1]", [Mailbox("", "joe", "[IPv6:2001:db8::1]")]),
        ("<@a.test,@b.test:joe@c.test>", [Mailbox("", "joe", "c.test", "@a.test,@b.test")]),
        ("a@b.test <a@b.test>", [Mailbox("a@b.test", "a", "b.test")]),
        ("Smith, John <j@x.test>", [Mailbox("", "Smith", ""), Mailbox("John", "j", "x.test")]),
        ("Alice <alice@x.test", [Mailbox("Alice", "alice", "x.test")]),
        ("<a@x.test>, <b@x.test>;", [Mailbox("", "a", "x.test"), Mailbox("", "b", "x.test")]),
        ("a@x.test b@x.test", [Mailbox("", "a", "x.test"), Mailbox("", "b", "x.test")]),
        ("Gruppe: a@x.test", [Group("Gruppe", (Mailbox("", "a", "x.test"),))]),
        ("a: b@x.test;, c@x.test", [Group("a", (Mailbox("", "b", "x.test"),)), Mailbox("", "c", "x.test")]),
        ("用户@例子.测试", [Mailbox("", "用户", "例子.测试")]),
        ("René <rene@x.test>", [Mailbox("René", "rene", "x.test")]),
        ("=?utf-8?q?Ren=C3=A9?= <rene@x.test>", [Mailbox("=?utf-8?q?Ren=C3=A9?=", "rene", "x.test")]),
        ('"unended <a@x.test>', [Mailbox("", "unended <a@x.test>", "")]),
        ("\\", []),
    ],
)
def test_addresses_of_the_real_world(value, expected):
    assert parse_addresses(value) == expected


def test_number_of_addresses_is_bounded():
    many = ", ".join(f"user{n}@example.org" for n in range(10_000))
    assert len(parse_addresses(many)) == 500
    assert len(parse_addresses(many, 3)) == 3
    members = parse_addresses("g: " + many + ";")
    assert len(mailboxes(members)) == 500
    assert len(parse_addresses("g:;" * 10_000)) == 500


@pytest.mark.parametrize(
    "piece", ["(", ")", "<", ">", '"', "\\", ",", ";", ":", "@", "[", "a ", '"a', "(\\", "<@a:", "a@b "]
)
def test_hostile_lists_end(piece):
    """One pass: each token is matched once where the last one ended."""
    parse_addresses(piece * 20_000)


def test_display_is_decoded_text():
    value = b'=?utf-8?q?Ren=C3=A9?= <rene@x.test>, "Bo, b" <b@x.test>, Team: c@x.test, Jos\xe9 <j@x.test>;'
    shown = "René <rene@x.test>, Bo, b <b@x.test>, Team: c@x.test, José <j@x.test>;"
    assert display(parse_addresses(address_text(value))) == shown


@pytest.mark.parametrize(
    "value, wire",
    [
        (b"", b"NIL"),
        (b"Terry Gray <gray@cac.washington.edu>", b'(("Terry Gray" NIL "gray" "cac.washington.edu"))'),
        (
            b"a@x.test, B <b@x.test>",
            b'((NIL NIL "a" "x.test")("B" NIL "b" "x.test"))',
        ),
        # RFC 9051 7.5.2: group syntax is a NIL host
        (
            b"Team:a@x.test;, b@x.test",
            b'((NIL NIL "Team" NIL)(NIL NIL "a" "x.test")(NIL NIL NIL NIL)(NIL NIL "b" "x.test"))',
        ),
        (b"Undisclosed recipients:;", b'((NIL NIL "Undisclosed recipients" NIL)(NIL NIL NIL NIL))'),
        (b"alice", b'((NIL NIL "alice" ""))'),
        (b"M <@n.test:m@x.test>", b'(("M" "@n.test" "m" "x.test"))'),
        (b'"a \\"b\\" \\\\" <c@x.test>', b'(("a \\"b\\" \\\\" NIL "c" "x.test"))'),
        # 8-bit bytes go out as they came in, in a literal
        (b"Jos\xe9 <j@x.test>", b'(({4}\r\nJos\xe9 NIL "j" "x.test"))'),
        (b"Jos\xc3\xa9 <j@x.test>", b'(({5}\r\nJos\xc3\xa9 NIL "j" "x.test"))'),
    ],
)
def test_envelope_form(value, wire):
    assert envelope_list(parse_addresses(address_text(value))) == wire


@pytest.mark.parametrize(
    "box, text",
    [
        (Mailbox("", "a", "x.test"), "a@x.test"),
        (Mailbox("A B", "a", "x.test"), "A B <a@x.test>"),
        (Mailbox("B, A.", "a", "x.test"), '"B, A." <a@x.test>'),
        (Mailbox('"q"', "a b", "x.test"), '"\\"q\\"" <"a b"@x.test>'),
        (Mailbox("René", "a", "x.test"), "=?utf-8?b?UmVuw6k=?= <a@x.test>"),
    ],
)
def test_mailbox_is_formatted_and_read_back(box, text):
    assert format_mailbox(box) == text
    (again,) = mailboxes(parse_addresses(text))
    assert (again.local, again.domain) == (box.local, box.domain)


@pytest.mark.parametrize(
    "domain, normal",
    [
        ("Example.ORG", "example.org"),
        ("example.org.", "example.org"),
        ("münchen.de", "xn--mnchen-3ya.de"),
        ("MÜNCHEN.de", "xn--mnchen-3ya.de"),
        ("XN--MNCHEN-3YA.DE", "xn--mnchen-3ya.de"),
        ("straße.de", "xn--strae-oqa.de"),  # RFC 5894 7.2: IDNA2008 keeps the sharp s
        ("例子.测试", "xn--fsqu00a.xn--0zwm56d"),
        ("例子。测试", "xn--fsqu00a.xn--0zwm56d"),  # RFC 5895 2: ideographic full stop
        ("[192.0.2.1]", "[192.0.2.1]"),
        ("_dmarc.example.org", "_dmarc.example.org"),
    ],
)
def test_domains_in_comparable_form(domain, normal):
    assert normalise_domain(domain) == normal


@pytest.mark.parametrize(
    "domain",
    ["", ".", "a..b", "a b", "-a.test", "a" * 64 + ".test", "a.test/", "\u0301a.test", "a☃.test", "x." * 130 + "x"],
)
def test_what_is_no_domain_is_refused(domain):
    with pytest.raises(ValueError):
        normalise_domain(domain)


def test_domains_compare_without_case_and_form():
    assert same_domain("Example.org", "example.ORG.")
    assert same_domain("MÜNCHEN.de", "xn--mnchen-3ya.de")
    assert not same_domain("example.org", "example.com")
    assert same_domain("a☃.test", "A☃.test")


@pytest.mark.parametrize(
    "domain, text",
    [
        ("xn--mnchen-3ya.de", "münchen.de"),
        ("example.org", "example.org"),
        ("xn--.test", "xn--.test"),
        ("xn--a.x", "xn--a.x"),
    ],
)
def test_domain_for_people(domain, text):
    assert unicode_domain(domain) == text
