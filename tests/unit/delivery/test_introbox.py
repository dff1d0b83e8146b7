"""Mail of strangers in a mailbox of its own (F14): whose goes there, and whose does not."""

from __future__ import annotations

import asyncio

import pytest

from echomox.config.load import ConfigProblems
from echomox.delivery.acquaintance import said_of_author
from echomox.delivery.incoming import unique
from echomox.delivery.introbox import is_known
from echomox.delivery.judging import stricter
from echomox.delivery.placement import Decided
from echomox.filter.decide import decide
from echomox.ipc.schema import Evidence, Verdict
from tests.unit.delivery.test_policy import World
from tests.unit.delivery.world import auth, facts, snapshot, source, to

ON = """
[domains."a.test"]
[accounts.ann]
addresses = ["ann@a.test"]
introbox = "New"
[accounts.bob]
addresses = ["bob@a.test"]
"""
STRANGER = "stranger"
REPORT = (
    b"From: MAILER-DAEMON@b.example\r\nTo: ann@a.test\r\nSubject: failed\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/report; report-type=delivery-status; boundary=x\r\n\r\n--x\r\n\r\ntext\r\n--x--\r\n'
)


def verdict(account: str, reason: str, p: float = 0.0) -> Verdict:
    evidence = [Evidence("bayes", p, 1.0, ("words",))]
    evidence += [Evidence("reputation", 0.5, 0.0, (reason,))] if reason else []
    return Verdict(account, p, tuple(evidence), "all", 100)


@pytest.mark.parametrize(
    "reason, step, ham, known, known_list",
    [
        ("", "", 0, False, False),
        (STRANGER, "stranger", 0, False, False),
        ("untrained", "untrained", 0, False, False),
        ("from a@b.example 1/0", "from", 1, True, True),
        ("from a@b.example 1/9", "from", 1, True, True),
        ("from a@b.example 0/9", "from", 0, False, False),
        ('from "a 7/0"@b.example 0/9', "from", 0, False, False),
        ("friend a@b.example 12/0", "friend", 12, True, True),
        ("written to a@b.example 0/0", "written", 0, True, True),
        ("allow list a@b.example", "allow", 0, True, True),
        ("allow list of the server @b.example", "allow", 0, True, True),
        ("block list a@b.example", "block", 0, False, False),
        ("domain b.example 40/0", "domain", 40, False, True),
        ("net 203.0.113 4/1", "net", 4, False, True),
        ("net 203.0.113 0/4", "net", 0, False, False),
    ],
)
def test_who_is_known(reason, step, ham, known, known_list):
    found = verdict("ann", reason)
    assert said_of_author(found) == (step, ham)
    assert (is_known(found, False), is_known(found, True)) == (known, known_list)


class Strangers(World):
    """`goes`: the mailboxes a message goes to, by account."""

    def goes(self, *addresses, reason=STRANGER, p=0.0, message=None, checked=None, without=False, **envelope):
        wanted = unique(to(self.snapshot, *addresses))
        seen = facts(self.snapshot, wanted, message, checked or auth(spf="b.example"), **envelope)

        async def run():
            rulings = [self.rules.ruling(seen, one) for one in wanted]
            decided = []
            for one, ruling in zip(wanted, rulings):
                found = None if without else verdict(one.account, reason, p)
                decided.append(Decided(one, decide(stricter(ruling, found), found), found))
            self.placed = await self.rules.settle(seen, rulings, decided)
            return {one.account: place.mailbox if place.place == "inbox" else place.place
                    for one, place in zip(wanted, self.placed)}  # fmt: skip

        return asyncio.run(run())


RULE = '[[accounts.ann.rulesets]]\nmail_from = "friend"\n'
LISTED = source(extra="List-Id: <dev.b.example>\r\n")


@pytest.mark.parametrize(
    "more, change, wanted",
    [
        ("", {}, "New"),
        ("", {"reason": "untrained"}, "New"),
        ("", {"reason": "domain b.example 9/0"}, "New"),
        ("", {"reason": "from friend@b.example 0/2"}, "New"),
        ("", {"reason": "from friend@b.example 2/0"}, "INBOX"),
        ("", {"reason": "written to friend@b.example 0/0"}, "INBOX"),
        ("", {"reason": "allow list friend@b.example"}, "INBOX"),
        ("", {"p": 0.5}, "junk"),
        ("", {"p": 0.99}, "reject"),
        ("", {"without": True}, "INBOX"),
        ("", {"message": LISTED}, "New"),
        ("", {"message": LISTED, "reason": "net 203.0.113 9/0"}, "INBOX"),
        ("", {"message": REPORT, "mail_from": ""}, "INBOX"),
        ("", {"message": REPORT}, "New"),
        ("", {"mail_from": ""}, "New"),
        ("", {"login": "bob"}, "INBOX"),
        ("", {"remote_ip": ""}, "INBOX"),
        ("junk_filter.shadow = true", {"p": 0.99}, "INBOX"),
        ("junk_filter.mode = \"off\"", {}, "INBOX"),
        (RULE + 'mailbox = "Lists"', {}, "Lists"),
        (RULE + 'list_allow_domain = "b.example"', {}, "INBOX"),
        (RULE + 'list_allow_domain = "c.example"', {}, "New"),
        (RULE + 'verified_domain = "b.example"\nis_forward = true', {}, "INBOX"),
        (RULE + 'accept_rejects = "Odd"', {"p": 0.99}, "Odd"),
    ],
)  # fmt: skip
def test_what_goes_to_the_mailbox_of_strangers(more, change, wanted):
    world = Strangers(snapshot("", ON.replace("[accounts.bob]", f"{more}\n[accounts.bob]")))
    assert world.goes("ann@a.test", **change)["ann"] == wanted
    assert ("introbox" in world.placed[0].reason) == (wanted == "New")
    assert (b"introbox" in world.placed[0].header) == (wanted == "New")


def test_each_account_has_its_own():
    assert Strangers(snapshot("", ON)).goes("ann@a.test", "bob@a.test") == {"ann": "New", "bob": "INBOX"}


@pytest.mark.parametrize("post, wanted", [("members", "INBOX"), ("public", "New")])
def test_what_members_write_to_their_list_is_from_no_stranger(post, wanted):
    team = f'[aliases."team@a.test"]\nmembers = ["ann@a.test", "friend@b.example"]\npost = "{post}"\n'
    assert Strangers(snapshot(team, ON)).goes("team@a.test")["ann"] == wanted


@pytest.mark.parametrize("name", ["Inbox", "junk", "Rejects", "a//b", "a*", "#x", "a\x01b", "x" * 600])
def test_what_can_be_no_mailbox_of_strangers_is_refused(name):
    text = ON.replace('"New"', '"' + name.replace("\x01", "\\u0001") + '"')
    with pytest.raises(ConfigProblems, match=r"accounts\.ann\.introbox"):
        snapshot("", text)


@pytest.mark.parametrize("name, kept", [("inbox/New", "INBOX/New"), ("u\u0308", "\u00fc"), ("New/Who", "New/Who")])
def test_the_name_is_that_of_the_store(name, kept):
    assert snapshot("", ON.replace('"New"', f'"{name}"')).account("ann").introbox == kept


def test_the_mailbox_of_the_queue_is_not_that_of_strangers():
    with pytest.raises(ConfigProblems, match="is there for other mail"):
        snapshot("", ON.replace("[accounts.bob]", 'queue_mailbox = "New"\n[accounts.bob]'))
