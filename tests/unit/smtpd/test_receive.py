"""Port 25: who may be a recipient, what reports may come back, limits, and how long an answer takes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from echomox.clock import FakeClock
from echomox.config.load import parse_dynamic
from echomox.config.schema import Limits
from echomox.config.snapshot import Snapshot
from echomox.delivery.incoming import Taken
from echomox.delivery.srs import DAY, Srs
from echomox.errors import Reply
from echomox.net.limit import DeliveryLimits
from echomox.smtpd import session as session_module
from echomox.smtpd.receive import Receive
from echomox.store.engine import NoSuchAccount
from shm.limiter import LimiterSlabs
from tests.unit.net.support import Host
from tests.unit.smtpd.support import GREETING, NO_LIMITS, Talk, script

DOMAINS = """
[domains."a.test"]
[domains."off.test"]
disabled = true
[accounts.ann]
addresses = ["ann@a.test"]
[accounts.bob]
addresses = ["bob@a.test"]
quota = 1000
[accounts.dan]
addresses = ["dan@a.test"]
quota_messages = 9
[accounts.cat]
addresses = ["cat@a.test"]
forward = ["cat@far.example"]
forward_keep = false
[accounts.fan]
addresses = ["fan@a.test"]
forward = ["f1@far.example", "f2@far.example"]
forward_keep = false
[accounts.own]
addresses = ["own@a.test"]
forward = ["own@far.example"]
[aliases."team@a.test"]
members = ["ann@a.test", "bob@a.test", "eve@far.example"]
[aliases."self@a.test"]
members = ["self@a.test"]
[aliases."small@a.test"]
members = ["bob@a.test"]
"""
SRS = Srs((b"k" * 32,))
OK = Reply(250, "2.0.0", "Accepted")


class Full:
    """An engine in which every account holds 999 bytes."""

    def open(self, account: str) -> Any:
        if account == "cat":
            raise NoSuchAccount
        return self

    def mailboxes(self) -> list[Any]:
        class Box:
            size = 999
            total = 9

        return [Box()]


class Delivery:
    def __init__(self, reply: Reply = OK) -> None:
        self.mail: list[Any] = []
        self.reply = reply

    async def take(self, mail: Any) -> Taken:
        self.mail.append(mail)
        return Taken(self.reply, True, frozenset((one.account, one.keep) for one in mail.destinations))


class World:
    def __init__(self, tmp_path: Any, limits: Limits = NO_LIMITS, reply: Reply = OK) -> None:
        self.host = Host(tmp_path, limits=limits)
        self.host._snapshot = Snapshot(parse_dynamic("/x/config/domains.toml", DOMAINS.encode()), self.host.static, 1)
        self.delivery = Delivery(reply)
        self.clock = FakeClock(1_700_000_000.0)
        self.limits = DeliveryLimits(LimiterSlabs.private(), limits, self.clock)
        self.role = Receive(self.host, Full(), self.delivery, self.limits, SRS)

    def talk(self, *lines: str, limits: Limits = NO_LIMITS) -> list[str]:
        async def run() -> bytes:
            one = Talk(role=self.role, limits=limits)
            one.service.clock = self.clock
            await one.send(script("EHLO x", *lines))
            return one.wire.out.removeprefix(GREETING)

        out = asyncio.run(run()).decode().split("\r\n")
        return [line for line in out if line[3:4] == " "][1:]


@pytest.mark.parametrize(
    "address,reply",
    [
        ("ann@a.test", "250 2.1.5"),
        ("ann+x@A.test", "250 2.1.5"),
        ("team@a.test", "250 2.1.5"),
        ("cat@a.test", "250 2.1.5"),
        ("postmaster", "250 2.1.5"),
        ("postmaster@a.test", "250 2.1.5"),
        ("Postmaster@mail.a.test", "550 5.7.1"),
        ("nobody@a.test", "550 5.1.1"),
        ("ann@b.test", "550 5.7.1"),
        ("ann@off.test", "450 4.2.1"),
        ("self@a.test", "550 5.2.4"),
    ],
)
def test_recipients(tmp_path, address, reply):
    assert World(tmp_path).talk("MAIL FROM:<x@b.example>", f"RCPT TO:<{address}>")[1].startswith(reply)


def test_a_list_goes_to_those_who_have_room(tmp_path):
    world = World(tmp_path)
    size = "MAIL FROM:<x@b.example> SIZE=100"
    assert world.talk(size, "RCPT TO:<bob@a.test>")[1].startswith("452 4.2.2")
    assert world.talk(size, "RCPT TO:<small@a.test>")[1].startswith("452 4.2.2")
    assert world.talk(size, "RCPT TO:<dan@a.test>")[1].startswith("452 4.2.2")  # by the number of messages
    replies = world.talk(size, "RCPT TO:<team@a.test>", "DATA", "Subject: x", "", "text", ".")
    assert replies[1].startswith("250") and replies[-1].startswith("250 2.0.0")
    (mail,) = world.delivery.mail
    assert [(one.account, one.keep, one.relay) for one in mail.destinations] == [
        ("ann", True, ()), ("ann", False, ("eve@far.example",))
    ]  # fmt: skip


def rewritten(sender: str = "user@example.org", days: float = 0) -> str:
    return SRS.rewrite(sender, "a.test", 1_700_000_000.0 - days * DAY)


@pytest.mark.parametrize(
    "sender,to,reply",
    [
        ("", rewritten(), "250"),
        ("", rewritten(days=20), "250"),
        ("", rewritten(days=30), "550 5.1.1"),
        ("", rewritten().replace("user", "root"), "550 5.1.1"),
        ("", "SRS0=x@a.test", "550 5.1.1"),
        ("x@b.example", rewritten(), "550 5.7.1"),
        ("", rewritten().replace("a.test", "b.test"), "550 5.7.1"),
    ],
)
def test_reports_on_what_was_sent_on(tmp_path, sender, to, reply):
    world = World(tmp_path)
    assert world.talk(f"MAIL FROM:<{sender}>", f"RCPT TO:<{to}>")[1].startswith(reply)


def test_a_report_goes_back_to_who_wrote_the_mail(tmp_path):
    """Q32; of one of ours into the account."""
    world = World(tmp_path)
    lines = ("DATA", "Subject: report", "", "text", ".")
    world.talk("MAIL FROM:<>", f"RCPT TO:<{rewritten()}>", f"RCPT TO:<{rewritten('ann@a.test')}>", *lines)
    (mail,) = world.delivery.mail
    first, second = mail.destinations
    assert (first.relay, first.keep, first.returned, mail.mail_from) == (("user@example.org",), False, True, "")
    assert (second.account, second.keep, second.relay) == ("ann", True, ())


MESSAGE = ("RCPT TO:<ann@a.test>", "DATA", "Subject: x", "", "text", ".")


def test_so_many_messages_from_an_address_and_for_an_account(tmp_path):
    """G02"""
    limits = replace(NO_LIMITS, messages_per_minute=3)
    world = World(tmp_path, limits)
    one = ("MAIL FROM:<x@b.example>", *MESSAGE)
    assert [reply[:9] for reply in world.talk(*one * 3)][-1] == "250 2.0.0"
    assert world.talk("MAIL FROM:<x@b.example>")[0].startswith("451 4.7.0")
    world.limits.from_address = lambda ip, size=0: ""  # another address, the same account
    assert world.talk("MAIL FROM:<x@b.example>", "RCPT TO:<ann@a.test>")[1].startswith("452 4.2.1")
    assert world.talk("MAIL FROM:<x@b.example>", "RCPT TO:<bob@a.test>")[1].startswith("250")
    assert world.host.counts["messages_limited"] == 2
    world.clock.advance(60)
    assert world.talk("MAIL FROM:<x@b.example>", "RCPT TO:<ann@a.test>")[1].startswith("250")


def test_what_is_refused_is_not_counted(tmp_path):
    world = World(tmp_path, replace(NO_LIMITS, messages_per_minute=2), Reply(550, "5.7.1", "spam"))
    for _ in range(5):
        assert world.talk("MAIL FROM:<x@b.example>", *MESSAGE)[-1].startswith("550 5.7.1")


def test_the_size_counts(tmp_path):
    world = World(tmp_path, replace(NO_LIMITS, bytes_per_minute=1000))
    assert world.talk("MAIL FROM:<x@b.example> SIZE=1001")[0].startswith("451 4.7.0")
    assert world.talk("MAIL FROM:<x@b.example> SIZE=999")[0].startswith("250")


def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the session sleeps, without sleeping."""
    slept: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        if seconds:
            slept.append(seconds)
        await real(0)

    monkeypatch.setattr(session_module.asyncio, "sleep", sleep)
    return slept


def test_who_asks_for_an_unknown_recipient_waits(tmp_path, monkeypatch):
    """S42"""
    slept = waits(monkeypatch)
    limits = replace(NO_LIMITS, unknown_delay=5.0)
    replies = World(tmp_path).talk(
        "MAIL FROM:<x@b.example>", "RCPT TO:<no@a.test>", "RCPT TO:<ann@a.test>", "RCPT TO:<none@a.test>", limits=limits
    )
    assert [reply[:3] for reply in replies] == ["250", "550", "250", "550"] and slept == [5.0, 5.0]


def test_who_goes_on_is_answered_byte_by_byte(tmp_path, monkeypatch):
    slept = waits(monkeypatch)
    limits = replace(NO_LIMITS, slow_answers=True)
    lines = [f"RCPT TO:<no{n}@a.test>" for n in range(session_module.SLOW_STRANGERS)]
    replies = World(tmp_path).talk("MAIL FROM:<x@b.example>", *lines, "NOOP", limits=limits)
    assert [reply[:3] for reply in replies] == ["250", *["550"] * 20, "250"]
    # all that follows, but for its line end
    assert slept == [session_module.SLOW_PAUSE] * len(replies[-1])


def test_a_slow_answer_ends_with_its_connection(tmp_path, monkeypatch):
    world = World(tmp_path)

    async def run() -> None:
        one = Talk(role=world.role, limits=replace(NO_LIMITS, slow_answers=True))
        one.session.strangers = 50
        one.session.data_received(script("NOOP"))
        one.session.connection_lost(None)
        for _ in range(10):
            await asyncio.sleep(0)
        assert one.session._task is None

    waits(monkeypatch)
    asyncio.run(run())
