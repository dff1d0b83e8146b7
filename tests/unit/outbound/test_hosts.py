"""Which hosts and addresses, in which order (RFC 5321 5.1, RFC 7505, RFC 7672 2.2)."""

import asyncio
import random

import pytest

from echomox.dns.fake import FakeResolver
from echomox.dns.types import DnsTemporary
from echomox.outbound.hosts import (
    Addresses,
    Host,
    Undeliverable,
    alternate,
    find_addresses,
    find_hosts,
    find_tlsa,
    literal_host,
    order,
)

TLSA = (3, 1, 1, bytes(32))


def hosts(tables, own="own.example", seed=1, **options):
    found = asyncio.run(find_hosts(FakeResolver(tables, **options), "d.example", own, random.Random(seed)))
    return [host.name for host in found.hosts], found.secure


def addresses(tables, last_ip="", family="any", **options):
    resolver = FakeResolver(tables, **options)
    return asyncio.run(find_addresses(resolver, Host("mx.example"), family, last_ip, random.Random(1)))


def test_preference_decides_and_chance_among_equals():
    records = [(20, "c"), (10, "a"), (10, "b"), (5, "z")]
    seen = {tuple(name for _, name in order(list(records), random.Random(seed))) for seed in range(20)}
    assert seen == {("z", "a", "b", "c"), ("z", "b", "a", "c")}


def test_a_host_named_twice_is_tried_once():
    assert order([(20, "a"), (10, "a")], random.Random(1)) == [(10, "a")]


def test_hosts_from_our_own_on_are_left_out():
    tables = {("d.example", "MX"): [(10, "a.example"), (20, "own.example"), (20, "b.example"), (30, "c.example")]}
    assert hosts(tables) == (["a.example"], False)


def test_a_null_mx_beside_others_does_not_count():
    assert hosts({("d.example", "MX"): [(0, "."), (10, "a.example")]})[0] == ["a.example"]


def test_dnssec_of_the_mx_is_told():
    assert hosts({("d.example", "MX"): [(10, "a.example")]}, secure=True) == (["a.example"], True)


def test_there_are_no_more_hosts_than_fit():
    assert len(hosts({("d.example", "MX"): [(n, f"h{n}.example") for n in range(500)]})[0]) == 30


def test_families_alternate_and_the_other_one_comes_first_after_a_try():
    tables = {("mx.example", "A"): ["192.0.2.1"], ("mx.example", "AAAA"): ["2001:db8::1"]}
    assert addresses(tables).values == ("2001:db8::1", "192.0.2.1")
    assert addresses(tables, "2001:db8::1").values == ("192.0.2.1", "2001:db8::1")
    assert addresses(tables, "192.0.2.1").values == ("2001:db8::1", "192.0.2.1")
    assert addresses(tables, family="ipv4").values == ("192.0.2.1",)
    assert alternate([[1, 2, 3], [4]]) == [1, 4, 2, 3]


def test_the_address_of_the_last_try_comes_last_in_its_family():
    tables = {("mx.example", "A"): ["192.0.2.1", "192.0.2.2", "192.0.2.3"]}
    assert addresses(tables, "192.0.2.2").values[-1] == "192.0.2.2"


def test_one_family_that_is_not_known_is_no_trouble_but_not_secure():
    tables = {("mx.example", "A"): ["192.0.2.1"], ("mx.example", "AAAA"): DnsTemporary("SERVFAIL")}
    found = addresses(tables, secure=True)
    assert (found.values, found.secure) == (("192.0.2.1",), False)


def test_the_end_of_cnames_is_the_first_place_for_tlsa():
    # RFC 7672 2.2.2
    tables = {
        ("mx.example", "CNAME"): "real.example", ("real.example", "A"): "192.0.2.1",
        ("_25._tcp.real.example", "TLSA"): [TLSA], ("_25._tcp.mx.example", "TLSA"): [TLSA],
    }  # fmt: skip
    found = addresses(tables, secure=True)
    assert (found.canonical, found.secure) == ("real.example", True)

    def tlsa(tables):
        return asyncio.run(find_tlsa(FakeResolver(tables, secure=True), "mx.example", found, 25))

    assert tlsa(tables).base == "real.example"
    del tables["_25._tcp.real.example", "TLSA"]
    assert (tlsa(tables).base, len(tlsa(tables).records)) == ("mx.example", 1)


def test_tlsa_without_dnssec_is_none():
    found = Addresses(("192.0.2.1",), True, "mx.example")
    resolver = FakeResolver({("_25._tcp.mx.example", "TLSA"): [TLSA]})
    assert asyncio.run(find_tlsa(resolver, "mx.example", found, 25)).records == ()


@pytest.mark.parametrize(
    "text, address", [("[192.0.2.1]", "192.0.2.1"), ("[IPv6:2001:DB8::1]", "2001:db8::1"), ("[ipv6:::1]", "::1")]
)
def test_address_literals(text, address):
    assert literal_host(text).literal == address


@pytest.mark.parametrize("text", ["[]", "[x]", "[192.0.2]", "[IPv6:]", "[2001:db8::1]", "[IPv6:192.0.2.1]", "["])
def test_what_is_no_address_literal(text):
    with pytest.raises(Undeliverable) as error:
        literal_host(text)
    assert error.value.reply.enhanced == "5.1.3"
