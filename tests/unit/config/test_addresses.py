"""Aliases, rulesets, forwarding, domains that are another's, refused addresses: what is read, and what is wrong."""

from __future__ import annotations

import pytest

from echomox.config.load import ConfigProblems, parse_dynamic
from echomox.config.patterns import LENGTH, BadPattern, Pattern
from echomox.config.schema import Static
from echomox.config.snapshot import Group, Recipient, Snapshot, Unknown

BASE = """
[domains."a.test"]
[domains."b.test"]
alias_of = "a.test"
[domains."off.test"]
disabled = true
[accounts.ann]
addresses = ["ann@a.test"]
[accounts.bob]
addresses = ["bob@a.test", "@a.test"]
refuse = ["spamtrap@a.test", "old@a.test"]
"""
TEAM = '[aliases."Team@A.test"]\nmembers = ["ann@a.test", "eve@FAR.example"]\n'


def read(text: str) -> Snapshot:
    dynamic = parse_dynamic("/x/config/domains.toml", (BASE + text).encode())
    return Snapshot(dynamic, Static(hostname="mail.a.test"), 1)


def found(snapshot: Snapshot, address: str) -> str:
    one = snapshot.recipient(address)
    return one.account if isinstance(one, Recipient) else one.name if isinstance(one, Group) else one.reason


@pytest.mark.parametrize(
    "address,who",
    [
        ("team@a.test", "team@a.test"),
        ("TEAM@A.TEST", "team@a.test"),
        ("team+x@a.test", "team@a.test"),
        ("team@b.test", "team@a.test"),
        ("ann@b.test", "ann"),
        ("anything@b.test", "bob"),
        ("postmaster@b.test", "ann"),
        ("spamtrap@a.test", "user"),
        ("SPAMTRAP@a.test", "user"),
        ("spamtrap+x@a.test", "user"),
        ("spamtrap@b.test", "user"),
        ("other@a.test", "bob"),
        ("x@off.test", "disabled"),
        ("x@c.test", "domain"),
        ("mailer-daemon@mail.a.test", "ann"),
    ],
)
def test_where_an_address_leads(address, who):
    assert found(read(TEAM), address) == who


def test_an_alias_is_read_normalised():
    (key,) = read(TEAM).dynamic.aliases
    assert key == "team@a.test" and read(TEAM).dynamic.aliases[key].members == ("ann@a.test", "eve@far.example")


@pytest.mark.parametrize(
    "option,account,allowed",
    [("", "ann", False), ("allow_send_as = true\n", "ann", True), ("allow_send_as = true\n", "bob", False)],
)
def test_sending_as_an_alias(option, account, allowed):
    assert read(TEAM + option).may_send_as(account, "team@a.test") is allowed
    assert read(TEAM).may_send_as("ann", "ann@b.test")


def test_a_login_by_an_address_of_a_domain_that_is_anothers():
    assert read(TEAM).login_account("ann@b.test") == "ann"


WRONG = [
    ('[aliases."team@a.test"]\n', "has no members"),
    ('[aliases."team@a.test"]\nmembers = ["nobody"]\n', "not an address"),
    ('[aliases."team@a.test"]\nmembers = ["@a.test"]\n', "whole address"),
    ('[aliases."team@a.test"]\nmembers = ["ann@a.test", "ANN@A.TEST"]\n', None),  # two spellings are one copy
    ('[aliases."team@a.test"]\nmembers = ["eve@far.example", "eve@FAR.example"]\n', "there twice"),
    ('[aliases."team@c.test"]\nmembers = ["ann@a.test"]\n', "is not configured"),
    ('[aliases."team@b.test"]\nmembers = ["ann@a.test"]\n', "no addresses of its own"),
    ('[aliases."ann@a.test"]\nmembers = ["bob@a.test"]\n', "is an address of account ann"),
    ('[aliases."@a.test"]\nmembers = ["bob@a.test"]\n', "whole address"),
    ('[aliases."te+am@a.test"]\nmembers = ["bob@a.test"]\n', "separator"),
    ('[aliases."team@a.test"]\nmembers = ["ann@a.test"]\nowner = "eve"\n', "no account eve"),
    ('[aliases."team@a.test"]\nmembers = ["ann@a.test"]\npost = "anyone"\n', "not allowed"),
    (TEAM + '[aliases."team@a.test"]\nmembers = ["ann@a.test"]\n', "there already"),
    ('[domains."c.test"]\nalias_of = "d.test"\n', 'no domain "d.test"'),
    ('[domains."c.test"]\nalias_of = "b.test"\n', "name a.test"),
    (
        '[domains."c.test"]\nalias_of = "a.test"\n[accounts.eve]\naddresses = ["eve@c.test"]\n',
        "may have none of its own",
    ),
    ('[accounts.eve]\naddresses = ["eve@a.test"]\nrefuse = ["x@a.test"]\n', "no address at one"),
    ('[accounts.eve]\nforward = ["x"]\n', "not an address"),
    ('[domains."d.test"]\n[accounts.eve]\nforward = ["nobody@d.test"]\n', "no such address"),
    ("[accounts.eve]\nforward = [" + ",".join(f'"x{n}@far.example"' for n in range(21)) + "]\n", "more than 20"),
    ('[[accounts.ann.rulesets]]\nmailbox = "X"\n', "no condition"),
    ('[[accounts.ann.rulesets]]\nmail_from = "x"\n', "says nothing of what to do"),
    ('[[accounts.ann.rulesets]]\nmail_from = "("\nmailbox = "X"\n', "no regular expression"),
    ('[[accounts.ann.rulesets]]\nmail_from = "(?=x)"\nmailbox = "X"\n', "no regular expression"),
    ('[[accounts.ann.rulesets]]\nmail_from = "(a)\\\\1"\nmailbox = "X"\n', "no regular expression"),
    ('[[accounts.ann.rulesets]]\nheaders = { "x[" = "y" }\nmailbox = "X"\n', "no regular expression"),
    ('[[accounts.ann.rulesets]]\nverified_domain = "a b"\nmailbox = "X"\n', "verified_domain"),
    ('[[accounts.ann.rulesets]]\nmail_from = "x"\nmailbox = "A//B"\n', "a mailbox is named as"),
]


@pytest.mark.parametrize("text,problem", WRONG)
def test_what_is_wrong_is_said(text, problem):
    if problem is None:
        read(text)
        return
    with pytest.raises(ConfigProblems) as caught:
        read(text)
    assert problem in str(caught.value)


@pytest.mark.parametrize("text", ["x" * (LENGTH + 1), "(" * 900, "(a{1000}){1000}", "\x00(", "[[:x:]]", "a**", "\\"])
def test_expressions_that_are_none(text):
    with pytest.raises(BadPattern):
        Pattern(text)


@pytest.mark.parametrize("subject", ["", "x" * 10_000_000, "\ud800\udfff", "a\x00b", "\U0010ffff"])
def test_any_text_may_be_matched(subject):
    assert Pattern("nothing of the kind").fits(subject) is False
    assert Pattern("").fits(subject) and Pattern("(?s).*").fits_whole(subject)


def test_unknown_is_a_value_for_any_text():
    snapshot = read(TEAM)
    for address in ("", "@", "a@", "@b.test", "a@b@c", "\x00@a.test", "x" * 1000 + "@a.test", "\ud800@a.test"):
        assert isinstance(snapshot.recipient(address), (Unknown, Recipient))
