"""Answers of HTTP servers, read within bounds (RFC 9112): head, then body by length, in chunks, or to the end.

No proxy, no cookie, no compression, one request a connection: an HTTP client of its own because the few requests of a
mail server (MTA-STS policies, RDAP) need no more, and these bounds are the point. Who calls sets the time limit.
"""

from __future__ import annotations

import asyncio
import re

HEADER_LIMIT = 16_384  # bytes of status line and header; also the limit that the StreamReader is to be made with
CHUNKS = 65_536
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?: [^\r\n]*)?\Z")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?\r\n\Z")
Fields = dict[bytes, bytes]


class BadAnswer(Exception):
    """It is not HTTP, is cut short, or is too large. str() says which."""


async def read_head(reader: asyncio.StreamReader) -> tuple[int, Fields]:
    """(status, fields: lower-case name -> value; of a field that is there twice the first). Raises BadAnswer."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        raise BadAnswer("the answer is cut short or has a header too long") from None
    status, *lines = head[:-4].split(b"\r\n")
    match = _STATUS.match(status)
    if match is None:
        raise BadAnswer("the answer is not HTTP")
    fields: Fields = {}
    for line in lines:
        name, _, value = line.partition(b":")
        fields.setdefault(name.strip().lower(), value.strip())
    return int(match[1]), fields


async def read_body(reader: asyncio.StreamReader, fields: Fields, limit: int) -> bytes:
    """At most `limit` bytes. Raises BadAnswer."""
    try:
        return await _body(reader, fields, limit)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        raise BadAnswer("the answer is cut short or has a header too long") from None


async def _body(reader: asyncio.StreamReader, fields: Fields, limit: int) -> bytes:
    coding = fields.get(b"transfer-encoding", b"identity").lower()
    if coding != b"identity":
        if coding != b"chunked":
            raise BadAnswer("an unknown transfer coding")
        return await _chunks(reader, limit)
    length = fields.get(b"content-length")
    if length is None:
        return await _until_end(reader, limit)
    if not re.fullmatch(rb"[0-9]{1,9}", length):
        raise BadAnswer("the content length is no number")
    if int(length) > limit:
        raise BadAnswer(f"longer than {limit} bytes")
    return await reader.readexactly(int(length))


async def _until_end(reader: asyncio.StreamReader, limit: int) -> bytes:
    body = bytearray()
    while piece := await reader.read(limit):
        body += piece
        if len(body) > limit:
            raise BadAnswer(f"longer than {limit} bytes")
    return bytes(body)


async def _chunks(reader: asyncio.StreamReader, limit: int) -> bytes:
    """RFC 9112 7.1; the trailer is not read, for the connection ends here."""
    body = bytearray()
    for _ in range(min(limit, CHUNKS)):
        match = _CHUNK.match(await reader.readuntil(b"\n"))
        if match is None:
            raise BadAnswer("a broken chunk")
        size = int(match[1], 16)
        if size == 0:
            return bytes(body)
        if len(body) + size > limit:
            raise BadAnswer(f"longer than {limit} bytes")
        body += await reader.readexactly(size)
        if await reader.readexactly(2) != b"\r\n":
            raise BadAnswer("a broken chunk")
    raise BadAnswer("too many chunks")
