"""Frames: what is written is read back, and nothing else is taken."""

import msgpack
import pytest

from echomox.ipc.frame import LENGTH, MAX_FRAME, Decoder, Frame, FrameError, decode, encode
from echomox.ipc.schema import (
    MESSAGES,
    VERSION,
    Changed,
    Classify,
    Evidence,
    Failed,
    Hello,
    LearnState,
    Ring,
    Verdict,
    Verdicts,
)

EVIDENCE = Evidence("bayes", 0.25, 1.0, ("viagra 0/3", "größe 1/2"))
SAMPLES = [
    Hello("smtp.0"),
    Ring("u0", 2**63 - 1),
    Changed("", 0),
    Failed("full"),
    LearnState("a", 1, 2, 3, 4, 5),
    Classify("cid", ("u0", "u1"), b"\x00\xff\r\n", "", "a@b", "127.0.0.1", "h", True),
    Classify("cid", (), None, "smtp.0/x", "", "::1", "", False),
    Classify("cid", (), b"", "", "", "::1", "", False, (("spf", "pass"), ("dkim", "fail"))),
    Verdicts((Verdict("u0", 0.0, (EVIDENCE, EVIDENCE), "all", 7), Verdict("u1", 1.0, (), "fallback", 0, 0.5))),
    Verdicts((Verdict("u0", 0.5, (), "all", 7, None, (0.25, -1.0, 0.0)),)),
]


def wire(value: object) -> bytes:
    return msgpack.packb(value)


@pytest.mark.parametrize("message", SAMPLES, ids=lambda message: type(message).__name__)
@pytest.mark.parametrize("request_id", [0, 1, 2**32 - 1])
def test_what_is_encoded_is_decoded(message, request_id):
    data = encode(message, request_id)
    assert LENGTH.unpack(data[:4]) == (len(data) - 4,)
    assert decode(data[4:]) == Frame(message, request_id)


def test_every_message_type_has_its_own_name():
    assert len({kind.__name__ for kind in MESSAGES}) == len(MESSAGES)


def test_a_whole_number_may_stand_for_a_float():
    verdict = [["u0", 1, [], "all", 0, None, [1]]]
    (message, _) = decode(wire([VERSION, "Verdicts", 0, [verdict]]))
    assert isinstance(message, Verdicts)
    assert type(message.verdicts[0].probability) is type(message.verdicts[0].profile[0]) is float


BAD = {
    "empty": b"",
    "no array": wire("Ring"),
    "three parts": wire([VERSION, "Ring", 0]),
    "five parts": wire([VERSION, "Ring", 0, ["a", 1], 0]),
    "another version": wire([VERSION + 1, "Ring", 0, ["a", 1]]),
    "version true": wire([True, "Ring", 0, ["a", 1]]),
    "unknown type": wire([VERSION, "Shutdown", 0, []]),
    "part as message": wire([VERSION, "Evidence", 0, ["a", 0.5, 1.0, []]]),
    "type no string": wire([VERSION, ["Ring"], 0, ["a", 1]]),
    "type bytes": wire([VERSION, b"Ring", 0, ["a", 1]]),
    "request negative": wire([VERSION, "Ring", -1, ["a", 1]]),
    "request too large": wire([VERSION, "Ring", 2**32, ["a", 1]]),
    "request none": wire([VERSION, "Ring", None, ["a", 1]]),
    "field missing": wire([VERSION, "Ring", 0, ["a"]]),
    "field extra": wire([VERSION, "Ring", 0, ["a", 1, 2]]),
    "fields as map": wire([VERSION, "Ring", 0, {"account": "a", "modseq": 1}]),
    "int as string": wire([VERSION, "Ring", 0, ["a", "1"]]),
    "bool as int": wire([VERSION, "Ring", 0, ["a", True]]),
    "float as int": wire([VERSION, "Ring", 0, ["a", 1.0]]),
    "bytes as string": wire([VERSION, "Ring", 0, [b"a", 1]]),
    "none as string": wire([VERSION, "Ring", 0, [None, 1]]),
    "string as array": wire([VERSION, "Verdicts", 0, ["ab"]]),
    "not a number": wire([VERSION, "Verdicts", 0, [[["u", float("nan"), [], "all", 0, None, []]]]]),
    "infinite": wire([VERSION, "Verdicts", 0, [[["u", float("inf"), [], "all", 0, None, []]]]]),
    "profile not finite": wire([VERSION, "Verdicts", 0, [[["u", 0.5, [], "all", 0, None, [float("nan")]]]]]),
    "profile no numbers": wire([VERSION, "Verdicts", 0, [[["u", 0.5, [], "all", 0, None, ["1"]]]]]),
    "bad within": wire([VERSION, "Verdicts", 0, [[["u", 0.5, [["s", 0.5, 1.0, [1]]], "all", 0, None, []]]]]),
    "not UTF-8": b"\x94\x01\xa4Ring\x00\x92\xa1\xff\x01",
    "more after it": wire([VERSION, "Ring", 0, ["a", 1]]) + b"\x00",
    "cut": wire([VERSION, "Ring", 0, ["a", 1]])[:-1],
    "deep": b"\x91" * 5000,
    "timestamp": b"\xd6\xff\x00\x00\x00\x00",
    "map with list key": b"\x81\x90\x00",
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD.keys())
def test_anything_else_is_an_error(data):
    with pytest.raises(FrameError):
        decode(data)


def test_a_frame_that_is_too_large_is_not_written():
    with pytest.raises(FrameError):
        encode(Failed("x" * MAX_FRAME))


@pytest.mark.parametrize("length", [0, MAX_FRAME + 1, 2**32 - 1])
def test_a_length_out_of_bounds_is_an_error_before_its_bytes_come(length):
    decoder = Decoder()
    with pytest.raises(FrameError):
        list(decoder.feed(LENGTH.pack(length)))


def test_the_largest_frame_is_taken():
    overhead = len(encode(Failed("x" * 70_000))) - 4 - 70_000
    message = Failed("x" * (MAX_FRAME - overhead))
    assert list(Decoder().feed(encode(message))) == [Frame(message, 0)]


def test_any_cut_gives_the_same_frames():
    data = b"".join(encode(message, place) for place, message in enumerate(SAMPLES))
    expected = [Frame(message, place) for place, message in enumerate(SAMPLES)]
    for size in (1, 2, 3, 5, 7, 64, len(data)):
        decoder = Decoder()
        frames = [frame for at in range(0, len(data), size) for frame in decoder.feed(data[at : at + size])]
        assert frames == expected
        assert not decoder.partial


def test_good_frames_before_a_bad_one_are_given_and_none_after_it():
    good, bad = encode(Ring("a", 1)), LENGTH.pack(3) + b"abc"
    decoder, frames = Decoder(), []
    with pytest.raises(FrameError):
        frames.extend(decoder.feed(good))
        for frame in decoder.feed(good + bad + good):
            frames.append(frame)
    assert frames == [Frame(Ring("a", 1), 0)] * 2
    with pytest.raises(FrameError):
        list(decoder.feed(good))


def test_partial_says_whether_a_frame_is_open():
    decoder = Decoder()
    data = encode(Ring("a", 1))
    assert list(decoder.feed(data[:6])) == []
    assert decoder.partial
    assert len(list(decoder.feed(data[6:]))) == 1
    assert not decoder.partial
