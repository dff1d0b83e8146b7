"""What SASL exchanges are made of (RFC 4422): steps, outcomes, and the `Exchange` that runs a mechanism.

A mechanism is a generator: it yields each Challenge, is sent each response of the client (decoded from
base64), and returns how it ended. Nothing here reads, waits, hashes slowly or knows accounts. Cancelling
("*") is the protocol's matter.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from echomox.sasl.prepare import prepare_username

RESPONSE = 4096
"""Octets of a response, decoded; a longer one ends the exchange."""

Secrets = Mapping[str, str]
"""Derived secrets by scheme, see `derive`: "bcrypt" or "argon2id", "scram-sha-256", "scram-sha-1", "cram-md5",
"generation"."""
Lookup = Callable[[str], Secrets]
"""Secrets of a name. Never fails and always has every scheme: what is missing is a decoy (`derive.decoy`)."""


class Reason(StrEnum):
    """Two kinds: the name and the secret are not right, or what came is no response of this mechanism."""

    CREDENTIALS = "credentials"
    SYNTAX = "syntax"


@dataclass(frozen=True, slots=True)
class Challenge:
    """To be sent; the next response goes to `step`."""

    data: bytes


@dataclass(frozen=True, slots=True)
class CheckPassword:
    """The end of PLAIN and LOGIN: whether the client is in is for the caller to find out
    (`derive.verify_password`)."""

    authzid: str
    name: str
    password: str

    def __repr__(self) -> str:
        return f"CheckPassword(name={self.name!r})"


@dataclass(frozen=True, slots=True)
class Success:
    """authzid: "" or the name. final: what the mechanism has to say still; b"" always in IMAP and SMTP,
    which have no place for it in their last reply (RFC 4422 4, item 3), so that SCRAM says it as a
    challenge before."""

    authzid: str
    name: str
    final: bytes = b""


@dataclass(frozen=True, slots=True)
class Failure:
    """name: "" when it did not come to one. detail: for the log only, the client must not tell one from
    the other."""

    reason: Reason
    name: str = ""
    detail: str = ""


Outcome = CheckPassword | Success | Failure
Step = Challenge | Outcome
Steps = Generator[Challenge, bytes, Outcome]


@dataclass(frozen=True, slots=True)
class Context:
    """host: our name, in CRAM-MD5 challenges. now: Unix seconds. nonce: gives a new unguessable string of
    printable US-ASCII without comma at each call, 18 characters or more (secrets.token_urlsafe fits).

    bindings: data of channel binding by type (RFC 5929), of those that may be used. plus: the mechanisms with
    channel binding are offered on this connection, so that a client which thinks they are not was lied to.
    certificate: names that the client's TLS certificate stands for, the first one if it asks for none (EXTERNAL)."""

    host: str
    now: float
    nonce: Callable[[], str]
    bindings: Mapping[str, bytes] = field(default_factory=dict)
    plus: bool = False
    certificate: tuple[str, ...] = ()


class Refused(Exception):
    """Raised within a mechanism: ends it with this failure."""

    def __init__(self, reason: Reason, name: str = "", detail: str = "") -> None:
        super().__init__(reason)
        self.failure = Failure(reason, name, detail)


class Exchange:
    """One client's exchange. Where the server speaks first, the first `step` is that of b"", and gives the
    challenge."""

    __slots__ = ("_steps",)

    def __init__(self, steps: Steps) -> None:
        next(
            steps
        )  # to the yield that waits for the first response; its empty challenge is the protocol's to send
        self._steps: Steps | None = steps

    def step(self, response: bytes) -> Step:
        """Takes a decoded response. Anything but a Challenge is the end."""
        steps, self._steps = self._steps, None
        if steps is None:
            return Failure(Reason.SYNTAX, detail="a response after the end")
        if len(response) > RESPONSE:
            return Failure(Reason.SYNTAX, detail="response too long")
        try:
            challenge = steps.send(response)
        except StopIteration as end:
            outcome: Outcome = end.value
            return outcome
        except Refused as refused:
            return refused.failure
        self._steps = steps
        return challenge


def prepare_name(name: bytes | str) -> str:
    """A name as it is compared (`prepare.prepare_username`). Raises Refused."""
    try:
        text = name.decode("utf-8") if isinstance(name, bytes) else name
    except UnicodeDecodeError:
        raise Refused(Reason.SYNTAX, detail="name not UTF-8") from None
    try:
        return prepare_username(text)
    except ValueError:
        raise Refused(Reason.SYNTAX, detail="not a name") from None


def check_authzid(authzid: str, name: str) -> None:
    """Raises Refused unless the client asks to act as itself (RFC 4422 3.4.1)."""
    if authzid and authzid.casefold() != name.casefold():
        # Nobody may act for another here.
        raise Refused(Reason.CREDENTIALS, name, "other authorization identity")
