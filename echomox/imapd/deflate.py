"""The stream of COMPRESS=DEFLATE. RFC 4978.

Every write ends in a sync flush, so that nothing waits within the compressor (clients have stalled on servers that
did not). What a client sends is inflated in small pieces, each taken only when the one before has been worked off: a
little that stands for very much costs no memory. A piece ends where the client has flushed, for after UNAUTHENTICATE
what follows is not compressed any more (RFC 8437 4.1). Pure."""

from __future__ import annotations

import zlib

PIECE = 64 * 1024  # octets inflated at once
WINDOW = 13  # bits: 8 KiB of history and 16 KiB of tables for each connection, instead of 256 KiB
MEMORY = 5
FLUSHED = b"\x00\x00\xff\xff"
"""The end of a sync flush (RFC 1951 3.2.4: an empty block, from a full octet on); elsewhere it may stand by chance."""


class Deflate:
    """ending: nothing is compressed any more, and what the client sends only up to where it has flushed."""

    __slots__ = ("_at", "_deflate", "_inflate", "_last", "_waiting", "ending")

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, -WINDOW, MEMORY)
        self._inflate = zlib.decompressobj(-15)
        self._waiting = b""
        self._at = 0  # what of it has been taken
        self._last = b""  # the last octets that were inflated
        self.ending = False

    def compress(self, data: bytes) -> bytes:
        return self._deflate.compress(data) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def put(self, data: bytes) -> None:
        """Octets of the wire."""
        self._waiting = self._waiting[self._at :] + data
        self._at = 0

    def take(self) -> bytes:
        """The next piece, b"" when there is none. Raises zlib.error for what cannot be inflated."""
        while self._at < len(self._waiting) and not self.over:
            if self._inflate.eof:
                raise zlib.error("the client has ended the stream")
            start, end = self._at, self._flush_end()
            data = self._inflate.decompress(memoryview(self._waiting)[start:end], PIECE)
            self._at = end = end - len(self._inflate.unconsumed_tail or self._inflate.unused_data)
            self._last = (self._last + self._waiting[max(start, end - 4) : end])[-4:]
            if data:
                return data
        return b""

    def _flush_end(self) -> int:
        """Where in what waits the client has flushed first; its end, if nowhere."""
        last = self._last[-3:]
        place = (last + self._waiting[self._at : self._at + 3]).find(FLUSHED)  # the marker may have come in two parts
        if place >= 0:
            return self._at + place + len(FLUSHED) - len(last)
        place = self._waiting.find(FLUSHED, self._at)
        return len(self._waiting) if place < 0 else place + len(FLUSHED)

    @property
    def over(self) -> bool:
        """Of a stream that ends: all of it has come."""
        return self.ending and (self._inflate.eof or self._last == FLUSHED)

    def rest(self) -> bytes:
        """What has come behind the stream."""
        rest = self._waiting[self._at :]
        self._waiting, self._at = b"", 0
        return rest
