"""Reports: read back with Python's own parser, and by ours."""

from __future__ import annotations

import email
import email.policy
from dataclasses import replace
from random import Random

import pytest

from echomox.delivery.bounce import Maker, status_of
from echomox.queue.dsn import parse_report
from echomox.queue.model import NEVER, Fate, Report

NOW = 1_700_000_000.0
FATE = Fate("a@x.test", "rfc822;A@x.test", "failed", 550, "5.1.1", "no such user", "mx.x.test", NOW)
REPORT = Report(
    sender="me@here.test",
    account="me",
    envid="env 1",
    ret="",
    smtputf8=False,
    queued=NOW - 100,
    message_id="<1@here.test>",
    header=b"From: me@here.test\r\nMessage-ID: <1@here.test>\r\nSubject: s\r\n",
    body=b"hello\r\n",
    fates=(FATE,),
)


def made(report=REPORT):
    mail = Maker("mail.here.test", Random(1)).compose(report, NOW)
    assert mail is not None
    return mail


def parts(mail):
    message = email.message_from_bytes(mail.body, policy=email.policy.default)
    return message, list(message.iter_parts())


def test_it_is_a_report_as_rfc_3464_and_6522_have_it():
    mail = made()
    message, (text, status, original) = parts(mail)
    assert (mail.sender, mail.recipients[0].address, mail.recipients[0].notify) == ("", "me@here.test", NEVER)
    assert mail.kind == "dsn"
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["In-Reply-To"] == "<1@here.test>"
    assert message["To"] == "me@here.test"
    assert "no such user" in text.get_content()
    assert "There is no such mailbox" in text.get_content()
    assert status.get_content_type() == "message/delivery-status"
    whole, one = status.iter_parts()
    assert whole["Reporting-MTA"] == "dns; mail.here.test"
    assert whole["Original-Envelope-Id"] == "env 1"
    assert dict(one.items()) == {
        "Original-Recipient": "rfc822; A@x.test",
        "Final-Recipient": "rfc822; a@x.test",
        "Action": "failed",
        "Status": "5.1.1",
        "Remote-MTA": "dns; mx.x.test",
        "Diagnostic-Code": "smtp; 550 5.1.1 no such user",
        "Last-Attempt-Date": "Tue, 14 Nov 2023 22:13:20 +0000",
    }
    assert original.get_content_type() == "message/rfc822"
    (inner,) = original.iter_parts()
    assert inner.get_content().strip() == "hello"


def test_without_the_body_the_header_comes_back():
    _, (_, _, original) = parts(made(replace(REPORT, body=b"")))
    assert original.get_content_type() == "text/rfc822-headers"
    assert "Subject: s" in original.get_content()


def test_addresses_in_utf8_make_a_global_report():
    """RFC 6533"""
    mail = made(replace(REPORT, smtputf8=True, fates=(replace(FATE, address="jürg@bücher.test", orcpt=""),)))
    assert mail.smtputf8
    assert mail.eightbit
    assert b"Content-Type: message/global-delivery-status\r\n" in mail.body
    assert "Final-Recipient: utf-8; jürg@bücher.test".encode() in mail.body
    assert b"Content-Type: message/global\r\n" in mail.body


def test_utf8_that_need_not_be_is_not():
    assert not made(replace(REPORT, smtputf8=True)).smtputf8


def test_an_original_recipient_in_utf8_is_encoded_for_an_ascii_report():
    mail = made(replace(REPORT, fates=(replace(FATE, orcpt="utf-8;jürg@x.test"),)))
    assert rb"Original-Recipient: utf-8; j\x{FC}rg@x.test" in mail.body


@pytest.mark.parametrize(
    ("action", "enhanced", "status"),
    [
        ("failed", "4.4.7", "5.4.7"),
        ("failed", "", "5.0.0"),
        ("delayed", "5.1.1", "4.1.1"),
        ("relayed", "", "2.0.0"),
        ("failed", "5.x", "5.0.0"),
    ],
)
def test_the_status_is_of_the_class_of_the_action(action, enhanced, status):
    assert status_of(replace(FATE, action=action, enhanced=enhanced)) == status


def test_a_delay_says_until_when():
    mail = made(replace(REPORT, body=b"", fates=(replace(FATE, action="delayed", until=NOW + 3600),)))
    message, (_, status, _) = parts(mail)
    assert message["Subject"] == "Message delayed, delivery is still being tried"
    assert list(status.iter_parts())[1]["Will-Retry-Until"] == "Tue, 14 Nov 2023 23:13:20 +0000"


def test_what_a_server_said_cannot_add_fields_or_parts():
    evil = "x\r\nAction: delivered\r\n\r\n--=\r\n\0 \x1b[31m" + "y" * 5000
    mail = made(replace(REPORT, fates=(replace(FATE, text=evil, remote_mta="mx\r\nStatus: 2.0.0"),)))
    found = parse_report(mail.body)
    assert found is not None
    assert [(told.action, told.status) for told in found.told] == [("failed", "5.1.1")]
    assert b"\x1b" not in mail.body
    assert all(len(line) <= 998 for line in mail.body.split(b"\r\n"))


@pytest.mark.parametrize(
    "change",
    [
        {"body": b"x" * 2000 + b"\r\n"},
        {"body": b"bare\nline\r\n"},
        {"body": b"nul\0\r\n"},
        {"header": b"X: " + b"y" * 2000 + b"\r\nSubject: s\r\n"},
        {"fates": (replace(FATE, require_tls=True),)},
    ],
)
def test_an_original_that_is_not_fit_to_be_sent_comes_back_as_its_header(change):
    mail = made(replace(REPORT, **change))
    assert b"Content-Type: text/rfc822-headers" in mail.body
    assert b"Subject: s\r\n" in mail.body
    assert all(len(line) <= 998 for line in mail.body.split(b"\r\n"))


def test_a_report_on_secret_mail_asks_for_the_same_secrecy():
    """RFC 8689 5"""
    assert made(replace(REPORT, fates=(replace(FATE, require_tls=True),))).require_tls is True
    assert made().require_tls is None


def test_nobody_to_tell():
    assert Maker("h.test", Random(1)).compose(replace(REPORT, sender=""), NOW) is None


def test_a_thousand_recipients_are_one_report_of_bounded_text():
    fates = tuple(replace(FATE, address=f"u{n}@x.test") for n in range(1000))
    _, (text, status, _) = parts(made(replace(REPORT, fates=fates)))
    assert "and 980 more" in text.get_content()
    assert len(list(status.iter_parts())) == 1001


def test_it_is_read_back():
    found = parse_report(made().body)
    assert found is not None
    assert (found.envid, found.reporting_mta, found.message_id) == ("env 1", "mail.here.test", "<1@here.test>")
    (told,) = found.told
    assert (told.action, told.status, told.final, told.original) == ("failed", "5.1.1", "a@x.test", "A@x.test")
    assert told.diagnostic == "550 5.1.1 no such user"
