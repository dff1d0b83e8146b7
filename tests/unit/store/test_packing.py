"""The compact form: what is packed comes back bit by bit, what is damaged is told."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echomox.message.mime import parse
from echomox.store import packing
from echomox.store.insert import structure_values

HEADERS = {
    "plain": "From: Ann <ann@a.example>\r\nSubject: Hi\r\nMessage-ID: <x@y>",
    "all the same": "From: a@b\r\nSender: a@b\r\nReply-To: a@b\r\nMessage-ID: <x@y>",
    "another sender": "From: a@b\r\nSender: c@d\r\nTo: e@f",
    "another reply": "From: a@b\r\nReply-To: c@d\r\nSubject: =?utf-8?q?=C3=A4?=",
    "nothing": "X: y",
    "a literal": 'From: a@b\r\nSubject: "quoted" \\ and ä\r\nMessage-ID: <x@y>',
    "a long one": f"From: a@b\r\nSubject: {'x' * 3000}",
    "a group": "From: Group: a@b, c@d;\r\nTo: undisclosed-recipients:;",
    "strange octets": "From: a\x01\x02@b\r\nSubject: \x01\x03\x00\r\nMessage-ID: <\x03>",
    "two ids": "From: a@b\r\nSubject: NIL\r\nMessage-ID: <x@y> <z@w>",
}
BODIES = {
    "text": "\r\n\r\nHello\r\n",
    "parts": "\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\n"
    "Content-Type: image/png; name=a.png\r\n\r\nx\r\n--b--\r\n",
    "none": "\r\n\r\n",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_what_was_parsed_comes_back(header: str, body: str) -> None:
    values = structure_values(parse((header + body).encode())) | {"mail_from": "é@x", "remote_ip": "::1"}
    envelope = packing.pack_envelope(values["envelope"], values["subject"], values["message_id"])
    assert len(envelope) <= len(values["envelope"])
    assert packing.unpack_envelope(envelope, values["subject"], values["message_id"]) == values["envelope"]
    rest = tuple(values[name] for name in packing.REST)
    assert packing.unpack_rest(packing.pack_rest(rest, envelope), envelope) == rest


@given(st.binary(max_size=3000), st.text(st.characters(exclude_categories=("Cs",)), max_size=2000))
def test_traces_come_back(prefix: bytes, verdict: str) -> None:
    assert packing.unpack_prefix(packing.pack_prefix(prefix)) == prefix
    assert packing.unpack_verdict(packing.pack_verdict(verdict, prefix), prefix) == verdict


def test_the_form_is_fixed() -> None:
    """What is on disk was made with these: another dictionary or order is another form."""
    assert zlib.crc32(packing.DICTIONARY) == 0x722AD49E and len(packing.REST) == 12


@pytest.mark.parametrize("damaged", [b"", b"\xff\xff", packing.pack_prefix(b"no list")], ids=["empty", "torn", "other"])
def test_damage_is_told(damaged: bytes) -> None:
    with pytest.raises((ValueError, TypeError, zlib.error)):
        packing.unpack_rest(damaged, b"")
