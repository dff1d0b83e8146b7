"""SASL, client side, for relays that want a login: SCRAM-SHA-256, SCRAM-SHA-1, CRAM-MD5, PLAIN, LOGIN. Pure.

RFC 4616, RFC 2195, RFC 5802, RFC 7677. A mechanism is a generator that yields answers and is sent challenges; its
first answer is the initial response, None for mechanisms in which the server begins (RFC 4954 4).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Collection, Generator

Answers = Generator[bytes | None, bytes, None]
ITERATIONS_LIMIT = 1_000_000
_SERVER_FIRST = re.compile(r"r=([!-+\--~]+),s=([A-Za-z0-9+/=]+),i=([1-9][0-9]{0,9})(?:,.*)?\Z")


class LoginError(Exception):
    """The relay's challenge is wrong, or it does not know the password itself."""


def plain(user: str, password: str, _: str) -> Answers:
    yield b"\0" + user.encode() + b"\0" + password.encode()


def login(user: str, password: str, _: str) -> Answers:
    yield None
    yield user.encode()
    yield password.encode()


def cram_md5(user: str, password: str, _: str) -> Answers:
    challenge = yield None
    yield user.encode() + b" " + hmac.new(password.encode(), challenge, "md5").hexdigest().encode()


def scram(hash_name: str) -> Callable[[str, str, str], Answers]:
    def answers(user: str, password: str, nonce: str) -> Answers:
        bare = f"n={user.replace('=', '=3D').replace(',', '=2C')},r={nonce}"
        server_first = _text((yield f"n,,{bare}".encode()))
        match = _SERVER_FIRST.match(server_first)
        if match is None or not match[1].startswith(nonce) or int(match[3]) > ITERATIONS_LIMIT:
            raise LoginError("a wrong SCRAM challenge")
        try:
            salt = base64.b64decode(match[2], validate=True)
        except ValueError:
            raise LoginError("a wrong SCRAM challenge") from None
        salted = hashlib.pbkdf2_hmac(hash_name, password.encode(), salt, int(match[3]))
        client_key = hmac.digest(salted, b"Client Key", hash_name)
        unproved = f"c=biws,r={match[1]}"
        message = f"{bare},{server_first},{unproved}".encode()
        signature = hmac.digest(hashlib.new(hash_name, client_key).digest(), message, hash_name)
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        final = yield f"{unproved},p={base64.b64encode(proof).decode()}".encode()
        server = hmac.digest(hmac.digest(salted, b"Server Key", hash_name), message, hash_name)
        if not hmac.compare_digest(final, b"v=" + base64.b64encode(server)):
            raise LoginError("the relay did not prove that it knows the password")
        yield b""

    return answers


def _text(challenge: bytes) -> str:
    try:
        return challenge.decode("utf-8")
    except UnicodeDecodeError:
        raise LoginError("a wrong SCRAM challenge") from None


MECHANISMS: tuple[tuple[str, bool, Callable[[str, str, str], Answers]], ...] = (
    ("SCRAM-SHA-256", False, scram("sha256")),
    ("SCRAM-SHA-1", False, scram("sha1")),
    ("CRAM-MD5", False, cram_md5),
    ("PLAIN", True, plain),
    ("LOGIN", True, login),
)
"""(name, whether the password itself goes over the wire, its answers), the best first."""


def choose(offered: Collection[str], protected: bool) -> tuple[str, Callable[[str, str, str], Answers]] | None:
    """The best mechanism offered; without protection of the wire none that gives the password away."""
    for name, exposes, answers in MECHANISMS:
        if name in offered and (protected or not exposes):
            return name, answers
    return None
