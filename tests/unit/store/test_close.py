"""The packed forms of version 9: what is packed comes back bit by bit, what is damaged is told."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echomox.message.mime import parse
from echomox.store.insert import structure_values
from echomox.store.rows import close, compact, guess, packing, traces
from tests.unit.store.test_packing import BODIES, GUESSED, HEADERS, TRACE

SAID = b'{"place": "inbox", "account": "ann", "weight": 0.0815, "reasons"}'
EVERY = {"no vocabulary": close.Words(b"", b""), "of an account": close.Words(b"Hello Ann, Bob and ", SAID)}
every_form = pytest.mark.parametrize("words", EVERY.values(), ids=EVERY)
SENT = 1795377907_123456
DATE = "Sun, 22 Nov 2026 20:05:07 +0000"
DELIVERY = (
    "Return-Path: <list@jth.example>\r\nDelivered-To: u0@example.test\r\n"
    "Received: from mx.jth.example (mx.jth.example [127.33.241.209]) by mail.example.test\r\n"
    f"\twith ESMTP id fhgsk0w3r4-{SENT:x} for <u0@example.test>;\r\n\t{DATE}\r\n"
    "Received-SPF: pass (mail.example.test: domain of list@jth.example designates\r\n"
    "\t127.33.241.209 as permitted sender) client-ip=127.33.241.209;\r\n"
    '\tenvelope-from="list@jth.example"; helo=mx.jth.example; identity=mailfrom;\r\n'
    "\treceiver=mail.example.test\r\n"
    "Authentication-Results: mail.example.test;\r\n\tspf=pass smtp.mailfrom=list@jth.example;\r\n"
    "\tdmarc=pass header.from=jth.example polrec.p=none\r\n\t polrec.domain=jth.example\r\n"
    "X-EchoMox-Verdict: inbox; p=0.0009; reason=below-junk; parts=all; by=esn;\r\n"
    "\tlearned=1200; bayes=0.0013*0.08 (h:In-Reply-To_359/0,h:References_284/0);\r\n"
    "X-EchoMox-Rule: inbox; reason=below-junk,strict:no-tls+not-addressed\r\n"
)


@every_form
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_what_was_parsed_comes_back(header: str, body: str, words: close.Words) -> None:
    values = structure_values(parse((header + body).encode())) | {"mail_from": "é@x", "remote_ip": "::1"}
    envelope = packing.pack_envelope(values["envelope"], values["subject"], values["message_id"])
    rest = [values[name] for name in packing.REST]
    found = close.unpack_rest(close.pack_rest(rest, envelope, words), envelope, words)
    assert found == (*rest[:-1], None) and packing.REST[-1] == "preview"


@every_form
@given(prefix=st.binary(max_size=3000), verdict=st.text(st.characters(exclude_categories=("Cs",)), max_size=2000))
def test_traces_come_back(prefix: bytes, verdict: str, words: close.Words) -> None:
    packed = close.pack_prefix(prefix, b"(envelope)", words)
    assert close.unpack_prefix(packed, b"(envelope)", words) == prefix
    assert close.unpack_verdict(close.pack_verdict(verdict, prefix, words), prefix, words) == verdict


PIECES = ("\r\n", "\t", " ", "<", "u0@example.test", "mx.jth.example", "127.33.241.209", f"{SENT:x}", DATE, ";", "\1")


@given(
    st.sampled_from(PIECES),
    st.sampled_from((*PIECES, "", "256.1.1.1", "a", "x" * 90, "é", "\7", "\0")),
    st.integers(-1, 5),
)
def test_strange_deliveries_come_back(piece: str, other: str, times: int) -> None:
    prefix = DELIVERY.replace(piece, other, times).encode()
    assert traces.lengthen(traces.shorten(prefix)) == prefix


def test_a_delivery_says_each_thing_once() -> None:
    short = traces.shorten(DELIVERY.encode())
    assert short[:1] == b"\1" and len(short) < len(DELIVERY) - 150
    for said in ("list@jth.example", "u0@example.test", "mx.jth.example"):
        assert short.count(said.encode()) == 1
    assert DATE.encode() not in short and b"127.33.241.209" not in short


def test_the_form_is_fixed() -> None:
    """What is on disk was made with these: another way is another form."""
    assert zlib.crc32(traces.shorten(DELIVERY.encode())) == 2224279372
    assert zlib.crc32(packing.OF_PREFIX + packing.OF_REST) == 116202350
    exact = GUESSED.replace('"weight": 0.48', '"weight": 0.4848').replace('"account": ""', '"account": "ann"')
    known = guess.facts(SAID.replace(b"0.0815", b"0.4848"))
    assert guess.verdict(TRACE.encode(), known).decode() == exact


DAMAGED = {"empty": b"", "torn": b"\xff\xff", "other": packing.pack_prefix(b"no list", packing.WORDS[packing.DENSE])}


@every_form
@pytest.mark.parametrize("damaged", DAMAGED.values(), ids=DAMAGED)
def test_damage_is_told(damaged: bytes, words: close.Words) -> None:
    with pytest.raises(compact.DAMAGE):
        close.unpack_rest(damaged, b"", words)
    if damaged:
        with pytest.raises(compact.DAMAGE):
            close.unpack_prefix(damaged, b"", words)


@given(st.binary(max_size=60))
def test_damaged_traces_are_told_or_read(damaged: bytes) -> None:
    for start in (b"", b"\0", b"\1", b"\1\1\1\1\1"):
        try:
            assert isinstance(traces.lengthen(start + damaged), bytes)
        except compact.DAMAGE:
            pass
