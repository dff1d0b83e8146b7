"""Aliases and forwarding accounts: who gets a copy, once each; circles; loops over the world."""

from __future__ import annotations

import pytest

from echomox.config.snapshot import Group
from echomox.delivery.lists import comes_back, destinations, is_member
from tests.unit.delivery.world import facts, snapshot, source, to

ALIASES = """
[aliases."team@a.test"]
members = ["ann@a.test", "bob@a.test", "eve@far.example"]
[aliases."all@a.test"]
members = ["team@a.test", "cat@a.test", "eve@far.example", "dan@far.example"]
[aliases."ring@a.test"]
members = ["gnir@a.test", "ann@a.test"]
[aliases."gnir@a.test"]
members = ["ring@a.test", "bob@a.test"]
[aliases."self@a.test"]
members = ["self@a.test"]
[aliases."far@a.test"]
members = ["eve@far.example"]
[aliases."owned@a.test"]
members = ["ann@a.test", "eve@far.example"]
owner = "cat"
"""


def kept(made):
    return sorted(one.account for one in made if one.keep)


def relayed(made):
    return sorted(address for one in made for address in one.relay)


@pytest.mark.parametrize(
    "address,accounts,elsewhere",
    [
        ("team@a.test", ["ann", "bob"], ["eve@far.example"]),
        ("TEAM+x@a.test", ["ann", "bob"], ["eve@far.example"]),
        ("all@a.test", ["ann", "bob", "cat"], ["dan@far.example", "eve@far.example"]),
        ("ring@a.test", ["ann", "bob"], []),
        ("self@a.test", [], []),
        ("far@a.test", [], ["eve@far.example"]),
    ],
)
def test_each_gets_one_copy_and_circles_end(address, accounts, elsewhere):
    made = to(snapshot(ALIASES), address)
    assert kept(made) == accounts and relayed(made) == elsewhere
    assert all(one.via for one in made)


@pytest.mark.parametrize(
    "address,judge",
    [("team@a.test", "ann"), ("owned@a.test", "cat"), ("far@a.test", "ann")],  # ann: the postmaster
)
def test_an_account_judges_what_goes_elsewhere(address, judge):
    found = snapshot(ALIASES)
    (relay,) = [one for one in to(found, address) if one.relay]
    assert (relay.account, relay.keep, relay.via) == (judge, False, address)


FORWARDS = """
[domains."a.test"]
[accounts.ann]
addresses = ["ann@a.test"]
forward = ["ann@far.example", "bob@a.test"]
[accounts.bob]
addresses = ["bob@a.test"]
forward = ["ann@a.test"]
[accounts.cat]
addresses = ["cat@a.test"]
forward = ["cat@far.example"]
forward_keep = false
[accounts.dan]
addresses = ["dan@a.test"]
forward = ["two@a.test"]
[aliases."two@a.test"]
members = ["cat@a.test", "eve@far.example"]
"""


@pytest.mark.parametrize(
    "address,accounts,elsewhere",
    [
        ("ann@a.test", ["ann", "bob"], ["ann@far.example"]),
        ("bob@a.test", ["ann", "bob"], ["ann@far.example"]),  # to each other: a circle
        ("cat@a.test", [], ["cat@far.example"]),
        ("dan@a.test", ["dan"], ["cat@far.example", "eve@far.example"]),
        ("two@a.test", [], ["cat@far.example", "eve@far.example"]),
    ],
)
def test_forwarding(address, accounts, elsewhere):
    made = to(snapshot(FORWARDS, ""), address)
    assert kept(made) == accounts and relayed(made) == elsewhere


def test_an_alias_that_nobody_is_left_of():
    found = snapshot(ALIASES)
    group = found.recipient("self@a.test")
    assert isinstance(group, Group) and destinations(found, group) == []


@pytest.mark.parametrize(
    "field,loop",
    [
        ("", False),
        ("Delivered-To: team@a.test\r\n", True),
        ("delivered-to : <Team+x@A.TEST>\r\n", True),
        ("Delivered-To: TEAM@A.TEST\r\n", True),
        ("Delivered-To: ann@a.test\r\n", False),
        ("X-Delivered-To: team@a.test\r\n", False),
        ("Delivered-To: \xff\x00 nonsense\r\n", False),
    ],
)
def test_what_was_sent_on_before_is_known_again(field, loop):
    found = snapshot(ALIASES)
    wanted = to(found, "team@a.test")
    header = facts(found, wanted, source(extra=field)).header
    assert bool(comes_back(found, header, wanted)) is loop
    # who has an account only may get it again
    assert comes_back(found, header, to(found, "ann@a.test")) == ""


@pytest.mark.parametrize(
    "address,member",
    [("ann@a.test", True), ("ANN+x@a.test", True), ("eve@far.example", True), ("EVE@FAR.example", True),
     ("cat@a.test", False), ("eve@near.example", False), ("nobody@a.test", False), ("", False), ("@", False)],
)  # fmt: skip
def test_members(address, member):
    found = snapshot(ALIASES)
    group = found.recipient("team@a.test")
    assert isinstance(group, Group) and is_member(found, group, address) is member
