"""What every row of RESOLVERS does, and the fake; and what the stub resolver does with servers that misbehave."""

from __future__ import annotations

import asyncio
import gc
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from echomox.dns import RESOLVERS, DnsBogus, DnsTemporary, Mx, open_resolver
from echomox.dns.exchange import USES_LOOPBACK, Server, _Socket
from echomox.dns.fake import FakeResolver
from echomox.dns.stub import StubResolver
from echomox.dns.system import SystemServers
from tests.nameserver import NameServer

TABLES = {
    ("example.org", "MX"): ["10 mx.example.org."],
    ("example.org", "TXT"): ['"v=spf1 -all"'],
    ("mx.example.org", "A"): ["192.0.2.1"],
    ("www.example.org", "CNAME"): ["alias.example.org."],
    ("alias.example.org", "CNAME"): ["mx.example.org."],
}


@dataclass
class Settings:
    resolver: str
    trusted: bool = False
    timeout: float = 5.0
    cache_entries: int = 1000


def _fake(port: int, directory: Any) -> FakeResolver:
    return FakeResolver(
        {
            ("example.org", "MX"): [(10, "mx.example.org")],
            ("example.org", "TXT"): "v=spf1 -all",
            ("mx.example.org", "A"): "192.0.2.1",
            ("www.example.org", "CNAME"): "alias.example.org",
            ("alias.example.org", "CNAME"): "mx.example.org",
        }
    )


def _system(port: int, directory: Any) -> StubResolver:
    """The row "system" reads a file and asks port 53; here another file and another port."""
    file = directory / "resolv.conf"
    file.write_text("search example.org\nnameserver 127.0.0.1\n")
    return StubResolver(SystemServers(str(file), port))


@pytest.fixture(params=["asyncio", "uvloop"], autouse=True)
def loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything on both event loops: the workers have uvloop, the commands asyncio's."""
    if request.param == "uvloop":
        uvloop = pytest.importorskip("uvloop")

        def run(body: Any) -> Any:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                return runner.run(body)

        monkeypatch.setattr(asyncio, "run", run)


MAKERS: dict[str, Callable[[int, Any], Any]] = {
    "system": _system,
    "none": lambda port, directory: open_resolver(Settings("none")),
    "HOST:PORT": lambda port, directory: open_resolver(Settings(f"127.0.0.1:{port}")),
    "fake": _fake,
}
ANSWERING = sorted(set(MAKERS) - {"none"})


def with_server(
    name: str, test: Callable[[Any, NameServer], Awaitable[None]], directory: Any = None, /, **how: Any
) -> None:
    async def run() -> None:
        async with NameServer(TABLES, **how) as server:
            resolver = MAKERS[name](server.port, directory)
            try:
                await asyncio.wait_for(test(resolver, server), 120)
            finally:
                await resolver.close()
                await resolver.close()

    asyncio.run(run())


def test_every_row_is_tested_here():
    assert {row.name for row in RESOLVERS} == set(MAKERS) - {"fake"}


@pytest.mark.parametrize("resolver", ["example.org", "127.0.0.1", "", "127.0.0.1:0", "name:53", "::1:70000"])
def test_a_resolver_that_there_is_not(resolver):
    with pytest.raises(ValueError, match=r"\w"):
        open_resolver(Settings(resolver))


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_a_name_that_cannot_be_is_not_there_and_not_asked(name, tmp_path):
    async def test(resolver: Any, server: NameServer) -> None:
        for wrong in ("", "..", "a..b", ".example.org", "x" * 64 + ".example", "x." * 130, "\u200b"):
            answer = await resolver.lookup(wrong, "A")
            assert (answer.exists, answer.values, answer.secure) == (False, (), False)
        assert not server.asked

    with_server(name, test, tmp_path)


@pytest.mark.parametrize("name", sorted(set(MAKERS) - {"fake"}))
def test_a_type_that_there_is_not_is_a_mistake_of_ours(name, tmp_path):
    async def test(resolver: Any, server: NameServer) -> None:
        for wrong in ("ANY", "NOPE", ""):
            with pytest.raises(ValueError, match=r"\w"):
                await resolver.lookup("example.org", wrong)

    with_server(name, test, tmp_path)


@pytest.mark.parametrize("name", ANSWERING)
def test_answers(name, tmp_path):
    async def test(resolver: Any, server: NameServer) -> None:
        mx = await resolver.lookup("EXAMPLE.Org.", "mx")
        assert (mx.name, mx.type, mx.values, mx.exists) == ("example.org", "MX", (Mx(10, "mx.example.org"),), True)
        assert (await resolver.lookup("example.org", "TXT")).values == (b"v=spf1 -all",)
        www = await resolver.lookup("www.example.org", "A")
        assert (www.name, www.canonical, www.values) == ("www.example.org", "mx.example.org", ("192.0.2.1",))
        assert (await resolver.lookup("www.example.org", "CNAME")).values == ("alias.example.org",)
        nodata = await resolver.lookup("mx.example.org", "AAAA")
        assert (nodata.exists, nodata.values) == (True, ())
        assert not nodata
        assert not (await resolver.lookup("nix.example.org", "A")).exists
        assert not (await resolver.lookup("mx", "A")).exists, "no search list"

    with_server(name, test, tmp_path)


def test_none_knows_nothing():
    async def test(resolver: Any, server: NameServer) -> None:
        answer = await resolver.lookup("Example.org", "MX")
        assert (answer.name, answer.exists, answer.values, answer.secure) == ("example.org", False, (), False)
        assert not server.asked

    with_server("none", test)


# -- the stub resolver ----------------------------------------------------------


def stub(*ports: int, **how: Any) -> StubResolver:
    return StubResolver(lambda: [("127.0.0.1", port) for port in ports], **{"timeout": 60.0, **how})


def run(test: Callable[[NameServer], Awaitable[None]], **how: Any) -> None:
    async def body() -> None:
        async with NameServer(TABLES, **how) as server:
            await asyncio.wait_for(test(server), 120)

    asyncio.run(body())


def test_answers_are_asked_once_while_they_last_and_once_at_a_time():
    async def test(server: NameServer) -> None:
        resolver = stub(server.port)
        many = await asyncio.gather(*(resolver.lookup("example.org", "MX") for _ in range(50)))
        assert {answer.values for answer in many} == {(Mx(10, "mx.example.org"),)}
        assert (await resolver.lookup("Example.ORG", "mx")).values == many[0].values
        for _ in range(3):
            assert not (await resolver.lookup("nix.example.org", "A")).exists
        assert server.asked == [("example.org", "MX", "udp"), ("nix.example.org", "A", "udp")]
        await resolver.close()

    run(test, delay=0.02)


def test_an_absence_without_soa_is_not_kept():
    async def test(server: NameServer) -> None:
        resolver = stub(server.port)
        for _ in range(2):
            assert not (await resolver.lookup("nix.example.org", "A")).exists
        assert len(server.asked) == 2
        await resolver.close()

    run(test, minimum=None)


def test_who_gives_up_does_not_end_it_for_others():
    async def test(server: NameServer) -> None:
        resolver = stub(server.port)
        first = asyncio.ensure_future(resolver.lookup("example.org", "MX"))
        second = asyncio.ensure_future(resolver.lookup("example.org", "MX"))
        while not server.asked:
            await asyncio.sleep(0.01)
        first.cancel()
        assert (await second).values
        assert len(server.asked) == 1
        with pytest.raises(asyncio.CancelledError):
            await first
        await resolver.close()

    run(test, delay=1.0)


def test_a_truncated_reply_is_asked_for_over_tcp():
    async def test(server: NameServer) -> None:
        server.tables["big.example.org", "TXT"] = [f'"{number:0250}"' for number in range(200)]
        resolver = stub(server.port)
        answer = await resolver.lookup("big.example.org", "TXT")
        assert len(answer.values) == 200
        assert [how for _, _, how in server.asked] == ["udp", "tcp"]
        await resolver.close()

    run(test, truncate=True)


def test_a_server_that_is_silent_is_asked_again():
    async def test(server: NameServer) -> None:
        resolver = stub(server.port, timeout=3.0)
        assert (await resolver.lookup("example.org", "MX")).values
        assert len(server.asked) == 3
        await resolver.close()

    run(test, silent=2)


def test_the_next_server_is_asked_and_the_bad_one_last_from_then_on():
    async def test(server: NameServer) -> None:
        async with NameServer(TABLES, silent=1000) as silent:
            resolver = stub(silent.port, server.port, timeout=4.0)
            assert (await resolver.lookup("example.org", "MX")).values
            assert (await resolver.lookup("example.org", "TXT")).values
            assert len(silent.asked) == 1
            await resolver.close()

    run(test)


@pytest.mark.parametrize("rcode", [2, 5])
def test_a_server_that_fails_or_refuses_is_followed_by_the_next(rcode):
    async def test(server: NameServer) -> None:
        async with NameServer(TABLES, rcode=rcode) as failing:
            resolver = stub(failing.port, server.port)
            assert (await resolver.lookup("example.org", "MX")).values
            assert len(failing.asked) == 1
            await resolver.close()

    run(test)


def test_no_answer_at_all_is_temporary_in_time(monkeypatch):
    monkeypatch.setattr("echomox.dns.cache.FAILURE", 60.0)

    async def test(server: NameServer) -> None:
        resolver = stub(server.port, timeout=0.3)
        started = time.monotonic()
        with pytest.raises(DnsTemporary, match="no answer in time"):
            await resolver.lookup("example.org", "MX")
        assert time.monotonic() - started > 0.25
        asked = len(server.asked)
        with pytest.raises(DnsTemporary, match="no answer in time"):
            await resolver.lookup("example.org", "MX")
        assert len(server.asked) == asked, "a failure is kept (RFC 9520)"
        await resolver.close()

    run(test, silent=1000)


def test_nobody_listens():
    async def body() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
        resolver = stub(port, timeout=5)
        with pytest.raises(DnsTemporary, match="refused"):  # the kernel says so: no waiting for the limit
            await resolver.lookup("example.org", "MX")
        await resolver.close()
        with pytest.raises(DnsTemporary, match="closed"):
            await resolver.lookup("example.org", "TXT")

    asyncio.run(body())


def test_no_server_is_configured():
    async def body() -> None:
        with pytest.raises(DnsTemporary, match="no resolver is configured"):
            await stub().lookup("example.org", "MX")

    asyncio.run(body())


def test_a_server_without_edns_is_asked_without():
    async def test(server: NameServer) -> None:
        resolver = stub(server.port)
        assert (await resolver.lookup("example.org", "MX")).values
        assert (await resolver.lookup("example.org", "TXT")).values
        assert [query.edns for query in server.queries] == [0, -1, -1]
        await resolver.close()

    run(test, edns=False)


def test_forged_replies_are_not_believed():
    """RFC 5452: a wrong id is as if nothing had come; very many, and the question goes over TCP."""

    async def test(server: NameServer) -> None:
        resolver = stub(server.port)
        assert (await resolver.lookup("example.org", "MX")).values
        assert server.asked == [("example.org", "MX", "udp")]
        server.forged = 200
        assert (await resolver.lookup("example.org", "TXT")).values
        assert [how for _, _, how in server.asked[1:]] == ["udp", "tcp"]
        await resolver.close()

    run(test, forged=20)


def test_a_reply_from_elsewhere_is_not_believed():
    async def test(server: NameServer) -> None:
        loop = asyncio.get_running_loop()
        resolver = stub(server.port, timeout=2.0)
        asking = asyncio.ensure_future(resolver.lookup("example.org", "MX"))
        while not server.queries:
            await asyncio.sleep(0.01)
        sockets = [one for one in gc.get_objects() if isinstance(one, _Socket) and not one.closed and one.waiting]
        ports = {one._transport.get_extra_info("sockname")[1]: next(iter(one.waiting)) for one in sockets}
        forged = server.queries[0].to_wire()
        async with NameServer(TABLES) as forger:
            right = forger.replies(forged, "udp")[0]
            for port, id in ports.items():
                forger._udp.sendto(id.to_bytes(2, "big") + right[2:], ("127.0.0.1", port))
            await loop.run_in_executor(None, time.sleep, 0.02)
        assert ports
        with pytest.raises(DnsTemporary):
            await asking
        await resolver.close()

    run(test, silent=1000)


def test_letters_of_any_case_in_a_reply():
    async def test(server: NameServer) -> None:
        resolver = stub(server.port)
        assert (await resolver.lookup("www.example.org", "A")).values == ("192.0.2.1",)
        await resolver.close()

    run(test, mixed=True)


def test_a_chain_in_pieces_is_put_together():
    async def test(server: NameServer) -> None:
        resolver = stub(server.port)
        answer = await resolver.lookup("www.example.org", "A")
        assert (answer.values, answer.canonical, answer.secure) == (("192.0.2.1",), "mx.example.org", True)
        assert len(server.asked) == 3
        server.tables["loop.example.org", "CNAME"] = ["loop2.example.org."]
        server.tables["loop2.example.org", "CNAME"] = ["loop.example.org."]
        assert (await resolver.lookup("loop.example.org", "A")).values == ()
        for number in range(40):
            server.tables[f"c{number}.example.org", "CNAME"] = [f"c{number + 1}.example.org."]
        with pytest.raises(DnsTemporary, match="CNAMEs do not end"):
            await resolver.lookup("c0.example.org", "A")
        await resolver.close()

    run(test, cut=True, ad=True)


def test_ad_is_believed_on_loopback_and_asked_for():
    async def test(server: NameServer) -> None:
        resolver = stub(server.port)
        assert (await resolver.lookup("example.org", "MX")).secure
        assert (await resolver.lookup("example.org", "MX")).secure, "from the cache"
        assert (await resolver.lookup("nix.example.org", "MX")).secure
        query = server.queries[0]
        assert (query.payload, bool(query.ednsflags & 0x8000), bool(query.flags & 0x20)) == (1232, True, True)
        await resolver.close()

    run(test, ad=True)


@pytest.mark.parametrize("trusted", [False, True])
def test_ad_of_a_server_elsewhere_is_only_believed_when_told(trusted, monkeypatch):
    monkeypatch.setattr("echomox.dns.exchange.is_loopback", lambda host: False)

    async def test(server: NameServer) -> None:
        resolver = stub(server.port, trusted=trusted)
        assert (await resolver.lookup("example.org", "MX")).secure is trusted
        assert bool(server.queries[0].ednsflags & 0x8000) is trusted
        await resolver.close()

    run(test, ad=True)


def test_a_failed_validation_is_bogus():
    async def test(server: NameServer) -> None:
        resolver = stub(server.port)
        with pytest.raises(DnsBogus, match=r"SERVFAIL: DNSSEC bogus \(bad signature\)"):
            await resolver.lookup("example.org", "MX")
        await resolver.close()

    run(test, rcode=2, ede=(6, "bad signature"))


GARBAGE = [b"", b"\0\0", b"\0\0\x81\x80\0\1\xff\xff\0\0\0\0\7example\3org\0\0\x0f\0\1" + b"x" * 400]


@pytest.mark.parametrize("raw", GARBAGE)
def test_garbage_is_temporary(raw):
    async def test(server: NameServer) -> None:
        resolver = stub(server.port, timeout=0.3)
        with pytest.raises(DnsTemporary):
            await resolver.lookup("example.org", "MX")
        await resolver.close()

    run(test, raw=raw)


def test_sockets_are_given_up_and_none_is_left():
    async def test(server: NameServer) -> None:
        one = Server("127.0.0.1", server.port)
        one.loopback = False
        resolver = stub(server.port, entries=0)
        resolver._servers["127.0.0.1", server.port] = one
        ports = set()
        for _ in range(450):
            await resolver.lookup("example.org", "MX")
            ports |= {each._transport.get_extra_info("sockname")[1] for each in one._sockets if each._transport}
            assert len(one._sockets) <= 4
        assert len(ports) >= 5, "the port changes"
        await resolver.close()
        assert not one._sockets

    assert USES_LOOPBACK > 450
    run(test)


def test_closing_ends_open_questions():
    async def test(server: NameServer) -> None:
        resolver = stub(server.port)
        asking = asyncio.ensure_future(resolver.lookup("example.org", "MX"))
        await asyncio.sleep(0.02)
        await resolver.close()
        with pytest.raises(DnsTemporary, match="closed"):
            await asking

    run(test, silent=1000)
