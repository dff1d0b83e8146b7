"""Names as they are asked, reverse names, errors; the fake resolver; the public suffix list."""

from __future__ import annotations

import asyncio
import pickle

import pytest

from echomox.dns import Answer, DnsBogus, DnsTemporary, Mx, Tlsa, canonical_name, reverse_name
from echomox.dns.fake import FakeResolver
from echomox.dns.psl import is_public_suffix, organisational_domain
from echomox.errors import MailError, Temporary

NAMES = [
    ("Example.ORG.", "example.org"),
    ("example", "example"),
    ("_dmarc.Example.org", "_dmarc.example.org"),
    (".", ""),
    ("bücher.example", "xn--bcher-kva.example"),
    ("BÜCHER.example.", "xn--bcher-kva.example"),
    ("faß.example", "xn--fa-hia.example"),  # IDNA 2008 keeps the sharp s
    ("例え。テスト", "xn--r8jz45g.xn--zckzah"),  # an ideographic full stop
    ("a" * 63 + ".example", "a" * 63 + ".example"),
    ("", None),
    ("..", None),
    (".example.org", None),
    ("a..example.org", None),
    ("example.org..", None),
    ("a" * 64 + ".example", None),
    (".".join(["a" * 49] * 5) + ".abcd", None),  # 254 octets
    (".".join(["a" * 49] * 5) + ".abc", ".".join(["a" * 49] * 5) + ".abc"),  # 253
    ("ü" * 100 + ".example", None),
    ("\u200b", None),
    ("ü" * 100_000, None),
]


@pytest.mark.parametrize(("name", "expected"), NAMES)
def test_a_name_is_asked_in_lower_case_a_labels(name, expected):
    assert canonical_name(name) == expected


REVERSE = [
    ("192.0.2.1", "1.2.0.192.in-addr.arpa"),
    ("::ffff:192.0.2.1", "1.2.0.192.in-addr.arpa"),
    ("4321:0:1:2:3:4:567:89ab", "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.0.0.0.0.1.2.3.4.ip6.arpa"),  # RFC 3596
    ("fe80::1%eth0", "1." + "0." * 28 + "8.e.f.ip6.arpa"),
]


@pytest.mark.parametrize(("ip", "expected"), REVERSE)
def test_the_reverse_name_of_an_address(ip, expected):
    assert reverse_name(ip) == expected


def test_a_failure_says_what_and_is_temporary():
    error = DnsBogus("SERVFAIL: \x1b[1mdnssec\nbogus", "example.org", "TLSA")
    assert isinstance(error, DnsTemporary) and isinstance(error, Temporary) and isinstance(error, MailError)
    assert error.reply.code == 451 and error.reply.enhanced == "4.4.3"
    assert error.reason == "SERVFAIL: ?[1mdnssec?bogus"
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.reason, again.name, again.type) == (DnsBogus, error.reason, "example.org", "TLSA")


TABLES = {
    ("example.org", "MX"): [(10, "MX.example.org."), (20, "")],
    ("Example.org", "TXT"): ["v=spf1 -all", b"\xff"],
    ("mx.example.org", "A"): "192.0.2.1",
    ("_25._tcp.mx.example.org", "TLSA"): (3, 1, 1, b"\x01"),
    ("www.example.org", "CNAME"): "mx.example.org.",
    ("loop.example.org", "CNAME"): "loop.example.org",
    ("slow.example.org", "TXT"): DnsTemporary("no answer in time"),
}


def ask(resolver: FakeResolver, name: str, type: str) -> Answer:
    return asyncio.run(resolver.lookup(name, type))


def test_the_fake_answers_as_dns_does():
    fake = FakeResolver(TABLES, secure=["mx.example.org"], fail=["down.example"])
    assert ask(fake, "EXAMPLE.org.", "mx").values == (Mx(10, "mx.example.org"), Mx(20, ""))
    assert ask(fake, "example.org", "TXT").values == (b"v=spf1 -all", b"\xff")
    assert ask(fake, "_25._tcp.mx.example.org", "TLSA").values == (Tlsa(3, 1, 1, b"\x01"),)
    followed = ask(fake, "www.example.org", "A")
    assert (followed.values, followed.canonical, followed.secure) == (("192.0.2.1",), "mx.example.org", False)
    assert ask(fake, "www.example.org", "CNAME").values == ("mx.example.org",)
    assert ask(fake, "mx.example.org", "A").secure
    assert ask(fake, "_tcp.mx.example.org", "A").exists, "an empty non-terminal, RFC 8020"
    assert not ask(fake, "nix.example.org", "A").exists
    assert not ask(fake, "a..b", "A").exists
    for name in ("slow.example.org", "a.down.example", "loop.example.org"):
        with pytest.raises(DnsTemporary):
            ask(fake, name, "TXT")
    assert fake.asked[0] == ("example.org", "MX")


OWNERS = [
    ("example.com", "example.com"),
    ("a.b.c.example.com", "example.com"),  # RFC 7489 3.2
    ("a.b.c.Example.co.uk.", "example.co.uk"),
    ("co.uk", "co.uk"),
    ("com", "com"),
    ("localhost", "localhost"),
    ("user.github.io", "user.github.io"),
    ("x.user.github.io", "user.github.io"),
    ("www.食狮.公司.cn", "xn--85x722f.xn--55qx5d.cn"),
    ("city.kawasaki.jp", "city.kawasaki.jp"),  # an exception of the list
    ("a.city.kawasaki.jp", "city.kawasaki.jp"),
    ("b.c.kawasaki.jp", "b.c.kawasaki.jp"),  # a wildcard of the list
    ("mail.example.unknown-tld", "example.unknown-tld"),
    ("192.0.2.1", "192.0.2.1"),
    ("", ""),
    ("a..b", "a..b"),
]


@pytest.mark.parametrize(("domain", "expected"), OWNERS)
def test_the_organisational_domain(domain, expected):
    assert organisational_domain(domain) == expected


@pytest.mark.parametrize(
    ("domain", "expected"),
    [("com", True), ("CO.UK.", True), ("github.io", True), ("example.com", False), ("192.0.2.1", False), ("", False)],
)
def test_a_public_suffix(domain, expected):
    assert is_public_suffix(domain) is expected
