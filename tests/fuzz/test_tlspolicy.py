"""Foreign bytes about transport security, and of hosts that take mail: a value or the one declared error, nothing else;
and no message can end early by what is in it."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from echomox.dns.types import Tlsa
from echomox.outbound.login import MECHANISMS, LoginError
from echomox.outbound.outgoing import Stuffer, orcpt
from echomox.outbound.wire import REPLY_LIMIT, PeerError, ReplyParser
from echomox.tlspolicy import mtasts, tlsrpt
from echomox.tlspolicy.dane import usable, verify
from echomox.tlspolicy.fetch import FetchError, read_response

LINES = st.sampled_from(
    [b"version: STSv1", b"version:STSv1", b"mode: enforce", b"mode: none", b"mode: testing", b"max_age: 86400",
     b"max_age: 99999999999", b"mx: mx.example", b"mx: *.example", b"mx: *", b"mx:", b"x: y", b"", b"\xff", b": :"]
)  # fmt: skip
BODY = st.one_of(
    st.binary(max_size=300), st.lists(LINES, max_size=8).map(b"\r\n".join), st.lists(LINES).map(b"\n".join)
)
WORDS = st.sampled_from(
    [b"v=STSv1", b"v=TLSRPTv1", b";", b" ", b"id=", b"a1", b"rua=", b"mailto:a@b.c", b"https://x/", b",", b"\xff", b"="]
)
RECORDS = st.lists(st.lists(st.one_of(WORDS, st.binary(max_size=3)), max_size=12).map(b"".join), max_size=3)


@settings(max_examples=300, deadline=None)
@given(BODY)
def test_policy_text(body):
    try:
        policy = mtasts.parse_policy(body)
    except mtasts.BadPolicy:
        return
    assert policy.mode == "none" or policy.mx
    assert 0 <= policy.max_age <= mtasts.MAX_AGE
    assert mtasts.parse_policy(mtasts.policy_text(policy).encode()) == policy
    policy.allows("mx.example")


@settings(max_examples=300, deadline=None)
@given(RECORDS)
def test_records(values):
    try:
        found = mtasts.parse_record(values)
        assert found is None or (found.isalnum() and len(found) <= 32)
    except mtasts.BadPolicy:
        pass
    try:
        assert all(uri.startswith(("mailto:", "https:")) for uri in tlsrpt.parse_record(values))
    except tlsrpt.BadRecord:
        pass


HTTP = st.sampled_from(
    [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 404 x\r\n", b"Content-Type: text/plain\r\n", b"Content-Length: 3\r\n", b"\r\n",
     b"Transfer-Encoding: chunked\r\n", b"3\r\nabc\r\n", b"0\r\n\r\n", b"Content-Length: -1\r\n", b"FFFFFFFF\r\n", b":"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(HTTP, st.binary(max_size=10)), max_size=10).map(b"".join))
def test_http_answers(data):
    async def run():
        reader = asyncio.StreamReader(limit=16_384)
        reader.feed_data(data)
        reader.feed_eof()
        return await read_response(reader)

    try:
        assert len(asyncio.run(run())) <= mtasts.BODY_LIMIT
    except FetchError as error:
        assert error.result in tlsrpt.RESULT_TYPES


SMALL = st.integers(0, 4)
TLSA = st.builds(Tlsa, SMALL, SMALL, SMALL, st.one_of(st.binary(max_size=8), st.sampled_from([bytes(32), bytes(64)])))


@settings(max_examples=200, deadline=None)
@given(st.lists(TLSA, max_size=5), st.lists(st.binary(max_size=50), max_size=3))
def test_tlsa_records_and_chains_of_anything_match_nothing(records, chain):
    good = usable(records)
    assert set(good) <= set(records)
    verdict = verify(good, chain, ("mx.example",), 1e9)
    selected = {(r.selector, r.matching, r.data) for r in good if r.usage == 3}
    assert not verdict or (chain and selected)


REPLY = st.sampled_from(
    [b"250", b"-", b" ", b"ok", b"\r\n", b"\n", b"421", b"5.1.1 ", b"2.0.0", b"x" * 600, b"\xff", b"\0"]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(REPLY, st.binary(max_size=4)), max_size=40).map(b"".join), st.integers(1, 50))
def test_replies_do_not_depend_on_how_they_are_cut(data, size):
    def replies(pieces):
        parser, found = ReplyParser(), []
        try:
            for piece in pieces:
                parser.feed(piece)
                while (reply := parser.next()) is not None:
                    found.append(reply)
        except PeerError:
            found.append(None)
        assert len(parser.buffer) <= REPLY_LIMIT
        return found

    whole = replies([data])
    assert replies([data[n : n + size] for n in range(0, len(data), size)]) == whole
    for reply in whole:
        assert reply is None or (200 <= reply.code < 600 and reply.text.isprintable())


PIECES = st.sampled_from([b"\r\n", b"\r", b"\n", b".", b"..", b"a", b"\r\n.\r\n", b"\n.\n", b"\0"])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(PIECES, max_size=6).map(b"".join), max_size=6))
def test_a_message_ends_once_and_at_its_end(pieces):
    stuffer = Stuffer()
    wire = b"".join(map(stuffer.feed, pieces)) + stuffer.end()
    lines = wire.split(b"\r\n")
    assert lines[-1] == b"" and lines[-2] == b"."
    assert b"." not in lines[:-2]
    assert b"\r" not in b"".join(lines) and b"\n" not in b"".join(lines)
    unstuffed = [line[1:] if line.startswith(b".") else line for line in lines[:-2]]
    given_lines = b"".join(pieces).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    assert unstuffed == (given_lines[:-1] if given_lines[-1] == b"" else given_lines)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(MECHANISMS), st.lists(st.binary(max_size=60), max_size=4))
def test_challenges_of_anything(mechanism, challenges):
    answers = mechanism[2]("user", "password", "nonce")
    try:
        next(answers)
        for challenge in challenges:
            answers.send(challenge)
    except (LoginError, StopIteration):
        pass


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=30), st.booleans())
def test_orcpt_is_one_word(text, utf8):
    value = orcpt("rfc822;" + text.encode("utf-8", "ignore").decode(), utf8)
    assert " " not in value and "\r" not in value and "\n" not in value
    assert utf8 or value.isascii()
