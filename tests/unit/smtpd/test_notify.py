"""Reports of success: for whom, to whom, and what they say (RFC 3461 5.2.7, 6.2)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from echomox.delivery.bounce import Maker
from echomox.delivery.incoming import Taken
from echomox.errors import Reply
from echomox.queue.dsn import parse_report
from echomox.queue.model import Outgoing
from echomox.smtpd.notify import Notifier
from tests.unit.smtpd.support import GREETING, NO_LIMITS, Talk, script
from tests.unit.smtpd.test_receive import World

MAIL = ("DATA", "From: x@b.example", "Message-ID: <m1@b.example>", "", "text", ".")
SUCCESS = "NOTIFY=SUCCESS ORCPT=rfc822;first@b.example"


class Queue:
    def __init__(self) -> None:
        self.mail: list[Outgoing] = []

    async def add(self, mail: Outgoing) -> list[int]:
        self.mail.append(mail)
        return [7]


class Notified(World):
    """Port 25 with a notifier. taken: what delivery says, None for all in the Inbox, proved."""

    def send(self, *to: str, taken: Taken | None = None, sender: str = "x@b.example") -> list[Outgoing]:
        queue = Queue()
        if taken is not None:
            self.delivery.take = self._say(taken)

        async def run() -> bytes:
            one = Talk(role=self.role, limits=NO_LIMITS)
            one.service.clock = self.clock
            one.service.notifier = Notifier(queue, Maker("mx.a.test", Random(1)))
            recipients = [f"RCPT TO:{each}" for each in to]
            await one.send(script("EHLO x", f"MAIL FROM:<{sender}> ENVID=e1", *recipients, *MAIL))
            return one.wire.out.removeprefix(GREETING)

        self.out = asyncio.run(run())
        return queue.mail

    def _say(self, taken: Taken) -> Any:
        async def take(mail: Any) -> Taken:
            self.delivery.mail.append(mail)
            return taken

        return take


def told(mail: list[Outgoing]) -> list[tuple[str, str, str]]:
    """(action, final recipient, original recipient) of the one report."""
    (report,) = mail
    assert report.recipients[0].address == "x@b.example" and report.sender == ""
    parsed = parse_report(report.body or b"")
    assert parsed is not None and parsed.envid == "e1" and parsed.message_id == "<m1@b.example>"
    return [(one.action, one.final, one.original) for one in parsed.told]


TOLD = [
    ([f"<ann@a.test> {SUCCESS}"], [("delivered", "ann@a.test", "first@b.example")]),
    (["<ann@a.test> NOTIFY=SUCCESS,FAILURE", "<postmaster@a.test>"], [("delivered", "ann@a.test", "")]),
    (["<small@a.test> NOTIFY=SUCCESS"], [("delivered", "small@a.test", "")]),  # an alias of one
    (["<team@a.test> NOTIFY=SUCCESS ORCPT=rfc822;team@a.test"], [("expanded", "team@a.test", "team@a.test")]),
    (["<fan@a.test> NOTIFY=SUCCESS"], [("expanded", "fan@a.test", "")]),  # goes to two elsewhere
    (["<own@a.test> NOTIFY=SUCCESS"], [("delivered", "own@a.test", "")]),  # keeps a copy
    (["<ann@a.test> NOTIFY=SUCCESS", "<team@a.test> NOTIFY=SUCCESS"],
     [("delivered", "ann@a.test", ""), ("expanded", "team@a.test", "")]),
]  # fmt: skip


@pytest.fixture
def world(tmp_path):
    return Notified(tmp_path)


@pytest.mark.parametrize("to, expected", TOLD)
def test_what_is_told(world, to, expected):
    assert told(world.send(*to)) == expected


@pytest.mark.parametrize(
    "to",
    ["<ann@a.test>", "<ann@a.test> NOTIFY=NEVER", "<ann@a.test> NOTIFY=FAILURE,DELAY", "<cat@a.test> NOTIFY=SUCCESS"],
)
def test_what_is_not_told(world, to):
    """The last one: the only address elsewhere that it goes on to is asked to report itself."""
    assert world.send(to) == []
    assert world.out.endswith(b"250 2.0.0 Accepted\r\n")


def test_nobody_behind_a_list_reports_success(world):
    world.send("<team@a.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;t@x", "<fan@a.test> NOTIFY=SUCCESS")
    (mail,) = world.delivery.mail
    assert {(one.account, one.notify, one.orcpt) for one in mail.destinations} == {
        ("ann", frozenset({"delay"}), "rfc822;t@x"),
        ("bob", frozenset({"delay"}), "rfc822;t@x"),
        ("fan", frozenset({"never"}), ""),
    }
    assert not any("success" in one.notify for one in mail.destinations)


def test_one_that_goes_on_to_one_address_asks_there(world):
    world.send("<cat@a.test> NOTIFY=SUCCESS ORCPT=rfc822;cat@a.test")
    (mail,) = world.delivery.mail
    assert [(one.relay, one.notify, one.orcpt) for one in mail.destinations] == [
        (("cat@far.example",), {"success"}, "rfc822;cat@a.test")
    ]


@pytest.mark.parametrize(
    "taken",
    [
        Taken(Reply(250, "2.0.0", "ok"), False, frozenset({("ann", True)})),  # a sender that nothing proves
        Taken(Reply(250, "2.0.0", "ok"), True, frozenset()),  # junk
        Taken(Reply(250, "2.0.0", "ok"), True, frozenset({("bob", True)})),  # junk for her
        Taken(Reply(550, "5.7.1", "spam"), True, frozenset({("ann", True)})),
    ],
)
def test_strangers_and_junk_get_no_report(world, taken):
    """Else anybody could have us write to anybody (backscatter)."""
    assert world.send("<ann@a.test> NOTIFY=SUCCESS", "<team@a.test>", taken=replace(taken)) == []


def test_the_null_sender_is_never_told(world):
    assert world.send("<ann@a.test> NOTIFY=SUCCESS", sender="") == []
