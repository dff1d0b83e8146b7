"""DNS lists: what is asked, how they must stand (RFC 5782 5), and that trouble is no answer."""

from __future__ import annotations

import asyncio

import pytest

from echomox.clock import FakeClock
from echomox.delivery.dnsbl import HEALTHY, ILL, DnsLists, query_name
from echomox.dns.fake import FakeResolver
from echomox.dns.types import DnsTemporary

ZONE = "bl.example"
WELL = {("2.0.0.127.bl.example", "A"): "127.0.0.2"}
BAD = {
    **WELL,
    ("5.113.0.203.bl.example", "A"): ["127.0.0.4", "127.0.0.2"],
    ("5.113.0.203.bl.example", "TXT"): "spam \x07",
}


def listed(tables, ip="203.0.113.5", zones=(ZONE,), fail=()):
    return asyncio.run(DnsLists(FakeResolver(tables, fail=fail)).listed(ip, zones))


@pytest.mark.parametrize(
    "ip,name",
    [
        ("192.0.2.99", "99.2.0.192.bl.example"),  # RFC 5782 2.1
        ("::ffff:192.0.2.99", "99.2.0.192.bl.example"),
        # RFC 5782 2.4
        (
            "2001:db8:1:2:3:4:567:89ab",
            "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.bl.example",
        ),
    ],
)
def test_names(ip, name):
    assert query_name(ip, ZONE) == name


def test_a_listing_has_its_codes_and_a_clean_text():
    (found,) = listed(BAD)
    assert (found.zone, set(found.codes), found.text) == (ZONE, {"127.0.0.2", "127.0.0.4"}, "spam ?")


SILENT = {key: value for key, value in BAD.items() if key not in WELL}
YES = {**BAD, ("1.0.0.127.bl.example", "A"): "127.0.0.2"}
TOLD_OFF = {("2.0.0.127.bl.example", "A"): "127.0.0.2", ("5.113.0.203.bl.example", "A"): "127.255.255.254"}
ELSEWHERE = {**WELL, ("5.113.0.203.bl.example", "A"): "198.51.100.1"}


@pytest.mark.parametrize(
    "tables",
    [WELL, SILENT, YES, TOLD_OFF, ELSEWHERE, {}],
    ids=["not listed", "gone", "yes to all", "told off", "a parked domain", "nothing"],
)
def test_no_listing(tables):
    assert listed(tables) == []


@pytest.mark.parametrize("ip", ["127.0.0.1", "10.1.2.3", "192.168.1.1", "::1", "fe80::1", "fd00::1", "nonsense", ""])
def test_addresses_that_are_not_asked_of(ip):
    resolver = FakeResolver(BAD)
    assert asyncio.run(DnsLists(resolver).listed(ip, [ZONE])) == [] and not resolver.asked


def test_one_list_in_trouble_is_not_the_others():
    tables = {**BAD, ("2.0.0.127.slow.example", "A"): DnsTemporary("no answer in time")}
    assert [one.zone for one in listed(tables, zones=["slow.example", ZONE])] == [ZONE]


def test_a_list_that_never_answers_costs_the_time_limit_only():
    class Stuck(FakeResolver):
        async def lookup(self, name, type):
            if name.endswith("slow.example"):
                await asyncio.sleep(60)
            return await super().lookup(name, type)

    lists = DnsLists(Stuck(BAD), timeout=1.0)
    assert [one.zone for one in asyncio.run(lists.listed("203.0.113.5", ["slow.example", ZONE]))] == [ZONE]


def test_ipv6_needs_its_own_test_entry():
    mapped = "2.0.0.0.0.0.f.7.f.f.f.f." + "0." * 20 + ZONE
    client = query_name("2001:db8::5", ZONE)
    tables = {**WELL, (client, "A"): "127.0.0.2"}
    assert listed(tables, "2001:db8::5") == []
    assert [one.zone for one in listed({**tables, (mapped, "A"): "127.0.0.2"}, "2001:db8::5")] == [ZONE]


def test_how_a_list_stands_is_remembered_for_a_while():
    clock = FakeClock()
    resolver = FakeResolver(WELL)
    lists = DnsLists(resolver, clock)

    async def run():
        assert (await lists.health(ZONE)).well
        asked = len(resolver.asked)
        await lists.health(ZONE)
        assert len(resolver.asked) == asked
        resolver.tables.clear()
        clock.advance(HEALTHY + 1)
        assert "not on it" in (await lists.health(ZONE)).why
        resolver.tables.update({(name, "A"): value for (name, _), value in WELL.items()})
        assert not (await lists.health(ZONE)).well
        clock.advance(ILL + 1)
        assert (await lists.health(ZONE)).well

    asyncio.run(run())
