"""Queued mail for addresses of ours, into a real store."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from echomox.delivery.local import LocalDelivery
from echomox.delivery.localjobs import LocalJobs
from echomox.delivery.srs import Srs
from echomox.queue.outcome import Job, JobRecipient
from echomox.store.sqlite import SqliteEngine
from tests.unit.net.support import Host

BODY = b"Message-ID: <r1@mx.example.org>\r\nSubject: report\r\n\r\ntext\r\n"
JOB = Job(
    id="dsn1/7", domain="example.org", sender="", recipients=(), prefix=b"X: y\r\n", body=BODY, file=None,
    size=len(BODY) + 6, kind="dsn", message_id="<r1@mx.example.org>",
)  # fmt: skip


def to(*addresses):
    return tuple(JobRecipient(n, address, "", frozenset({"never"})) for n, address in enumerate(addresses, 1))


class Place:
    def __init__(self, root):
        self.host = Host(root)
        self.engine = SqliteEngine(self.host.paths)
        self.engine.recover()
        for account in ("mjl", "rest"):
            self.engine.create(account)

    def deliver(self, *jobs, srs=None):
        async def work():
            committer = self.engine.committer("queuerunner.0")
            delivery = LocalDelivery(self.host, self.engine, committer)
            local = LocalJobs(self.host, self.engine, delivery, srs)
            found = [await local.deliver(job) for job in jobs]
            await committer.close()
            delivery.close()
            return found

        return asyncio.run(work())

    def inbox(self, account="mjl"):
        store = self.engine.open(account)
        rows = list(store.fetch(store.mailbox("INBOX").id, 1, 1 << 31, ("id", "prefix")))
        contents = []
        for identity, prefix in rows:
            content = store.content(identity)
            contents.append((prefix, content.read(0, content.size)))
            content.close()
        return contents


@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path)
    yield made
    made.engine.close()


def test_a_report_comes_into_the_inbox(place):
    ((outcome,),) = place.deliver(replace(JOB, recipients=to("mjl@example.org")))
    assert (outcome.kind, outcome.code, outcome.remote_mta) == ("delivered", 250, "")
    ((prefix, data),) = place.inbox()
    assert prefix.startswith(b"Return-Path: <>\r\n")
    assert data.endswith(b"X: y\r\n" + BODY)


def test_a_large_one_is_read_from_its_file(place, tmp_path):
    file = tmp_path / "body"
    file.write_bytes(BODY + b"x\r\n" * 50_000)
    place.deliver(replace(JOB, body=None, file=file, recipients=to("mjl@example.org")))
    assert len(place.inbox()[0][1]) > 150_000
    file.unlink()
    ((outcome,),) = place.deliver(replace(JOB, body=None, file=file, recipients=to("mjl@example.org")))
    assert (outcome.kind, outcome.code) == ("retry", 451)


@pytest.mark.parametrize(
    ("address", "kind", "enhanced"),
    [
        ("x@paused.example", "retry", "4.2.1"),
        ("a@elsewhere.test", "failed", "5.1.2"),
        ("nobody@mx.example.org", "failed", "5.1.2"),
    ],
)
def test_what_has_no_place(place, address, kind, enhanced):
    ((outcome,),) = place.deliver(replace(JOB, recipients=to(address)))
    assert (outcome.kind, outcome.enhanced) == (kind, enhanced)


def test_one_recipient_is_not_the_others_business(place):
    (found,) = place.deliver(replace(JOB, recipients=to("a@elsewhere.test", "mjl@example.org")))
    assert [(one.recipient, one.kind) for one in found] == [(1, "failed"), (2, "delivered")]


def test_after_an_interruption_it_is_not_delivered_twice(place):
    job = replace(JOB, recipients=to("mjl@example.org"))
    place.deliver(job)
    ((outcome,),) = place.deliver(replace(job, interrupted=True))
    assert outcome.kind == "delivered"
    assert len(place.inbox()) == 1
    ((other,),) = place.deliver(replace(job, interrupted=True, message_id="<r2@mx.example.org>"))
    assert other.kind == "delivered"
    assert len(place.inbox()) == 2


def test_a_return_address_that_we_made_leads_back(place):
    srs = Srs((b"k" * 16,))
    import time

    back = srs.rewrite("mjl@example.org", "example.org", time.time())
    (found,) = place.deliver(replace(JOB, recipients=to(back, back[:-12] + "x@example.org")), srs=srs)
    assert [one.kind for one in found] == ["delivered", "failed"]
    assert len(place.inbox()) == 1
    ((outcome,),) = place.deliver(replace(JOB, sender="a@x.test", recipients=to(back)), srs=srs)
    assert outcome.kind == "failed"
