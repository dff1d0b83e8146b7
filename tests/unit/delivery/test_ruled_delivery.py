"""LocalDelivery with rules: what is asked in which order, and that nothing is lost where queue or store fail."""

from __future__ import annotations

# ruff: noqa: E501  # tables
import asyncio
from typing import Any

import pytest

from echomox.config.schema import JunkFilter
from echomox.delivery.incoming import Destination, Incoming
from echomox.delivery.judging import Judging
from echomox.delivery.local import LocalDelivery
from echomox.delivery.placement import Placement, PlainRules, Ruling
from echomox.errors import Reply
from echomox.queue.database import QueueError
from echomox.queue.model import QueueFull
from echomox.store.engine import BadMailboxName, NoSuchMailbox, StoreError
from tests.unit.delivery.test_local import SOURCE, Classifiers, Store
from tests.unit.net.support import Host

SMALL, REST = Destination("small", "small@example.org"), Destination("rest", "rest@example.org")
RELAY = Destination("mjl", "team@example.org", via="team@example.org", relay=("eve@far.example",), keep=False)


class Rules(PlainRules):
    """Says what it is told; notes what is done, in order, with the store."""

    def __init__(self, store: Store, trouble: Exception | None = None, **told: Any) -> None:
        self.store = store
        self.trouble = trouble
        self.told = told
        self.forwarded: list[int] = []

    async def refuse(self, facts: Any) -> Reply | None:
        return self.told.get("refusal")

    def ruling(self, facts: Any, destination: Destination) -> Ruling:
        return self.told.get("rulings", {}).get(destination.account) or super().ruling(facts, destination)

    async def settle(self, facts: Any, rulings: Any, decided: Any) -> list[Placement]:
        placed = self.told.get("placed")
        return placed or await super().settle(facts, rulings, decided)

    async def forward(self, facts: Any, decided: Any, placements: Any) -> None:
        if self.trouble:
            raise self.trouble
        self.forwarded.append(len(self.store.added))


def deliver(tmp_path, destinations, rules, store, probabilities=None):
    classifiers = Classifiers(probabilities or {one.account: 0.1 for one in destinations})
    mail = Incoming(
        id="cid-1", cid="cid", source=SOURCE, spool="", read=lambda: SOURCE, size=len(SOURCE), mail_from="a@b.example",
        destinations=destinations, helo="client.example", remote_ip="192.0.2.1", protocol="ESMTPS", tls="X", received=1e9,
    )  # fmt: skip
    host = Host(tmp_path)

    async def run() -> Reply:
        delivery = LocalDelivery(host, store, store, Judging(host, store, classifiers), rules=rules)
        try:
            return await delivery.deliver(mail)
        finally:
            delivery.close()

    return asyncio.run(run()), classifiers


def test_the_queue_comes_before_the_store(tmp_path):
    store = Store()
    rules = Rules(store)
    reply, _ = deliver(tmp_path, [REST, RELAY], rules, store)
    assert reply.code == 250 and rules.forwarded == [0]
    (addition,) = store.added
    assert [target.account for target in addition.targets] == ["rest"]


def test_what_only_goes_elsewhere_is_not_stored(tmp_path):
    store = Store()
    rules = Rules(store)
    assert deliver(tmp_path, [RELAY], rules, store)[0].code == 250
    assert rules.forwarded == [0] and not store.added


@pytest.mark.parametrize(
    "trouble,code,enhanced",
    [
        (QueueFull(), 452, "4.3.1"),
        (QueueError("locked"), 451, "4.3.0"),
        (OSError(28, "full"), 452, "4.3.1"),
        (OSError(5, "bad"), 451, "4.3.0"),
    ],
)
def test_a_queue_in_trouble_stores_nothing(tmp_path, trouble, code, enhanced):
    store = Store()
    reply, _ = deliver(tmp_path, [REST, RELAY], Rules(store, trouble), store)
    assert (reply.code, reply.enhanced) == (code, enhanced) and not store.added


def test_a_store_in_trouble_after_the_queue_is_tried_again_by_the_sender(tmp_path):
    """The member elsewhere then gets it twice: the other order could lose it."""
    store = Store([StoreError("broken")])
    rules = Rules(store)
    assert deliver(tmp_path, [REST, RELAY], rules, store)[0].code == 451
    assert rules.forwarded == [0]


def test_a_refusal_for_all_stops_before_anything_else(tmp_path):
    store = Store()
    rules = Rules(store, refusal=Reply(554, "5.4.6", "loop"))
    reply, classifiers = deliver(tmp_path, [REST, RELAY], rules, store)
    assert reply.code == 554 and not store.added and not rules.forwarded and not classifiers.asked


@pytest.mark.parametrize(
    "placed,code,targets",
    [
        ([Placement("inbox", "A", "x"), Placement("inbox", "B", "y")], 250, [("rest", "A"), ("small", "B")]),
        ([Placement("inbox", "A", "x"), Placement("junk", "B", "y")], 250, [("rest", "A"), ("small", "Junk")]),
        ([Placement("inbox", "A", "x"), Placement("reject", "B", "y")], 250, [("rest", "A"), ("small", "Junk")]),
        ([Placement("reject", "A", "x"), Placement("reject", "B", "y")], 550, [("rest", "Rejects"), ("small", "Rejects")]),
        ([Placement("reject", "A", "x", keep=False), Placement("reject", "B", "y", keep=False)], 550, []),
        ([Placement("reject", "A", "x", Reply(550, "5.7.2", "")), Placement("reject", "B", "y", Reply(451, "4.7.1", ""))], 451,
         [("rest", "Rejects"), ("small", "Rejects")]),
        ([Placement("inbox", "A", "x", keep=False), Placement("inbox", "B", "y")], 250, [("small", "B")]),
    ],
)  # fmt: skip
def test_placements(tmp_path, placed, code, targets):
    store = Store()
    rules = Rules(store, placed=placed)
    reply, _ = deliver(tmp_path, [REST, SMALL], rules, store)
    assert reply.code == code
    found = [(target.account, target.mailbox) for addition in store.added for target in addition.targets]
    assert found == targets and bool(rules.forwarded) is (code == 250)


def test_what_a_forwarder_sent_is_judged_without_the_peer(tmp_path):
    store = Store()
    rules = Rules(store, rulings={"rest": Ruling(JunkFilter(), "INBOX", forwarder=True)})
    _, classifiers = deliver(tmp_path, [REST, SMALL], rules, store, {"rest": 0.1, "small": 0.1})
    peers = {request.accounts: (request.remote_ip, request.helo, request.mail_from) for request in classifiers.asked}
    assert peers == {("small",): ("192.0.2.1", "client.example", "a@b.example"), ("rest",): ("", "", "")}


def test_a_mailbox_that_is_not_there_is_made_and_one_that_cannot_be_is_the_inbox(tmp_path):
    class Boxes(Store):
        def create_mailbox(self, name):
            self.created.append(name)
            if name == "bad":
                raise BadMailboxName(name)

    store = Boxes([NoSuchMailbox("Lists/x")])
    placed = [Placement("inbox", "Lists/x", ""), Placement("inbox", "bad", "")]
    reply, _ = deliver(tmp_path, [REST, SMALL], Rules(store, placed=placed), store)
    assert reply.code == 250 and store.created == ["Lists/x", "bad"]
    assert [target.mailbox for target in store.added[0].targets] == ["Lists/x", "INBOX"]


def test_without_rules_nothing_can_be_sent_on(tmp_path):
    store = Store()
    assert deliver(tmp_path, [RELAY], PlainRules(), store)[0].code == 451
