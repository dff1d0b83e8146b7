"""SASL mechanisms, server side (RFC 4422), pure: `MECHANISMS` is the table, one file a mechanism.

    exchange = MECHANISM["PLAIN"].begin(lookup, context)
    step = first_step(mechanism, exchange, initial_response_or_None)
    while isinstance(step, Challenge): step = exchange.step(<what the client answered, decoded>)

The end is CheckPassword (the caller asks `derive.verify_password`), Success or Failure. Whether a mechanism may
be used on a connection, limits, and which account a name is, are the caller's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from echomox.sasl.cram_md5 import cram_md5
from echomox.sasl.derive import (
    PASSWORD_HASHES,
    decoy,
    derive,
    load_hash,
    password_secret,
    verify_password,
)
from echomox.sasl.external import external
from echomox.sasl.login import login
from echomox.sasl.plain import plain
from echomox.sasl.prepare import BadPassword, prepare_password
from echomox.sasl.scram import scram
from echomox.sasl.values import (
    Challenge,
    CheckPassword,
    Context,
    Exchange,
    Failure,
    Lookup,
    Outcome,
    Reason,
    Secrets,
    Step,
    Steps,
    Success,
)

__all__ = [
    "MECHANISM", "MECHANISMS", "PASSWORD_HASHES", "BadPassword", "Challenge", "CheckPassword", "Context", "Exchange",
    "Failure", "Lookup", "Mechanism", "Outcome", "Reason", "Secrets", "Step", "Success", "decoy", "derive",
    "first_step", "load_hash", "password_secret", "prepare_password", "verify_password",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mechanism:
    """needs_tls: the password itself goes over the wire, or TLS is what the login goes by. client_first: without
    an initial response the client is sent an empty challenge. secret: the scheme of `Secrets` it needs; "password": any
    of PASSWORD_HASHES; "": none. steps: see `values`."""

    name: str
    needs_tls: bool
    client_first: bool
    secret: str
    steps: Callable[[Lookup, Context], Steps]

    def begin(self, lookup: Lookup, context: Context) -> Exchange:
        return Exchange(self.steps(lookup, context))


MECHANISMS = (
    Mechanism("EXTERNAL", True, True, "", external),
    Mechanism("SCRAM-SHA-256-PLUS", True, True, "scram-sha-256", scram("scram-sha-256", "sha256", plus=True)),
    Mechanism("SCRAM-SHA-256", False, True, "scram-sha-256", scram("scram-sha-256", "sha256")),
    Mechanism("SCRAM-SHA-1-PLUS", True, True, "scram-sha-1", scram("scram-sha-1", "sha1", plus=True)),
    Mechanism("SCRAM-SHA-1", False, True, "scram-sha-1", scram("scram-sha-1", "sha1")),
    Mechanism("PLAIN", True, True, "password", plain),
    Mechanism("LOGIN", True, False, "password", login),
    Mechanism("CRAM-MD5", False, False, "cram-md5", cram_md5),
)
"""In the order they are offered: the best first, for some clients take the first they know."""

MECHANISM = {mechanism.name: mechanism for mechanism in MECHANISMS}


def first_step(mechanism: Mechanism, exchange: Exchange, initial: bytes | None) -> Step:
    """initial: the initial response, None when there was none (RFC 4959 3: "=" is one of no octets)."""
    if initial is None:
        return Challenge(b"") if mechanism.client_first else exchange.step(b"")
    return exchange.step(initial)
