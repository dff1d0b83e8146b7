"""Policy over the shared limiter: how much one address, and the nets around it, may do on this machine.

An address may do n, its /26 (IPv6: /48) three times n, its /21 (/32) nine times n. An IPv6 host owns a
whole /64, which therefore counts as one address; an IPv4-mapped address counts as the IPv4 address it is. n
= 0 lifts a limit.

    connections    open at once, per service         gauge        connections_per_ip
    rate           new per minute, per service       1 minute     connection_rate_per_ip
    logins         failed, over all services         1 minute     logins_per_minute
                                                     1 day        logins_per_day
    idle           IDLE commands at once             gauge        idle_per_ip
    messages       taken from an address             1 minute     messages_per_minute
      and bytes      and, apart, for an account      1 day        messages_per_day, bytes_…

Blocked addresses (`echomox.net.blocks`) are refused before anything is counted. State is in `shm.limiter`
only (fixed size, oldest evicted, outlives workers); here is none but the attempts that this process is just
checking. What is refused is not counted, so who waits gets in. An address that cannot be read, as of a Unix
socket, is not limited.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from hashlib import blake2b
from typing import Protocol

from echomox.clock import SYSTEM, Clock
from echomox.config.schema import Limits

FACTORS = (1, 3, 9)
BITS_V4 = (32, 26, 21)
BITS_V6 = (64, 48, 32)
MINUTE = 60.0
DAY = 86_400.0
MAPPED = bytes(10) + b"\xff\xff"  # RFC 4291 2.5.5.2
BLOCKED = "address is blocked"
"""What `ConnectionLimits.admit` says of one."""


class Slabs(Protocol):
    """The part of `shm.limiter.LimiterSlabs` that is used here."""

    def add(self, key: int, now: float, window: float, n: int = 1) -> None: ...
    def count(self, key: int, now: float, window: float) -> int: ...
    def gauge(self, key: int, delta: int) -> None: ...
    def gauge_total(self, key: int) -> int: ...


def networks(ip: str) -> tuple[bytes, ...]:
    """The address and the two nets around it, narrow to wide, as bytes that no other net has; () for none."""
    try:
        if ":" not in ip:
            packed, widths = socket.inet_pton(socket.AF_INET, ip), BITS_V4
        else:
            packed, widths = socket.inet_pton(socket.AF_INET6, ip.partition("%")[0]), BITS_V6
            if packed.startswith(MAPPED):
                packed, widths = packed[12:], BITS_V4
    except OSError:
        return ()
    size = len(packed) * 8
    number = int.from_bytes(packed, "big")
    return tuple(b"%d/%d/" % (size, bits) + (number >> (size - bits)).to_bytes(16, "big") for bits in widths)


def network_names(ip: str) -> tuple[str, ...]:
    """The same nets as people write them: "192.0.2.1", "192.0.2.0/26", "192.0.0.0/21"."""
    if not networks(ip):
        return ()
    address = ipaddress.ip_address(ip.partition("%")[0])
    address = getattr(address, "ipv4_mapped", None) or address
    widths = BITS_V4 if address.version == 4 else BITS_V6
    nets = (ipaddress.ip_network((address, bits), strict=False) for bits in widths)
    return tuple(str(address) if net.num_addresses == 1 else str(net) for net in nets)


@lru_cache(maxsize=8192)
def keys(kind: str, ip: str) -> tuple[int, ...]:
    """The limiter's keys (1 to 2**63 - 1) of an address and its nets; kind keeps the limits apart."""
    person = kind.encode()
    return tuple(
        (int.from_bytes(blake2b(net, digest_size=8, key=person).digest(), "big") >> 1) or 1
        for net in networks(ip)
    )


class ConnectionLimits:
    """Open and new connections of one service. blocked: whether an address is to be refused in any case."""

    def __init__(
        self,
        slabs: Slabs,
        service: str,
        limits: Limits,
        clock: Clock = SYSTEM,
        blocked: Callable[[str], bool] | None = None,
    ) -> None:
        self._slabs = slabs
        self._open = limits.connections_per_ip
        self._rate = limits.connection_rate_per_ip
        self._open_kind = "open." + service
        self._rate_kind = "rate." + service
        self._clock = clock
        self._blocked = blocked

    def admit(self, ip: str) -> str:
        """Empty, and counted, when the connection may stay: then `release` must follow. Else the reason,
        for the log."""
        if self._blocked is not None and self._blocked(ip):
            return BLOCKED
        slabs = self._slabs
        if self._open:
            open_keys = keys(self._open_kind, ip)
            for key, factor in zip(open_keys, FACTORS):
                if slabs.gauge_total(key) >= self._open * factor:
                    return "too many open connections"
        if self._rate:
            now = self._clock.monotonic()
            rate_keys = keys(self._rate_kind, ip)
            for key, factor in zip(rate_keys, FACTORS):
                if slabs.count(key, now, MINUTE) >= self._rate * factor:
                    return "too many new connections"
            for key in rate_keys:
                slabs.add(key, now, MINUTE)
        if self._open:
            for key in open_keys:
                slabs.gauge(key, 1)
        return ""

    def release(self, ip: str) -> None:
        """An admitted connection has ended."""
        if self._open:
            for key in keys(self._open_kind, ip):
                self._slabs.gauge(key, -1)


class LoginLimits:
    """Failed logins. To be asked before any hash is computed. pardoned: a number that is another one when the
    failed logins of an address shall count anew."""

    def __init__(
        self, slabs: Slabs, limits: Limits, clock: Clock = SYSTEM, pardoned: Callable[[str], int] = lambda ip: 0
    ) -> None:
        self._slabs = slabs
        self._per_day = limits.logins_per_day
        self._pardoned = pardoned
        self._windows = tuple(
            (kind, window, n)
            for kind, window, n in (
                ("login.minute", MINUTE, limits.logins_per_minute),
                ("login.day", DAY, limits.logins_per_day),
            )
            if n
        )
        self._clock = clock
        self._checking: dict[int, int] = {}

    def allowed(self, ip: str) -> bool:
        """Whether an attempt may be looked at. Attempts being checked just now count as failed."""
        now = self._clock.monotonic()
        for kind, window, n in self._windows:
            for key, factor in zip(self._keys(kind, ip), FACTORS):
                if self._slabs.count(key, now, window) + self._checking.get(key, 0) >= n * factor:
                    return False
        return True

    def failed(self, ip: str) -> None:
        now = self._clock.monotonic()
        for kind, window, _ in self._windows:
            for key in self._keys(kind, ip):
                self._slabs.add(key, now, window)

    def used_up(self, ip: str) -> list[tuple[str, int]]:
        """(net, its failed logins) of the address and the nets around it whose day's number is reached."""
        if not self._per_day:
            return []
        now = self._clock.monotonic()
        counts = [self._slabs.count(key, now, DAY) for key in self._keys("login.day", ip)]
        if all(count < self._per_day * factor for count, factor in zip(counts, FACTORS)):
            return []
        reached = zip(network_names(ip), counts, FACTORS)
        return [(net, count) for net, count, factor in reached if count >= self._per_day * factor]

    def _keys(self, kind: str, ip: str) -> tuple[int, ...]:
        pardon = self._pardoned(ip)
        return keys(f"{kind}.{pardon}" if pardon else kind, ip)

    @contextmanager
    def checking(self, ip: str) -> Iterator[None]:
        """While a slow check runs: many attempts begun at once must not all slip through before the first
        fails."""
        held = [key for kind, _, _ in self._windows for key in self._keys(kind, ip)]
        for key in held:
            self._checking[key] = self._checking.get(key, 0) + 1
        try:
            yield
        finally:
            for key in held:
                left = self._checking[key] - 1
                if left:
                    self._checking[key] = left
                else:
                    del self._checking[key]


class DeliveryLimits:
    """Messages and bytes taken from an address, and taken for an account (G02). An account has no nets around it."""

    def __init__(self, slabs: Slabs, limits: Limits, clock: Clock = SYSTEM) -> None:
        self._slabs = slabs
        self._clock = clock
        self._windows = tuple(
            (kind, window, n)
            for kind, window, n in (
                ("messages.minute", MINUTE, limits.messages_per_minute),
                ("messages.day", DAY, limits.messages_per_day),
                ("bytes.minute", MINUTE, limits.bytes_per_minute),
                ("bytes.day", DAY, limits.bytes_per_day),
            )
            if n
        )

    def from_address(self, ip: str, size: int = 0) -> str:
        """Empty when one more message of `size` bytes may come, else which limit is reached, for the log."""
        return self._reached(self._clock.monotonic(), ip, lambda kind: keys(kind, ip), size)

    def for_account(self, account: str, size: int = 0) -> str:
        return self._reached(self._clock.monotonic(), account, lambda kind: (account_key(kind, account),), size)

    def _reached(self, now: float, who: str, keys_of: Callable[[str], tuple[int, ...]], size: int) -> str:
        for kind, window, n in self._windows:
            more = max(size, 1) if kind.startswith("bytes") else 1
            for key, factor in zip(keys_of(kind), FACTORS):
                if self._slabs.count(key, now, window) + more > n * factor:
                    return f"{kind} of {who}" + (f" x{factor}" if factor > 1 else "")
        return ""

    def took(self, ip: str, accounts: Iterable[str], size: int) -> None:
        """A message was accepted."""
        now = self._clock.monotonic()
        names = set(accounts)
        for kind, window, _ in self._windows:
            n = size if kind.startswith("bytes") else 1
            for key in (*keys(kind, ip), *(account_key(kind, name) for name in names)):
                self._slabs.add(key, now, window, n)


@lru_cache(maxsize=8192)
def account_key(kind: str, account: str) -> int:
    """The limiter's key of an account."""
    person = f"a.{kind}".encode()
    return (int.from_bytes(blake2b(account.encode(), digest_size=8, key=person).digest(), "big") >> 1) or 1


class IdleLimits:
    """IDLE commands at once."""

    def __init__(self, slabs: Slabs, limits: Limits) -> None:
        self._slabs = slabs
        self._limit = limits.idle_per_ip

    def admit(self, ip: str) -> bool:
        """True and counted (then `release` must follow), or False."""
        if not self._limit:
            return True
        held = keys("idle", ip)
        if any(self._slabs.gauge_total(key) >= self._limit * factor for key, factor in zip(held, FACTORS)):
            return False
        for key in held:
            self._slabs.gauge(key, 1)
        return True

    def release(self, ip: str) -> None:
        if self._limit:
            for key in keys("idle", ip):
                self._slabs.gauge(key, -1)
