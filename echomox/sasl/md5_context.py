"""MD5 (RFC 1321) that can stop after a block and go on later, which hashlib's cannot: for stored HMAC-MD5
contexts.

A `state` is the 16 octets of A, B, C, D in little-endian order (what MD5 gives as its digest at the end). Not
for anything but CRAM-MD5 (RFC 2195): MD5 is broken as a hash of documents.
"""

from __future__ import annotations

import struct
from math import floor, sin

BLOCK = 64
INITIAL = struct.pack("<4I", 0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476)  # RFC 1321 3.3
_MASK = 0xFFFFFFFF
_SINES = tuple(floor(abs(sin(i + 1)) * 2**32) for i in range(64))  # RFC 1321 3.4, table T
_SHIFTS = (7, 12, 17, 22) * 4 + (5, 9, 14, 20) * 4 + (4, 11, 16, 23) * 4 + (6, 10, 15, 21) * 4
_WORDS = (
    *range(16),
    *((5 * i + 1) % 16 for i in range(16)),
    *((3 * i + 5) % 16 for i in range(16)),
    *((7 * i) % 16 for i in range(16)),
)
_ROUNDS = tuple(zip(_SINES, _SHIFTS, _WORDS, strict=True))


def compress(state: bytes, block: bytes) -> bytes:
    """The state after one block of 64 octets."""
    words = struct.unpack("<16I", block)
    a0, b0, c0, d0 = a, b, c, d = struct.unpack("<4I", state)
    for step, (sine, shift, word) in enumerate(_ROUNDS):
        if step < 16:
            mixed = (b & c) | (~b & d)
        elif step < 32:
            mixed = (d & b) | (~d & c)
        elif step < 48:
            mixed = b ^ c ^ d
        else:
            mixed = c ^ (b | (~d & _MASK))
        total = (a + mixed + sine + words[word]) & _MASK
        a, b, c, d = d, (b + (total << shift | total >> (32 - shift))) & _MASK, b, c
    return struct.pack("<4I", (a0 + a) & _MASK, (b0 + b) & _MASK, (c0 + c) & _MASK, (d0 + d) & _MASK)


def finish(state: bytes, before: int, data: bytes) -> bytes:
    """The digest when `data` follows `before` octets, a multiple of 64, that gave `state`."""
    bits = (before + len(data)) * 8
    padding = b"\x80" + bytes((55 - len(data)) % BLOCK) + struct.pack("<Q", bits & 0xFFFFFFFFFFFFFFFF)
    padded = data + padding
    for place in range(0, len(padded), BLOCK):
        state = compress(state, padded[place : place + BLOCK])
    return state
