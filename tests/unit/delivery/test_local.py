"""Delivery: places and replies by verdict (decision 5), trace fields, troubles of store and classifiers."""

import asyncio
import errno
import json
from pathlib import Path
from typing import Any

import pytest

from echomox.delivery.incoming import Destination, Incoming, unique
from echomox.delivery.judging import Fallback, Judging
from echomox.delivery.local import LocalDelivery
from echomox.ipc.schema import Classify, Evidence, Verdict
from echomox.store.engine import Added, NoSuchAccount, StoreError
from tests.unit.net.support import Host

SOURCE = b"From: a@b.example\r\nSubject: hi\r\n\r\ntext\r\n"
HAM, JUNK, SPAM = 0.1, 0.5, 0.95


class Store:
    """Engine and committer: remembers what is added."""

    def __init__(self, trouble: list[Exception] | None = None) -> None:
        self.added: list[Any] = []
        self.created: list[str] = []
        self.trouble = trouble or []
        self.written_to: set[tuple[str, str]] = set()
        self._opened = ""

    def correspondents(self, addresses: list[str]) -> set[str]:
        return {address for address in addresses if (self._opened, address) in self.written_to}

    def open(self, account: str) -> Any:
        self._opened = account
        return self

    def create(self, account: str) -> None:
        self.created.append(account)

    def special_mailbox(self, use: str) -> None:
        return None

    async def add(self, addition: Any) -> list[Added]:
        if self.trouble:
            raise self.trouble.pop(0)
        self.added.append(addition)
        return []


class Classifiers:
    """Gives each account the probability it is told; None: late or gone."""

    def __init__(self, probabilities: dict[str, float] | None) -> None:
        self.probabilities = probabilities
        self.asked: list[Any] = []

    async def classify(self, request: Any) -> list[Verdict] | None:
        self.asked.append(request)
        if self.probabilities is None:
            return None
        evidence = (Evidence("bayes", 0.5, 1.0, ("word",)),)
        return [Verdict(name, self.probabilities[name], evidence, "all", 100) for name in request.accounts]


def nothing(request: Classify) -> list[Verdict]:
    return []


def deliver(
    tmp_path: Path,
    accounts: list[str],
    probabilities: dict[str, float] | None,
    store: Store | None = None,
    fallback: Fallback = nothing,
) -> tuple[str, Store, Host, Classifiers]:
    """accounts: of the recipients, in order; probabilities None: no classifier answers."""
    host = Host(tmp_path)
    store = store or Store()
    classifiers = Classifiers(probabilities)
    mail = Incoming(
        id="cid-1", cid="cid", source=SOURCE, spool="", read=lambda: SOURCE, size=len(SOURCE), mail_from="a@b.example",
        destinations=[Destination(name, f"{name}{n}@example.org") for n, name in enumerate(accounts)],
        helo="client.example", remote_ip="192.0.2.1", protocol="ESMTPS", tls="TLSv1.3 X", received=1e9,
    )  # fmt: skip

    async def run() -> str:
        delivery = LocalDelivery(host, store, store, Judging(host, store, classifiers, fallback))
        reply = await delivery.deliver(mail)
        delivery.close()
        return str(reply)

    return asyncio.run(run()), store, host, classifiers


PLACES = [
    # (probability per account, code, mailbox per account)
    ({"mjl": HAM}, 250, {"mjl": "INBOX"}),
    ({"mjl": JUNK}, 250, {"mjl": "Junk"}),
    ({"mjl": SPAM}, 550, {"mjl": "Rejects"}),
    ({"mjl": SPAM, "rest": SPAM}, 550, {"mjl": "Rejects", "rest": "Rejects"}),
    ({"mjl": SPAM, "rest": HAM}, 250, {"mjl": "Junk", "rest": "INBOX"}),
    ({"mjl": SPAM, "rest": JUNK}, 250, {"mjl": "Junk", "rest": "Junk"}),
    ({"mjl": 0.3}, 250, {"mjl": "Junk"}),
    ({"mjl": 0.8}, 250, {"mjl": "Junk"}),
]


@pytest.mark.parametrize("probabilities, code, mailboxes", PLACES)
def test_one_reply_for_all_accounts(probabilities, code, mailboxes, tmp_path):
    reply, store, _, classifiers = deliver(tmp_path, list(probabilities), probabilities)
    assert reply.startswith(str(code))
    assert {target.account: target.mailbox for target in store.added[0].targets} == mailboxes
    assert len(classifiers.asked) == len(store.added) == 1


def test_without_classifiers_mail_goes_to_the_inbox(tmp_path):
    reply, store, host, _ = deliver(tmp_path, ["mjl"], None)
    assert reply.startswith("250 2.0.0 Accepted, id cid-1")
    target = store.added[0].targets[0]
    assert target.mailbox == "INBOX"
    assert b"classifier-unavailable" in target.prefix
    assert host.counts["classify_fallbacks"] == 1
    assert target.verdict == ""


def test_without_classifiers_the_worker_judges_by_itself(tmp_path):
    def judge(request: Classify) -> list[Verdict]:
        evidence = (Evidence("bayes", JUNK, 1.0, ()),)
        return [Verdict(name, JUNK, evidence, "fallback", 100) for name in request.accounts]

    _, store, host, _ = deliver(tmp_path, ["mjl"], None, fallback=judge)
    assert store.added[0].targets[0].mailbox == "Junk"
    assert (host.counts["verdicts_fallback"], host.counts.get("verdicts_full", 0)) == (1, 0)


def test_a_fallback_that_fails_does_not_stop_the_mail(tmp_path):
    def judge(request: Classify) -> list[Verdict]:
        raise ValueError("broken")

    reply, store, _, _ = deliver(tmp_path, ["mjl"], None, fallback=judge)
    assert reply.startswith("250")
    assert store.added[0].targets[0].mailbox == "INBOX"


def test_a_message_is_stored_once_per_account(tmp_path):
    _, store, _, classifiers = deliver(tmp_path, ["mjl", "rest", "mjl"], {"mjl": HAM, "rest": HAM})
    assert [target.account for target in store.added[0].targets] == ["mjl", "rest"]
    assert classifiers.asked[0].accounts == ("mjl", "rest")
    assert unique([Destination("a", "1"), Destination("b", "2"), Destination("a", "3")]) == [
        Destination("a", "1"),
        Destination("b", "2"),
    ]


def test_trace_fields_stand_before_the_message_of_each_recipient(tmp_path):
    _, store, _, _ = deliver(tmp_path, ["mjl", "rest"], {"mjl": HAM, "rest": JUNK})
    for place, target in enumerate(store.added[0].targets):
        names = [line.split(b":")[0] for line in target.prefix.split(b"\r\n") if line[:1] not in (b"\t", b"")]
        assert names == [
            b"Return-Path",
            b"Delivered-To",
            b"Received",
            b"Authentication-Results",
            b"X-EchoMox-Verdict",
        ]
        assert b"Return-Path: <a@b.example>\r\n" in target.prefix
        assert b"Delivered-To: %s%d@example.org\r\n" % (target.account.encode(), place) in target.prefix
        assert b"with ESMTPS" in target.prefix
        assert b" for " not in target.prefix  # RFC 5321 7.2: not of several
        assert target.prefix.endswith(b"\r\n")
    _, store, _, _ = deliver(tmp_path, ["mjl"], {"mjl": HAM})
    assert b"for <mjl0@example.org>" in store.added[0].targets[0].prefix


def test_the_verdict_is_kept_with_the_message(tmp_path):
    _, store, host, _ = deliver(tmp_path, ["mjl"], {"mjl": JUNK})
    verdict = json.loads(store.added[0].targets[0].verdict)
    assert (verdict["place"], verdict["probability"], verdict["evidence"][0]["stage"]) == (
        "junk",
        JUNK,
        "bayes",
    )
    assert host.counts == {
        "verdicts_full": 1, "smtp_messages_accepted": 1, "smtp_bytes": len(SOURCE), "delivered_junk": 1,
    }  # fmt: skip


def test_a_refused_message_is_counted_as_one(tmp_path):
    _, _, host, _ = deliver(tmp_path, ["mjl"], {"mjl": SPAM})
    assert host.counts == {
        "verdicts_full": 1, "smtp_messages_refused": 1, "smtp_bytes": len(SOURCE), "delivered_rejects": 1,
    }  # fmt: skip


TROUBLES = [
    (OSError(errno.ENOSPC, "No space left on device"), "452 4.3.1"),
    (OSError(errno.EDQUOT, "Disk quota exceeded"), "452 4.3.1"),
    (OSError(errno.EIO, "Input/output error"), "451 4.3.0"),
    (StoreError("secret detail"), "451 4.3.0"),
]


@pytest.mark.parametrize("trouble, expected", TROUBLES)
def test_trouble_of_the_store_is_temporary_and_says_nothing(trouble, expected, tmp_path):
    reply, store, host, _ = deliver(tmp_path, ["mjl"], {"mjl": HAM}, Store([trouble]))
    assert reply.startswith(expected)
    assert "secret" not in reply
    assert store.added == []
    assert host.counts == {"verdicts_full": 1}


def test_a_refusal_is_not_given_before_the_copy_is_stored(tmp_path):
    reply, _, _, _ = deliver(tmp_path, ["mjl"], {"mjl": SPAM}, Store([OSError(errno.EIO, "x")]))
    assert reply.startswith("451")


def test_an_account_without_a_store_gets_one(tmp_path):
    reply, store, _, _ = deliver(tmp_path, ["mjl"], {"mjl": HAM}, Store([NoSuchAccount("mjl")]))
    assert reply.startswith("250")
    assert store.created == ["mjl"]
