"""The IMAP server under input that is made to be expensive: time and memory of each command are capped, the answer is
one of ours, and it does not hang on where the input was cut.

1. Every parser, with parentheses and keys nested as deep as a line is long, sets and lists as long as it.
2. Sequence sets that name four thousand million messages.
3. Commands with literals, cut at every octet.
4. Search programs of every shape and length, against real messages.
5. Mail that is no mail: BODYSTRUCTURE, ENVELOPE and BODY of it are what the grammar says.
6. Streams of DEFLATE that are none, and those that stand for very much.
7. Modified UTF-7 that is none.

HYPOTHESIS_PROFILE=long for the long run."""

from __future__ import annotations

import os
import re
import resource
import time
import tracemalloc
import zlib
from array import array
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from echomox.imap.lexer import Bad, Parser
from echomox.imap.receive import Command, Limits, Receiver
from echomox.imap.seqset import SequenceSet
from echomox.imapd.cmd.search import BUDGET
from echomox.imapd.commands import BY_NAME
from echomox.imapd.deflate import PIECE, Deflate
from tests.dialog.server import Connection
from tests.model.world import World

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
LINE = 64 * 1024
OCTETS = 24 << 20
SEARCHING = BUDGET + 5
"""Seconds that a search may work: the server ends it after BUDGET."""
SLOWER = 3
"""How many times as slow as a quick machine this one may be."""
SHORT = settings(max_examples=3000 if LONG else 60, deadline=None, suppress_health_check=list(HealthCheck))


@contextmanager
def traced(seconds: float, octets: int = OCTETS) -> Iterator[None]:
    """What is done within costs no more. Time is that of this process, so that others do not count."""
    tracemalloc.start()
    start = time.process_time()
    try:
        yield
        took, peak = time.process_time() - start, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < octets, f"{peak} octets"
    assert took < seconds * 4 * SLOWER, f"{took:.2f} s"  # tracemalloc makes it slow


@contextmanager
def capped(seconds: float) -> Iterator[None]:
    """The same for what takes longer: memory is the growth of the whole process."""
    before, start = resident(), time.process_time()
    yield
    took, grown = time.process_time() - start, resident() - before
    assert grown < 64 << 20, f"{grown} octets"
    assert took < seconds * SLOWER, f"{took:.2f} s"


def resident() -> int:
    """The most that this process ever had, in octets."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


# -- parsers ---------------------------------------------------------------------------

PIECES = (b"(", b"NOT ", b"OR ", b"FUZZY ", b"(ALL ", b"((", b"1.", b"{0}\n", b'"" ', b"1,", b"*:*,", b"a ",
          b"\\Seen ", b"BODY[HEADER.FIELDS (a)] ", b"a/", b"&", b"(a (b ", b"KEYWORD x ", b"1:4294967295,", b"%*",
          b" ")  # fmt: skip
STARTS = (b" ", b" (", b" 1 ", b" 1 (", b" INBOX ", b" INBOX (", b' "" ', b" RETURN (", b" RETURN () ", b" SET (",
          b" CHARSET UTF-8 ", b" 1 BODY[", b" (SUBJECT) UTF-8 ", b" REFERENCES UTF-8 ", b" IN (")  # fmt: skip


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_no_arguments_are_expensive_to_read(name: str) -> None:
    """All that one line holds, of one kind."""
    for start in STARTS if LONG else STARTS[::4]:
        for piece in PIECES:
            arguments = start + piece * (LINE // len(piece))
            with traced(0.5):
                try:
                    BY_NAME[name].parse(Parser(arguments, True))
                except Bad as bad:
                    assert len(bad.text) < 500


RANGE = st.sampled_from((b"1:4294967295", b"*", b"4294967295", b"*:1", b"1:*", b"4294967294:4294967295", b"7", b"2:3"))


@SHORT
@given(st.lists(RANGE, min_size=1, max_size=200).map(b",".join), st.sets(st.integers(1, 4294967295), max_size=50))
@example(b"1:4294967295,*", {1, 4294967295})
def test_sets_cost_what_the_mailbox_holds(text: bytes, present: set[int]) -> None:
    uids = array("I", sorted(present))
    with traced(0.2, 1 << 20):
        found = SequenceSet.parse(text)
        chosen = list(found.uids(uids))
        places = found.positions(len(uids))
    assert set(chosen) <= present
    assert sum(map(len, places)) <= len(uids)
    if b"1:4294967295" in text:
        assert chosen == sorted(present)


# -- literals ---------------------------------------------------------------------------

WITH_LITERALS = (
    b"a LOGIN {3+}\r\nabc {4+}\r\nd\r\ne\r\n",
    b"a APPEND {5+}\r\nINBOX (\\Seen) {12+}\r\nSubject: x\r\n\r\nb NOOP\r\n",
    b"a SEARCH CHARSET UTF-8 TEXT {2+}\r\n\xc3\xa4 SUBJECT {0+}\r\n\r\nb NOOP\r\n",
    b"a APPEND x ~{4+}\r\n\0\1\2\3 {1+}\r\ny\r\nb NOOP\r\n",
    b"a APPEND INBOX {200+}\r\n" + b"x" * 200 + b"\r\nb NOOP\r\n",
    b"a NOOP {999999999999+}\r\n",
)


@pytest.mark.parametrize("data", WITH_LITERALS)
def test_literals_may_be_cut_at_every_octet(data: bytes) -> None:
    def read(*parts: bytes) -> list[object]:
        receiver = Receiver(Limits(line=1000, literal=400, message=1000, stream_from=300, skip=100))
        found: list[object] = []
        for part in parts:
            receiver.feed(part)
            while (event := receiver.next()) is not None:
                found.append(event)
        return found

    whole = read(data)
    assert whole
    for cut in range(len(data) + 1):
        assert read(data[:cut], data[cut:]) == whole
    assert read(*(data[at : at + 1] for at in range(len(data)))) == whole
    for command in whole:
        if isinstance(command, Command) and command.name in BY_NAME:
            BY_NAME[command.name].parse(Parser(command.arguments))


# -- against a server ------------------------------------------------------------------


class Served:
    """One client that has selected INBOX, for all examples of a test."""

    def __init__(self) -> None:
        self.world = World()
        self.client: Connection = self.world.run(self.world.connect(0))

    def ask(self, command: bytes) -> list[bytes]:
        lines: list[bytes] = self.world.run(self._ask(command), SEARCHING * 3)
        return lines

    async def _ask(self, command: bytes) -> list[bytes]:
        self.client.send(b"t %b\r\n" % command)
        lines: list[bytes] = []
        while not lines or not lines[-1].startswith(b"t "):
            line = await self.client.line(SEARCHING * 2)
            assert line is not None, lines
            lines.append(line)
        return lines


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    found = Served()
    try:
        for number in range(20):
            mail = b"From: a@b.example\r\nSubject: m%d\r\n\r\n%b" % (number, b"some words here\r\n" * 200)
            found.world.run(found.world.deliver(0, "INBOX", mail))
        found.ask(b"SELECT INBOX")
        yield found
    finally:
        found.world.close()


KEY = st.sampled_from(
    (b"ALL", b"SEEN", b"TEXT some", b"BODY words", b"SUBJECT m1", b"HEADER From b", b"1:4294967295,*", b"UID 1:*",
     b"NOT DELETED", b"SINCE 1-Feb-1994", b"LARGER 4294967295", b"MODSEQ 1", b"KEYWORD a", b"YOUNGER 1", b'TEXT ""',
     b"FUZZY TEXT som", b"SMALLER 0", b"$", b"SAVEDBEFORE 1-Jan-2030", b'HEADER "" x', b"TEXT \"\\\"\"", b"NEW")
)  # fmt: skip
PROGRAM = st.recursive(
    KEY,
    lambda inner: st.one_of(
        inner.map(lambda key: b"NOT " + key),
        st.tuples(inner, inner).map(lambda two: b"OR %b %b" % two),
        st.lists(inner, min_size=1, max_size=6).map(lambda keys: b"(" + b" ".join(keys) + b")"),
    ),
    max_leaves=60 if LONG else 25,
)


@SHORT
@given(program=PROGRAM, count=st.sampled_from((1, 1, 3, 40)), returning=st.sampled_from((b"", b"RETURN (ALL COUNT) ")))
def test_search_programs(served: Served, program: bytes, count: int, returning: bytes) -> None:
    with capped(SEARCHING):
        lines = served.ask(b"SEARCH %b%b" % (returning, b" ".join([program] * count)))
    assert re.match(rb"t (OK|BAD|NO \[LIMIT\])", lines[-1]), lines
    if lines[-1].startswith(b"t BAD"):
        assert count > 1 or program.count(b"(") + program.count(b"NOT") + program.count(b"OR") > 10, lines


LONG_PROGRAMS = (
    b"NOT " * 15_000 + b"ALL",
    b"OR ALL " * 9_000 + b"ALL",
    b"(" * 32_000 + b"ALL" + b")" * 32_000,
    b" ".join(b"TEXT w%d" % number for number in range(990)),
    b" ".join(b"HEADER X-%d y" % number for number in range(990)),
    b"OR TEXT a " * 49 + b"TEXT b",
    b"TEXT " + b"a" * 60_000,
    b'TEXT "' + b"some words here " * 3000 + b'"',
    b",".join(b"%d:4294967295" % number for number in range(1, 4000)),
    b"NOT " + b",".join(b"%d" % (number * 2) for number in range(1, 9000)),
)


@pytest.mark.parametrize("program", LONG_PROGRAMS, ids=range(len(LONG_PROGRAMS)))
@pytest.mark.parametrize("name", [b"SEARCH", b"UID SEARCH RETURN (MIN)", b"UID SORT (DATE) UTF-8"])
def test_long_search_programs(served: Served, program: bytes, name: bytes) -> None:
    with capped(SEARCHING):
        lines = served.ask(name + b" " + program)
    assert re.match(rb"t (OK|BAD|NO)", lines[-1]), lines
    served.ask(b"NOOP")


# -- mail that is none ----------------------------------------------------------------------

HEADER = st.sampled_from(
    (b"Content-Type: multipart/mixed; boundary=a", b'Content-Type: multipart/alternative; boundary="b"',
     b"Content-Type: message/rfc822", b"Content-Type: text/plain; charset*0*=utf-8''%e4; charset*1=x",
     b"Content-Type: /",
     b"Content-Type: multipart/mixed", b'Content-Type: text/html; name="\\"', b"Content-Disposition: attachment; a=",
     b"Content-Transfer-Encoding: base64", b"From: \"a\\\" <", b"From: g: a@b, c@d;, <@x:y@z>", b"To: (((((", b"Cc: ;",
     b"Subject: =?utf-8?q?=e4?=", b"Subject: \xff\0x", b"Date: no", b"Message-ID: <<", b"In-Reply-To: \"", b": x",
     b"Content-Language: de, (x) en", b"Content-ID: {9}", b"Content-MD5: \"", b"Reply-To: a@b\r\n c", b"X", b"",
     b"Content-Type: message/rfc822; x=\"\xe4\"", b"Content-Type: text/plain; " + b"p=v; " * 300)
)  # fmt: skip
BODY = st.sampled_from((b"--a", b"--b", b"--a--", b"--b--", b"text", b"", b"\0\xff", b"--a\r\n--a", b"From x"))
MAIL = st.lists(st.one_of(HEADER, BODY, st.binary(max_size=12)), max_size=60).map(b"\r\n".join)


@SHORT
@given(mail=MAIL)
@example(mail=b"Content-Type: message/rfc822\r\n\r\n" * 300)
@example(mail=b"Content-Type: multipart/mixed; boundary=a\r\n\r\n" + b"--a\r\n\r\n" * 5000)
@example(mail=b"To: " + b"a@b, " * 12_000)
@example(mail=b"To: " + b"(" * 60_000)
def test_any_mail_has_a_structure(served: Served, mail: bytes) -> None:
    mail = mail or b"\r\n"
    with capped(2):
        added = served.ask(b"APPEND Drafts {%d+}\r\n%b" % (len(mail), mail))
        if added[-1].startswith(b"t NO"):
            return
        served.ask(b"SELECT Drafts")
        text = served.world.run(fetched(served.client, b"FETCH * (BODYSTRUCTURE ENVELOPE BODY RFC822.SIZE)"), 60)
    served.ask(b"STORE * +FLAGS.SILENT (\\Deleted)")
    served.ask(b"CLOSE")
    served.ask(b"SELECT INBOX")
    items = tree(text)
    names = items[::2]
    assert names == [b"BODYSTRUCTURE", b"ENVELOPE", b"BODY", b"RFC822.SIZE"], text[:300]
    structure, envelope, body, size = items[1::2]
    assert int(size) == len(mail)
    assert isinstance(envelope, list) and len(envelope) == 10
    check_structure(structure, True)
    check_structure(body, False)


async def fetched(client: Connection, command: bytes) -> bytes:
    """The items of the one FETCH response, literals and all."""
    client.send(b"f " + command + b"\r\n")
    text = b""
    while not re.search(rb"^f (OK|NO|BAD)[^\r\n]*\r\n\Z", text, re.MULTILINE):
        text += await client.exactly(1)
        text += bytes(client.wire.received)
        client.wire.received.clear()
    assert b"\r\nf OK" in text, text[-200:]
    start = text.index(b" FETCH (") + len(b" FETCH (")
    return text[start : text.rindex(b")\r\nf OK")]


TOKEN = re.compile(rb'\(|\)|"((?:[^"\\\r\n]|\\["\\])*)"|\{(\d+)\}\r\n|[^ ()"{]+')


def tree(text: bytes) -> list:  # type: ignore[type-arg]
    """Words, strings as bytes, lists; AssertionError for what the grammar does not have."""
    stack: list[list] = [[]]  # type: ignore[type-arg]
    at = 0
    while at < len(text):
        if text[at] == 32:
            at += 1
            continue
        match = TOKEN.match(text, at)
        assert match, text[at : at + 80]
        at = match.end()
        if match[0] == b"(":
            stack.append([])
        elif match[0] == b")":
            stack[-2].append(stack.pop())
        elif match[2] is not None:
            stack[-1].append(text[at : at + int(match[2])])
            at += int(match[2])
        elif match[1] is not None:
            stack[-1].append(match[1])
        else:
            stack[-1].append(match[0])
    assert len(stack) == 1
    return stack[0]


def check_structure(body: object, extended: bool) -> None:
    """RFC 9051 9, body: the number of fields, down to the last part."""
    assert isinstance(body, list) and body
    if isinstance(body[0], list):
        parts = 0
        while parts < len(body) and isinstance(body[parts], list):
            check_structure(body[parts], extended)
            parts += 1
        assert len(body) - parts == (5 if extended else 1)
        return
    basic = 7
    kind = (body[0].upper(), body[1].upper())
    if kind[0] == b"TEXT":
        basic = 8
    elif kind in ((b"MESSAGE", b"RFC822"), (b"MESSAGE", b"GLOBAL")) and isinstance(body[7], list):
        assert len(body[7]) == 10
        check_structure(body[8], extended)
        basic = 10
    assert len(body) == basic + (4 if extended else 0), body
    assert int(body[6]) >= 0


# -- DEFLATE ------------------------------------------------------------------------------


@SHORT
@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=6))
def test_any_octets_inflate_or_do_not(data: bytes, cuts: list[int]) -> None:
    stream = Deflate()
    try:
        for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(data)], strict=True):
            stream.put(data[start:end])
            while piece := stream.take():
                assert len(piece) <= PIECE
    except zlib.error:
        return


@SHORT
@given(st.binary(max_size=2000), st.lists(st.integers(0, 2000), max_size=6), st.integers(0, 9))
def test_a_stream_may_be_cut_anywhere(data: bytes, cuts: list[int], level: int) -> None:
    maker = zlib.compressobj(level, zlib.DEFLATED, -15)
    wire = maker.compress(data) + maker.flush(zlib.Z_SYNC_FLUSH)
    stream, found = Deflate(), b""
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(wire)], strict=True):
        stream.put(wire[start:end])
        while piece := stream.take():
            found += piece
    assert found == data


def test_a_little_that_stands_for_very_much(served: Served) -> None:
    """A gibibyte of one line: read piece by piece, and the line's limit ends it."""
    maker = zlib.compressobj(9, zlib.DEFLATED, -15)
    wire = b"".join(maker.compress(b"a" * (1 << 20)) for _ in range(1024)) + maker.flush(zlib.Z_SYNC_FLUSH)
    assert len(wire) < 2 << 20

    async def bomb() -> None:
        client = await served.world.connect(0)
        assert (await client.command(b"COMPRESS DEFLATE"))[-1].startswith(b"t OK")
        client.send(wire)
        for _ in range(20_000):
            if client.wire.closed:
                break
            await served.world.settle()
        assert client.wire.closed
        client.hang_up()

    with capped(20):
        served.world.run(bomb(), 120)


# -- names ------------------------------------------------------------------------------------

NAME = st.one_of(
    st.text("&-,+/ABab01 Jjo\\\"%*", max_size=40).map(str.encode),
    st.lists(
        st.sampled_from((b"&", b"-", b"&-", b"&APw-", b"&2D3eAA-", b"&2D0-", b"&AAA-", b"/", b"a", b"&AGE-", b".")),
        max_size=30,
    ).map(b"".join),
)  # fmt: skip


@SHORT
@given(name=NAME, command=st.sampled_from((b"STATUS %b (MESSAGES)", b"SUBSCRIBE %b", b'LIST "" %b', b"EXAMINE %b")))
def test_any_name_of_a_mailbox_is_answered(served: Served, name: bytes, command: bytes) -> None:
    quoted = b'"' + name.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
    with capped(0.5):
        lines = served.ask(command % quoted)
    assert re.match(rb"t (OK|NO|BAD)", lines[-1]), lines
    if command.startswith(b"EXAMINE"):
        served.ask(b"SELECT INBOX")
    served.ask(b"NOOP")
