"""The stream of COMPRESS=DEFLATE. RFC 4978.

Every write ends in a sync flush, so that nothing waits within the compressor (clients have stalled on servers that
did not). What a client sends is inflated in small pieces, each taken only when the one before has been worked off: a
little that stands for very much costs no memory. Pure."""

from __future__ import annotations

import zlib

PIECE = 64 * 1024  # octets inflated at once
WINDOW = 13  # bits: 8 KiB of history and 16 KiB of tables for each connection, instead of 256 KiB
MEMORY = 5


class Deflate:
    __slots__ = ("_deflate", "_inflate", "_waiting")

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, -WINDOW, MEMORY)
        self._inflate = zlib.decompressobj(-15)
        self._waiting = b""

    def compress(self, data: bytes) -> bytes:
        return self._deflate.compress(data) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def put(self, data: bytes) -> None:
        """Octets of the wire."""
        self._waiting += data

    def take(self) -> bytes:
        """The next piece, b"" when there is none. Raises zlib.error for what cannot be inflated."""
        while self._waiting:
            data = self._inflate.decompress(self._waiting, PIECE)
            self._waiting = self._inflate.unconsumed_tail
            if data:
                return data
        return b""
