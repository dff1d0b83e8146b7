"""Delivery to Postfix as the receiving MX: TLS, pipelining, one connection for many messages, DSN, what it refuses.

Postfix runs as an instance of its own in a temporary directory, on loopback; that takes root.
"""

import asyncio
import time

import pytest
import uvloop

from echomox.dns.fake import FakeResolver
from tests.interop.postfix import Postfix
from tests.unit.outbound.mx import FixedPolicies, authority, delivery, job, policy, recipients, zone

STRICT = """
mynetworks =
smtpd_relay_restrictions = reject_unauth_destination
"""


@pytest.fixture(scope="module")
def postfix():
    """(port, directory of its mail)"""
    with Postfix(STRICT, name="mx.example", ca=authority()) as host:
        yield host.port, host.root / "mail"


def arrived(mail, user, number):
    """Waits for that many messages of a user; their texts."""
    end = time.monotonic() + 60
    while True:
        found = [path.read_bytes() for path in (mail / user / "new").glob("*")]
        if len(found) >= number or time.monotonic() > end:
            return found
        time.sleep(0.05)


def deliver(port, *jobs, policies=None):
    async def run():
        async with delivery(
            port, FakeResolver(zone("mx.example")), policies, idle_time=2, command_timeout=60, end_timeout=60
        ) as remote:
            outcomes = [outcome for one in jobs for outcome in await remote.deliver(one)]
            await asyncio.gather(*remote._tasks)
            return outcomes, remote.counts

    return uvloop.run(run())


def test_a_message_arrives_as_it_was_with_mta_sts_enforced(postfix):
    port, mail = postfix
    body = b"From: a@here.example\r\nSubject: dots\r\n\r\n.\r\n..two\r\n\r\n.end\r\n"
    (outcome,), _ = deliver(port, job(body=body, size=len(body)), policies=FixedPolicies(policy()))
    assert (outcome.kind, outcome.code, outcome.policy, outcome.tls) == ("delivered", 250, "mta-sts", "TLSv1.3")
    (text,) = arrived(mail, "b", 1)
    assert text.endswith(b"\n\n.\n..two\n\n.end\n")
    assert b"using TLSv1.3" in text


def test_many_messages_go_over_one_connection(postfix):
    port, mail = postfix
    before = len(arrived(mail, "c", 0))
    one = job(recipients=recipients("c@there.example"))
    outcomes, counts = deliver(port, *[one] * 50)
    assert {outcome.kind for outcome in outcomes} == {"delivered"}
    assert counts["outbound_connections"] == 1
    assert len(arrived(mail, "c", before + 50)) == before + 50


def test_each_recipient_has_its_own_answer(postfix):
    port, _ = postfix
    who = recipients("b@there.example", "nobody@there.example", "x@elsewhere.example")
    outcomes, counts = deliver(port, job(recipients=who), job(recipients=who[1:]), job())
    assert sorted((o.recipient, o.kind, o.code, o.enhanced) for o in outcomes[:3]) == [
        (1, "delivered", 250, "2.0.0"), (2, "failed", 550, "5.1.1"), (3, "failed", 554, "5.7.1")
    ]  # fmt: skip
    assert {o.kind for o in outcomes[3:5]} == {"failed"}
    assert outcomes[-1].kind == "delivered"
    assert counts["outbound_connections"] <= 2  # RSET may be under way when the third message wants a connection


def test_a_message_too_large_is_refused_before_it_is_sent(postfix):
    port, _ = postfix
    (outcome,), _ = deliver(port, job(size=3_000_000))
    assert (outcome.kind, outcome.enhanced) == ("failed", "5.3.4")


def test_a_stranger_with_its_name_gets_nothing(postfix):
    port, _ = postfix
    policies = FixedPolicies(policy("enforce", "other.example"))
    (outcome,), counts = deliver(port, job(), policies=policies)
    assert (outcome.kind, counts["outbound_connections"]) == ("retry", 0)
