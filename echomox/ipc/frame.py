"""Frames between processes, pure: u32 big-endian length, then msgpack [version, type name, request id,
[field, ...]].

A frame is at most `MAX_FRAME` bytes after its length. Decoding is strict: another version, an unknown type,
a field too many or too few or of another type, bytes after the value, a number that is not finite, an empty
or an oversized frame are each a `FrameError`, and the one who reads drops the peer. The request id is 0 for
a message that wants no answer; an answer carries the id of its question.

`Decoder` takes bytes in any cut and gives the same frames, and the same error, as for the whole at once.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Iterator
from functools import cache
from math import isfinite
from operator import attrgetter
from struct import Struct
from typing import Any, NamedTuple

import msgpack

from echomox.ipc import schema
from echomox.ipc.schema import MESSAGES, VERSION, Message

MAX_FRAME = 1 << 20
REQUEST_LIMIT = 1 << 32
LENGTH = Struct(">I")

Checker = Callable[[Any], Any]
"""Takes a value off the wire, returns it as the field wants it, raises FrameError."""


class FrameError(Exception):
    """Bytes that are no frame of ours; str() says why, without their content."""


class Frame(NamedTuple):
    message: Message
    request: int = 0


def _exactly(kind: type) -> Checker:
    def check(value: Any) -> Any:
        if type(value) is not kind:
            raise FrameError(f"{type(value).__name__} where {kind.__name__} stands")
        return value

    return check


def _number(value: Any) -> float:
    if type(value) is int:
        value = float(value)
    if type(value) is not float or not isfinite(value):
        raise FrameError("not a finite number")
    return value


def _optional(inner: Checker) -> Checker:
    return lambda value: None if value is None else inner(value)


def _sequence(inner: Checker) -> Checker:
    def check(value: Any) -> tuple[Any, ...]:
        if type(value) is not tuple:
            raise FrameError("no array where one stands")
        return tuple([inner(item) for item in value])

    return check


def _fixed(inner: tuple[Checker, ...]) -> Checker:
    def check(value: Any) -> tuple[Any, ...]:
        if type(value) is not tuple or len(value) != len(inner):
            raise FrameError(f"no array of {len(inner)} where one stands")
        return tuple([checker(item) for checker, item in zip(inner, value)])

    return check


def _record(kind: type) -> Checker:
    """A dataclass: an array of exactly its fields."""
    hints = typing.get_type_hints(kind, vars(schema))
    checkers = tuple(_checker(hints[field.name]) for field in dataclasses.fields(kind))

    def check(value: Any) -> Any:
        if type(value) is not tuple or len(value) != len(checkers):
            raise FrameError(f"{kind.__name__} has {len(checkers)} fields")
        return kind(*[checker(item) for checker, item in zip(checkers, value)])

    return check


def _checker(hint: Any) -> Checker:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType and len(arguments) == 2 and arguments[1] is type(None):
        return _optional(_checker(arguments[0]))
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return _sequence(_checker(arguments[0]))
    if origin is tuple and arguments and Ellipsis not in arguments:
        return _fixed(tuple(_checker(argument) for argument in arguments))
    if hint is float:
        return _number
    if hint in (str, bytes, int, bool):
        return _exactly(hint)
    if dataclasses.is_dataclass(hint):
        return _record(typing.cast(type, hint))
    raise TypeError(f"schema: no wire form for {hint!r}")


_RECORDS: dict[str, Checker] = {kind.__name__: _record(kind) for kind in MESSAGES}


@cache
def _getter(kind: type) -> Callable[[Any], tuple[Any, ...]]:
    """Takes the fields of a dataclass out of one."""
    if not dataclasses.is_dataclass(kind):
        raise FrameError(f"{kind.__name__} has no wire form")
    names = [field.name for field in dataclasses.fields(kind)]
    return attrgetter(*names) if len(names) > 1 else lambda value: tuple([getattr(value, name) for name in names])


def _fields(value: Any) -> tuple[Any, ...]:
    """A dataclass as msgpack is to see it."""
    kind: Any = type(value)
    return _getter(kind)(value)


def encode(message: Message, request: int = 0) -> bytes:
    """A frame with its length. Raises FrameError when it would exceed MAX_FRAME."""
    data: bytes = msgpack.packb(
        (VERSION, type(message).__name__, request, message), default=_fields, unicode_errors="surrogatepass"
    )
    if len(data) > MAX_FRAME:
        raise FrameError(f"frame of {len(data)} bytes")
    return LENGTH.pack(len(data)) + data


def decode(data: bytes | bytearray | memoryview) -> Frame:
    """The frame in these bytes, without their length."""
    try:
        value = msgpack.unpackb(data, use_list=False, strict_map_key=True, unicode_errors="surrogatepass")
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
        raise FrameError(f"not msgpack: {type(error).__name__}") from None
    if type(value) is not tuple or len(value) != 4:
        raise FrameError("not [version, type, request, fields]")
    version, name, request, fields = value
    if type(version) is not int or version != VERSION:
        raise FrameError("another version")
    record = _RECORDS.get(name) if type(name) is str else None
    if record is None:
        raise FrameError("unknown type")
    if type(request) is not int or not 0 <= request < REQUEST_LIMIT:
        raise FrameError("request id out of range")
    return Frame(record(fields), request)


class Decoder:
    """Bytes in any cut to frames. After a FrameError every further `feed` raises it again."""

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._error: FrameError | None = None

    @property
    def partial(self) -> bool:
        """Whether a frame has begun and not ended."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Gives the frames that are whole now; raises FrameError after the last good one. To be consumed to
        its end.
        """
        if self._error:
            raise self._error
        self._buffer += data
        try:
            yield from self._whole()
        except FrameError as error:
            self._error = error
            self._buffer.clear()
            raise

    def _whole(self) -> Iterator[Frame]:
        buffer = self._buffer
        start = 0
        try:
            while len(buffer) - start >= 4:
                (length,) = LENGTH.unpack_from(buffer, start)
                if not 0 < length <= self._limit:
                    raise FrameError(f"frame of {length} bytes")
                if len(buffer) - start - 4 < length:
                    return
                body = bytes(memoryview(buffer)[start + 4 : start + 4 + length])
                start += 4 + length
                yield decode(body)
        finally:
            del buffer[:start]
