"""Limits per address and net (G01, A11)."""

import pytest

from echomox.clock import FakeClock
from echomox.config.schema import Limits
from echomox.net.limit import ConnectionLimits, IdleLimits, LoginLimits, keys, networks
from shm.limiter import LimiterSlabs

SAME_NET = [
    # (one, other, levels that are the same: of address, narrow net, wide net)
    ("192.0.2.1", "192.0.2.1", 3),
    ("192.0.2.1", "192.0.2.62", 2),
    ("192.0.2.1", "192.0.2.65", 1),
    ("192.0.2.1", "192.0.7.1", 1),
    ("192.0.2.1", "192.0.8.1", 0),
    ("::ffff:192.0.2.1", "192.0.2.1", 3),
    ("2001:db8:1:2::1", "2001:db8:1:2:ffff::", 3),
    ("2001:db8:1:2::1", "2001:db8:1:3::1", 2),
    ("2001:db8:1:2::1", "2001:db8:2::1", 1),
    ("2001:db8::", "2001:db9::", 0),
    ("fe80::1%eth0", "fe80::2", 3),
]


@pytest.mark.parametrize("one, other, same", SAME_NET)
def test_nets_of_an_address(one, other, same):
    assert sum(a == b for a, b in zip(networks(one), networks(other), strict=True)) == same


@pytest.mark.parametrize("text", ["", "unix", "1.2.3", "1.2.3.4.5", "::g", "a" * 500])
def test_what_is_no_address_is_not_limited(text):
    assert networks(text) == ()
    limits = ConnectionLimits(LimiterSlabs.private(), "smtp", Limits(connections_per_ip=1))
    assert [limits.admit(text) for _ in range(5)] == [""] * 5


def test_keys_differ_by_kind_and_net_and_fit():
    found = {key for kind in ("a", "b") for ip in ("192.0.2.1", "2001:db8::1") for key in keys(kind, ip)}
    assert len(found) == 12
    assert all(0 < key < 1 << 63 for key in found)


def test_the_31st_connection_of_an_address_is_refused_and_its_end_makes_room():
    limits = ConnectionLimits(
        LimiterSlabs.private(), "smtp", Limits(connections_per_ip=30, connection_rate_per_ip=0)
    )
    assert [limits.admit("192.0.2.1") for _ in range(30)] == [""] * 30
    assert limits.admit("192.0.2.1")
    assert limits.admit("192.0.2.2") == ""
    limits.release("192.0.2.1")
    assert limits.admit("192.0.2.1") == ""


def test_a_net_may_have_three_times_and_a_wider_one_nine_times_as_much():
    limits = ConnectionLimits(
        LimiterSlabs.private(), "smtp", Limits(connections_per_ip=2, connection_rate_per_ip=0)
    )
    narrow = [limits.admit(f"192.0.2.{n}") for n in range(1, 8)]
    assert [not refusal for refusal in narrow] == [True] * 6 + [False]
    wide = [limits.admit(f"192.0.{n}.1") for n in (0, 1, 3, 4, 5, 6, 7) for _ in range(2)]
    assert [not refusal for refusal in wide] == [True] * 12 + [False] * 2


def test_services_are_counted_apart():
    slabs = LimiterSlabs.private()
    smtp, imap = (ConnectionLimits(slabs, name, Limits(connections_per_ip=1)) for name in ("smtp", "imap"))
    assert (smtp.admit("192.0.2.1"), imap.admit("192.0.2.1")) == ("", "")
    assert smtp.admit("192.0.2.1")


def test_new_connections_per_minute():
    clock = FakeClock()
    limits = ConnectionLimits(
        LimiterSlabs.private(), "smtp", Limits(connections_per_ip=0, connection_rate_per_ip=3), clock
    )
    assert [not limits.admit("192.0.2.1") for _ in range(5)] == [True, True, True, False, False]
    clock.advance(61)
    assert limits.admit("192.0.2.1") == ""


def test_failed_logins_per_minute_and_day():
    clock = FakeClock()
    limits = LoginLimits(LimiterSlabs.private(), Limits(logins_per_minute=2, logins_per_day=4), clock)
    seen = []
    for _ in range(4):
        for _ in range(3):
            allowed = limits.allowed("192.0.2.1")
            seen.append(allowed)
            if allowed:
                limits.failed("192.0.2.1")
        clock.advance(61)
    assert seen == [True, True, False, True, True, False, False, False, False, False, False, False]
    clock.advance(86_400)
    assert limits.allowed("192.0.2.1")


def test_attempts_under_way_count_as_failed():
    limits = LoginLimits(LimiterSlabs.private(), Limits(logins_per_minute=2, logins_per_day=0))
    with limits.checking("192.0.2.1"), limits.checking("192.0.2.1"):
        assert not limits.allowed("192.0.2.1")
        assert limits.allowed("198.51.100.1")
    assert limits.allowed("192.0.2.1")


def test_idle():
    limits = IdleLimits(LimiterSlabs.private(), Limits(idle_per_ip=1))
    assert [limits.admit("192.0.2.1"), limits.admit("192.0.2.1")] == [True, False]
    limits.release("192.0.2.1")
    assert limits.admit("192.0.2.1")
    assert all(
        IdleLimits(LimiterSlabs.private(), Limits(idle_per_ip=0)).admit("192.0.2.1") for _ in range(50)
    )
