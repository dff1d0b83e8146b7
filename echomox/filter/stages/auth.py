"""The authentication stage: what the delivery's checks of SPF, DKIM and DMARC found (F09).

A fixed table of log-odds, added up over the methods that gave a result; of several DKIM signatures one that passes is
enough, for mailing lists break those of others; a failure of SPF is in that of DMARC. Passing says only that a domain
stands behind a mail, and spammers have domains: it counts little. A failure counts more where the domain's owner asked
for it (DMARC). Without any result the stage has no opinion.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import exp

from echomox.filter.context import Context, no_opinion
from echomox.filter.features import Features
from echomox.ipc.schema import Evidence

NAME = "auth"
LOG_ODDS: Mapping[tuple[str, str], float] = {
    ("dmarc", "pass"): -0.6,
    ("dmarc", "fail"): 2.0,
    ("dmarc", "watched"): 0.8,
    ("dkim", "pass"): -0.3,
    ("dkim", "fail"): 0.5,
    ("dkim", "permerror"): 0.3,
    ("spf", "pass"): -0.2,
    ("spf", "fail"): 1.2,
    ("spf", "softfail"): 0.6,
    ("spf", "permerror"): 0.3,
    ("iprev", "pass"): -0.1,
    ("iprev", "fail"): 0.6,
    ("arc", "pass"): -0.2,
    ("arc", "fail"): 0.2,
    ("helo", "fail"): 0.3,
}
WEIGHT = 1.0


def run(features: Features, context: Context) -> Evidence:
    """P(spam) by the checks; reasons: each result that says something, as "spf=fail"."""
    found = [result for result in dict.fromkeys(features.envelope.auth) if result in LOG_ODDS]
    if ("dkim", "pass") in found:
        found = [result for result in found if result[0] != "dkim" or result[1] == "pass"]
    if ("dmarc", "fail") in found or ("dmarc", "watched") in found:
        found = [result for result in found if result not in (("spf", "fail"), ("spf", "softfail"))]
    if not found:
        return no_opinion(NAME, "no results")
    value = sum(LOG_ODDS[result] for result in found)
    order = sorted(found, key=lambda result: (-abs(LOG_ODDS[result]), result))
    return Evidence(NAME, 1.0 / (1.0 + exp(-value)), WEIGHT, tuple(f"{method}={result}" for method, result in order))
