# ruff: noqa: E501  # tables
"""A report that was delivered is matched to what was sent: by the unique return address, through the real queue."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import pytest

from echomox.config.paths import Paths
from echomox.config.schema import Queue
from echomox.delivery.incoming import Destination
from echomox.delivery.returns import SIZE, Returns, from_id
from echomox.queue import suppression
from echomox.queue.spool import QueueSpool
from tests.unit.queue.support import Bench, mail, outcome
from tests.unit.smtpd.support import QUIET

ID = "0123456789abcdef"
REPORT = b"""From: Mailer <mailer-daemon@far.test>
To: me@here.test
Subject: failed
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; far.test

Final-Recipient: rfc822; gone@far.test
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 no such user

--b--
""".replace(b"\n", b"\r\n")


def incoming(source: bytes = REPORT, address: str = f"me+{ID}@here.test", mail_from: str = "", keep: bool = True):
    to = Destination("me", address, keep=keep)
    return SimpleNamespace(
        cid="c", mail_from=mail_from, size=len(source), read=lambda: source, destinations=(to,)
    )


@pytest.mark.parametrize(
    "change,found",
    [
        ({}, 1),
        ({"address": "me+fedcba9876543210@here.test"}, 0),
        ({"mail_from": "x@far.test"}, 0),
        ({"keep": False}, 0),
        ({"source": b"Subject: hi\r\n\r\ntext\r\n"}, 0),
        ({"source": REPORT + b"x" * SIZE}, 0),
        ({"source": REPORT[:200]}, 0),
    ],
)
def test_reports(tmp_path, change, found):
    bench = Bench(tmp_path)
    (number,) = bench.add(mail("gone@far.test", from_id=ID))
    bench.lease()
    bench.finish(outcome(number, "delivered"))
    counts = {}

    async def run():
        spool = QueueSpool(Paths.home(tmp_path))
        returns = Returns(spool, Queue(), QUIET, lambda name, n: counts.update({name: n}))
        try:
            return await returns.note(incoming(**change))
        finally:
            await spool.close()

    assert asyncio.run(run()) == found
    assert suppression.is_suppressed(bench.connection, "me", "gone@far.test") is bool(found)
    assert counts == ({"reports_matched": 1} if found else {})


def test_trouble_is_never_the_reports_own():
    class Broken:
        async def match(self, *values):
            raise OSError("disk")

    counts = {}
    returns = Returns(Broken(), replace(Queue(), suppress=False), QUIET, lambda name, n: counts.update({name: n}))
    assert asyncio.run(returns.note(incoming())) == 0 and counts == {"exceptions": 1}


@pytest.mark.parametrize(
    "address,found",
    [(f"me+{ID}@a.test", ID), (f"me-x-{ID}@a.test", ID), (f"me{ID}@a.test", ""), ("me@a.test", ""), ("", ""), (f"me+{ID}x@a.test", "")],
)  # fmt: skip
def test_the_id_of_a_return_address(address, found):
    assert from_id(address) == found
