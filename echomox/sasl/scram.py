"""SCRAM-SHA-256 and SCRAM-SHA-1, and both with channel binding (-PLUS; RFC 5802, RFC 7677), server side, from stored
keys.

RFC 5802 6: -PLUS takes "p" with a binding that the connection has, and the data must be ours; the plain ones take
"n", and "y" only where -PLUS is not offered, for "y" says that the client did not see it offered. The server's
signature goes out as a last challenge, which the client answers with an empty response, as IMAP and SMTP need it. Own
code: stored keys and decoys go in as they are, and the packages at hand load an X.509 parser for bindings we do not
do.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass

from echomox.sasl.derive import OLDER, ScramKeys, parse_scram
from echomox.sasl.values import (
    Challenge,
    Context,
    Lookup,
    Reason,
    Refused,
    Steps,
    Success,
    check_authzid,
    prepare_name,
)

# RFC 5802 7. A mandatory extension ("m=") where the name should be does not match, as it must not.
_CLIENT_FIRST = re.compile(
    r"(?P<header>(?P<binding>n|y|p=[A-Za-z0-9.\-]+),(?:a=(?P<authzid>[^,\0]+))?,)"
    r"(?P<bare>n=(?P<name>[^,\0]+),r=(?P<nonce>[!-+\--~]+)(?:,[A-Za-z]=[^,\0]+)*)"
)
_CLIENT_FINAL = re.compile(
    r"(?P<unproved>c=(?P<binding>[A-Za-z0-9+/=]+),r=(?P<nonce>[!-+\--~]+)(?:,[A-Za-z]=[^,\0]+)*),p=(?P<proof>[A-Za-z0-9+/=]+)"
)
_ESCAPES = {"=2C": ",", "=3D": "="}
_ESCAPE = re.compile("=(?:2C|3D)?")


@dataclass(frozen=True, slots=True)
class _First:
    """What of the client's first message is needed later."""

    header: str
    binding: str
    bare: str
    authzid: str
    name: str
    nonce: str


def scram(scheme: str, hash_name: str, plus: bool = False) -> Callable[[Lookup, Context], Steps]:
    """The mechanism that reads secrets of `scheme`. plus: with channel binding."""

    def steps(lookup: Lookup, context: Context) -> Steps:
        first = _client_first((yield Challenge(b"")))
        bound = _binding(first, context, plus)
        secrets = lookup(first.name)
        secret = secrets.get(scheme)
        if secret is None:
            raise Refused(Reason.CREDENTIALS, first.name)
        keys = parse_scram(secret)
        # The same salt, for clients that prepare passwords by RFC 4013 (`derive.older_password`).
        older = secrets.get(scheme + OLDER)
        nonce = first.nonce + context.nonce()
        server_first = f"r={nonce},s={_base64(keys.salt)},i={keys.iterations}"
        final = yield Challenge(server_first.encode("ascii"))
        choice = [keys, parse_scram(older)] if older else [keys]
        signature = _check(final, (first, bound), nonce, server_first, (choice, hash_name))
        answer = yield Challenge(b"v=" + base64.b64encode(signature))
        if answer:
            raise Refused(Reason.SYNTAX, first.name, "an answer to the signature")
        return Success(first.authzid, first.name)

    return steps


def _client_first(response: bytes) -> _First:
    match = _CLIENT_FIRST.fullmatch(_text(response))
    if match is None:
        raise Refused(Reason.SYNTAX, detail="not a first message")
    name = prepare_name(_saslname(match["name"]))
    authzid = prepare_name(_saslname(match["authzid"])) if match["authzid"] else ""
    check_authzid(authzid, name)
    return _First(match["header"], match["binding"], match["bare"], authzid, name, match["nonce"])


def _binding(first: _First, context: Context, plus: bool) -> bytes:
    """The data that the client's last message has to hold after its header. Raises Refused."""
    if not plus:
        if first.binding.startswith("p"):
            raise Refused(Reason.SYNTAX, first.name, "channel binding without a mechanism that has it")
        if first.binding == "y" and context.plus:
            raise Refused(Reason.CREDENTIALS, first.name, "the client was not shown that channel binding is offered")
        return b""
    if not first.binding.startswith("p="):
        raise Refused(Reason.SYNTAX, first.name, "no channel binding")
    data = context.bindings.get(first.binding[2:])
    if not data:
        raise Refused(Reason.SYNTAX, first.name, "channel binding type not supported")
    return data


def _check(
    response: bytes, begun: tuple[_First, bytes], nonce: str, server_first: str, secret: tuple[list[ScramKeys], str]
) -> bytes:
    """The server's signature, when the client's proof is right. Raises Refused."""
    first, bound = begun
    choice, hash_name = secret
    match = _CLIENT_FINAL.fullmatch(_text(response))
    if match is None:
        raise Refused(Reason.SYNTAX, first.name, "not a final message")
    if match["binding"] != _base64(first.header.encode("utf-8") + bound):
        raise Refused(
            Reason.CREDENTIALS if bound else Reason.SYNTAX, first.name, "channel bindings do not match"
        )  # a wrong one may be a man in the middle's
    try:
        proof = base64.b64decode(match["proof"], validate=True)
    except ValueError:
        raise Refused(Reason.SYNTAX, first.name, "not a final message") from None
    auth_message = f"{first.bare},{server_first},{match['unproved']}".encode()
    if not hmac.compare_digest(match["nonce"], nonce):
        raise Refused(Reason.CREDENTIALS, first.name)
    for keys in choice:
        client_signature = hmac.digest(keys.stored, auth_message, hash_name)
        if len(proof) != len(client_signature):
            break
        client_key = bytes(a ^ b for a, b in zip(proof, client_signature, strict=True))
        if hmac.compare_digest(hashlib.new(hash_name, client_key).digest(), keys.stored):
            return hmac.digest(keys.server, auth_message, hash_name)
    raise Refused(Reason.CREDENTIALS, first.name)


def _text(response: bytes) -> str:
    try:
        return response.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused(Reason.SYNTAX, detail="not UTF-8") from None


def _saslname(text: str) -> str:
    """RFC 5802 5.1: "," is =2C and "=" is =3D; any other "=" is an error."""

    def unescape(match: re.Match[str]) -> str:
        if match[0] not in _ESCAPES:
            raise Refused(Reason.SYNTAX, detail="bad escape in a name")
        return _ESCAPES[match[0]]

    return _ESCAPE.sub(unescape, text)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
