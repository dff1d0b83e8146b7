"""Operations about transport security: policies of MTA-STS that are remembered, our own policy, our TLSA record (Q13,
Q14, D20). See `workers.operations`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from echomox.config.names import domain_key
from echomox.config.outbound import own_policy, own_policy_id
from echomox.outbound.remote import DATABASE
from echomox.tlspolicy.mtasts import policy_text
from echomox.tlspolicy.policies import Database
from workers.operations_mail import time_text
from workers.site import Refused, Site

Fields = Mapping[str, Any]
Answer = dict[str, Any]


def mtasts_list(site: Site, fields: Fields) -> Answer:
    del fields
    path = site.paths.data / DATABASE
    if not path.exists():
        return {"policies": []}
    try:
        with closing(Database(path)) as database:
            entries = database.entries()
    except sqlite3.Error as error:
        raise Refused(f"{path}: {error}") from None
    return {
        "policies": [
            {
                "domain": entry.domain,
                "mode": entry.policy.mode if entry.policy else "",
                "mx": list(entry.policy.mx) if entry.policy else [],
                "max_age": entry.policy.max_age if entry.policy else 0,
                "id": entry.id,
                "fetched": time_text(entry.fetched) if entry.fetched else "",
                "expires": time_text(entry.expires) if entry.expires else "",
                "tried": time_text(entry.tried),
                "error": entry.error,
            }
            for entry in entries
        ]
    }


def mtasts_policy(site: Site, fields: Fields) -> Answer:
    """name: a domain of ours. text: what the policy host is to serve, with CRLF."""
    try:
        key = domain_key(fields["name"])
    except ValueError as error:
        raise Refused(f"{fields['name']}: {error}") from None
    domain = site.dynamic().domains.get(key)
    if domain is None:
        raise Refused(f"no domain {key}; `echomox domain list` shows what there is")
    hostname = site.static().hostname
    text = policy_text(own_policy(domain, hostname))
    url = f"https://mta-sts.{key}/.well-known/mta-sts.txt"
    return {"domain": key, "url": url, "id": own_policy_id(domain, hostname), "text": text}


def own_tlsa(certificate: str) -> str:
    """The TLSA record (3 1 1) of a PEM file's first certificate; "" when there is none."""
    if not certificate:
        return ""
    from cryptography import x509

    from echomox.tlspolicy.dane import describe, make_record

    with suppress(OSError, ValueError):
        return describe(make_record(x509.load_pem_x509_certificate(Path(certificate).read_bytes())))
    return ""
