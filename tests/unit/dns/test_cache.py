"""The cache: how long, how many, how much; and what resolv.conf says."""

from __future__ import annotations

import os

import pytest

from echomox.clock import FakeClock
from echomox.dns.cache import ENTRY, FAILURE, MEAN, NEGATIVE, POSITIVE, Cache
from echomox.dns.system import SystemServers, nameservers
from echomox.dns.types import Answer, DnsBogus


def answer(name: str = "example.org", ttl: int = 60, *values: str) -> Answer:
    return Answer(name, "A", values or ("192.0.2.1",), True, True, ttl, name)


def made(entries: int = 10) -> tuple[Cache, FakeClock]:
    clock = FakeClock()
    return Cache(entries, clock.monotonic), clock


def test_an_answer_is_kept_for_its_time_and_says_what_is_left():
    cache, clock = made()
    cache.put(("example.org", "A"), answer())
    clock.advance(45.5)
    found = cache.get(("example.org", "A"))
    assert found == answer(ttl=14) and found.secure
    assert cache.get(("example.org", "AAAA")) is None
    clock.advance(14.5)
    assert cache.get(("example.org", "A")) is None
    assert len(cache) == 0 and cache.bytes == 0


CAPS = [
    (answer(ttl=7 * 86_400), POSITIVE),
    (answer(ttl=0), 0),
    (Answer("x", "A", (), False, False, 86_400), NEGATIVE),
    (Answer("x", "A", (), True, False, 30), 30),
]


@pytest.mark.parametrize(("kept", "seconds"), CAPS)
def test_times_have_caps(kept, seconds):
    cache, clock = made()
    cache.put(("x", "A"), kept)
    if seconds:
        clock.advance(seconds - 0.1)
        assert cache.get(("x", "A")) is not None
        clock.advance(0.1)
    assert cache.get(("x", "A")) is None


def test_the_time_that_is_left_goes_down_each_second_and_nothing_is_given_beyond_it():
    cache, clock = made()
    cache.put(("example.org", "A"), answer(ttl=3))
    found = []
    for _ in range(8):
        found.append(cache.get(("example.org", "A")))
        clock.advance(0.5)
    assert [each.ttl if each else None for each in found] == [3, 2, 2, 1, 1, 0, None, None]
    assert cache.bytes == 0


def test_a_failure_is_kept_for_a_second():
    cache, clock = made()
    first = DnsBogus("bad signature", "x", "A")
    cache.put(("x", "A"), first)
    with pytest.raises(DnsBogus, match="bad signature") as caught:
        cache.get(("x", "A"))
    assert caught.value is not first, "an exception grows a traceback each time it is raised"
    clock.advance(FAILURE)
    assert cache.get(("x", "A")) is None


def test_what_was_not_used_for_longest_goes_first():
    cache, _ = made(3)
    for name in "abc":
        cache.put((name, "A"), answer(name))
    assert cache.get(("a", "A"))
    cache.put(("d", "A"), answer("d"))
    assert [bool(cache.get((name, "A"))) for name in "abcd"] == [True, False, True, True]


def test_memory_is_bounded_too():
    cache, _ = made(100)
    for number in range(1000):
        cache.put((f"n{number}", "TXT"), answer(), 4000)
        assert cache.bytes <= 100 * MEAN
    assert len(cache) == 100 * MEAN // (4000 + ENTRY)
    before = len(cache)
    cache.put(("huge", "TXT"), answer(), 100 * MEAN)
    assert len(cache) == before, "one answer does not push all others out"


def test_no_entries_means_no_cache():
    cache, _ = made(0)
    cache.put(("x", "A"), answer())
    assert cache.get(("x", "A")) is None


RESOLV = """\
# by hand
domain example.org
search example.org corp.example
nameserver 192.0.2.53
nameserver\t2001:db8::53   # comment
nameserver not-an-address
nameserver 192.0.2.53
  nameserver fe80::1%eth0
nameserver 192.0.2.54
options edns0 trust-ad
"""


def test_resolv_conf_is_read_as_its_manual_says():
    assert nameservers(RESOLV) == ["192.0.2.53", "2001:db8::53", "fe80::1%eth0"]
    assert nameservers("") == []


def test_a_changed_resolv_conf_is_read_again(tmp_path):
    path, clock = tmp_path / "resolv.conf", FakeClock()
    servers = SystemServers(str(path), 53, clock.monotonic)
    assert servers() == (("127.0.0.1", 53),)
    path.write_text("nameserver 192.0.2.1\n")
    assert servers() == (("127.0.0.1", 53),), "looked at every ten seconds"
    clock.advance(10)
    assert servers() == (("192.0.2.1", 53),)
    path.unlink()
    clock.advance(10)
    assert servers() == (("192.0.2.1", 53),)
    path.write_bytes(b"nameserver 192.0.2.2\n\xff\xfe\0nameserver")
    os.utime(path, ns=(1, 1))
    clock.advance(10)
    assert servers() == (("192.0.2.2", 53),)
