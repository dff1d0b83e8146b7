"""iprev: RFC 8601 3."""

from __future__ import annotations

import asyncio

import pytest

from echomox.dns import DnsTemporary
from echomox.dns.fake import FakeResolver
from echomox.mailauth.iprev import check_iprev

PTR = "1.2.0.192.in-addr.arpa"
PTR6 = "1." + "0." * 23 + "8.b.d.0.1.0.0.2.ip6.arpa"
SLOW = DnsTemporary("no answer in time")

CASES = [
    ("192.0.2.1", {(PTR, "PTR"): "mx.example.org", ("mx.example.org", "A"): "192.0.2.1"}, "pass", ("mx.example.org",)),
    (
        "::ffff:192.0.2.1",
        {(PTR, "PTR"): "mx.example.org", ("mx.example.org", "A"): "192.0.2.1"},
        "pass",
        ("mx.example.org",),
    ),
    (
        "2001:DB8::1",
        {(PTR6, "PTR"): "mx.example.org", ("mx.example.org", "AAAA"): "2001:db8::1"},
        "pass",
        ("mx.example.org",),
    ),
    ("192.0.2.1", {(PTR, "PTR"): "mx.example.org", ("mx.example.org", "A"): "192.0.2.2"}, "fail", ()),
    ("192.0.2.1", {(PTR, "PTR"): "nix.example.org"}, "fail", ()),
    ("192.0.2.1", {}, "permerror", ()),
    ("192.0.2.1", {(PTR, "PTR"): SLOW}, "temperror", ()),
    ("192.0.2.1", {(PTR, "PTR"): "mx.example.org", ("mx.example.org", "A"): SLOW}, "temperror", ()),
    (
        "192.0.2.1",
        {
            (PTR, "PTR"): [
                "b.example.org",
                "a.example.org",
                "slow.example.org",
                "evil\\010x.example.org",
                "no-dot",
                "fail.example",
            ],
            ("a.example.org", "A"): ["192.0.2.9", "192.0.2.1"],
            ("b.example.org", "A"): "192.0.2.1",
            ("slow.example.org", "A"): SLOW,
            ("evil\\010x.example.org", "A"): "192.0.2.1",
        },
        "pass",
        ("a.example.org", "b.example.org"),
    ),
    ("", {}, "none", ()),
    ("unix socket", {}, "none", ()),
]


@pytest.mark.parametrize(("ip", "tables", "result", "names"), CASES)
def test_a_name_counts_if_it_leads_back(ip, tables, result, names):
    found = asyncio.run(check_iprev(FakeResolver(tables), ip))
    assert (found.result, found.names) == (result, names)
    assert bool(found.reason) == (result in ("temperror", "none") or not tables)


def test_ten_names_are_followed():
    tables = {(PTR, "PTR"): [f"h{n:02}.example.org" for n in range(50)], ("h10.example.org", "A"): "192.0.2.1"}
    resolver = FakeResolver(tables)
    assert asyncio.run(check_iprev(resolver, "192.0.2.1")).result == "fail"
    assert len(resolver.asked) == 11


def test_dnssec_of_all_that_confirms():
    tables = {(PTR, "PTR"): "mx.example.org", ("mx.example.org", "A"): "192.0.2.1"}
    assert asyncio.run(check_iprev(FakeResolver(tables, secure=True), "192.0.2.1")).secure
    assert not asyncio.run(check_iprev(FakeResolver(tables, secure=[PTR]), "192.0.2.1")).secure
