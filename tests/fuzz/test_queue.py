"""Fuzz targets of the queue: reports that come in, and reports that we make of what other servers say."""

from __future__ import annotations

import email
import email.policy
import os
from dataclasses import replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from echomox.delivery.bounce import LINE_LIMIT, Maker
from echomox.queue.dsn import ACTIONS, RECIPIENTS, parse_report
from echomox.queue.suppression import base_address, is_no_such_user
from tests.unit.queue.test_bounce import FATE, REPORT
from tests.unit.queue.test_match import EXAMPLE

settings.register_profile("long", max_examples=20_000, deadline=None)
settings.register_profile("short", max_examples=200, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))

JUNK = [b"", b" folded", b"--", b"Final-Recipient: rfc822", b"Status: 5.1.1", b"\xff\xfe", b"a:" * 50]
PIECES = [*EXAMPLE.split(b"\r\n"), *JUNK]


@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=80), max_size=80))
def test_a_report_of_any_shape_is_read_or_is_none(lines):
    check(parse_report(b"\r\n".join(lines)))


@given(st.binary(max_size=300), st.integers(0, len(EXAMPLE)), st.integers(0, 200))
def test_a_report_with_a_wound_is_read_or_is_none(junk, start, length):
    check(parse_report(EXAMPLE[:start] + junk + EXAMPLE[start + length :]))


def check(found):
    if found is None:
        return
    assert 0 < len(found.told) <= RECIPIENTS
    for told in found.told:
        assert told.action in ACTIONS
        assert told.final
        assert max(map(len, (told.status, told.final, told.original, told.diagnostic))) <= 1000


texts = st.text(max_size=300)


@given(texts, texts, texts, st.text(max_size=20), st.binary(max_size=400), st.binary(max_size=400), st.booleans())
def test_a_report_about_anything_is_one_report(said, host, address, enhanced, header, body, utf8):
    fate = replace(FATE, text=said, remote_mta=host, address=address, enhanced=enhanced, orcpt=f"rfc822;{address}")
    report = replace(REPORT, fates=(fate,), header=header, body=body, smtputf8=utf8, envid=said)
    mail = Maker("mail.here.test", Random(1)).compose(report, 1_700_000_000.0)
    assert mail is not None
    data = mail.body
    assert data is not None
    assert data.count(b"\n") == data.count(b"\r\n") == data.count(b"\r")
    assert all(len(line) <= LINE_LIMIT for line in data.split(b"\r\n"))
    assert b"\0" not in data
    message = email.message_from_bytes(data, policy=email.policy.compat32)
    assert len(message.get_payload()) == 3
    assert mail.eightbit is not data.isascii()


@given(texts, st.integers(0, 999), st.text(max_size=12))
def test_addresses_and_replies_of_any_kind(text, code, enhanced):
    assert "+" not in base_address(f"x+{text}@y.test").partition("@")[0] or "@" in text
    is_no_such_user(code, enhanced, text * 50)
