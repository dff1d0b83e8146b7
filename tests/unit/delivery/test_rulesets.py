"""Rulesets: conditions one by one and together, the first that fits, proved domains."""

from __future__ import annotations

import pytest

from echomox.config.schema import Ruleset
from echomox.delivery.rulesets import fits, is_addressed, look, matching
from tests.unit.delivery.world import auth, facts, snapshot, source, to

LIST = "List-Id: Developers <dev.lists.example>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nX-Folded: one\r\n two\r\n"
SNAPSHOT = snapshot("")
CHECKED = auth(spf="bounce.lists.example", dkim=("b.example",))


def seen(message=None, checked=CHECKED, **envelope):
    wanted = to(SNAPSHOT, "ann@a.test")
    return look(facts(SNAPSHOT, wanted, message or source(extra=LIST), checked, **envelope))


@pytest.mark.parametrize(
    "rule,holds",
    [
        (Ruleset(address="ann@a.test"), True),
        (Ruleset(address="ann+x@a.test"), True),
        (Ruleset(address="bob@a.test"), False),
        (Ruleset(mail_from="^friend@"), True),
        (Ruleset(mail_from="FRIEND"), True),
        (Ruleset(mail_from="^riend"), False),
        (Ruleset(message_from="@b[.]example$"), True),
        (Ruleset(message_from="@c[.]example$"), False),
        (Ruleset(verified_domain="lists.example"), True),
        (Ruleset(verified_domain="bounce.lists.example"), True),
        (Ruleset(verified_domain="b.example"), True),
        (Ruleset(verified_domain="ounce.lists.example"), False),
        (Ruleset(verified_domain="sub.b.example"), False),
        (Ruleset(headers={"list-id": "<dev[.]lists[.]example>"}), True),
        (Ruleset(headers={"list-.*": "developers"}), True),
        (Ruleset(headers={"list": "developers"}), False),
        (Ruleset(headers={"subject": "gr\u00fc\u00dfe"}), True),
        (Ruleset(headers={"x-folded": "^one two$"}), True),
        (Ruleset(headers={"list-id": "dev", "subject": "nothing"}), False),
        (Ruleset(mail_from="friend", message_from="friend", verified_domain="b.example"), True),
        (Ruleset(mail_from="friend", verified_domain="c.example"), False),
    ],
)
def test_conditions(rule, holds):
    assert fits(rule, seen(), SNAPSHOT, "ann@a.test") is holds


def test_the_first_that_fits_holds():
    rules = (
        Ruleset(mail_from="nobody"),
        Ruleset(mail_from="friend", mailbox="One"),
        Ruleset(mail_from=".", mailbox="Two"),
    )
    found = matching(rules, seen(), SNAPSHOT, "ann@a.test")
    assert found is not None and found.mailbox == "One"
    assert matching(rules[:1], seen(), SNAPSHOT, "ann@a.test") is None


@pytest.mark.parametrize(
    "sender,checked,proved",
    [
        ("x@b.example", auth(dkim=("b.example",)), True),
        ("x@mail.b.example", auth(dkim=("b.example",)), True),
        ("x@b.example", auth(spf="bounce.b.example"), True),
        ("x@b.example", auth(spf="c.example"), False),
        ("x@b.co.uk", auth(dkim=("c.co.uk",)), False),
        ("x@b.example, y@c.example", auth(dkim=("b.example",)), False),
        ("", auth(dkim=("b.example",)), False),
        ("x@b.example", auth(), False),
    ],
)
def test_what_proves_the_from(sender, checked, proved):
    assert seen(source(sender), checked).from_proved is proved


@pytest.mark.parametrize(
    "header_to,named",
    [
        ("ann@a.test", True),
        ("Ann+x@A.test", True),
        ("x@y.example, <ANN@a.test>", True),
        ("x@y.example", False),
        ("", False),
    ],
)
def test_whether_to_names_the_account(header_to, named):
    assert is_addressed(SNAPSHOT, seen(source(to=header_to)), ["ann@a.test"]) is named


def test_an_expression_made_to_hang_does_not():
    message = source(extra="X-Evil: " + "a" * 60_000 + "!\r\n")
    rule = Ruleset(headers={"x-evil": "(a+)+(a*)*(a|aa)+b$"})
    assert fits(rule, seen(message), SNAPSHOT, "ann@a.test") is False  # by backtracking it would not end
