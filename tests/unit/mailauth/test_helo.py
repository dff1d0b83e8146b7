"""The name in EHLO as evidence (RFC 5321 4.1.1.1, 4.1.3)."""

from __future__ import annotations

import asyncio

import pytest

from echomox.dns.fake import FakeResolver
from echomox.filter.stages.auth import LOG_ODDS
from echomox.mailauth.helo import check_helo

RESOLVER = FakeResolver(
    {
        ("mx.b.example", "A"): ["203.0.113.5", "203.0.113.6"],
        ("mx.b.example", "AAAA"): "2001:db8::5",
        ("alias.b.example", "CNAME"): "mx.b.example",
    },
    fail=["slow.example"],
)


@pytest.mark.parametrize(
    "helo,ip,result",
    [
        ("mx.b.example", "203.0.113.5", "pass"),
        ("MX.B.example.", "203.0.113.6", "pass"),
        ("mx.b.example", "2001:db8::5", "pass"),
        ("mx.b.example", "::ffff:203.0.113.5", "pass"),
        ("alias.b.example", "203.0.113.5", "pass"),
        ("mx.b.example", "203.0.113.9", "softfail"),
        ("none.b.example", "203.0.113.5", "fail"),
        ("localhost", "203.0.113.5", "fail"),
        ("203.0.113.5", "203.0.113.5", "fail"),
        ("[203.0.113.5]", "203.0.113.5", "pass"),
        ("[IPv6:2001:db8::5]", "2001:db8::5", "pass"),
        ("[203.0.113.6]", "203.0.113.5", "fail"),
        ("[nonsense", "203.0.113.5", "fail"),
        ("", "203.0.113.5", "fail"),
        ("a..b", "203.0.113.5", "fail"),
        ("x" * 300 + ".example", "203.0.113.5", "fail"),
        ("mx.slow.example", "203.0.113.5", "temperror"),
        ("mx.b.example", "", "none"),
    ],
)
def test_names(helo, ip, result):
    assert asyncio.run(check_helo(RESOLVER, helo, ip)) == result


def test_it_is_evidence_and_no_more():
    assert 0 < LOG_ODDS["helo", "fail"] < LOG_ODDS["iprev", "fail"]
