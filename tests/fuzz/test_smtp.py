"""Any bytes, however they are cut: replies or a closed connection, the same ones, and no message that was not ended by
CRLF.CRLF."""

import asyncio
import re
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from echomox.config.schema import Limits
from echomox.outbound import outgoing
from echomox.smtpd.address import BadAddress, parse_address, parse_parameters, parse_path
from echomox.smtpd.ext.dsn import original_recipient, utf8_decode, xtext_decode
from echomox.smtpd.ext.futurerelease import parse_time
from echomox.smtpd.fixup import fix_header
from echomox.smtpd.header import check_header
from echomox.smtpd.lines import ChunkReader, DataReader
from tests.unit.smtpd.support import GREETING, Recorder, Talk

PIECES = st.sampled_from(
    [
        b"EHLO x", b"HELO x", b"MAIL FROM:<a@b.c>", b"MAIL FROM:<>", b"MAIL FROM:<a@b.c> SIZE=5 BODY=8BITMIME SMTPUTF8",
        b"RCPT TO:<u@example.org>", b"RCPT TO:<postmaster>", b"RCPT TO:<x@y.z>", b"DATA", b"RSET", b"NOOP", b"VRFY x",
        b"QUIT", b"STARTTLS", b"AUTH PLAIN =", b"HELP", b"GET /", b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\r\n.\r\n",
        b".", b"\n", b"\r", b"\0", b"\r\n.\n", b"\n.\r\n", b"\r.\r", b"From: x\r\n", b"text", b"\xff", "ü".encode(),
        b"x" * 600, b" ", b"..", b"BDAT 5\r\n", b"BDAT 12 LAST\r\n", b"BDAT 0 LAST\r\n", b"BDAT 99999999999",
        b"MAIL FROM:<a@b.c> RET=HDRS ENVID=x REQUIRETLS", b"RCPT TO:<u@example.org> NOTIFY=NEVER ORCPT=rfc822;a+20b",
        b"EHLO x\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<u@example.org>\r\nDATA\r\n",
    ]
)  # fmt: skip
INPUT = st.lists(st.one_of(PIECES, st.binary(max_size=8)), max_size=40).map(b"".join)
REPLIES = re.compile(rb"(?:[2-5]\d\d-[ -~]*\r\n)*[2-5]\d\d [ -~]*\r\n")


def converse(chunks):
    """(all that was written, messages accepted, whether the connection was closed)"""

    async def run():
        one = Talk(role=Recorder())
        await one.send(*chunks)
        return one.wire.out, one.role.mail, one.wire.closed

    return asyncio.run(run())


def cut(data, places):
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


@settings(max_examples=150, deadline=None)
@given(INPUT, st.lists(st.integers(min_value=0), max_size=20))
def test_cutting_changes_nothing(data, places):
    whole = converse([data])
    assert converse(cut(data, places)) == whole
    assert converse([data[place : place + 1] for place in range(len(data))]) == whole


@settings(max_examples=300, deadline=None)
@given(INPUT)
def test_there_are_only_replies_and_only_messages_that_were_ended(data):
    out, mail, _ = converse([data])
    assert out.startswith(GREETING)
    assert REPLIES.sub(b"", out) == b""
    assert len(mail) <= data.count(b"\r\n.\r\n") + data.upper().count(b"LAST")
    for _, recipients, text in mail:
        assert recipients
        assert text == b"" or text.endswith(b"\r\n")
        assert not re.search(rb"\r(?!\n)|(?<!\r)\n|\0", text)


TEXT = st.lists(
    st.sampled_from([b"\r\n", b".", b"\r", b"\n", b"a", b"bc", b"\0", b"\r\n.\r\n"]), max_size=60
).map(b"".join)


@settings(max_examples=500, deadline=None)
@given(TEXT, st.lists(st.integers(min_value=0), max_size=20))
def test_data_against_a_plain_reference(data, places):
    reader = DataReader(1000)
    text, rest = b"", None
    for chunk in cut(data, places):
        if rest is not None:
            rest += chunk
            continue
        piece, rest = reader.feed(chunk)
        text += piece
    end = (b"\r\n" + data).find(b"\r\n.\r\n")
    assert (rest is not None) == (end >= 0)
    if end >= 0:
        body = (b"\r\n" + data)[2 : end + 2] if end else b""
        assert rest == data[end + 3 :]
        bad = re.search(rb"\r(?!\n)|(?<!\r)\n|\0", body)
        assert (reader.trouble is not None) == bool(bad)
        if not bad:
            assert text == b"".join(line[1:] if line[:1] == b"." else line for line in body.splitlines(True))


PATH = st.text(alphabet=st.sampled_from(list('<>@."\\ abc:,[]12-_ü\x00\r\n\x85')), max_size=30)


@settings(max_examples=500, deadline=None)
@given(PATH)
def test_a_path_is_refused_or_can_be_read_again(text):
    try:
        path, _ = parse_path(text, null=True, postmaster=True)
    except BadAddress:
        return
    assert all(ord(c) >= 32 for c in path.address)
    if "@" in path.address:
        assert parse_address(path.address) == path.address
        assert parse_path(f"<{path.address}>")[0] == path


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40))
def test_parameters_are_refused_or_read(text):
    try:
        found = parse_parameters(text)
    except BadAddress:
        return
    assert all(keyword == keyword.upper() and value != "" for keyword, value in found.items())


@settings(max_examples=300, deadline=None)
@given(TEXT, st.lists(st.integers(min_value=0), max_size=10))
def test_chunks_are_as_data_whatever_the_cuts(data, places):
    """ChunkReader: the text as it came, refused exactly when it has a bare CR or LF, NUL or a long line."""
    reader = ChunkReader(1000)
    text = b"".join(map(reader.feed, cut(data, places)))
    end = reader.end()
    bare = re.search(rb"\r(?!\n)|(?<!\r)\n", data)
    assert (reader.trouble is None) == (not bare and b"\0" not in data)
    if reader.trouble is None:
        assert text + end == data + (b"\r\n" if data and not data.endswith(b"\r\n") else b"")


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=80), st.booleans())
def test_orcpt_and_envid_are_values_or_errors(text, utf8):
    for parse in (xtext_decode, utf8_decode, parse_time, lambda one: original_recipient(one, utf8)):
        try:
            parsed = parse(text)
        except (ValueError, OverflowError):
            continue
        assert isinstance(parsed, float) or parsed.isprintable()


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60).filter(lambda text: not re.search("[\ud800-\udfff]", text)))
def test_xtext_comes_back(text):
    try:
        encoded = outgoing.xtext(text)
    except UnicodeEncodeError:
        return
    if text and text.isascii() and text.isprintable():
        assert xtext_decode(encoded) == text


HEADER_LINES = st.lists(
    st.one_of(
        st.sampled_from(
            [b"Bcc: a@b", b"bcc:", b" folded", b"\tfolded", b"From: a@b.c", b"X-EchoMox-Extra-a: b", b"Date:", b":",
             b"", b"Return-Path: x", b"TLS-Required: No", b"Message-ID: <a@b>", b"Bcc : x"]
        ),
        st.binary(max_size=20).map(lambda data: data.translate(None, b"\r\n")),
    ),
    max_size=20,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(HEADER_LINES)
def test_no_blind_copy_gets_out(lines):
    header = b"".join(line + b"\r\n" for line in lines if line)
    if check_header(header + b"\r\n", Limits()) is not None:
        return
    fixed = fix_header(header, 0.0, "example.org")
    assert not re.search(rb"(?im)^(bcc|return-path|delivered-to)[ \t]*:", fixed.header)
    again = fix_header(fixed.header, 0.0, "example.org")
    assert not again.changed and again.message_id == fixed.message_id
