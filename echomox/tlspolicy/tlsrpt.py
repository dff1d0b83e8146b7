"""TLSRPT (RFC 8460): the TXT record that asks for reports, and one result as it is counted. Pure.

Reports are put together and sent elsewhere, from the counts that `policies` keeps.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

RUA_LIMIT = 10  # addresses of one record that are kept
TEXT_LIMIT = 200  # characters of additional information

NO_POLICY, STS, TLSA = "no-policy-found", "sts", "tlsa"  # RFC 8460 4.4 "policy-type"
RESULT_TYPES = (
    "starttls-not-supported", "certificate-host-mismatch", "certificate-expired", "certificate-not-trusted",
    "validation-failure", "tlsa-invalid", "dnssec-invalid", "dane-required", "sts-policy-fetch-error",
    "sts-policy-invalid", "sts-webpki-invalid",
)  # fmt: skip
"""RFC 8460 4.3: all that a failure may be called."""


class BadRecord(ValueError):
    """str() says what is wrong with a record."""


def parse_record(values: Sequence[bytes]) -> tuple[str, ...]:
    """Where reports are to go, as mailto: and https: URIs; () when none are wanted. Raises BadRecord.

    RFC 8460 3: records that do not begin with "v=TLSRPTv1;" do not count; unless one is left, none are wanted.
    """
    records = [value for value in values if re.match(rb"v=TLSRPTv1[ \t]*(?:;|\Z)", value)]
    if not records:
        return ()
    if len(records) > 1:
        raise BadRecord(f"{len(records)} records that begin with v=TLSRPTv1; there is to be one")
    for item in records[0].decode("ascii", "replace").split(";")[1:]:
        name, equals, value = item.strip(" \t").partition("=")
        if equals and name.rstrip(" \t") == "rua":
            found = tuple(filter(_usable, (uri.strip(" \t") for uri in value.split(","))))[:RUA_LIMIT]
            if not found:
                raise BadRecord("no usable mailto: or https: address in rua")
            return found
    raise BadRecord("the record has no rua")


def _usable(uri: str) -> bool:
    if not uri.isascii() or not uri.isprintable() or " " in uri or len(uri) > 1000:
        return False
    try:
        parts = urlsplit(uri)
        host = parts.hostname
    except ValueError:
        return False
    if parts.scheme == "mailto":
        local, at, domain = parts.path.rpartition("@")
        return bool(local and at and domain)
    return parts.scheme == "https" and bool(host)


@dataclass(frozen=True, slots=True)
class Result:
    """One TLS session, had or missed. RFC 8460 4.4.

    domain: the policy domain: of the recipient, for "tlsa" the TLSA base domain (RFC 8460 1.1). recipient_domain: that
    of the mail. strings: the policy's lines or TLSA records. patterns: the policy's mx. failure: of RESULT_TYPES,
    "" for a session that was had. detail: of the failure, for its reader.
    """

    domain: str
    recipient_domain: str
    policy: str
    strings: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    failure: str = ""
    mx: str = ""
    ip: str = ""
    local_ip: str = ""
    helo: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Counted:
    """How often a result was met on a day (UTC, YYYY-MM-DD)."""

    day: str
    result: Result
    count: int
