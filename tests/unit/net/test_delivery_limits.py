"""G02: messages and bytes from an address and its nets, and for an account."""

from __future__ import annotations

import pytest

from echomox.clock import FakeClock
from echomox.config.schema import Limits
from echomox.net.limit import DeliveryLimits
from shm.limiter import LimiterSlabs

NONE = {"messages_per_minute": 0, "messages_per_day": 0, "bytes_per_minute": 0, "bytes_per_day": 0}


def made(**limits: int) -> tuple[DeliveryLimits, FakeClock]:
    clock = FakeClock()
    return DeliveryLimits(LimiterSlabs.private(), Limits(**{**NONE, **limits}), clock), clock


def test_the_defaults_are_those_of_the_table():
    limits = Limits()
    assert (limits.messages_per_minute, limits.messages_per_day) == (500, 10_000)
    assert (limits.bytes_per_minute, limits.bytes_per_day) == (10**9, 3 * 10**9)


@pytest.mark.parametrize(
    "other,taken,allowed",
    [
        ("192.0.2.1", 9, True),
        ("192.0.2.1", 10, False),
        ("192.0.2.2", 10, True),  # the same /26
        ("192.0.2.2", 29, True),
        ("192.0.2.2", 30, False),
        ("192.0.2.200", 30, True),  # the same /21
        ("192.0.2.200", 89, True),
        ("192.0.2.200", 90, False),
        ("198.51.100.1", 90, True),
        ("::ffff:192.0.2.1", 10, False),
    ],
)
def test_an_address_and_the_nets_around_it(other, taken, allowed):
    limits, _ = made(messages_per_minute=10)
    for _ in range(taken):
        limits.took("192.0.2.1", [], 1)
    assert (limits.from_address(other) == "") is allowed


def test_windows_pass():
    limits, clock = made(messages_per_minute=2, messages_per_day=3)
    limits.took("192.0.2.1", ["ann", "ann"], 1)
    limits.took("192.0.2.1", ["ann"], 1)
    assert "minute" in limits.from_address("192.0.2.1") and "minute" in limits.for_account("ann")
    assert limits.for_account("bob") == ""
    clock.advance(60)
    assert limits.from_address("192.0.2.1") == limits.for_account("ann") == ""
    limits.took("192.0.2.1", ["ann"], 1)
    clock.advance(60)
    assert "day" in limits.from_address("192.0.2.1") and "day" in limits.for_account("ann")
    clock.advance(86_400)
    assert limits.from_address("192.0.2.1") == ""


def test_bytes():
    limits, _ = made(bytes_per_minute=1000, bytes_per_day=10**12)
    assert limits.from_address("192.0.2.1", 1000) == "" and limits.from_address("192.0.2.1", 1001)
    limits.took("192.0.2.1", ["ann"], 600)
    assert limits.from_address("192.0.2.1", 400) == "" and limits.from_address("192.0.2.1", 401)
    assert limits.for_account("ann", 400) == "" and limits.for_account("ann", 401)
    limits.took("192.0.2.1", ["ann"], 5 * 10**9)
    assert limits.from_address("192.0.2.1") and limits.for_account("ann")


def test_an_account_is_no_address():
    limits, _ = made(messages_per_minute=1)
    limits.took("", ["192.0.2.1"], 1)
    assert limits.from_address("192.0.2.1") == "" and limits.for_account("192.0.2.1")


def test_no_limit_counts_nothing():
    limits, _ = made()
    limits.took("192.0.2.1", ["ann"], 10**15)
    assert limits.from_address("192.0.2.1") == limits.for_account("ann") == ""
