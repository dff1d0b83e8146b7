"""The memory of MTA-STS policies, over a real HTTPS host on loopback; and counts of TLS results."""

import asyncio
import contextlib
import ssl

import pytest
import trustme

from echomox.clock import FakeClock
from echomox.dns.fake import FakeResolver
from echomox.dns.types import DnsTemporary
from echomox.log import Log, Sink
from echomox.tlspolicy.fetch import Fetcher
from echomox.tlspolicy.mtasts import Policy
from echomox.tlspolicy.policies import DAY_LIMIT, Database, Policies
from echomox.tlspolicy.tlsrpt import Counted, Result

CA = trustme.CA()
TEXT = b"version: STSv1\r\nmode: enforce\r\nmx: mx.example\r\nmax_age: 1000000\r\n"
OTHER = TEXT.replace(b"enforce", b"testing")


def answer(body=TEXT, status=b"200 OK", kind=b"text/plain", more=b""):
    head = b"HTTP/1.1 " + status + b"\r\nContent-Type: " + kind + b"\r\n" + more
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


class World:
    """An HTTPS host for mta-sts.there.example, DNS, a clock that stands still."""

    def __init__(self, path, name="mta-sts.there.example", ca=CA):
        self.path = path
        self.answer = answer()
        self.requests = []
        self.clock = FakeClock()
        self.resolver = FakeResolver(
            {("_mta-sts.there.example", "TXT"): "v=STSv1; id=1;", ("mta-sts.there.example", "A"): "127.0.0.1"}
        )
        self.server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert(name).configure_cert(self.server_context)

    @contextlib.asynccontextmanager
    async def policies(self, timeout=60.0):
        async def serve(reader, writer):
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                if self.answer is not None:
                    writer.write(self.answer)
                else:
                    await asyncio.sleep(60)
                await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=self.server_context)
        port = server.sockets[0].getsockname()[1]
        trusting = ssl.create_default_context()
        CA.configure_trust(trusting)
        quiet = Sink()
        quiet.default = 100
        found = Policies(
            self.path, self.resolver, lambda: Fetcher(trusting, port, timeout), self.clock, Log("t", sink=quiet)
        )
        try:
            yield found
        finally:
            await found.close()
            server.close()


def set_id(world, id):
    world.resolver.tables["_mta-sts.there.example", "TXT"] = f"v=STSv1; id={id};"


def test_a_policy_is_got_once_and_shared_by_processes(tmp_path):
    world = World(tmp_path / "d" / "index.db")

    async def run():
        async with world.policies() as one:
            first, second = await asyncio.gather(one.find("there.example"), one.find("there.example"))
            assert first == second
            assert first.policy == Policy("enforce", ("mx.example",), 1_000_000)
        async with world.policies() as other:
            assert (await other.find("there.example")).policy == first.policy

    asyncio.run(run())
    assert len(world.requests) == 1
    assert world.requests[0].startswith(b"GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: mta-sts.there.example:")
    assert (tmp_path / "d" / "index.db").stat().st_mode & 0o777 == 0o600


def test_a_domain_without_a_record_is_not_asked(tmp_path):
    world = World(tmp_path / "index.db")
    world.resolver.tables.clear()

    async def run():
        async with world.policies() as one:
            assert (await one.find("there.example")).policy is None

    asyncio.run(run())
    assert world.requests == []


def test_a_new_id_gets_the_new_policy(tmp_path):
    world = World(tmp_path / "index.db")

    async def run():
        async with world.policies() as one:
            await one.find("there.example")
            world.answer = answer(OTHER)
            world.clock.advance(61)
            assert (await one.find("there.example")).policy.mode == "enforce"
            set_id(world, 2)
            world.clock.advance(61)
            assert (await one.find("there.example")).policy.mode == "testing"

    asyncio.run(run())
    assert len(world.requests) == 2


@pytest.mark.parametrize("trouble", ["dns", "gone", "https"])
def test_a_policy_that_has_not_run_out_goes_on(tmp_path, trouble):
    # RFC 8461 5.1
    world = World(tmp_path / "index.db")

    async def run():
        async with world.policies() as one:
            await one.find("there.example")
            key = ("_mta-sts.there.example", "TXT")
            if trouble == "dns":
                world.resolver.tables[key] = DnsTemporary("SERVFAIL")
            elif trouble == "gone":
                del world.resolver.tables[key]
            else:
                set_id(world, 2)
                world.answer = answer(status=b"500 Oops")
            world.clock.advance(61)
            found = await one.find("there.example")
            assert found.policy.mode == "enforce"
            assert bool(found.error) == (trouble != "gone")
            world.clock.advance(1_000_001)
            assert (await one.find("there.example")).policy is None

    asyncio.run(run())


def test_mode_none_is_no_policy(tmp_path):
    world = World(tmp_path / "index.db")
    world.answer = answer(b"version: STSv1\nmode: none\nmax_age: 100000\n")

    async def run():
        async with world.policies() as one:
            found = await one.find("there.example")
            assert (found.policy, found.error) == (None, "")

    asyncio.run(run())


PLAIN = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
BAD = [
    (answer(status=b"301 Moved", more=b"Location: https://elsewhere.example/\r\n"), "sts-policy-fetch-error"),
    (answer(status=b"404 Not Found"), "sts-policy-fetch-error"),
    (answer(kind=b"text/html"), "sts-policy-fetch-error"),
    (answer(body=b"x" * 70_000), "sts-policy-fetch-error"),
    (answer(body=b"nonsense"), "sts-policy-invalid"),
    (b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 99\r\n\r\nshort", "sts-policy-fetch-error"),
    (b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX: " + b"y" * 20_000, "sts-policy-fetch-error"),
    (b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + b"x" * 100_000, "sts-policy-fetch-error"),
    (PLAIN + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", "sts-policy-fetch-error"),
    (b"SSH-2.0-x\r\n\r\n", "sts-policy-fetch-error"),
    (b"\0" * 40_000, "sts-policy-fetch-error"),
    (b"", "sts-policy-fetch-error"),
]  # fmt: skip


@pytest.mark.parametrize("given, result", BAD)
def test_an_answer_that_is_no_policy_is_remembered_for_five_minutes(tmp_path, given, result):
    world = World(tmp_path / "index.db")
    world.answer = given

    async def run():
        async with world.policies() as one:
            found = await one.find("there.example")
            assert (found.policy, found.result) == (None, result)
            asked = len(world.requests)
            world.answer = answer()
            world.clock.advance(61)
            assert (await one.find("there.example")).result == result
            assert len(world.requests) == asked
            world.clock.advance(300)
            assert (await one.find("there.example")).policy is not None

    asyncio.run(run())


CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: Text/Plain; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "given",
    [b"HTTP/1.0 200\r\nContent-Type: text/plain\r\n\r\n" + TEXT,
     CHUNKED + b"%x\r\n" % 10 + TEXT[:10] + b"\r\n%x;a=b\r\n" % (len(TEXT) - 10) + TEXT[10:] + b"\r\n0\r\n\r\n"],
)  # fmt: skip
def test_other_ways_to_send_it(tmp_path, given):
    world = World(tmp_path / "index.db")
    world.answer = given

    async def run():
        async with world.policies() as one:
            assert (await one.find("there.example")).policy.mode == "enforce"

    asyncio.run(run())


@pytest.mark.parametrize("change", [{"name": "www.there.example"}, {"ca": trustme.CA()}])
def test_the_host_needs_a_right_certificate(tmp_path, change):
    world = World(tmp_path / "index.db", **change)

    async def run():
        async with world.policies() as one:
            assert (await one.find("there.example")).result == "sts-webpki-invalid"

    asyncio.run(run())


def test_a_host_that_says_nothing_takes_its_time_once(tmp_path):
    world = World(tmp_path / "index.db")
    world.answer = None

    async def run():
        async with world.policies(timeout=0.2) as one:
            assert (await one.find("there.example")).result == "sts-policy-fetch-error"

    asyncio.run(run())


def test_a_file_that_cannot_be_used_stops_no_mail_and_hides_no_policy(tmp_path):
    path = tmp_path / "index.db"
    path.write_bytes(b"garbage" * 1000)
    world = World(path)

    async def run():
        async with world.policies() as one:
            assert (await one.find("there.example")).policy.mode == "enforce"
            one.record(Result("there.example", "there.example", "sts"))

    asyncio.run(run())


def test_refresh_gets_what_is_half_over_or_has_a_new_id(tmp_path):
    world = World(tmp_path / "index.db")

    async def run():
        async with world.policies() as one:
            await one.find("there.example")
            assert await one.refresh() == 0
            set_id(world, 2)
            assert await one.refresh() == 1
            assert await one.refresh() == 0
            world.clock.advance(500_001)
            assert await one.refresh() == 1
            (entry,) = one.database.entries()
            assert (entry.id, entry.expires) == ("2", world.clock.now() + 1_000_000)
            world.clock.advance(40 * 86_400)  # nobody asked for it since
            await one.refresh()
            assert one.database.entries() == []

    asyncio.run(run())
    assert len(world.requests) == 3


FAILED = Result(
    "there.example", "there.example", "sts", ("mode: enforce",), ("mx.example",), "certificate-expired", "mx.example",
    "192.0.2.1", "192.0.2.2", "mx", "old",
)  # fmt: skip


def test_results_are_added_up_by_day(tmp_path):
    world = World(tmp_path / "index.db")

    async def run():
        async with world.policies() as one:
            for _ in range(3):
                one.record(FAILED)
            await one.flush()
            one.record(FAILED)
            world.clock.advance(86_400)
            one.record(FAILED)
            await one.flush()
            return one.database.results(), one.database.results("2001-09-10")

    every, of_day = asyncio.run(run())
    assert [(item.day, item.count) for item in every] == [("2001-09-09", 4), ("2001-09-10", 1)]
    assert of_day == [Counted("2001-09-10", FAILED, 1)]


def test_a_day_has_no_more_different_failures_than_fit(tmp_path):
    database = Database(tmp_path / "index.db")
    import dataclasses

    many = [Counted("2026-01-01", dataclasses.replace(FAILED, detail=str(n)), 1) for n in range(DAY_LIMIT + 50)]
    database.add(many)
    found = database.results()
    assert len(found) == DAY_LIMIT + 1
    assert sum(item.count for item in found) == DAY_LIMIT + 50
    database.close()
