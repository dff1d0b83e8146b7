"""The packed forms of version 9 of the index, one for each vocabulary and one for none. What is other than in the forms
from DENSE on (packing.py), whose envelope and parts they have:

    prefix     deflated as `traces.shorten` has it, with the envelope, as it is kept, in the dictionary
    verdict    the guess has the digits of weights, and the account, that the vocabulary has
    rest       has no preview, which is more than all else in it: who wants one reads the message (previews.py)

Which form a row has says its number: FIRST - form is that of its vocabulary, 0 for none. Nothing here may ever change.
Pure.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any

import msgpack

from echomox.store.rows import guess, packing, traces

FIRST = -1
_LEVEL = 6
_BITS = -14
"""Of the window when packing: the longest dictionary, and what is packed, fit in."""
_MEMORY = 5
_deflater = partial(zlib.compressobj, _LEVEL, zlib.DEFLATED, _BITS, _MEMORY, zlib.Z_DEFAULT_STRATEGY)
_PREVIEW = packing.REST.index("preview")


class Words:
    """What a form has its streams made with. rest, trace: of its vocabulary."""

    def __init__(self, rest: bytes, trace: bytes) -> None:
        self.rest = rest + packing.OF_REST
        self.prefix = packing.OF_PREFIX + trace
        self.verdict = trace

    @cached_property
    def facts(self) -> guess.Facts:
        return guess.facts(self.verdict)


def _deflated(data: bytes, dictionary: bytes) -> bytes:
    one = _deflater(dictionary)
    return one.compress(data) + one.flush()


def _inflated(data: bytes, dictionary: bytes) -> bytes:
    return zlib.decompressobj(-15, dictionary).decompress(data)


def pack_prefix(prefix: bytes, envelope: bytes, words: Words) -> bytes:
    """envelope: packed, here and below."""
    return _deflated(traces.shorten(prefix), words.prefix + envelope) if prefix else b""


def unpack_prefix(packed: bytes, envelope: bytes, words: Words) -> bytes:
    """Raises ValueError or zlib.error when damaged."""
    return traces.lengthen(_inflated(packed, words.prefix + envelope)) if packed else b""


def pack_verdict(verdict: str, prefix: bytes, words: Words) -> bytes | str:
    """prefix: as it is, not packed."""
    guessed = words.verdict + guess.verdict(prefix, words.facts)
    return _deflated(verdict.encode("utf-8", "replace"), guessed) if verdict else ""


def unpack_verdict(packed: bytes | str, prefix: bytes, words: Words) -> str:
    if not isinstance(packed, bytes) or not packed:
        return ""
    return _inflated(packed, words.verdict + guess.verdict(prefix, words.facts)).decode()


def pack_rest(values: Sequence[Any], envelope: bytes, words: Words) -> bytes:
    """values: of REST."""
    full, body, *others = values[:_PREVIEW]
    short = full.startswith(body[:-1]) and body[-1:] == b")"
    kept = (full, len(body) - 1 if short else body, *others)
    return _deflated(msgpack.packb(kept), words.rest + envelope)


def unpack_rest(packed: bytes, envelope: bytes, words: Words) -> tuple[Any, ...]:
    """The values of REST, None for the preview. Raises ValueError or zlib.error when damaged."""
    full, body, *others = msgpack.unpackb(_inflated(packed, words.rest + envelope))
    return (full, full[:body] + b")" if isinstance(body, int) else body, *others, None)
