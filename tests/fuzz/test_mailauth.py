"""Foreign bytes of mail authentication: signatures, key records, ARC chains, Authentication-Results. Whatever comes,
the result is one of the RFC's words, in bounded time, and never an exception; nothing that was changed passes."""

from __future__ import annotations

import asyncio
import re

from dkim.canonicalization import Relaxed
from hypothesis import given, settings
from hypothesis import strategies as st

from echomox.delivery.authcheck import from_domains
from echomox.dns.fake import FakeResolver
from echomox.mailauth.arc import results_of, verify_arc
from echomox.mailauth.check import MailFacts, check_mail
from echomox.mailauth.dkim import sign, verify_dkim
from echomox.mailauth.dkimkeys import parse_key
from echomox.mailauth.mailtext import HeaderFields
from echomox.mailauth.results import authentication_results, evidence, received_spf
from echomox.message.authres import forged, without_forged
from tests.unit.mailauth.dkimsamples import MAIL, NOW, RFC8463, record, resolver, signing_key
from tests.unit.mailauth.test_arc import chain, dns

WORDS = {"pass", "fail", "policy", "neutral", "temperror", "permerror"}
SIGNED = sign(MAIL, [signing_key()], NOW) + MAIL
CHAIN = chain(2)
RECORD = record("rsa").encode()

TAGS = st.sampled_from(
    [
        b"v=1", b"a=rsa-sha256", b"a=ed25519-sha256", b"a=rsa-sha1", b"c=relaxed/relaxed", b"c=/", b"c=simple",
        b"d=example.org", b"d=", b"d=\xff", b"s=s1", b"s=" + b"a." * 200, b"h=from", b"h=from:" * 300, b"h=:",
        b"bh=AAAA", b"bh=" + b" " * 3000, b"b=AAAA", b"b=" + b"A\r\n " * 1000, b"b=!", b"l=0", b"l=" + b"9" * 400,
        b"t=" + b"9" * 400, b"x=0", b"i=@example.org", b"i=@", b"q=dns/txt", b"q=", b"z=|", b"i=1", b"i=2",
        b"cv=none", b"cv=pass", b"cv=", b"=", b"", b"\0=\0", b"b=b=b",
    ]
)  # fmt: skip
NAMES = st.sampled_from(
    [b"DKIM-Signature", b"dkim-signature ", b"ARC-Seal", b"ARC-Message-Signature", b"ARC-Authentication-Results",
     b"Authentication-Results", b"From"]
)  # fmt: skip
FIELD = st.builds(
    lambda name, tags, end: name + b":" + b"; ".join(tags) + end,
    NAMES,
    st.lists(TAGS | st.binary(max_size=20), max_size=12),
    st.sampled_from([b"\r\n", b"\n", b";\r\n", b"\r\n \r\n"]),
)
MESSAGE = st.builds(
    lambda fields, rest: b"".join(fields) + rest,
    st.lists(FIELD, max_size=12),
    st.sampled_from([MAIL, RFC8463, CHAIN, b"", b"\r\n", b"From: a@b"]) | st.binary(max_size=200),
)


def _changed(message: bytes, places: list[tuple[int, bytes]]) -> bytes:
    for place, data in places:
        at = place % (len(message) + 1)
        message = message[:at] + data + message[at + len(data) :]
    return message


CHANGES = st.lists(st.tuples(st.integers(0, 10_000), st.binary(min_size=1, max_size=4)), min_size=1, max_size=6)


@settings(max_examples=150, deadline=None)
@given(MESSAGE)
def test_any_message_has_results(message):
    found = asyncio.run(verify_dkim(resolver(), message, now=NOW))
    assert len(found) <= 8
    assert {each.result for each in found} <= WORDS
    assert all(each.reason.isascii() and each.reason.isprintable() for each in found)
    arc = asyncio.run(verify_arc(dns(), message))
    assert arc.result in ("none", "pass", "fail", "temperror")


@settings(max_examples=150, deadline=None)
@given(CHANGES)
def test_a_mail_whose_signed_parts_were_changed_does_not_pass(places):
    changed = _changed(SIGNED, places)
    found = asyncio.run(verify_dkim(resolver(), changed, now=NOW))
    if any(each.result == "pass" for each in found):
        # Only what no signature covers, or what the relaxed form takes for the same, can have changed.
        assert _essence(changed) == _essence(SIGNED)


def _essence(message: bytes) -> tuple[list[bytes], bytes]:
    message = re.sub(rb"(?<!\r)\n", b"\r\n", message)
    header, _, body = message.partition(b"\r\n\r\n")
    fields = HeaderFields(header + b"\r\n")
    names = [b"from", b"to", b"subject", b"date", b"message-id", b"mime-version", b"content-type"]
    return [fields.canonical(b"relaxed", [name]) for name in names], Relaxed.canonicalize_body(body)


@settings(max_examples=150, deadline=None)
@given(CHANGES)
def test_a_changed_chain_gives_a_word(places):
    found = asyncio.run(verify_arc(dns(), _changed(CHAIN, places)))
    assert found.result in ("none", "pass", "fail")


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300) | st.builds(_changed, st.just(RECORD), CHANGES))
def test_any_key_record_is_a_value(text):
    found = parse_key(text)
    assert (found.key is None) == bool(found.trouble[0])
    assert found.trouble[0] in ("", "permerror", "fail")


PIECES = st.sampled_from([*'();="\\ ', "dmarc", "=pass"])


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=300) | st.lists(PIECES, max_size=60).map("".join))
def test_any_results_text_is_read(text):
    for method, result in results_of(text):
        assert method and result


@settings(max_examples=150, deadline=None)
@given(MESSAGE, st.text(max_size=30), st.text(max_size=30), st.text(max_size=20))
def test_all_checks_of_anything(message, sender, helo, ip):
    facts = MailFacts(ip, helo, sender, message, from_domains(message), NOW)
    found = asyncio.run(check_mail(FakeResolver({}), facts, timeout=5.0))
    assert found.faults == ()
    for field in (authentication_results("mx.example", found, facts), received_spf("mx.example", found.spf, facts)):
        assert field.isascii() and field.endswith(b"\r\n")
        assert all(line[:1] in b"\t " for line in field[:-2].split(b"\r\n")[1:])
    assert all(isinstance(word, str) for pair in evidence(found) for word in pair)


@settings(max_examples=150, deadline=None)
@given(MESSAGE)
def test_no_field_in_our_name_stays(message):
    clean = without_forged(message, forged(message, "mx.example"))
    assert len(clean) == len(message)
    assert forged(clean, "mx.example") == []
