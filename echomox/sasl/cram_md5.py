"""CRAM-MD5 (RFC 2195): the client proves that it can make the HMAC-MD5 of a challenge.

Kept is not the password but the two MD5 states after the first block of HMAC's inner and outer hash (RFC 2104
4). Who steals them can log in by CRAM-MD5, and can try passwords at the speed of MD5; a site may switch the
mechanism off.
"""

from __future__ import annotations

import hmac
import re

from echomox.sasl import md5_context
from echomox.sasl.derive import parse_cram
from echomox.sasl.values import (
    Challenge,
    Context,
    Failure,
    Lookup,
    Reason,
    Refused,
    Steps,
    Success,
    prepare_name,
)

_RESPONSE = re.compile(rb"(.+) ([0-9a-fA-F]{32})", re.DOTALL)


def cram_md5(lookup: Lookup, context: Context) -> Steps:
    first = yield Challenge(b"")
    if first:
        raise Refused(Reason.SYNTAX, detail="initial response")  # the server speaks first (RFC 2195 2)
    challenge = f"<{context.nonce()}.{int(context.now)}@{context.host}>".encode("ascii", "replace")
    response = yield Challenge(challenge)
    match = _RESPONSE.fullmatch(response)
    if match is None:
        raise Refused(Reason.SYNTAX, detail="not a name and a digest")
    name = prepare_name(match[1])
    secret = lookup(name).get("cram-md5")
    if secret is None:
        return Failure(Reason.CREDENTIALS, name)
    expected = hmac_md5(*parse_cram(secret), challenge)
    if not hmac.compare_digest(expected, bytes.fromhex(match[2].decode("ascii"))):
        return Failure(Reason.CREDENTIALS, name)
    return Success("", name)


def hmac_md5(inner: bytes, outer: bytes, message: bytes) -> bytes:
    """HMAC-MD5 from its two states after the key's block."""
    middle = md5_context.finish(inner, md5_context.BLOCK, message)
    return md5_context.finish(outer, md5_context.BLOCK, middle)
