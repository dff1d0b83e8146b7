"""Trace fields (RFC 5321 4.4, RFC 3848, RFC 6531), Authentication-Results (RFC 8601), own messages."""

from dataclasses import replace
from random import Random

import pytest

from echomox.message.authres import format_authres
from echomox.message.compose import format_field, new_message_id, text_message
from echomox.message.header import split_fields, unfold
from echomox.message.mime import parse
from echomox.message.text import decode_part
from echomox.message.trace import Hop, delivered_to, protocol_name, received_field, return_path

HOP = Hop(
    helo="client.example.org",
    rdns="mail.example.org",
    ip="192.0.2.1",
    by="mx.example.net",
    id="4fR3x",
    protocol="ESMTPS",
    recipient="bob@example.net",
    tls="TLSv1.3 TLS_AES_256_GCM_SHA384",
    seconds=1795333246.0,
)


def test_received_has_all_clauses_of_rfc5321_4_4():
    assert unfold(received_field(HOP)).replace(b"\t", b" ") == (
        b"Received: from client.example.org (mail.example.org [192.0.2.1]) by mx.example.net with ESMTPS "
        b"(TLSv1.3 TLS_AES_256_GCM_SHA384) id 4fR3x for <bob@example.net>; Sun, 22 Nov 2026 07:40:46 +0000"
    )


def test_received_lines_are_folded():
    lines = received_field(HOP).split(b"\r\n")
    assert lines.pop() == b""
    assert all(len(line) <= 78 for line in lines)
    assert all(line.startswith(b"\t") for line in lines[1:])


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"ip": "2001:db8::1", "rdns": ""}, b"from client.example.org ([IPv6:2001:db8::1]) by"),
        ({"ip": ""}, b"from client.example.org by mx.example.net"),
        ({"tls": "", "protocol": "SMTP"}, b"with SMTP id 4fR3x for"),
        ({"recipient": ""}, b"id 4fR3x; Sun"),
        ({"recipient": "", "id": "", "tls": ""}, b"with ESMTPS; Sun"),
        ({"helo": ""}, b"from unknown (mail"),
        ({"helo": "[192.0.2.9]"}, b"from [192.0.2.9] (mail"),
        ({"helo": "münchen.example"}, b"from xn--mnchen-3ya.example (mail"),
        ({"recipient": "用户@例子.测试"}, "for <用户@例子.测试>;".encode()),
    ],
)
def test_received_clauses(changes, words):
    assert words in unfold(received_field(replace(HOP, **changes))).replace(b"\t", b" ")


EVIL = "a\r\nX-Evil: 1\r\n\r\n\0b\u2028c) (d\udcff<e>"


@pytest.mark.parametrize("name", ["helo", "rdns", "ip", "by", "id", "protocol", "recipient", "tls"])
def test_nothing_gets_out_of_received(name):
    field = received_field(replace(HOP, **{name: EVIL}))
    (only,) = split_fields(field)
    assert (only.name, only.end) == ("Received", len(field))
    assert b"\0" not in field and b"\r\n\r\n" not in field
    assert b"<e>" not in field and b"(d" not in field.replace(b"<a", b"")[: field.find(b" for ")]


@pytest.mark.parametrize("make", [return_path, delivered_to])
def test_nothing_gets_out_of_the_address_fields(make):
    field = make(EVIL)
    assert len(split_fields(field)) == 1 and field.count(b"\r\n") == 1 and b"\0" not in field


def test_address_fields():
    assert return_path("a@x.test") == b"Return-Path: <a@x.test>\r\n"
    assert return_path("") == b"Return-Path: <>\r\n"
    assert delivered_to("b@x.test") == b"Delivered-To: b@x.test\r\n"
    assert return_path("用户@例子.测试") == "Return-Path: <用户@例子.测试>\r\n".encode()


@pytest.mark.parametrize(
    "flags, name",
    [
        # RFC 3848, RFC 6531 4.3
        ((False, False, False, False), "SMTP"),
        ((True, False, False, False), "ESMTP"),
        ((True, True, False, False), "ESMTPS"),
        ((True, False, True, False), "ESMTPA"),
        ((True, True, True, False), "ESMTPSA"),
        ((True, False, False, True), "UTF8SMTP"),
        ((True, True, False, True), "UTF8SMTPS"),
        ((True, True, True, True), "UTF8SMTPSA"),
    ],
)
def test_protocol_names(flags, name):
    assert protocol_name(*flags) == name


@pytest.mark.parametrize(
    "results, field",
    [
        # RFC 8601 B.2
        ([], b"Authentication-Results: example.org; none\r\n"),
        # RFC 8601 B.3
        (
            [("spf", "pass", "", {"smtp.mailfrom": "example.net"})],
            b"Authentication-Results: example.org;\r\n\tspf=pass smtp.mailfrom=example.net\r\n",
        ),
        # RFC 8601 B.6
        (
            [
                ("dkim", "pass", "good signature", {"header.i": "@mail-router.example.net"}),
                ("dkim", "fail", "bad signature", {"header.i": "@newyork.example.com"}),
            ],
            b"Authentication-Results: example.org;\r\n"
            b'\tdkim=pass reason="good signature" header.i=@mail-router.example.net;\r\n'
            b'\tdkim=fail reason="bad signature" header.i=@newyork.example.com\r\n',
        ),
        (
            [("spf", "fail", 'say "no"\r\nX: y\\', {"smtp.mailfrom": "a b@x.test", "smtp.helo": "x\0é"})],
            b"Authentication-Results: example.org;\r\n"
            b'\tspf=fail reason="say \\"no\\"??X: y\\\\" smtp.mailfrom="a b@x.test"\r\n\t smtp.helo="x??"\r\n',
        ),
        (
            [("dkim", "pass", "", {"header.b": "a+b/c=", "header.d": "x.test", "header.i": "u@x.test"})],
            b"Authentication-Results: example.org;\r\n"
            b'\tdkim=pass header.b="a+b/c=" header.d=x.test header.i=u@x.test\r\n',
        ),
        (
            [("spf", "none", "", {"smtp.mailfrom": ""})],
            b'Authentication-Results: example.org;\r\n\tspf=none smtp.mailfrom=""\r\n',
        ),
    ],
)
def test_authentication_results(results, field):
    assert format_authres("example.org", results) == field


@pytest.mark.parametrize(
    "bad", [("s pf", "pass", "", {}), ("spf", "pa\nss", "", {}), ("spf", "pass", "", {"x y": "z"})]
)
def test_authentication_results_refuses_what_is_no_keyword(bad):
    with pytest.raises(ValueError):
        format_authres("example.org", [bad])


def test_message_ids_are_unlike_and_well_formed():
    random = Random(1)
    ids = {new_message_id("mx.example.net", random) for _ in range(1000)}
    assert len(ids) == 1000
    assert all(parse(f"Message-ID: {one}\r\n\r\n".encode()).message_id == one for one in ids)
    with pytest.raises(ValueError):
        new_message_id("mx.example.net>\r\n", random)


@pytest.mark.parametrize("text", ["plain\nlines\n", "café\n", "x" * 2000 + "\n", ".\nFrom me\n"])
def test_text_message_is_read_back(text):
    data = text_message([("From", "a@x.test"), ("Subject", ("Grüße an alle " * 10).strip())], text)
    structure = parse(data)
    assert structure.subject == ("Grüße an alle " * 10).strip()
    assert structure.from_text == "a@x.test"
    assert decode_part(structure.parts[0], data).replace("\r\n", "\n") == text
    assert data.isascii() and all(len(line) <= 998 for line in data.split(b"\r\n"))


def test_field_names_are_checked():
    assert format_field("Subject", "x") == b"Subject: x\r\n"
    for name in ("", "a b", "a:", "a\r\n"):
        with pytest.raises(ValueError):
            format_field(name, "x")
