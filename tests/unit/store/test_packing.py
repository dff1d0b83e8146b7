"""The packed forms: what is packed comes back bit by bit, what is damaged is told."""

from __future__ import annotations

import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echomox.message.mime import parse
from echomox.store.insert import structure_values
from echomox.store.rows import affect, guess, packing
from echomox.store.rows.packing import COMPACT, DENSE, WORDS

OF_ACCOUNT = packing.words_of(b"Hello Ann, Bob and ", b"Delivered-To: ann@a.example\r\n")
EVERY = {"form 1": WORDS[COMPACT], "form 2": WORDS[DENSE], "of an account": OF_ACCOUNT}
every_form = pytest.mark.parametrize("words", EVERY.values(), ids=EVERY)

HEADERS = {
    "plain": "From: Ann <ann@a.example>\r\nSubject: Hi\r\nMessage-ID: <x@y>",
    "all the same": "From: a@b\r\nSender: a@b\r\nReply-To: a@b\r\nMessage-ID: <x@y>",
    "another sender": "From: a@b\r\nSender: c@d\r\nTo: e@f",
    "another reply": "From: a@b\r\nReply-To: c@d\r\nSubject: =?utf-8?q?=C3=A4?=",
    "nothing": "X: y",
    "a literal": 'From: a@b\r\nSubject: "quoted" \\ and ä\r\nMessage-ID: <x@y>',
    "a long one": f"From: a@b\r\nSubject: {'x' * 3000}",
    "a group": "From: Group: a@b, c@d;\r\nTo: undisclosed-recipients:;",
    "more strange octets": "From: a@b\r\nSubject: \x04\x05\r\nMessage-ID: <\x06@\x07>",
    "strange octets": "From: a\x01\x02@b\r\nSubject: \x01\x03\x00\r\nMessage-ID: <\x03>",
    "two ids": "From: a@b\r\nSubject: NIL\r\nMessage-ID: <x@y> <z@w>",
}
BODIES = {
    "text": "\r\n\r\nHello\r\n",
    "parts": "\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\n"
    "Content-Type: image/png; name=a.png\r\n\r\nx\r\n--b--\r\n",
    "none": "\r\n\r\n",
}


@every_form
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_what_was_parsed_comes_back(header: str, body: str, words: packing.Words) -> None:
    source = (header + body).encode()
    values = structure_values(parse(source)) | {"mail_from": "é@x", "remote_ip": "::1"}
    envelope = packing.pack_envelope(values["envelope"], values["subject"], values["message_id"])
    assert len(envelope) <= len(values["envelope"])
    assert packing.unpack_envelope(envelope, values["subject"], values["message_id"]) == values["envelope"]
    older = packing.shorter_envelope(values["envelope"], values["subject"], values["message_id"])
    assert packing.longer_envelope(older, values["subject"], values["message_id"]) == values["envelope"]
    rest = tuple(values[name] for name in packing.REST)
    assert packing.unpack_rest(packing.pack_rest(rest, envelope, words), envelope, words) == rest
    parts = packing.pack_parts(values["parts"], values["header_size"], len(source))
    assert packing.unpack_parts(parts, values["header_size"], len(source)) == values["parts"]


@every_form
@given(prefix=st.binary(max_size=3000), verdict=st.text(st.characters(exclude_categories=("Cs",)), max_size=2000))
def test_traces_come_back(prefix: bytes, verdict: str, words: packing.Words) -> None:
    assert packing.unpack_prefix(packing.pack_prefix(prefix, words), words) == prefix
    assert packing.unpack_verdict(packing.pack_verdict(verdict, prefix, words), prefix, words) == verdict


def test_the_form_is_fixed() -> None:
    """What is on disk was made with these: another dictionary or order is another form."""
    assert zlib.crc32(packing.DICTIONARY) == 0x722AD49E and len(packing.REST) == 12
    assert guess.verdict(TRACE.encode()).decode() == GUESSED


DAMAGED = {"empty": b"", "torn": b"\xff\xff", "other": packing.pack_prefix(b"no list", WORDS[DENSE])}


@every_form
@pytest.mark.parametrize("damaged", DAMAGED.values(), ids=DAMAGED)
def test_damage_is_told(damaged: bytes, words: packing.Words) -> None:
    with pytest.raises((ValueError, TypeError, zlib.error)):
        packing.unpack_rest(damaged, b"", words)


TRACE = (
    "Delivered-To: ann@a.example\r\nX-EchoMox-Verdict: junk; p=0.9070; reason=from-junk-to-reject; parts=all;\r\n"
    "\tby=ngrams; learned=12; bayes=0.5000*0.00 (untrained_0/12);\r\n\tmembranes=0.9900*0.48\r\n"
    "\t(spam=0.99/ham=0.00,subject_tail+1.1);\r\n\taffect=0.4749*0.01 (ask_0.34__click_here__now_);\r\n"
    "X-EchoMox-Rule: inbox; reason=mailing-list\r\nX: y\r\n"
)
GUESSED = (
    '{"place": "inbox", "reason": "mailing-list", "account": "", "probability": 0.907, "evidence": ['
    '{"stage": "bayes", "probability": 0.5, "weight": 0.0, "reasons": ["untrained 0/12"]}, '
    '{"stage": "membranes", "probability": 0.99, "weight": 0.48, "reasons": '
    '["spam=0.99/ham=0.00", "subject_tail+1.1"]}, '
    '{"stage": "affect", "probability": 0.4749, "weight": 0.01, "reasons": ["ask 0.34 (click here, now)"]}], '
    '"parts": "all", "learned": 12, "acts": 0.907'
)


@given(st.binary(max_size=300), st.binary(max_size=20))
def test_strange_traces_give_a_guess_too(start: bytes, inner: bytes) -> None:
    for trace in (start, TRACE.encode().replace(b"0.9", inner), TRACE.encode().replace(b";", inner)):
        assert isinstance(guess.verdict(start + trace), bytes)


def test_a_verdict_is_hardly_more_than_its_trace_says() -> None:
    verdict = json.dumps(json.loads(GUESSED + "}") | {"account": "ann"})
    assert len(packing.pack_verdict(verdict, TRACE.encode(), WORDS[DENSE])) < 30


SHORT = {
    '[["1","text/plain","us-ascii","","","",0,9,9,11,1,0]]': "p us-ascii  1",
    '[["1","text/html","","base64","","",0,9,9,11,0,0]]': "h  base64 0",
    '[["1","image/png","","base64","","",0,9,9,11,0,0]]': "image/png  base64 0",
}
LONG = (
    '[["1","text/plain","us-ascii","","","",0,9,9,10,1,0]]',  # not to the end
    '[["1","text/plain","us-ascii","","","",0,8,9,11,1,0]]',
    '[["1","text/plain","a b","","","",0,9,9,11,1,0]]',
    '[["1","p","","","","",0,9,9,11,1,0]]',
    '[["1","text/plain","","","inline","",0,9,9,11,1,0]]',
    '[["1","text/plain","","","","a.txt",0,9,9,11,1,0]]',
    '[["1","message/rfc822","","","","",0,9,9,11,1,5]]',
    "[]",
)


def test_one_part_is_short() -> None:
    for text, short in SHORT.items():
        assert packing.pack_parts(text, 9, 20) == short
        assert packing.unpack_parts(short, 9, 20) == text
    for text in LONG:
        assert packing.pack_parts(text, 9, 20) == text == packing.unpack_parts(text, 9, 20)


NUMBERS = st.integers(-10_000, 10_000).map(lambda n: n / 10_000) | st.floats(-1, 1) | st.sampled_from([-0.0, 1e-9, 1])


@given(st.lists(NUMBERS, min_size=9, max_size=11), st.sampled_from(["", "\0", "\0\0"]))
def test_a_profile_is_put_back_as_it_was(profile: list[float], end: str) -> None:
    verdict = json.dumps({"place": "inbox", "profile": profile}) + end
    text, scaled = affect.cut(verdict)
    assert affect.join(text, json.dumps(scaled) if scaled else None) == verdict
    assert scaled is None or (affect.profile(verdict) == tuple(n / affect.SCALE for n in scaled) and len(text) < 24)


def test_a_usual_profile_is_cut() -> None:
    profile = [0.0, 0.0059, 1.0, -0.0816, 0.5, 0.011, 0.0069, -1.0, 0.0904, 0.0001]
    assert affect.cut(json.dumps({"a": 1, "profile": profile})) == (
        '{"a": 1\0', (0, 59, 10_000, -816, 5000, 110, 69, -10_000, 904, 1),
    )  # fmt: skip
