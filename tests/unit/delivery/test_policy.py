"""What accounts, lists and the administrator want: rulings, placements, waits, DNS lists, sending on."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import pytest

from echomox.clock import FakeClock
from echomox.config.schema import Filter, Limits, Static
from echomox.delivery.forward import Forwarder
from echomox.delivery.incoming import unique
from echomox.delivery.judging import stricter
from echomox.delivery.placement import Decided
from echomox.delivery.policy import AddressRules
from echomox.delivery.srs import Srs
from echomox.dns.fake import FakeResolver
from echomox.filter.decide import decide
from echomox.filter.learning.training import envelope_of
from echomox.ipc.schema import Evidence, Verdict
from tests.unit.delivery.world import auth, facts, snapshot, source, to
from tests.unit.smtpd.support import QUIET

SRS = Srs((b"k" * 32,))
TEAM = """
[aliases."team@a.test"]
members = ["ann@a.test", "bob@a.test", "eve@far.example"]
"""
CLOSED = TEAM + 'post = "members"\n'


PLAIN, SLOW = Filter(), Limits(first_time_delay=15)


class Queue:
    def __init__(self):
        self.added = []

    async def add(self, mail):
        self.added.append(mail)
        return list(range(len(mail.recipients)))


class World:
    """Rules with all that they ask; `go` takes one message the whole way."""

    def __init__(self, found, tables=None, settings=PLAIN, limits=SLOW):
        self.snapshot = found
        self.counts = {}
        self.slept = []
        self.queue = Queue()
        self.clock = FakeClock()
        self.resolver = FakeResolver(tables or {})
        static = Static(hostname="mail.a.test", filter=settings, limits=limits)
        host = SimpleNamespace(static=static, log=QUIET, snapshot=lambda: found, count=self.count)
        forwarder = Forwarder(self.queue, SRS, None, QUIET)
        self.rules = AddressRules(host, self.resolver, forwarder, self.clock, self.sleep)

    def count(self, name, n=1):
        self.counts[name] = self.counts.get(name, 0) + n

    async def sleep(self, seconds):
        self.slept.append(seconds)

    def go(self, *addresses, p=0.0, message=None, checked=None, stranger=False, **envelope):
        """(place, mailbox, reply code, keep) by account and keep, and the queue's messages; or the Reply for all."""
        wanted = unique(to(self.snapshot, *addresses))
        seen = facts(self.snapshot, wanted, message, checked or auth(spf="b.example"), **envelope)

        async def run():
            refusal = await self.rules.refuse(seen)
            if refusal is not None:
                return refusal
            rulings = [self.rules.ruling(seen, one) for one in wanted]
            evidence = [Evidence("bayes", p, 1.0, ())]
            evidence += [Evidence("reputation", 0.5, 0.0, ("stranger",))] if stranger else []
            decided = []
            for one, ruling in zip(wanted, rulings):
                verdict = Verdict(one.account, p, tuple(evidence), "all", 100)
                decided.append(Decided(one, decide(stricter(ruling, verdict), verdict), verdict))
            self.rulings = rulings
            placed = await self.rules.settle(seen, rulings, decided)
            self.placed = placed
            if any(one.place != "reject" for one in placed):
                await self.rules.forward(seen, decided, placed)
            return {
                (one.account, one.keep): (place.place, place.mailbox, place.reply and place.reply.code, place.keep)
                for one, place in zip(wanted, placed)
            }

        return asyncio.run(run())


def rule(text, more=""):
    return snapshot(
        "",
        f'[domains."a.test"]\n[accounts.ann]\naddresses = ["ann@a.test"]\n{more}\n[[accounts.ann.rulesets]]\n{text}\n',
    )


ANN = ("ann", True)


# -- rulesets


@pytest.mark.parametrize(
    "text,p,wanted",
    [
        ('mail_from = "friend"\nmailbox = "Lists/x"', 0.0, ("inbox", "Lists/x", None, True)),
        ('mail_from = "nobody"\nmailbox = "Lists/x"', 0.0, ("inbox", "INBOX", None, True)),
        ('mail_from = "friend"\nmailbox = "Lists/x"', 0.5, ("junk", "Lists/x", None, True)),
        ('mail_from = "friend"\nlist_allow_domain = "b.example"', 0.99, ("inbox", "INBOX", None, True)),
        ('mail_from = "friend"\nlist_allow_domain = "c.example"', 0.99, ("reject", "INBOX", None, True)),
        ('mail_from = "friend"\naccept_rejects = "Odd"', 0.99, ("inbox", "Odd", None, True)),
        ('mail_from = "friend"\naccept_rejects = "Odd"', 0.1, ("inbox", "INBOX", None, True)),
    ],
)
def test_rulesets(text, p, wanted):
    assert World(rule(text)).go("ann@a.test", p=p)[ANN] == wanted


@pytest.mark.parametrize(
    "checked,code",
    [
        (auth(spf="b.example"), None),
        (auth(dkim=("mail.b.example",)), None),
        (auth(spf="c.example"), 550),
        (auth(temporary=True), 451),
    ],
)
def test_an_address_that_wants_proof(checked, code):
    """S41"""
    world = World(rule('address = "ann@a.test"\nmessage_auth_required = true'))
    place, _, reply, _ = world.go("ann@a.test", checked=checked)[ANN]
    assert (place, reply) == (("reject", code) if code else ("inbox", None))
    if code:
        assert world.placed[0].reply.enhanced in ("5.7.26", "4.7.26")


def test_a_forwarder_is_exempt_and_its_signs_say_nothing():
    """S39"""
    world = World(rule('verified_domain = "b.example"\nis_forward = true'))
    world.go("ann@a.test", tls="", checked=auth(spf="b.example", iprev="fail"))
    (ruling,) = world.rulings
    assert ruling.forwarder and ruling.junk_filter.junk == 0.3
    peer = b"Received: from x ([192.0.2.1]) by y with SMTP;\r\n"
    assert envelope_of(peer).remote_ip and not envelope_of(peer + world.placed[0].header).remote_ip  # nor when learnt


# -- F12, F15


@pytest.mark.parametrize(
    "change,stricter",
    [
        ({}, False),
        ({"tls": ""}, True),
        ({"checked": auth(iprev="fail")}, True),
        ({"checked": auth(iprev="permerror")}, True),
        ({"checked": auth(iprev="temperror")}, False),
        ({"message": source(to="else@c.example")}, True),
        ({"message": source(to="ANN+x@a.test")}, False),
        ({"tls": "", "login": "bob"}, False),
    ],
)
def test_thresholds_are_stricter_for_doubtful_mail(change, stricter):
    world = World(snapshot(""))
    found = world.go("ann@a.test", p=0.28, **change)[ANN]
    assert world.rulings[0].strict == (0.8 if stricter else 1.0)
    assert found[0] == ("junk" if stricter else "inbox")
    assert b"strict:" in world.placed[0].header if stricter else world.placed[0].header == b""


def test_451_in_place_of_550():
    found = snapshot(
        "", '[domains."a.test"]\n[accounts.ann]\naddresses = ["ann@a.test"]\njunk_filter.reject_code = "451"\n'
    )
    assert World(found).go("ann@a.test", p=0.99)[ANN][:3] == ("reject", "INBOX", 451)


# -- the whole message


def test_a_null_mx_of_the_sender_is_refused():
    tables = {("b.example", "MX"): [(0, "")], ("c.example", "MX"): [(0, ""), (10, "mx.c.example")]}
    world = World(snapshot(""), tables)
    assert world.go("ann@a.test").enhanced == "5.7.27"
    assert world.go("ann@a.test", mail_from="x@c.example")[ANN][0] == "inbox"  # not a null MX: RFC 7505 3
    assert world.go("ann@a.test", mail_from="")[ANN][0] == "inbox"
    world.resolver.fail.append("b.example")
    assert world.go("ann@a.test")[ANN][0] == "inbox"


def test_what_was_sent_on_does_not_go_round():
    world = World(snapshot(TEAM))
    reply = world.go("team@a.test", message=source(extra="Delivered-To: team@a.test\r\n"))
    assert (reply.code, reply.enhanced) == (554, "5.4.6") and not world.queue.added


# -- lists


def test_members_elsewhere_get_it_by_the_queue():
    world = World(snapshot(TEAM))
    found = world.go("team@a.test")
    assert found[ANN][0] == found["bob", True][0] == "inbox" and found["ann", False][3] is False
    (mail,) = world.queue.added
    assert [one.address for one in mail.recipients] == ["eve@far.example"] and mail.kind == "forward"
    assert SRS.undo(mail.sender.rpartition("@")[0], 1_700_000_000.0) == "friend@b.example"
    assert mail.sender.endswith("@a.test") and mail.body == source()
    assert mail.prefix == b"Delivered-To: team@a.test\r\nReceived: here\r\n"
    assert world.counts["messages_forwarded"] == 1


@pytest.mark.parametrize(
    "sender,kept",
    [("", ""), ("bob@a.test", "bob@a.test"), ("x" * 60 + "@b.example", "postmaster@a.test")],
    ids=["null", "ours", "too long"],
)
def test_the_sender_of_what_is_sent_on(sender, kept):
    world = World(snapshot(TEAM))
    world.go("team@a.test", mail_from=sender)
    assert world.queue.added[0].sender == kept


@pytest.mark.parametrize(
    "sender,checked,code",
    [
        ("ann@a.test", auth(dkim=("a.test",)), None),
        ("eve@far.example", auth(dkim=("far.example",)), None),
        ("eve@far.example", auth(), 550),
        ("eve@far.example", auth(temporary=True), 451),
        ("mallory@b.example", auth(dkim=("b.example",)), 550),
        ("eve@far.example, mallory@b.example", auth(dkim=("far.example",)), 550),
    ],
)
def test_members_only(sender, checked, code):
    world = World(snapshot(CLOSED))
    found = world.go("team@a.test", message=source(sender, to="team@a.test"), checked=checked)
    for place, _, reply, keep in found.values():
        assert (place, reply) == (("reject", code) if code else ("inbox", None))
        assert keep is False or not code
    assert bool(world.queue.added) is (code is None)


def test_a_login_of_a_member_may_write_to_the_list_and_another_may_not():
    world = World(snapshot(CLOSED))
    assert world.go("team@a.test", login="ann")[ANN][0] == "inbox"
    assert world.go("team@a.test", login="cat")[ANN][:3] == ("reject", "INBOX", 550)


def test_own_posts_come_back_or_do_not():
    message, checked = source("eve@far.example"), auth(dkim=("far.example",))
    world = World(snapshot(TEAM + "own_posts = false\n"))
    found = world.go("team@a.test", message=message, checked=checked)
    assert found[ANN][3] and not world.queue.added
    world.go("team@a.test", login="bob")
    assert [one.keep for one in world.placed] == [True, False, False] and len(world.queue.added) == 1


@pytest.mark.parametrize(
    "p,option,places,sent",
    [
        (0.1, "", ("inbox", False), True),
        (0.5, "", ("junk", True), False),  # the account that judges gets it: it is nowhere else
        (0.5, "forward_junk = true\n", ("junk", True), True),
        (0.95, "", ("reject", True), False),
    ],
)
def test_junk_is_not_sent_on(p, option, places, sent):
    found = snapshot(f'[aliases."far@a.test"]\nmembers = ["eve@far.example"]\nowner = "cat"\n{option}')
    world = World(found)
    place, _, _, keep = world.go("far@a.test", p=p, message=source(to="far@a.test"))["cat", False]
    assert (place, keep) == places and bool(world.queue.added) is sent


# -- strangers and DNS lists

LISTED = {("2.0.0.127.bl.example", "A"): "127.0.0.2", ("5.113.0.203.bl.example", "A"): "127.0.0.2"}
WHITE = {("2.0.0.127.wl.example", "A"): "127.0.0.2", ("5.113.0.203.wl.example", "A"): "127.0.0.2"}
LISTS = Filter(dnsbl=("bl.example",))


def test_strangers_wait_once():
    world = World(snapshot(""))
    assert world.go("ann@a.test", stranger=True)[ANN][0] == "inbox" and world.slept == [15]
    world.go("ann@a.test", stranger=True)
    assert world.slept == [15]
    world.go("bob@a.test", stranger=True)  # another account does not know him
    world.clock.advance(3601)
    world.go("ann@a.test", stranger=True)
    assert world.slept == [15, 15, 15] and world.counts["messages_delayed"] == 3


@pytest.mark.parametrize(
    "change",
    [{}, {"stranger": True, "p": 0.99}, {"stranger": True, "login": "bob"}, {"stranger": True, "remote_ip": ""}],
)
def test_who_does_not_wait(change):
    world = World(snapshot(""))
    world.go("ann@a.test", **change)
    assert world.slept == []


@pytest.mark.parametrize(
    "change,code",
    [
        ({"stranger": True}, 550),
        ({"p": 0.2}, 550),  # in doubt
        ({"p": 0.1}, None),  # known and not in doubt: the list is not asked
        ({"stranger": True, "remote_ip": "203.0.113.6"}, None),
    ],
)
def test_a_listed_address(change, code):
    world = World(snapshot(""), LISTED, LISTS)
    place, _, reply, _ = world.go("ann@a.test", **change)[ANN]
    assert (place, reply) == (("reject", 550) if code else ("inbox", None))
    assert bool(world.resolver.asked and any("bl.example" in name for name, _ in world.resolver.asked)) is (
        change != {"p": 0.1}
    )


def test_a_list_that_is_not_well_refuses_nobody():
    tables = {**LISTED, ("1.0.0.127.bl.example", "A"): "127.0.0.2"}
    assert World(snapshot(""), tables, LISTS).go("ann@a.test", stranger=True)[ANN][0] == "inbox"


def test_a_good_list_comes_first_and_nobody_waits():
    world = World(snapshot(""), {**LISTED, **WHITE}, replace(LISTS, dnswl=("wl.example",)))
    assert world.go("ann@a.test", stranger=True)[ANN][0] == "inbox" and world.slept == []


def test_an_account_that_refuses_nothing_gets_it_in_junk():
    found = snapshot(
        "", '[domains."a.test"]\n[accounts.ann]\naddresses = ["ann@a.test"]\njunk_filter.mode = "junk-only"\n'
    )
    assert World(found, LISTED, LISTS).go("ann@a.test", stranger=True)[ANN][0] == "junk"
