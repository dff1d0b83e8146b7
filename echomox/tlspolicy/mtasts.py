"""MTA-STS (RFC 8461): the TXT record, the policy's text, which MX hosts it allows, and the policy we publish. Pure.

Strict where the RFC is (version, id, the mode, max_age, at least one mx), tolerant where it says so or where it
costs nothing: CRLF or LF, fields in any order, unknown fields ignored, of a repeated field the first holds (3.2).
It fetches nothing (`fetch`) and remembers nothing (`policies`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from echomox.message.address import normalise_domain

MAX_AGE = 31_557_600  # RFC 8461 3.2: seconds, about one year
BODY_LIMIT = 65_536  # RFC 8461 3.3 suggests 64 KB
MX_LIMIT = 1000  # mx lines that are kept
MODES = ("enforce", "testing", "none")

_ID = re.compile(r"[A-Za-z0-9]{1,32}\Z")
_FIELD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}\Z")
_DIGITS = re.compile(r"[0-9]{1,10}\Z")


class BadPolicy(ValueError):
    """str() says what is wrong with a record or a policy."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy as its text has it. mx: lower-case A-labels, "*." before those that stand for one label more.
    max_age: seconds."""

    mode: str
    mx: tuple[str, ...]
    max_age: int

    def allows(self, host: str) -> bool:
        """Whether an MX host may be used. RFC 8461 4.1: a wildcard stands for exactly the leftmost label."""
        name = host.lower().rstrip(".")
        rest = name.partition(".")[2]
        return any(name == pattern or (pattern.startswith("*.") and rest == pattern[2:]) for pattern in self.mx)

    def strings(self) -> tuple[str, ...]:
        """The lines of the policy, as a TLS report quotes them (RFC 8460 4.4 "policy-string")."""
        return (
            "version: STSv1", f"mode: {self.mode}", *(f"mx: {host}" for host in self.mx), f"max_age: {self.max_age}",
        )  # fmt: skip


def parse_record(values: Sequence[bytes]) -> str | None:
    """The id of the `_mta-sts` TXT records of a domain; None when it has no policy.

    RFC 8461 3.1: records that do not begin with "v=STSv1;" do not count; unless exactly one is left there is no
    policy. Raises BadPolicy when that one has no proper id.
    """
    records = [value for value in values if re.match(rb"v=STSv1[ \t]*(?:;|\Z)", value)]
    if not records:
        return None
    if len(records) > 1:
        raise BadPolicy(f"{len(records)} records that begin with v=STSv1; there is to be one")
    for item in records[0].decode("ascii", "replace").split(";")[1:]:
        name, equals, value = item.strip(" \t").partition("=")
        if equals and name.rstrip(" \t") == "id":
            if not _ID.match(value := value.strip(" \t")):
                raise BadPolicy("the id is not 1 to 32 letters and digits")
            return value
    raise BadPolicy("the record has no id")


def parse_policy(body: bytes) -> Policy:
    """A policy's text. Raises BadPolicy. RFC 8461 3.2."""
    if len(body) > BODY_LIMIT:
        raise BadPolicy(f"longer than {BODY_LIMIT} bytes")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise BadPolicy("not UTF-8") from None
    fields, hosts = _fields(text)
    if fields.get("version") != "STSv1":
        raise BadPolicy("no line `version: STSv1`")
    mode = fields.get("mode", "")
    if mode not in MODES:
        raise BadPolicy("no line `mode:` with enforce, testing or none" if not mode else f"unknown mode {mode[:40]!r}")
    if not _DIGITS.match(fields.get("max_age", "")):
        raise BadPolicy("no line `max_age:` with a number of seconds")
    if not hosts and mode != "none":
        raise BadPolicy("no line `mx:`")
    return Policy(mode, tuple(hosts), min(int(fields["max_age"]), MAX_AGE))


def _fields(text: str) -> tuple[dict[str, str], list[str]]:
    """The first value of each field but mx, and the hosts of mx."""
    fields: dict[str, str] = {}
    hosts: list[str] = []
    for line in text.split("\n"):
        line = line.strip(" \t\r")
        if not line:
            continue
        name, colon, value = line.partition(":")
        name, value = name.rstrip(" \t"), value.strip(" \t")
        if not colon or not _FIELD.match(name):
            raise BadPolicy(f"not a field: {line[:60]!r}")
        if name != "mx":
            fields.setdefault(name, value)
        elif len(hosts) < MX_LIMIT:
            hosts.append(_pattern(value))
    return fields, hosts


def _pattern(value: str) -> str:
    wildcard = value.startswith("*.")
    try:
        name = normalise_domain(value[2:] if wildcard else value)
    except ValueError:
        raise BadPolicy(f"not a host name after mx: {value[:60]!r}") from None
    if not name or name.startswith("["):
        raise BadPolicy(f"not a host name after mx: {value[:60]!r}")
    return "*." + name if wildcard else name


def policy_text(policy: Policy) -> str:
    """What https://mta-sts.DOMAIN/.well-known/mta-sts.txt is to serve, as text/plain. RFC 8461 3.2: CRLF."""
    return "".join(line + "\r\n" for line in policy.strings())


def policy_id(policy: Policy) -> str:
    """An id for the TXT record that changes with the policy: 20 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(policy_text(policy).encode("ascii")).hexdigest()[:20]
