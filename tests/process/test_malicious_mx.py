"""Hosts that do all they can against a delivery: it ends within its limits, nothing counts as delivered without a
2xx to the final dot, memory stays small. On uvloop, as in service; over real sockets on loopback."""

import asyncio
import contextlib
import ssl
import time

import pytest
import uvloop

from echomox.dns.fake import FakeResolver
from tests.unit.outbound.mx import BODY, FixedPolicies, Mx, delivery, job, policy, recipients, server_context, zone

TINY = {
    "connect_timeout": 1.0, "greeting_timeout": 0.4, "command_timeout": 0.4, "tls_timeout": 0.4, "data_timeout": 0.4,
    "block_timeout": 0.4, "end_timeout": 0.4, "attempt_timeout": 4.0,
}  # fmt: skip
PATIENT = dict.fromkeys(TINY, 60.0)
"""For those where no time is to end."""
SOON = 60.0
"""Seconds: long after TINY, long before the limits of a server."""
LARGE = b"Subject: x\r\n\r\n" + b"0123456789" * 7 * 300_000  # 21 MB in one line: too much for any socket buffer


class Host:
    """talk(reader, writer) is all that it does."""

    def __init__(self, talk):
        self.talk = talk
        self.got = bytearray()

    async def __aenter__(self):
        async def serve(reader, writer):
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
                await self.talk(self, reader, writer)
            writer.close()

        self.server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**24)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()


def attack(talk, one=None, policies=None, **limits):
    """(the outcomes, how long it took, the host)"""

    async def run():
        async with Host(talk) as host, delivery(
            host.port, FakeResolver(zone("mx.example")), policies, **{**TINY, **limits}
        ) as remote:
            began = time.monotonic()
            outcomes = await remote.deliver(one or job())
            return outcomes, time.monotonic() - began, host

    return uvloop.run(run())


async def until_data(host, reader, writer, more=b""):
    """A proper host up to 354."""
    writer.write(b"220 mx.example\r\n")
    while line := await reader.readline():
        host.got += line
        verb = line[:4].upper()
        writer.write(b"354 go\r\n" + more if verb == b"DATA" else b"250 ok\r\n")
        if verb == b"DATA":
            return


async def drip_greeting(host, reader, writer):
    for byte in b"220 " + b"x" * 400:
        writer.write(bytes([byte]))
        await asyncio.sleep(0.05)


async def drip_lines(host, reader, writer):
    while True:
        writer.write(b"220-still here\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)


async def silent(host, reader, writer):
    await reader.read()


async def huge_line(host, reader, writer):
    while True:
        writer.write(b"220 " + b"x" * 100_000)
        await writer.drain()


async def endless_lines(host, reader, writer):
    while True:
        writer.write(b"220-x\r\n" * 10_000)
        await writer.drain()


async def garbage(host, reader, writer):
    writer.write(bytes(range(256)) * 4 + b"\r\n")
    await reader.read()


async def web_server(host, reader, writer):
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await reader.read()


async def mixed_codes(host, reader, writer):
    writer.write(b"220-a\r\n250 b\r\n")
    await reader.read()


async def closes_at_once(host, reader, writer):
    return


async def silent_after_ehlo(host, reader, writer):
    writer.write(b"220 mx\r\n")
    await reader.read()


async def endless_ehlo(host, reader, writer):
    writer.write(b"220 mx\r\n")
    await reader.readline()
    while True:
        writer.write(b"250-X%s\r\n" % (b"y" * 50))
        await writer.drain()


async def answers_everything_at_once(host, reader, writer):
    """ "Accepts" before anything was asked."""
    writer.write(b"220 mx\r\n" + b"250 ok\r\n" * 20 + b"354 go\r\n250 taken\r\n")
    await reader.read()


async def accepts_before_the_message(host, reader, writer):
    await until_data(host, reader, writer, b"250 taken\r\n")
    await reader.read()


async def silent_after_the_dot(host, reader, writer):
    await until_data(host, reader, writer)
    await reader.read()


async def closes_after_the_dot(host, reader, writer):
    await until_data(host, reader, writer)
    await reader.readuntil(b"\r\n.\r\n")


async def half_a_reply_after_the_dot(host, reader, writer):
    await until_data(host, reader, writer)
    await reader.readuntil(b"\r\n.\r\n")
    writer.write(b"250")


async def half_a_multiline_reply_after_the_dot(host, reader, writer):
    await until_data(host, reader, writer)
    await reader.readuntil(b"\r\n.\r\n")
    writer.write(b"250-taken\r\n")


async def garbage_after_the_dot(host, reader, writer):
    await until_data(host, reader, writer)
    await reader.readuntil(b"\r\n.\r\n")
    writer.write(b"2500 taken\r\n")
    await reader.read()


async def says_354_after_the_dot(host, reader, writer):
    await until_data(host, reader, writer)
    await reader.readuntil(b"\r\n.\r\n")
    writer.write(b"354 more\r\n")
    await reader.read()


async def takes_no_more_data(host, reader, writer):
    await until_data(host, reader, writer)
    writer.transport.pause_reading()
    await asyncio.sleep(60)


async def says_421_in_the_middle(host, reader, writer):
    await until_data(host, reader, writer)
    await reader.readexactly(1_000_000)
    writer.write(b"421 4.3.2 going down\r\n")
    await reader.read()


async def says_554_in_the_middle(host, reader, writer):
    await until_data(host, reader, writer)
    await reader.readexactly(1_000_000)
    writer.write(b"554 5.7.1 spam\r\n")
    await reader.read()


async def says_250_in_the_middle(host, reader, writer):
    await until_data(host, reader, writer)
    await reader.readexactly(1_000_000)
    writer.write(b"250 taken\r\n")
    await reader.read()


async def resets_in_the_middle(host, reader, writer):
    await until_data(host, reader, writer)
    await reader.readexactly(1_000_000)
    writer.transport.abort()


BIG = job(body=LARGE, size=len(LARGE))
ATTACKS = [
    (drip_greeting, None), (drip_lines, None), (silent, None), (huge_line, None), (endless_lines, None),
    (garbage, None), (web_server, None), (mixed_codes, None), (closes_at_once, None), (silent_after_ehlo, None),
    (endless_ehlo, None),
    (answers_everything_at_once, None), (accepts_before_the_message, None), (silent_after_the_dot, None),
    (closes_after_the_dot, None), (half_a_reply_after_the_dot, None), (half_a_multiline_reply_after_the_dot, None),
    (garbage_after_the_dot, None), (says_354_after_the_dot, None), (takes_no_more_data, BIG),
    (says_421_in_the_middle, BIG), (says_250_in_the_middle, BIG), (resets_in_the_middle, BIG),
]  # fmt: skip


@pytest.mark.parametrize("talk, one", ATTACKS, ids=[talk.__name__ for talk, _ in ATTACKS])
def test_the_message_is_kept_for_later_within_the_limits(talk, one):
    (outcome,), seconds, _ = attack(talk, one)
    assert outcome.kind == "retry", outcome
    assert 400 <= outcome.code < 500
    assert seconds < SOON


def test_a_refusal_in_the_middle_of_a_message_is_a_refusal():
    (outcome,), _, _ = attack(says_554_in_the_middle, BIG, **PATIENT)
    assert (outcome.kind, outcome.code, outcome.enhanced) == ("failed", 554, "5.7.1")


async def drip_for_ever(host, reader, writer):
    """Each reply comes just in time: only the time of the whole try ends that."""
    writer.write(b"220 mx\r\n")
    while line := await reader.readline():
        await asyncio.sleep(0.3)
        writer.write(b"452 not yet\r\n" if line.startswith(b"RCPT") else b"250 ok\r\n")


def test_replies_just_in_time_end_with_the_time_of_the_try():
    many = job(recipients=recipients(*(f"u{n}@there.example" for n in range(50))))
    found, seconds, _ = attack(drip_for_ever, many, attempt_timeout=1.5)
    assert {outcome.kind for outcome in found} == {"retry"}
    assert len(found) == 50
    assert seconds < SOON


def test_a_flood_takes_no_memory():
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    attack(huge_line)
    attack(endless_lines)
    attack(endless_ehlo)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # KB


def tls_attack(replies, tls, policies=None, limits=PATIENT):
    async def run():
        async with Mx(replies, tls=tls) as host, delivery(
            host.port, FakeResolver(zone("mx.example")), policies, **limits
        ) as remote:
            began = time.monotonic()
            outcomes = await remote.deliver(job())
            return outcomes, time.monotonic() - began, host

    return uvloop.run(run())


async def hang():
    await asyncio.sleep(600)
    return b""


STARTTLS = [b"454 no\r\n", b"554 no\r\n", b"220 go\r\n250 injected\r\n", b"250 what\r\n", b"220-\r\n", b"close", None]


@pytest.mark.parametrize("reply", STARTTLS)
@pytest.mark.parametrize("enforced", [True, False])
def test_trouble_at_starttls(reply, enforced):
    said = "close" if reply == b"close" else (lambda _: hang()) if reply is None else reply
    context = server_context("mx.example")
    limits = {**PATIENT, "command_timeout": 1.0} if reply in (None, b"220-\r\n") else PATIENT
    policies = FixedPolicies(policy()) if enforced else None
    (outcome,), seconds, mx = tls_attack({"STARTTLS": said}, context, policies, limits)
    assert seconds < SOON
    assert (outcome.kind == "delivered") <= (not enforced)
    assert not enforced or mx.mail == []
    assert len(mx.mail) == (outcome.kind == "delivered")


async def no_handshake(host, reader, writer):
    """Says that it does TLS, and then: host.answer."""
    writer.write(b"220 mx\r\n")
    while line := await reader.readline():
        if line.startswith(b"STARTTLS"):
            writer.write(b"220 go\r\n")
            await reader.read(100)
            writer.write(host.answer)
            if host.then == "silent":
                await reader.read()
                await asyncio.sleep(5)
            return
        writer.write(b"250-mx\r\n250 STARTTLS\r\n" if line.startswith(b"EHLO") else b"451 not in the clear\r\n")


HANDSHAKES = [
    (b"", "close"), (b"", "silent"), (b"garbage garbage garbage", "close"), (b"\x15\x03\x01\x00\x02\x02\x28", "close"),
    (b"\x16\x03\x03\x40\x00" + bytes(100), "silent"), (b"250 ok\r\n" * 1000, "silent"),
]  # fmt: skip


@pytest.mark.parametrize("answer, then", HANDSHAKES)
@pytest.mark.parametrize("enforced", [True, False])
def test_a_handshake_that_does_not_come_about(answer, then, enforced):
    async def talk(host, reader, writer):
        host.answer, host.then = answer, then
        await no_handshake(host, reader, writer)

    (outcome,), seconds, _ = attack(talk, policies=FixedPolicies(policy()) if enforced else None)
    assert outcome.kind == "retry"
    assert seconds < SOON


def test_one_bad_host_does_not_hold_up_others():
    async def run():
        async with Host(silent) as bad, Mx() as good:
            resolver = FakeResolver(zone("mx.example"))
            async with (
                delivery(bad.port, resolver, **PATIENT) as slow,
                delivery(good.port, resolver, **PATIENT) as fast,
            ):
                stuck = [asyncio.create_task(slow.deliver(job())) for _ in range(50)]
                (outcome,) = await fast.deliver(job())
                waiting = [task for task in stuck if not task.done()]
                for task in stuck:
                    task.cancel()
                await asyncio.gather(*stuck, return_exceptions=True)
                return outcome, len(waiting)

    outcome, waiting = uvloop.run(run())
    assert outcome.kind == "delivered"
    assert waiting == 50


def test_a_host_that_talks_on_an_idle_connection_is_not_used_again():
    async def talk(host, reader, writer):
        await until_data(host, reader, writer)
        await reader.readuntil(b"\r\n.\r\n")
        writer.write(b"250 taken\r\n")
        await asyncio.sleep(0.05)
        writer.write(b"250 taken\r\n250 taken\r\n")
        await reader.read()

    async def run():
        async with Host(talk) as host, delivery(
            host.port, FakeResolver(zone("mx.example")), **PATIENT, idle_time=60
        ) as remote:
            first = await remote.deliver(job())
            await asyncio.sleep(0.2)
            second = await remote.deliver(job())
            return first + second, remote.counts

    outcomes, counts = uvloop.run(run())
    assert [outcome.kind for outcome in outcomes] == ["relayed", "relayed"]
    assert counts["outbound_connections"] == 2
    assert BODY
