"""Blocked addresses and nets: the list in `data/blocks.json`, and the look at it that every connection gets.

An entry is made by a person (`echomox block add`) or because an address or net has reached its failed logins
of a day (`limits.logins_per_day`), and ends by itself. An entry that a person takes away leaves a pardon for
a day: the failed logins of its addresses are counted anew, else the limiter would go on refusing them.

The control worker is the one writer of the list; it publishes a new one by a cell of the scoreboard, and a
worker that sees another generation there reads the file again. `Blocks.has` costs a look at that cell while
nothing is blocked. A worker that finds a net over its limit leaves a request in the run directory, a file of
its own, which the control worker takes within a second (`take_requests`) and which waits there while that
one is being replaced. A request may come twice, an entry is there once.

Without a server the commands write the list themselves. A list that cannot be read blocks nobody, is logged,
and is never written over.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import secrets
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from echomox.clock import SYSTEM, Clock
from echomox.config.files import write_atomic
from echomox.config.paths import Paths
from echomox.log import Log

Net = ipaddress.IPv4Network | ipaddress.IPv6Network

FILE = "blocks.json"
REQUEST = "block."
"""Begins the names of requests in the run directory."""
MOST = 10_000
"""Entries; beyond it those go that end first."""
PARDON = 86_400.0
"""Seconds: the longest window in which failed logins are counted."""
AGAIN = 60.0
"""Seconds in which a worker does not report a net twice."""
REQUEST_SIZE = 4096
WIDTH = re.compile(r"[0-9]{1,3}")
MAPPED = bytes(10) + b"\xff\xff"  # RFC 4291 2.5.5.2


class BadBlock(ValueError):
    """A net, or a list, that cannot be one; str() says why."""


@dataclass(frozen=True, slots=True)
class Block:
    """net: "192.0.2.1" or "192.0.2.0/26". since, until: seconds since 1970. count: failed logins of the day when
    it was blocked, 0 for one made by hand."""

    net: str
    since: float
    until: float
    why: str
    count: int = 0


@dataclass(frozen=True, slots=True)
class BlockList:
    """All entries, and the time of pardon by net."""

    blocks: tuple[Block, ...] = ()
    pardons: Mapping[str, float] = field(default_factory=dict)

    def current(self, now: float) -> BlockList:
        """Without what has ended."""
        pardons = {net: at for net, at in self.pardons.items() if at + PARDON > now}
        return BlockList(tuple(block for block in self.blocks if block.until > now), pardons)

    def adding(self, new: Block) -> BlockList:
        """A net that is there keeps its `since`, and its end when that is later."""
        kept = {block.net: block for block in self.blocks}
        before = kept.pop(new.net, None)
        if before is not None:
            until, count = max(new.until, before.until), max(new.count, before.count)
            new = replace(new, since=before.since, until=until, count=count)
        blocks = [*kept.values(), new]
        if len(blocks) > MOST:
            blocks = sorted(blocks, key=lambda block: block.until)[-MOST:]
        return replace(self, blocks=tuple(blocks))

    def removing(self, net: str, now: float) -> BlockList:
        """Without the entry of this very net, which is pardoned."""
        left = tuple(block for block in self.blocks if block.net != net)
        return BlockList(left, {**self.pardons, net: now})


def parse_net(text: str) -> Net:
    """An address or net; an IPv4-mapped one (RFC 4291 2.5.5.2) is the IPv4 one. Raises BadBlock."""
    try:
        net = ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        raise BadBlock(f"{text!r} is no address or net; give one as 192.0.2.1 or 192.0.2.0/24") from None
    mapped = net.network_address.ipv4_mapped if isinstance(net, ipaddress.IPv6Network) else None
    return ipaddress.ip_network((mapped, net.prefixlen - 96)) if mapped and net.prefixlen >= 96 else net


def net_text(net: Net) -> str:
    return str(net.network_address) if net.prefixlen == net.max_prefixlen else str(net)


def address_number(text: str) -> tuple[int, int] | None:
    """(32 or 128, the address as a number), an IPv4-mapped one as IPv4; None for what is no address."""
    try:
        if ":" not in text:
            return 32, int.from_bytes(socket.inet_pton(socket.AF_INET, text), "big")
        packed = socket.inet_pton(socket.AF_INET6, text.partition("%")[0])
    except (OSError, ValueError):
        return None
    if packed.startswith(MAPPED):
        return 32, int.from_bytes(packed[12:], "big")
    return 128, int.from_bytes(packed, "big")


def net_number(text: str) -> tuple[int, int, int]:
    """(32 or 128, how many bits are the hosts', the leading bits) of a net as `net_text` writes it: ten times as
    fast as `parse_net`. Raises BadBlock."""
    address, _, prefix = text.partition("/")
    found = address_number(address)
    if found is not None and (not prefix or WIDTH.fullmatch(prefix)):
        bits, number = found
        shift = bits - int(prefix or bits)
        if shift >= 0:
            return bits, shift, number >> shift
    raise BadBlock(f"{text!r} is no address or net")


def read_blocks(path: Path) -> BlockList:
    """The list, ended entries included; an empty one when there is no file. Raises BadBlock, OSError."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return BlockList()
    try:
        found = json.loads(data)
        listed = BlockList(tuple(map(_block, found["blocks"])), {k: float(v) for k, v in found["pardons"].items()})
        for net in (*(block.net for block in listed.blocks), *listed.pardons):
            net_number(net)
        return listed
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BadBlock(f"{path} is no list of blocks ({error}); move it away") from None


def _block(entry: Mapping[str, Any]) -> Block:
    since, until = float(entry["since"]), float(entry["until"])
    return Block(str(entry["net"]), since, until, str(entry["why"]), int(entry["count"]))


def write_blocks(path: Path, listed: BlockList) -> None:
    found = {"blocks": [asdict(block) for block in listed.blocks], "pardons": dict(listed.pardons)}
    write_atomic(path, json.dumps(found, ensure_ascii=False, indent=1).encode("utf-8", "replace") + b"\n")


class NetTable:
    """Numbers by net: one dictionary for each width, from the net's leading bits."""

    def __init__(self, numbers: Iterable[tuple[str, float]] = ()) -> None:
        self._widths: dict[tuple[int, int], dict[int, float]] = {}
        for text, number in numbers:
            bits, shift, leading = net_number(text)
            self._widths.setdefault((bits, shift), {})[leading] = number

    def largest(self, ip: str) -> float:
        """Of the nets that this address is in; 0 for none, and for what is no address."""
        if not self._widths:
            return 0.0
        found = address_number(ip)
        if found is None:
            return 0.0
        largest = 0.0
        for (bits, shift), numbers in self._widths.items():
            if bits == found[0]:
                largest = max(largest, numbers.get(found[1] >> shift, 0.0))
        return largest


class Blocks:
    """What one worker knows of the list. generation: asked at every look, so it is to be cheap."""

    def __init__(self, paths: Paths, generation: Callable[[], int], log: Log, clock: Clock = SYSTEM) -> None:
        self._path = paths.data / FILE
        self._run = paths.run
        self._generation = generation
        self._log = log
        self._clock = clock
        self._seen = -1
        self._ends = self._pardons = NetTable()
        self._any = False
        self._told: dict[str, float] = {}

    def has(self, ip: str) -> bool:
        """Whether a connection from this address is to be refused now. What is no address is not blocked."""
        if self._generation() != self._seen:
            self._read()
        return self._any and self._ends.largest(ip) > self._clock.now()

    def pardoned(self, ip: str) -> int:
        """When the failed logins of this address were pardoned, in milliseconds since 1970; 0: they were not."""
        if self._generation() != self._seen:
            self._read()
        return int(self._pardons.largest(ip) * 1000)

    def _read(self) -> None:
        self._seen = self._generation()  # before the file: what is written meanwhile is read at the next look
        try:
            listed = read_blocks(self._path).current(self._clock.now())
        except (BadBlock, OSError) as error:
            self._log.error("blocked addresses not read", error=error)
            listed = BlockList()
        self._ends = NetTable((block.net, block.until) for block in listed.blocks)
        self._pardons = NetTable(listed.pardons.items())
        self._any = bool(listed.blocks)

    def report(self, net: str, count: int) -> None:
        """Asks the control worker to block a net that had so many failed logins this day."""
        now = self._clock.monotonic()
        if now < self._told.get(net, 0.0):
            return
        self._told = {other: again for other, again in self._told.items() if again > now}
        self._told[net] = now + AGAIN
        name = f"{REQUEST}{os.getpid()}.{secrets.token_hex(4)}"
        scratch = self._run / f".{name}"
        try:
            scratch.write_text(json.dumps({"net": net, "count": count}), encoding="utf-8")
            scratch.rename(self._run / name)
        except OSError as error:
            self._log.error("block not asked for", net=net, error=error)


def take_requests(run: Path, log: Log) -> dict[str, int]:
    """Count by net of the requests that wait, which are taken away; what cannot be read is logged and dropped."""
    found: dict[str, int] = {}
    for name in os.listdir(run):
        if not name.startswith(REQUEST):
            continue
        path = run / name
        try:
            with path.open("rb") as file:
                request = json.loads(file.read(REQUEST_SIZE))
            net = net_text(parse_net(request["net"]))
            found[net] = max(found.get(net, 0), int(request["count"]))
        except (ValueError, TypeError, KeyError, AttributeError, OSError, RecursionError) as error:
            log.error("request for a block not read", file=name, error=error)
        path.unlink(missing_ok=True)
    return found
