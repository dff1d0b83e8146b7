"""echomox.imap under arbitrary input.

1. Random bytes give events or a protocol error, nothing else, and the same when fed in any pieces.
2. Arguments of a command give a value or Bad, nothing else.
3. What is written is read back: sequence sets, modified UTF-7, strings, mailbox names, dates, flags.
4. A pattern matches what the plain definition says.

HYPOTHESIS_PROFILE=long for the long run.
"""

from __future__ import annotations

import os
import re
from array import array
from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from echomox.imap import mutf7, response
from echomox.imap.lexer import Bad, Parser
from echomox.imap.pattern import Pattern
from echomox.imap.receive import Event, Limits, Receiver, StreamChunk
from echomox.imap.seqset import STAR, SequenceSet, format_numbers
from echomox.imapd.commands import BY_NAME

settings.register_profile("long", max_examples=20_000, deadline=None)
settings.register_profile("short", max_examples=200, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))

LIMITS = Limits(line=300, literal=40, message=200, stream_from=12, skip=100)

# Pieces that make deep states likely; hypothesis alone would seldom write a literal.
PIECES = st.sampled_from(
    [
        b"a1 ", b"b NOOP\r\n", b"UID ", b"FETCH ", b"APPEND ", b"LOGIN ", b"* ", b"INBOX ", b"\r\n", b"\n",
        b"\r", b" ", b"{3}", b"{3+}", b"{12}\r\n", b"{13}\r\n", b"{13+}\r\n", b"~{14+}\r\n", b"{50+}\r\n",
        b"{50}\r\n", b"{200+}\r\n", b"{999+}\r\n", b"{0+}\r\n", b"{3@0}", b'"', b"\\", b"(", b")",
        b"x" * 13, b"x" * 50, b"\0", b"\xff", b"GET / HTTP/1.1\r\n",
    ]
)  # fmt: skip
INPUT = st.lists(st.one_of(PIECES, st.binary(max_size=6)), max_size=40).map(b"".join)


def events(data: bytes, cuts: list[int]) -> list[Event]:
    """What comes of data fed in pieces; chunks of a stream that follow each other made one."""
    receiver = Receiver(LIMITS)
    found: list[Event] = []
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, end in pairwise(places):
        receiver.feed(data[start:end])
        while (event := receiver.next()) is not None:
            if isinstance(event, StreamChunk) and found and isinstance(found[-1], StreamChunk):
                event = StreamChunk(found.pop().data + event.data)
            found.append(event)
    return found


@given(INPUT, st.lists(st.integers(0, 10_000), max_size=20))
@example(b"a APPEND x {13+}\r\n" + b"x" * 13 + b"\r\nb NOOP\r\n", [])
@example(b"a X {3+}\r\nabc {50+}\r\n" + b"x" * 50 + b" {3}\r\nb NOOP\r\n", [])
def test_events_do_not_hang_on_the_pieces(data, cuts):
    whole = events(data, [])
    assert whole == events(data, list(range(len(data))))
    assert whole == events(data, cuts)
    fatal = [place for place, event in enumerate(whole) if getattr(event, "fatal", False)]
    assert fatal in ([], [len(whole) - 1])
    assert all(isinstance(event, Event) for event in whole)


@given(INPUT)
def test_memory_is_bounded(data):
    receiver = Receiver(LIMITS)
    for place in range(len(data)):
        receiver.feed(data[place : place + 1])
        while receiver.next() is not None:
            pass
        # Lines and literals, and for each literal what stands for it.
        assert len(receiver._buffer) + len(receiver.partial()) <= LIMITS.line + LIMITS.literal + 100


WORDS = st.sampled_from(
    [
        b" ", b" ", b" ", b"(", b")", b'"', b"\\", b"*", b"1:*", b"1,2:3", b"$", b"INBOX", b"NIL", b'""',
        b'"a b"', b"{3}\nabc", b"{3}\n", b"~{2}\n\0\1", b"{70000@0}\n", b"FLAGS", b"+FLAGS.SILENT",
        b"\\Seen", b"$Junk", b"BODY[", b"]", b"BODY.PEEK[]", b"1.2.MIME", b"HEADER.FIELDS (From)",
        b"<0.10>", b"(CHANGEDSINCE 5 VANISHED)", b"(UNCHANGEDSINCE 5)", b"ALL", b"NOT ", b"OR ",
        b"SINCE 1-Feb-1994", b"HEADER From", b"CHARSET UTF-8 ", b"MODSEQ 1", b"LARGER 5", b"UID 1",
        b"KEYWORD a", b"RETURN (", b"STATUS (MESSAGES)", b"SUBSCRIBED", b"(USE (\\Sent))",
        b"(QRESYNC (1 2 3:4 (1 3)))", b"(CONDSTORE)", b'" 7-Feb-1994 21:52:25 -0800"', b"UTF8 (",
        b"SELECTED", b"SET ", b"STATUS ", b"PERSONAL", b"(MESSAGENEW MESSAGEEXPUNGE)", b"SUBTREE Lists",
        b"IN (mailboxes INBOX) ", b"PARTIAL 1:2", b"PARTIAL -1:-4294967295", b"REFERENCES UTF-8 ", b"(REVERSE DATE)",
        b"DISPLAYFROM", b"FUZZY ", b"FILTER x", b"EMAILID M1", b"(DEPTH infinity)", b"(MAXSIZE 5)", b"/private/comment",
        b"(/shared/comment NIL)", b"(STORAGE 5)", b"fred", b"lrswi", b"+te", b"anyone", b"1:4294967295,*", b"SAVE",
        b"UPDATE", b"CONTEXT", b"BINARY[1]", b"PREVIEW (LAZY)", b"DEFLATE",
        b"AHRpbQA=", b"=", b"&APw-", b"&", b"\xc3\xa4", b"%", b"4294967296",
    ]
)  # fmt: skip
ARGUMENTS = st.lists(st.one_of(WORDS, st.binary(max_size=3)), max_size=25).map(
    lambda words: b" " + b"".join(words)
)


@given(st.sampled_from(sorted(BY_NAME)), st.one_of(ARGUMENTS, st.binary(max_size=60)), st.booleans())
def test_arguments_give_a_value_or_bad(name, arguments, utf8):
    parse = BY_NAME[name].parse
    try:
        value = parse(Parser(arguments, utf8))
    except Bad as bad:
        assert bad.text.isascii()
        assert bad.text.isprintable()
    else:
        assert value == parse(Parser(arguments, utf8))
        hash(value)


NUMBERS = st.one_of(st.integers(1, 40), st.integers(1, STAR - 1))


@given(st.sets(NUMBERS, min_size=1))
def test_numbers_are_read_back(numbers):
    text = format_numbers(sorted(numbers))
    found = SequenceSet.parse(text)
    assert bytes(found) == text
    assert found == SequenceSet.of(sorted(numbers))
    assert found.count() == len(numbers)


ELEMENT = st.one_of(st.integers(1, 30).map(str), st.just("*"))
RANGE = st.one_of(ELEMENT, st.tuples(ELEMENT, ELEMENT).map(":".join))


@given(st.lists(RANGE, min_size=1, max_size=8), st.sets(st.integers(1, 30)))
def test_sets_choose_what_the_plain_reading_says(elements, present):
    """RFC 9051 9, seq-range, taken word by word; a set is read back."""
    uids = array("I", sorted(present))
    highest = uids[-1] if uids else 0
    wanted = set()
    for element in elements if uids else []:
        ends = [highest if end == "*" else int(end) for end in element.split(":")]
        wanted |= set(range(min(ends), max(ends) + 1))
    found = SequenceSet.parse(",".join(elements).encode())
    assert list(found.uids(uids)) == [uid for uid in uids if uid in wanted]
    assert SequenceSet.parse(bytes(found)) == found


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(TEXT)
def test_names_are_read_back(name):
    wire = mutf7.encode(name)
    assert mutf7.decode(wire) == name
    assert wire.isascii()
    printable = name and not any(character < " " or character == "\x7f" for character in name)
    if printable and name.upper() != "INBOX":
        for utf8 in (False, True):
            assert Parser(response.mailbox(name, utf8), utf8).mailbox() == name


@given(st.one_of(st.binary(max_size=20), st.text("&-,+/ABab01 Jjo", max_size=20).map(str.encode)))
def test_a_name_has_one_form_on_the_wire(wire):
    try:
        name = mutf7.decode(wire)
    except ValueError:
        return
    assert mutf7.encode(name) == wire


@given(st.binary(max_size=1200))
def test_strings_are_read_back(value):
    for written in (response.string(value), response.astring(value)):
        if written.endswith(value) and written.startswith(b"{"):
            written = written.replace(b"\r\n", b"\n", 1)  # as the receiver puts a literal
        assert Parser(written).astring() == value


@given(st.integers(0, 4_000_000_000))
def test_dates_are_read_back(seconds):
    assert Parser(response.date_time(seconds)).date_time().timestamp() == seconds


FLAG = st.from_regex(re.compile(r"[A-Za-z$!#&'+,./0-9:;<=>?@^_`|}~-]{1,8}"), fullmatch=True)


@given(st.integers(0, 15), st.lists(FLAG, max_size=5))
def test_flags_are_read_back(bits, keywords):
    flags = response.FlagFormatter({1: "\\Seen", 2: "\\Answered", 4: "$Junk", 8: "$NotJunk"})
    known = {"$junk", "$notjunk"}
    kept = sorted({keyword.lower(): keyword for keyword in reversed(keywords)}.values())
    kept = [keyword for keyword in kept if keyword.lower() not in known]
    line = flags.format(bits, " ".join(kept))
    assert flags.split(Parser(line).flag_list()) == (bits, tuple(kept))


@given(st.text("ab/*%", max_size=12), st.text("ab/", max_size=12))
def test_patterns_match_as_defined(pattern, name):
    plain = "".join({"*": ".*", "%": "[^/]*"}.get(character, re.escape(character)) for character in pattern)
    assert Pattern(pattern).matches(name) is bool(re.fullmatch(plain, name, re.DOTALL))
