"""Tokens that pass the filter (F16): what they are bound to, when they are told and when they count."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace
from types import SimpleNamespace

import pytest

from echomox.delivery.placement import Decided
from echomox.delivery.policy import AddressRules
from echomox.delivery.subjectpass import FILE, HOUR, SUBJECT, TRIED, SubjectPass, hidden, told
from echomox.filter.decide import decide
from echomox.ipc.schema import Evidence, Verdict
from echomox.mailauth.dmarc import DmarcResult
from echomox.smtpd.reply import wire
from tests.unit.delivery.test_policy import ANN, LISTED, LISTS, World
from tests.unit.delivery.world import auth, facts, snapshot, source, to
from tests.unit.smtpd.support import QUIET

NOW, FRIEND = 1_700_000_000.0, "friend@b.example"
ON = """
[domains."a.test"]
[accounts.ann]
addresses = ["ann@a.test", "ann2@a.test"]
junk_filter.subject_pass_days = 3
[accounts.bob]
addresses = ["bob@a.test"]
junk_filter.subject_pass_days = 3
[accounts.cat]
addresses = ["cat@a.test"]
"""


@pytest.fixture
def maker(tmp_path):
    return SubjectPass(tmp_path, QUIET)


def with_subject(subject: str | bytes, sender: str = FRIEND) -> bytes:
    subject = subject.encode() if isinstance(subject, str) else subject
    return source(sender).replace(b"Subject: hi", b"Subject: " + subject)


def encoded(text: str) -> str:
    return f"=?utf-8?B?{base64.b64encode(text.encode()).decode()}?="


@pytest.mark.parametrize(
    "form",
    [
        "{0}",
        "Re: hello ({0}).",
        "hi [{1}]",
        "hi\r\n\t{0}\r\n there",
        "x" * 1500 + " {0}",
        "pass-" + "A" * 24 + " pass-" + "B" * 24 + " {0}",
        "caf\u00e9 {0}",
        "pass-none {0}",
    ],
)
def test_a_token_is_found_however_it_stands_in_the_subject(maker, form):
    token = maker.token("ann", FRIEND, NOW)
    subject = form.format(token, token.lower())
    assert maker.holds(with_subject(subject), "ann", 3, NOW)


def test_a_token_is_found_in_encoded_words(maker):
    token = maker.token("ann", FRIEND, NOW)
    assert maker.holds(with_subject(encoded(f"\u20ac {token}")), "ann", 3, NOW)
    split = f"{encoded('x ' + token[:12])}\r\n {encoded(token[12:])}"
    assert maker.holds(with_subject(split), "ann", 3, NOW)


@pytest.mark.parametrize(
    "subject",
    [
        "",
        "pass-",
        "{0}A",
        "x{0}",
        "{0}-x",
        "pass-{2}",
        "pa ss-{2}",
        "x" * SUBJECT + " {0}",
        ("pass-" + "A" * 24 + " ") * TRIED + "{0}",
        "pass-" + "1" * 24,
        "=?utf-8?B?" * 10_000 + "{0}",
        "pass-" * 100_000,
        "pass-" + "A" * 100_000,
    ],
    ids=range(13),
)
def test_what_is_no_token_passes_nothing(maker, subject):
    token = maker.token("ann", FRIEND, NOW)
    assert not maker.holds(with_subject(subject.format(token, "", token[5:-1])), "ann", 3, NOW)


@pytest.mark.parametrize(
    "subject",
    [
        b"\xff\x00pass-\x80",
        b"pa\xc5\xbf\xc5\xbf-" + b"A" * 24,
        b"=?utf-8?B?////?=" * 5000,
        b"=?x?Q?pass-=FF?= pass-",
        bytes(range(32, 256)),
    ],
    ids=range(5),
)
def test_bytes_of_any_kind_pass_nothing(maker, subject):
    maker.token("ann", FRIEND, NOW)
    assert not maker.holds(with_subject(subject), "ann", 3, NOW)
    assert not maker.holds(b"", "ann", 3, NOW) and not maker.holds(subject, "ann", 3, NOW)


@pytest.mark.parametrize(
    "account, sender, days, good",
    [
        ("ann", FRIEND, 0, True),
        ("ann", "Friend <FRIEND@B.example>", 0, True),
        ("ann", "friend@b.example, other@b.example", 0, True),
        ("ann", FRIEND, 3, True),
        ("ann", FRIEND, 3 + 1 / 24, False),
        ("ann", FRIEND, -1 / 24, True),
        ("ann", FRIEND, -2 / 24, False),
        ("bob", FRIEND, 0, False),
        ("ann", "friend@c.example", 0, False),
        ("ann", "other@b.example, friend@b.example", 0, False),
        ("ann", "", 0, False),
    ],
)
def test_a_token_is_good_for_one_account_and_one_author_and_some_days(maker, account, sender, days, good):
    token = maker.token("ann", FRIEND, NOW)
    assert maker.holds(with_subject(token, sender), account, 3, NOW + days * 24 * HOUR) == good


def test_a_token_that_was_changed_is_none(maker):
    token = maker.token("ann", FRIEND, NOW)
    for place in range(5, len(token)):
        other = "A" if token[place] != "A" else "B"
        assert not maker.holds(with_subject(token[:place] + other + token[place + 1 :]), "ann", 3, NOW)


def test_the_key_is_made_with_the_first_token_and_shared_and_may_be_changed(tmp_path, maker):
    assert not maker.holds(with_subject("pass-none"), "ann", 3, NOW) and not (tmp_path / FILE).exists()
    token = maker.token("ann", FRIEND, NOW)
    path = tmp_path / FILE
    assert path.stat().st_mode & 0o777 == 0o600 and [one.name for one in tmp_path.iterdir()] == [FILE]
    assert SubjectPass(tmp_path, QUIET).token("ann", FRIEND, NOW) == token
    path.write_text("ab" * 32 + "\n" + path.read_text())
    changed = SubjectPass(tmp_path, QUIET)
    assert changed.token("ann", FRIEND, NOW) != token and changed.holds(with_subject(token), "ann", 3, NOW)


@pytest.mark.parametrize("content", [b"", b"abcd\n", b"\xff", b"zz" * 32])
def test_without_a_key_there_are_no_tokens_and_mail_goes_on(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)
    lines = []
    maker = SubjectPass(tmp_path, SimpleNamespace(error=lambda event, **fields: lines.append(event)))
    assert maker.token("ann", FRIEND, NOW) == "" == maker.token("ann", FRIEND, NOW + 1)
    assert not maker.holds(with_subject("pass-" + "A" * 24), "ann", 3, NOW)
    assert lines == ["no key for subject tokens"]
    (tmp_path / FILE).unlink()
    assert maker.token("ann", FRIEND, NOW + 61)


def test_the_reply_fits_a_line_and_is_logged_without_its_token(maker):
    """RFC 5321 4.5.3.1.5"""
    token = maker.token("a" * 200, "x" * 64 + "@" + "y" * 250, NOW)
    line = wire(told(token))
    assert len(line) <= 512 and line.startswith(b"550 5.7.1 ") and line.endswith(token.encode() + b"\r\n")
    assert token[5:].encode() not in hidden(line) and hidden(b"250 2.0.0 Ok") == b"250 2.0.0 Ok"


# -- with the rules


class Passes(World):
    def __init__(self, tmp_path, text=ON, *lists):
        super().__init__(snapshot("", text), *lists)
        self.maker = SubjectPass(tmp_path, QUIET)
        host = self.rules._host
        self.rules = AddressRules(
            host, self.resolver, self.rules._forwarder, self.clock, self.sleep, subject_pass=self.maker
        )

    def told(self):
        """The tokens of the replies."""
        found = {one.reply.text.rpartition(" ")[2] if one.reply else "" for one in self.placed}
        return {one for one in found if one.startswith("pass-")}


FAILS = replace(auth(), dmarc=DmarcResult("fail", from_domain="b.example"))


@pytest.mark.parametrize(
    "to, p, change, tells",
    [
        (["ann@a.test"], 0.99, {}, True),
        (["ann@a.test", "ann2@a.test"], 0.99, {}, True),
        (["ann@a.test"], 0.5, {}, False),
        (["ann@a.test"], 0.0, {}, False),
        (["cat@a.test"], 0.99, {}, False),
        (["ann@a.test", "bob@a.test"], 0.99, {}, False),
        (["ann@a.test"], 0.99, {"checked": FAILS}, False),
        (["ann@a.test"], 0.99, {"message": source("")}, False),
        (["ann@a.test"], 0.99, {"mail_from": ""}, True),
    ],
)
def test_when_a_token_is_told(tmp_path, to, p, change, tells):
    world = Passes(tmp_path)
    world.go(*to, p=p, **change)
    assert bool(world.told()) == tells
    if tells:
        assert world.told() == {world.maker.token("ann", FRIEND, NOW)}
        assert not any(b"pass" in one.header for one in world.placed)


@pytest.mark.parametrize("more", ['junk_filter.reject_code = "451"', 'junk_filter.mode = "junk-only"'])
def test_what_is_not_refused_for_ever_tells_none(tmp_path, more):
    world = Passes(tmp_path, ON.replace("[accounts.bob]", f"{more}\n[accounts.bob]"))
    world.go("ann@a.test", p=0.99)
    assert not world.told()


def test_a_rules_or_a_lists_refusal_tells_none_and_is_not_passed(tmp_path):
    rule = '[[accounts.ann.rulesets]]\nmail_from = "friend"\nmessage_auth_required = true\n'
    world = Passes(tmp_path, ON + rule)
    token = world.maker.token("ann", FRIEND, NOW)
    found = world.go("ann@a.test", p=0.99, message=with_subject(token), checked=auth(spf="c.example"))
    assert found[ANN][0] == "reject" and not world.told()


@pytest.mark.parametrize("p, said", [(0.99, b"above-reject"), (0.5, b"from-junk-to-reject")])
def test_mail_with_a_token_is_let_in(tmp_path, p, said):
    world = Passes(tmp_path)
    token = world.maker.token("ann", FRIEND, NOW)
    assert world.go("ann@a.test", p=p, message=with_subject(token))[ANN] == ("inbox", "INBOX", None, True)
    assert said + b",subject-pass" in world.placed[0].header and token.encode() not in world.placed[0].header
    assert world.go("ann@a.test", p=p, message=with_subject(token), checked=FAILS)[ANN][0] != "inbox"


def test_a_token_counts_for_its_account_alone(tmp_path):
    world = Passes(tmp_path)
    token = world.maker.token("ann", FRIEND, NOW)
    found = world.go("ann@a.test", "bob@a.test", "cat@a.test", p=0.99, message=with_subject(token))
    assert [found[name, True][0] for name in ("ann", "bob", "cat")] == ["inbox", "reject", "reject"]


@pytest.mark.parametrize("p", [0.2, 0.99])
def test_a_dns_lists_refusal_tells_none_and_is_not_passed(tmp_path, p):
    world = Passes(tmp_path, ON, LISTED, LISTS)
    token = world.maker.token("ann", FRIEND, NOW)
    found = world.go("ann@a.test", p=p, stranger=True, message=with_subject(token))
    assert found[ANN][0] == "reject" and "listed at" in world.placed[0].reply.text and not world.told()


def test_a_senders_list_that_refuses_tells_none_and_is_not_passed(tmp_path, maker):
    world = Passes(tmp_path)
    token = world.maker.token("ann", FRIEND, NOW)
    wanted = to(world.snapshot, "ann@a.test")
    seen = facts(world.snapshot, wanted, with_subject(token), auth())
    found = Verdict("ann", 0.999, (Evidence("reputation", 0.9999, 1e9, ("block list @b.example",)),), "all", 9)
    ruling = world.rules.ruling(seen, wanted[0])
    decided = Decided(wanted[0], decide(ruling.junk_filter, found), found)
    (placed,) = asyncio.run(world.rules.settle(seen, [ruling], [decided]))
    assert (placed.place, placed.reply) == ("reject", None)
