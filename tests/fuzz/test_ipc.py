"""Frames under any bytes.

Invariant: random bytes give frames or FrameError, nothing else, and the same byte by byte as at once;
decode(encode(x)) == x for every message that has a wire form.
"""

import dataclasses
import typing

from hypothesis import given
from hypothesis import strategies as st

from echomox.ipc.frame import LENGTH, MAX_FRAME, Decoder, Frame, FrameError, decode, encode
from echomox.ipc.schema import MESSAGES, Ring

LEAVES = {
    str: st.text(max_size=30),
    bytes: st.binary(max_size=30),
    int: st.integers(-(2**63), 2**64 - 1),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    type(None): st.none(),
}


def strategy(hint):
    if hint in LEAVES:
        return LEAVES[hint]
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is tuple and arguments[-1] is not Ellipsis:
        return st.tuples(*[strategy(argument) for argument in arguments])
    if typing.get_origin(hint) is tuple:
        return st.lists(strategy(arguments[0]), max_size=4).map(tuple)
    if arguments:
        return st.one_of([strategy(argument) for argument in arguments])
    return record(hint)


def record(kind):
    hints = typing.get_type_hints(kind)
    return st.builds(kind, *[strategy(hints[field.name]) for field in dataclasses.fields(kind)])


MESSAGE = st.one_of([record(kind) for kind in MESSAGES])
REQUEST = st.integers(0, 2**32 - 1)
FRAMED = st.binary(max_size=60).map(lambda data: LENGTH.pack(len(data)) + data)
STREAM = st.lists(st.one_of(st.binary(max_size=60), FRAMED, st.builds(encode, MESSAGE, REQUEST)), max_size=6).map(
    b"".join
)


def outcome(pieces):
    """(frames, whether it ended in FrameError)"""
    decoder, frames = Decoder(), []
    try:
        for piece in pieces:
            for frame in decoder.feed(piece):
                frames.append(frame)
    except FrameError:
        return frames, True
    return frames, False


@given(STREAM)
def test_any_bytes_give_frames_or_an_error_the_same_byte_by_byte(data):
    whole = outcome([data])
    assert whole == outcome([data[at : at + 1] for at in range(len(data))])
    assert all(isinstance(frame, Frame) for frame in whole[0])


@given(MESSAGE, REQUEST)
def test_what_is_encoded_is_decoded(message, request):
    data = encode(message, request)
    assert decode(data[4:]) == Frame(message, request)
    assert outcome([data]) == ([Frame(message, request)], False)


@given(MESSAGE, st.data())
def test_a_changed_byte_gives_a_frame_or_an_error(message, draw):
    data = bytearray(encode(message))
    place = draw.draw(st.integers(0, len(data) - 1))
    data[place] = draw.draw(st.integers(0, 255))
    frames, _ = outcome([bytes(data)])
    assert all(type(frame.message) in MESSAGES for frame in frames)


@given(st.integers(0, 2**32 - 1))
def test_a_length_is_judged_before_its_bytes(length):
    _, failed = outcome([LENGTH.pack(length)])
    assert failed == (not 0 < length <= MAX_FRAME)


def test_bytes_of_the_maximum_length_are_refused_without_harm():
    assert outcome([LENGTH.pack(MAX_FRAME) + b"\x91" * MAX_FRAME])[1]
    assert outcome([encode(Ring("a", 1)) + LENGTH.pack(MAX_FRAME) + b"\xc1" * MAX_FRAME])[0]
