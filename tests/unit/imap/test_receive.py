"""imap.receive: RFC 9051 4.3 (literals), RFC 7888 (LITERAL+), RFC 3502 (MULTIAPPEND)."""

from __future__ import annotations

import time

import pytest

from echomox.imap.receive import (
    BEFORE_LOGIN,
    Command,
    Event,
    Limits,
    Line,
    LiteralTooLarge,
    NeedContinuation,
    ProtocolError,
    Receiver,
    StreamChunk,
    StreamEnd,
    StreamStart,
)

SMALL = Limits(line=200, literal=20, message=1000, stream_from=10, skip=100)


def drain(receiver: Receiver) -> list[Event]:
    events = []
    while (event := receiver.next()) is not None:
        events.append(event)
    return events


def whole(data: bytes, limits: Limits = SMALL) -> list[Event]:
    receiver = Receiver(limits)
    receiver.feed(data)
    return joined(drain(receiver))


def bytewise(data: bytes, limits: Limits = SMALL) -> list[Event]:
    receiver = Receiver(limits)
    events = []
    for place in range(len(data)):
        receiver.feed(data[place : place + 1])
        events += drain(receiver)
    return joined(events)


def joined(events: list[Event]) -> list[Event]:
    """Chunks that follow each other made one."""
    result: list[Event] = []
    for event in events:
        if isinstance(event, StreamChunk) and result and isinstance(result[-1], StreamChunk):
            result[-1] = StreamChunk(result[-1].data + event.data)
        else:
            result.append(event)
    return result


CASES = [
    # RFC 3501 8 and 7.5
    (b"a001 login mrc secret\r\n", [Command(b"a001", "LOGIN", b" mrc secret")]),
    (b"a006 logout\r\n", [Command(b"a006", "LOGOUT", b"")]),
    (
        b"A999 UID FETCH 4827313:4828442 FLAGS\r\n",
        [Command(b"A999", "UID FETCH", b" 4827313:4828442 FLAGS")],
    ),
    (
        b"A001 LOGIN {11}\r\nFRED FOOBAR {7}\r\nfat man\r\n",
        [
            NeedContinuation(b"A001", "LOGIN", 11, False),
            NeedContinuation(b"A001", "LOGIN", 7, False),
            Command(b"A001", "LOGIN", b" {11}\nFRED FOOBAR {7}\nfat man"),
        ],
    ),
    # RFC 7888 4: no waiting
    (
        b"A001 LOGIN {11+}\r\nFRED FOOBAR {7+}\r\nfat man\r\n",
        [Command(b"A001", "LOGIN", b" {11}\nFRED FOOBAR {7}\nfat man")],
    ),
    # a literal may hold line ends, and what looks like a literal or a command
    (b"a X {9+}\r\nb NOOP\r\n\r\n", [Command(b"a", "X", b" {9}\nb NOOP\r\n\r")]),
    (b"a X {4+}\r\n{9}\r\r\n", [Command(b"a", "X", b" {4}\n{9}\r")]),
    # bare LF ends a line
    (b"a NOOP\nb NOOP\r\n", [Command(b"a", "NOOP", b""), Command(b"b", "NOOP", b"")]),
    # no literal of nothing is different
    (b"a X {0+}\r\n\r\n", [Command(b"a", "X", b" {0}\n")]),
    (b"a X ~{2+}\r\n\0\1\r\n", [Command(b"a", "X", b" ~{2}\n\0\1")]),
    # what is not a command
    (b"\r\n", [ProtocolError(b"", "Expected a tag and a command")]),
    (b"a\r\n", [ProtocolError(b"a", "Expected a tag and a command")]),
    (b"a+ NOOP\r\n", [ProtocolError(b"", "Expected a tag and a command")]),
    (b"a  NOOP\r\n", [ProtocolError(b"a", "Expected a tag and a command")]),
    (b"a NOOP\tx\r\n", [ProtocolError(b"a", "Expected a tag and a command")]),
    (b"GET / HTTP/1.1\r\nHost: x\r\n", [ProtocolError(b"GET", "Expected a tag and a command", True)]),
    # its literal is not taken for a command
    (
        b"* {8+}\r\na NOOP\r\n\r\nb NOOP\r\n",
        [ProtocolError(b"", "Expected a tag and a command"), Command(b"b", "NOOP", b"")],
    ),
    (
        b"* {8}\r\nb NOOP\r\n",
        [ProtocolError(b"", "Expected a tag and a command"), Command(b"b", "NOOP", b"")],
    ),
    # too large, waiting for leave: the command is over
    (b"a X {21}\r\nb NOOP\r\n", [LiteralTooLarge(b"a", "X", 21, 20), Command(b"b", "NOOP", b"")]),
    (
        b"a X {15}\r\n123456789012345 {6}\r\nb NOOP\r\n",
        [
            NeedContinuation(b"a", "X", 15, False),
            LiteralTooLarge(b"a", "X", 6, 5),
            Command(b"b", "NOOP", b""),
        ],
    ),
    # too large, not waiting: read over, with the rest of the command
    (
        b"a X {21+}\r\na NOOP\r\n3456789012345 {30+}\r\n" + b"n" * 30 + b" x\r\nb NOOP\r\n",
        [LiteralTooLarge(b"a", "X", 21, 20), Command(b"b", "NOOP", b"")],
    ),
    (
        b"a X {21+}\r\n123456789012345678901 {3}\r\nb NOOP\r\n",
        [LiteralTooLarge(b"a", "X", 21, 20), Command(b"b", "NOOP", b"")],
    ),
    # far too large
    (b"a X {101+}\r\nb NOOP\r\n", [LiteralTooLarge(b"a", "X", 101, 20, fatal=True)]),
    (
        b"a X {" + b"9" * 50 + b"+}\r\nb NOOP\r\n",
        [LiteralTooLarge(b"a", "X", 1 << 64, 20, fatal=True)],
    ),
    # too long
    (b"a " + b"x" * 199, [ProtocolError(b"", "Command line too long", True)]),
    (b"a " + b"x" * 199 + b"\r\nb NOOP\r\n", [ProtocolError(b"", "Command line too long", True)]),
    (
        b"a X {1+}\r\n1" + b"x" * 195 + b"\r\nb NOOP\r\n",
        [ProtocolError(b"a", "Command line too long", True)],
    ),
    # small literals of APPEND are held, large ones streamed
    (
        b"a APPEND b (\\Seen) {5}\r\nhello\r\n",
        [NeedContinuation(b"a", "APPEND", 5, False), Command(b"a", "APPEND", b" b (\\Seen) {5}\nhello")],
    ),
    (
        b"a APPEND {3+}\r\nbox {12}\r\nhello, world\r\n",
        [
            NeedContinuation(b"a", "APPEND", 12, True),
            StreamStart(b"a", "APPEND", 12, 0),
            StreamChunk(b"hello, world"),
            StreamEnd(0),
            Command(b"a", "APPEND", b" {3}\nbox {12@0}\n", 1),
        ],
    ),
    # RFC 3502; the last small one is streamed, for the room in memory is used up
    (
        b"a APPEND b {11+}\r\n12345678901 {9+}\r\n123456789 {9+}\r\n123456789 ~{9+}\r\nabcdefghi\r\n",
        [
            StreamStart(b"a", "APPEND", 11, 0),
            StreamChunk(b"12345678901"),
            StreamEnd(0),
            StreamStart(b"a", "APPEND", 9, 1),
            StreamChunk(b"abcdefghi"),
            StreamEnd(1),
            Command(b"a", "APPEND", b" b {11@0}\n {9}\n123456789 {9}\n123456789 ~{9@1}\n", 2),
        ],
    ),
    (
        b"a APPEND b {1001+}\r\n" + b"x" * 30,
        [LiteralTooLarge(b"a", "APPEND", 1001, 1000, fatal=True)],
    ),
    # a small message may be too large, too
    (b"a APPEND b {1001}\r\n", [LiteralTooLarge(b"a", "APPEND", 1001, 1000)]),
    # a line cannot forge what a stream left
    (b"a APPEND b {12@0}\r\n", [Command(b"a", "APPEND", b" b {12@0}")]),
]


@pytest.mark.parametrize("data, expected", CASES)
def test_bytes_give_events(data, expected):
    assert whole(data) == expected


@pytest.mark.parametrize("data, expected", CASES)
def test_bytes_one_by_one_give_the_same_events(data, expected):
    assert bytewise(data) == expected


def test_a_raw_line_is_not_a_command():
    receiver = Receiver(SMALL)
    receiver.feed(b"a IDLE\r\nDONE\r\nb NOOP\r\n")
    assert receiver.next() == Command(b"a", "IDLE", b"")
    receiver.expect_line()
    assert receiver.next() == Line(b"DONE")
    assert receiver.next() == Command(b"b", "NOOP", b"")


def test_a_raw_line_may_be_empty_or_look_like_a_literal():
    receiver = Receiver(SMALL)
    receiver.feed(b"\r\n{5+}\r\n")
    for data in (b"", b"{5+}"):
        receiver.expect_line()
        assert receiver.next() == Line(data)


def test_a_refused_literal_ends_its_command():
    receiver = Receiver(SMALL)
    receiver.feed(b"a APPEND nowhere {12}\r\n")
    assert receiver.next() == NeedContinuation(b"a", "APPEND", 12, True)
    assert receiver.partial() == b" nowhere {12@0}\n"
    receiver.refuse()
    receiver.feed(b"b NOOP\r\n")
    assert drain(receiver) == [Command(b"b", "NOOP", b"")]


def test_what_came_before_tls_is_forgotten():
    receiver = Receiver(SMALL)
    receiver.feed(b"a STARTTLS\r\nb LOGIN x y\r\nc APPEND {5")
    assert receiver.next() == Command(b"a", "STARTTLS", b"")
    assert receiver.clear() == 24
    assert not receiver.in_command
    receiver.feed(b"d NOOP\r\n")
    assert drain(receiver) == [Command(b"d", "NOOP", b"")]


def test_nothing_comes_after_a_fatal_error():
    receiver = Receiver(SMALL)
    receiver.feed(b"GET / HTTP/1.0\r\n")
    assert drain(receiver) == [ProtocolError(b"GET", "Expected a tag and a command", True)]
    receiver.feed(b"b NOOP\r\n")
    assert receiver.next() is None
    assert not receiver.in_command


def test_limits_grow_at_login():
    receiver = Receiver(BEFORE_LOGIN)
    receiver.feed(b"a APPEND b {5000}\r\n")
    assert drain(receiver) == [LiteralTooLarge(b"a", "APPEND", 5000, 4096)]
    receiver.limits = Limits()
    receiver.feed(b"b APPEND b {5000}\r\n")
    assert drain(receiver) == [NeedContinuation(b"b", "APPEND", 5000, False)]


def test_a_streamed_literal_takes_no_memory():
    receiver = Receiver(Limits())
    receiver.feed(b"a APPEND b {50000000+}\r\n")
    assert receiver.next() == StreamStart(b"a", "APPEND", 50_000_000, 0)
    piece = bytes(65536)
    for _ in range(100):
        receiver.feed(piece)
        assert receiver.next() == StreamChunk(piece)
        assert receiver.next() is None
        assert len(receiver._buffer) == 0
        assert len(receiver.partial()) < 100


def test_time_grows_with_length_only():
    """Byte by byte: a long line, then a command of many literals; quadratic work would take minutes."""
    line = b"a SEARCH " + b"x" * 60_000 + b"\r\n"
    many = b"a X" + b" {1+}\r\nx" * 8_000 + b"\r\n"
    began = time.process_time()
    assert len(bytewise(line + many, Limits())) == 2
    assert time.process_time() - began < 25
