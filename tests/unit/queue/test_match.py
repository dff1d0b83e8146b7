"""Reports that come in, matched to what was sent. The example of RFC 3464 appendix E."""

from __future__ import annotations

import json

import pytest

from echomox.queue import suppression
from echomox.queue.commit import once
from echomox.queue.dsn import IncomingReport, Told, parse_report
from echomox.queue.match import match_dsn
from tests.unit.queue.support import Bench, mail, outcome

EXAMPLE = b"""Date: Thu, 7 Jul 1994 17:16:05 -0400
From: Mail Delivery Subsystem <MAILER-DAEMON@CS.UTK.EDU>
Message-Id: <199407072116.RAA14128@CS.UTK.EDU>
Subject: Returned mail: Cannot send message for 5 days
To: <owner-info-mime@cs.utk.edu>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
      boundary="RAA14128.773615765/CS.UTK.EDU"

--RAA14128.773615765/CS.UTK.EDU

The original message was received at Sat, 2 Jul 1994 17:10:28 -0400

--RAA14128.773615765/CS.UTK.EDU
content-type: message/delivery-status

Reporting-MTA: dns; cs.utk.edu

Original-Recipient: rfc822;louisl@larry.slip.umd.edu
Final-Recipient: rfc822;louisl@larry.slip.umd.edu
Action: failed
Status: 4.0.0
Diagnostic-Code: smtp; 426 connection timed out
Last-Attempt-Date: Thu, 7 Jul 1994 17:15:49 -0400

--RAA14128.773615765/CS.UTK.EDU
content-type: message/rfc822

Message-ID: <orig@cs.utk.edu>
Subject: x

--RAA14128.773615765/CS.UTK.EDU--
""".replace(b"\n", b"\r\n")


def test_the_example_of_rfc_3464():
    assert parse_report(EXAMPLE) == IncomingReport(
        envid="",
        reporting_mta="cs.utk.edu",
        message_id="<orig@cs.utk.edu>",
        told=(
            Told(
                "failed", "4.0.0", "louisl@larry.slip.umd.edu", "louisl@larry.slip.umd.edu", "426 connection timed out"
            ),
        ),
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"Subject: x\r\n\r\nnot a report\r\n",
        EXAMPLE.replace(b"multipart/report", b"multipart/mixed"),
        EXAMPLE.replace(b"Action: failed", b"Action: exploded"),
        EXAMPLE.replace(b"Final-Recipient", b"Final"),
        EXAMPLE[:600],
    ],
)
def test_what_is_no_report(data):
    assert parse_report(data) is None


def report(*told, envid="", message_id=""):
    return IncomingReport(envid, "mx.far.test", message_id, told)


def no_user(address, action="failed"):
    return Told(action, "5.1.1", address, "", "550 5.1.1 unknown")


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    one, two = made.add(mail("a@x.test", "b@x.test", from_id="f1", envid="e1", message_id="<m1@here.test>"))
    made.lease()
    made.finish(outcome(one, "delivered"), outcome(two, "delivered"))
    made.ids = (one, two)
    return made


def matched(bench, from_id, told, account="me", after=1):
    return once(bench.connection, lambda c: match_dsn(c, account, from_id, told, after))


@pytest.mark.parametrize(
    ("from_id", "envid", "message_id"), [("f1", "", ""), ("", "e1", ""), ("", "", "<m1@here.test>"), ("f1", "?", "<?>")]
)
def test_by_return_address_envelope_id_or_message_id(bench, from_id, envid, message_id):
    (found,) = matched(bench, from_id, report(no_user("A+x@X.test"), envid=envid, message_id=message_id))
    assert (found.id, found.recipient, found.action) == (bench.ids[0], "a@x.test", "failed")
    assert bench.one("SELECT status FROM retired WHERE id = ?", found.id) == "bounced"
    assert json.loads(bench.one("SELECT results FROM retired WHERE id = ?", found.id))[-1]["kind"] == "report-failed"
    assert suppression.is_suppressed(bench.connection, "me", "a@x.test")


@pytest.mark.parametrize(
    ("account", "from_id", "address"), [("other", "f1", "a@x.test"), ("me", "f2", "a@x.test"), ("me", "f1", "c@x.test")]
)
def test_what_is_not_about_our_mail_does_nothing(bench, account, from_id, address):
    assert matched(bench, from_id, report(no_user(address)), account) == []
    assert bench.rows("SELECT * FROM suppression") == []


def test_a_delay_is_noted_and_no_more(bench):
    matched(bench, "f1", report(no_user("a@x.test", "delayed")))
    assert bench.one("SELECT status FROM retired WHERE id = ?", bench.ids[0]) == "delivered"
    assert bench.rows("SELECT * FROM suppression") == []


def test_a_unique_return_address_is_enough_when_the_recipient_was_rewritten(bench):
    (identity,) = bench.add(mail("list@y.test", from_id="f9"))
    bench.lease()
    bench.finish(outcome(identity, "delivered"))
    (found,) = matched(bench, "f9", report(no_user("member@elsewhere.test")))
    assert found.recipient == "list@y.test"


def test_a_report_about_the_servers_own_reports_suppresses_their_address(tmp_path):
    bench = Bench(tmp_path)
    told = (Told("failed", "5.1.1", "rua@far.test", "", "550 5.1.1 no such user"),)
    for kind, message_id in (("report", "<r@here.test>"), ("forward", "<f@here.test>")):
        (number,) = bench.add(mail("rua@far.test", account="", kind=kind, message_id=message_id))
        bench.lease()
        bench.finish(outcome(number, "delivered"))
    forwarded = IncomingReport("", "mx.far.test", "<f@here.test>", told)
    assert once(bench.connection, lambda c: match_dsn(c, "", "", forwarded)) == []
    found = once(bench.connection, lambda c: match_dsn(c, "", "", IncomingReport("", "", "<r@here.test>", told)))
    assert [one.recipient for one in found] == ["rua@far.test"]
    assert suppression.is_suppressed(bench.connection, "", "rua@far.test")
    assert not suppression.is_suppressed(bench.connection, "me", "rua@far.test")


def test_what_is_suppressed_for_reports_is_not_tried(tmp_path):
    bench = Bench(tmp_path)
    suppression.add(bench.connection, "", "rua@far.test", "by hand")
    (report,) = bench.add(mail("rua@far.test", account="", kind="report"))
    (other,) = bench.add(mail("rua@far.test", account="", kind="forward", message_id="<2@here.test>"))
    suppressed = {number for leased in bench.lease() for number in leased.suppressed}
    assert suppressed == {report} and other not in suppressed
