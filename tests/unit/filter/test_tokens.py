"""Tokens: what is read, what is left out, and that nothing breaks them."""

import itertools
from dataclasses import replace

import pytest

from echomox.filter import tokens
from echomox.filter.features import Envelope, groups, read
from echomox.filter.hashed import hashed, strings
from echomox.filter.hashing import hashes


def mail(*fields, body="", kind="text/plain"):
    head = [*fields, "MIME-Version: 1.0", f"Content-Type: {kind}; charset=utf-8"]
    return ("\r\n".join(head) + "\r\n\r\n" + body).encode()


def words(data, ngrams=1):
    return set(read(data).words(ngrams))


@pytest.mark.parametrize(
    "text, expected",
    [
        ("Buy NOW, it's $100.00!!", ["buy", "now", "it's", "$100.00!!"]),
        ("100% www.example.org.", ["100%", "www.example.org"]),
        ("größer Ωmega", ["größer", "ωmega"]),
        ("日本語の", ["日本", "本語", "語の"]),
        ("買", ["買"]),
        ("x" * 41 + " ok", ["ok"]),
        ("", []),
    ],
)
def test_words_of_text(text, expected):
    assert tokens.words_of(text) == expected


@pytest.mark.parametrize(
    "ngrams, expected",
    [
        (1, ("s", "a", "b", "c")),
        (2, ("s", "a", "b", "c", "a b", "b c")),
        (3, ("s", "a", "b", "c", "a b", "b c", "a b c")),
    ],
)
def test_runs_of_words_are_joined(ngrams, expected):
    text = tokens.Text(["s"], [("", ["a", "b", "c"])])
    (found,) = hashed([text], ngrams)
    assert tuple(strings(text, found, found.distinct)) == expected
    assert found.tokens.tolist() == hashes(expected).tolist()


def test_each_token_stands_once_and_at_most_so_many():
    text = tokens.Text([], [("", ["a", "b"] * 50 + [f"w{n}" for n in range(5000)])])
    (found,) = hashed([text], 3)
    assert len(strings(text, found, found.distinct)) == len(set(found.tokens.tolist())) == tokens.MOST_TOKENS


HEAD = mail(
    'From: "Buy Pills" <joe@mail.example.org>',
    "To: u0@example.test",
    "Subject: =?utf-8?q?Hello_gr=C3=B6=C3=9Fe?= now",
    "Message-ID: <20021122.ABC12@mx.example.org>",
    "Date: Fri, 22 Nov 2002 10:00:00 +0900",
)


@pytest.mark.parametrize(
    "token",
    [
        "from:joe@mail.example.org", "from:mail.example.org", "from:example.org", "from:pills",
        "to:u0@example.test", "subject:hello", "subject:größe", "subject:now", "subject:#8bit",
        "message-id:mx.example.org", "message-id:0.f", "date:+0900", "h:Subject", "ct:text/plain",
        "part:text/plain", "charset:utf-8",
    ],
)  # fmt: skip
def test_header_tokens_carry_the_fields_name(token):
    assert token in words(HEAD)


def test_the_subject_is_joined_too():
    assert "subject:hello größe" in words(HEAD, 2)


RECEIVED = [
    "Received: from spammer.example (1.2.3.4)",
    "Return-Path: <zzz@example.org>",
    "Delivered-To: zzz@example.org",
    "X-Spam-Status: Yes, zzz",
    "X-EchoMox-Verdict: reject; zzz",
    "Authentication-Results: zzz; spf=fail",
    "X-Original-To: zzz",
    "DKIM-Signature: v=1; d=zzz.example",
    "ARC-Seal: zzz",
    "Received-SPF: fail (zzz)",
]


@pytest.mark.parametrize("field", RECEIVED, ids=lambda field: field.partition(":")[0])
def test_what_receivers_add_is_not_read(field):
    plain = mail("From: a@b.example", "Subject: x", body="text")
    assert words(field.encode() + b"\r\n" + plain) == words(plain)


HTML = """<html><body bgcolor="#ffffff"><p>Click <a href="http://User@10.0.0.1:8080/x">here</a> or
<a href="https://shop.bad.example/y">there</a> <img src="http://img.example/1.gif" width=1 height=1>
<font color=red>BUY</font><span style="display:none">garden history</span></body></html>"""


@pytest.mark.parametrize(
    "token",
    [
        "url:10.0.0.1", "url:#address", "url:shop.bad.example", "url:bad.example", "url:img.example", "tag:font",
        "color=red", "bgcolor=ffffff", "html:tiny1", "html:images1", "html:hidden", "hidden:garden", "click", "here",
        "part:text/html",
    ],
)  # fmt: skip
def test_html_facts(token):
    assert token in words(mail(body=HTML, kind="text/html"))


def test_hidden_text_is_not_read_as_text():
    assert "garden" not in words(mail(body=HTML, kind="text/html"))


def test_only_the_beginning_of_a_body_is_read():
    found = words(mail(body="filler " * 1000 + "appended"))
    assert "filler" in found and "appended" not in found


def test_the_same_bytes_give_the_same_tokens():
    data = mail("Subject: a b c", body=HTML, kind="text/html")
    assert read(data).words(3) == read(data).words(3)


NASTY = [
    b"",
    b"\r\n",
    b"\0" * 100,
    b"\xff\xfe" * 3000,
    b"Subject: " + b"=?" * 5000 + b"\r\n\r\n",
    b"From: " + b"<" * 5000 + b"@" * 5000 + b"\r\n\r\n",
    b"Subject: =?utf-16?b?2AA=?=\r\n\r\nx",
    b"Content-Type: text/plain; charset=utf-7\r\n\r\n+2AA-",
    b"Content-Type: text/html\r\n\r\n" + b"<div>" * 5000,
    b"Content-Type: text/html\r\n\r\n<a href='http://" + b"%" * 500 + b"'>",
    b"A: b\r\n" * 3000,
    b"\r\n" + b"a.b-" * 5000,
]


@pytest.mark.parametrize("data", NASTY, ids=range(len(NASTY)))
def test_anything_gives_tokens_that_can_be_stored(data):
    found = read(data).words(3)
    assert len(found) <= tokens.MOST_TOKENS
    assert all(token.encode() and "\0" not in token for token in found)


def test_groups_are_headers_body_and_metadata():
    envelope = Envelope("a@b", "192.0.2.1", "mx.example", True)
    data = mail("Subject: hi", body=HTML, kind="text/html")
    found = groups(read(data, envelope))
    assert set(found) == {"headers", "body", "metadata"}
    assert found["headers"]["subject"] == "hi"
    assert found["body"]["links"] == 2 and found["body"]["images"] == 1 and found["body"]["hidden_characters"] > 0
    assert found["metadata"]["remote_ip"] == "192.0.2.1" and found["metadata"]["bytes"] == len(data)


@pytest.mark.parametrize("zone", ["+0200", "-0700", "-0700 (PDT)", "+0000 (CEST)"])
def test_a_usual_date_has_the_tokens_of_its_zone_and_shape(zone):
    value = f"Mon, 2 Feb 2002 10:00:00 {zone}"
    found = tokens.header_text([(tokens.field_name(b"Date"), value.encode())]).singles
    assert found == ["h:Date", f"date:{zone[:5]}", f"date:{tokens.shape(value)}"]


def test_long_field_names_are_not_remembered():
    before = tokens._known_name.cache_info().currsize
    assert tokens.field_name(b"X-" + b"y" * 100_000).written == "h:X-" + "y" * 38
    assert tokens._known_name.cache_info().currsize == before


@pytest.mark.parametrize("characters", ["a.!$ ", "a-'%! ", "b$%.'", "_9!-$"])
def test_words_of_ascii_text_are_those_of_any_text(characters):
    """ASCII text has a faster way; every string of these characters, against the expression for any script."""
    for size in range(7):
        for drawn in itertools.product(characters, repeat=size):
            text = "".join(drawn)
            assert tokens.words_of(text) == tokens._WORD.findall(text)


def test_all_ascii_characters_part_words_alike():
    for code in range(128):
        text = f"Ab{chr(code)}c {chr(code)}d{chr(code)}"
        assert tokens.words_of(text) == tokens._WORD.findall(text.lower())


def test_the_vocabulary_is_of_what_a_reader_sees():
    found = read(mail("Subject: Hello there", "X-Other: unseen", body="hello 4you <b>"))
    assert found.vocabulary().words == {"hello", "there", "4you", "b"}
    assert found.vocabulary().odd == ("4you",)
    assert replace(found, memo={}).vocabulary() == found.vocabulary()
