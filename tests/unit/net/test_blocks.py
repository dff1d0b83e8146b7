"""Blocked addresses (A12): nets, the list on disk, the look at each connection, requests of workers."""

import json

import pytest

from echomox.clock import FakeClock
from echomox.config.paths import Paths
from echomox.config.schema import Limits
from echomox.net.blocks import (
    AGAIN,
    FILE,
    MOST,
    PARDON,
    BadBlock,
    Block,
    BlockList,
    Blocks,
    NetTable,
    net_number,
    net_text,
    parse_net,
    read_blocks,
    take_requests,
    write_blocks,
)
from echomox.net.limit import BLOCKED, ConnectionLimits, LoginLimits, network_names
from shm.limiter import LimiterSlabs
from tests.unit.smtpd.support import QUIET

NETS = [
    ("192.0.2.1", "192.0.2.1"),
    ("192.0.2.1/32", "192.0.2.1"),
    (" 192.0.2.77/26 ", "192.0.2.64/26"),
    ("::ffff:192.0.2.1", "192.0.2.1"),
    ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
    ("2001:DB8::1", "2001:db8::1"),
    ("2001:db8:1:2:3::/64", "2001:db8:1:2::/64"),
]


@pytest.mark.parametrize("text, expected", NETS)
def test_nets_have_one_spelling(text, expected):
    assert net_text(parse_net(text)) == expected


@pytest.mark.parametrize("text", ["", "example.org", "192.0.2.1/33", "192.0.2", "1.2.3.4.5", "::g", "1.2.3.4/x"])
def test_what_is_no_net_is_refused(text):
    with pytest.raises(BadBlock, match="give one as"):
        parse_net(text)


@pytest.mark.parametrize("text", [text for text, _ in NETS] + ["0.0.0.0/1", "2001:db8::/1"])
def test_a_net_has_one_number_by_either_reader(text):
    net = parse_net(text)
    bits, shift, leading = net_number(net_text(net))
    assert (bits, bits - shift) == (net.max_prefixlen, net.prefixlen) and leading == int(net.network_address) >> shift


MATCHES = [
    ("192.0.2.1", True),
    ("::ffff:192.0.2.1", True),
    ("192.0.2.2", False),
    ("198.51.100.63", True),
    ("198.51.100.64", False),
    ("2001:db8:1:2:ffff::9", True),
    ("2001:db8:1:3::", False),
    ("2001:db8:1:2::1%eth0", True),
    ("::c000:201", False),  # the number of 192.0.2.1, but an IPv6 address
    ("", False),
    ("unix", False),
]


@pytest.mark.parametrize("ip, expected", MATCHES)
def test_an_address_is_found_in_its_nets(ip, expected):
    table = NetTable([("192.0.2.1", 5.0), ("198.51.100.0/26", 6.0), ("2001:db8:1:2::/64", 7.0)])
    assert bool(table.largest(ip)) is expected


def test_the_largest_number_of_all_nets_counts():
    assert NetTable([("192.0.2.1", 5.0), ("192.0.2.0/24", 9.0), ("192.0.0.0/16", 7.0)]).largest("192.0.2.1") == 9.0


class World:
    """A list on disk and a worker that looks at it."""

    def __init__(self, root):
        self.paths = Paths.home(root)
        self.paths.run.mkdir(parents=True)
        self.clock = FakeClock()
        self.generation = 0
        self.asked = 0
        self.worker = Blocks(self.paths, self._generation, QUIET, self.clock)

    def _generation(self):
        self.asked += 1
        return self.generation

    def write(self, *blocks, pardons=None):
        write_blocks(self.paths.data / FILE, BlockList(blocks, pardons or {}))
        self.generation += 1

    def block(self, net, seconds=60.0, count=0):
        return Block(net, self.clock.now(), self.clock.now() + seconds, "why", count)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_a_list_is_read_as_it_was_written(world):
    assert read_blocks(world.paths.data / FILE) == BlockList()
    blocks = (world.block("192.0.2.1", 60.5), world.block("2001:db8::/32", 1, 7))
    world.write(*blocks, pardons={"192.0.2.9": 12.5})
    assert read_blocks(world.paths.data / FILE) == BlockList(blocks, {"192.0.2.9": 12.5})


def test_an_entry_ends_by_itself_and_the_file_is_not_read_again(world):
    world.write(world.block("192.0.2.1", 60))
    assert [world.worker.has("192.0.2.1"), world.worker.has("192.0.2.2")] == [True, False]
    (world.paths.data / FILE).unlink()
    world.clock.advance(59)
    assert world.worker.has("192.0.2.1")
    world.clock.advance(1)
    assert not world.worker.has("192.0.2.1")


def test_a_worker_reads_a_list_that_was_there_before_it_and_each_new_one(world):
    write_blocks(world.paths.data / FILE, BlockList((world.block("192.0.2.1"),)))
    assert world.generation == 0 and world.worker.has("192.0.2.1")
    world.write(world.block("192.0.2.2"))
    assert [world.worker.has("192.0.2.1"), world.worker.has("192.0.2.2")] == [False, True]


@pytest.mark.parametrize(
    "text",
    [
        "", "{}", "[]", "[" * 9999, "\0", '{"blocks": 5, "pardons": {}}', '{"blocks": [{"net": "x"}], "pardons": {}}',
        '{"blocks": [], "pardons": {"192.0.2.0/33": 1}}', '{"blocks": [], "pardons": {"192.0.2.0/-1": 1}}',
        '{"blocks": [], "pardons": {"192.0.2.1": []}}',
    ],
)
def test_a_list_that_is_none_blocks_nobody(world, text):
    (world.paths.data / FILE).write_text(text)
    assert not world.worker.has("192.0.2.1")
    with pytest.raises(BadBlock, match="move it away"):
        read_blocks(world.paths.data / FILE)


def test_entries_of_one_net_are_one(world):
    first = Block("192.0.2.1", 100.0, 200.0, "first", 50)
    assert BlockList((first,)).adding(Block("192.0.2.1", 150.0, 180.0, "then", 3)).blocks == (
        Block("192.0.2.1", 100.0, 200.0, "then", 50),
    )
    assert BlockList((first,)).adding(Block("192.0.2.1", 150.0, 900.0, "then", 60)).blocks == (
        Block("192.0.2.1", 100.0, 900.0, "then", 60),
    )


def test_the_list_is_bounded_and_what_ends_first_goes():
    many = tuple(Block(f"10.{n // 65536}.{n // 256 % 256}.{n % 256}", 0.0, float(n + 1), "") for n in range(MOST))
    ends = [block.until for block in BlockList(many).adding(Block("192.0.2.1", 0.0, 5.5, "")).blocks]
    assert len(ends) == MOST and min(ends) == 2.0 and 5.5 in ends


def test_what_has_ended_is_left_out():
    listed = BlockList((Block("192.0.2.1", 0.0, 10.0, ""), Block("192.0.2.2", 0.0, 11.0, "")), {"192.0.2.3": 10.0})
    assert [block.net for block in listed.current(10.0).blocks] == ["192.0.2.2"]
    assert listed.current(9 + PARDON).pardons and not listed.current(10 + PARDON).pardons


def test_requests_are_taken_once(world):
    other = Blocks(world.paths, lambda: 0, QUIET, world.clock)
    world.worker.report("192.0.2.1", 50)
    other.report("192.0.2.1", 53)
    other.report("198.51.100.0/26", 151)
    assert take_requests(world.paths.run, QUIET) == {"192.0.2.1": 53, "198.51.100.0/26": 151}
    assert take_requests(world.paths.run, QUIET) == {} and list(world.paths.run.iterdir()) == []


def test_a_worker_does_not_repeat_itself_for_a_while(world):
    for expected in (1, 0, 0):
        world.worker.report("192.0.2.1", 50)
        assert len(take_requests(world.paths.run, QUIET)) == expected
    world.clock.advance(AGAIN)
    world.worker.report("192.0.2.1", 51)
    assert take_requests(world.paths.run, QUIET) == {"192.0.2.1": 51}


@pytest.mark.parametrize("text", ["", "[]", '{"net": "everybody", "count": 1}', '{"net": "192.0.2.1"}', "9" * 5000])
def test_a_request_that_is_none_is_dropped(world, text):
    (world.paths.run / "block.1.x").write_text(text)
    (world.paths.run / "other").write_text("stays")
    assert take_requests(world.paths.run, QUIET) == {}
    assert [path.name for path in world.paths.run.iterdir()] == ["other"]


def test_a_blocked_address_is_refused_before_anything_is_counted(world):
    world.write(world.block("192.0.2.1", 60))
    slabs = LimiterSlabs.private()
    limits = Limits(connections_per_ip=1, connection_rate_per_ip=1)
    gate = ConnectionLimits(slabs, "imap", limits, world.clock, world.worker.has)
    assert [gate.admit("192.0.2.1") for _ in range(5)] == [BLOCKED] * 5
    assert gate.admit("192.0.2.2") == ""
    world.clock.advance(61)
    assert gate.admit("192.0.2.1") == ""


def test_the_look_asks_for_the_generation_only_while_nothing_is_blocked(world):
    world.worker.has("192.0.2.1")
    before = world.asked
    world.clock.now = None  # not asked for the time
    assert not any(world.worker.has("192.0.2.1") for _ in range(10))
    assert world.asked == before + 10


NAMES = [
    ("192.0.2.77", ("192.0.2.77", "192.0.2.64/26", "192.0.0.0/21")),
    ("::ffff:192.0.2.77", ("192.0.2.77", "192.0.2.64/26", "192.0.0.0/21")),
    ("2001:db8:1:2:3::4", ("2001:db8:1:2::/64", "2001:db8:1::/48", "2001:db8::/32")),
    ("", ()),
]


@pytest.mark.parametrize("ip, expected", NAMES)
def test_names_of_the_nets_that_are_counted(ip, expected):
    assert network_names(ip) == expected


USED = [
    # (failed logins by address, asked for, nets whose day is used up)
    ({"192.0.2.1": 4}, "192.0.2.1", []),
    ({"192.0.2.1": 5}, "192.0.2.1", [("192.0.2.1", 5)]),
    ({"192.0.2.1": 5}, "192.0.2.2", []),
    ({f"192.0.2.{n}": 3 for n in range(1, 6)}, "192.0.2.1", [("192.0.2.0/26", 15)]),
    ({f"192.0.{n}.1": 3 for n in range(7)} | {"192.0.7.1": 17}, "192.0.7.1", [("192.0.7.1", 17), ("192.0.7.0/26", 17)]),
    (
        {f"192.0.{n}.1": 15 for n in range(3)},
        "192.0.0.1",
        [("192.0.0.1", 15), ("192.0.0.0/26", 15), ("192.0.0.0/21", 45)],
    ),
    ({"": 5}, "", []),
]


@pytest.mark.parametrize("failed, ip, expected", USED)
def test_the_nets_that_have_used_up_their_day(failed, ip, expected):
    limits = LoginLimits(LimiterSlabs.private(), Limits(logins_per_minute=0, logins_per_day=5), FakeClock())
    for address, times in failed.items():
        for _ in range(times):
            limits.failed(address)
    assert limits.used_up(ip) == expected


def test_a_pardon_lets_an_address_try_again_and_its_neighbours_not(world):
    slabs, limits = LimiterSlabs.private(), Limits(logins_per_minute=0, logins_per_day=2)
    logins = LoginLimits(slabs, limits, world.clock, world.worker.pardoned)
    for ip in ("192.0.2.1", "192.0.2.1", "192.0.2.9", "192.0.2.9"):
        logins.failed(ip)
    world.write(pardons={"192.0.2.1": world.clock.now()})
    assert [logins.allowed(ip) for ip in ("192.0.2.1", "192.0.2.9")] == [True, False]
    for _ in range(2):
        logins.failed("192.0.2.1")
    assert not logins.allowed("192.0.2.1")
    world.clock.advance(1)
    world.write(pardons={"192.0.2.1": world.clock.now()})
    assert logins.allowed("192.0.2.1")


def test_the_file_is_for_its_owner_and_for_people(world):
    world.write(world.block("192.0.2.1"))
    path = world.paths.data / FILE
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text())["blocks"][0]["why"] == "why"
