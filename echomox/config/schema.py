"""The configuration as frozen dataclasses; the documentation stands on each field. Here are their names; they stand in
`schema_static` and `schema_dynamic`.

`Static` is `echomox.toml` (a change starts new workers), `Dynamic` is `domains.toml` (taken over by running
workers as a new snapshot). A field's metadata holds `doc` (one or more sentences), and optionally `choices`
or `low`/`high`; `load` checks by them, `describe` writes the commented samples of `conf/` from them. Sizes
are bytes, times are seconds. What `load` gives has file names made absolute and domain names in lower-case
A-labels.
"""

from __future__ import annotations

from echomox.config.option import option
from echomox.config.schema_dynamic import (
    Account,
    Alias,
    Dkim,
    Domain,
    Dynamic,
    JunkFilter,
    MtaSts,
    ReportAddress,
    Route,
    Ruleset,
    Senders,
    Transport,
)
from echomox.config.schema_static import (
    Auth,
    Certificate,
    Dns,
    Filter,
    Limits,
    Listeners,
    Logs,
    MailAuth,
    Outbound,
    Queue,
    Reports,
    Static,
    Tls,
    Workers,
)

__all__ = [
    "Account",
    "Alias",
    "Auth",
    "Certificate",
    "Dkim",
    "Dns",
    "Domain",
    "Dynamic",
    "Filter",
    "JunkFilter",
    "Limits",
    "Listeners",
    "Logs",
    "MailAuth",
    "MtaSts",
    "Outbound",
    "Queue",
    "ReportAddress",
    "Reports",
    "Route",
    "Ruleset",
    "Senders",
    "Static",
    "Tls",
    "Transport",
    "Workers",
    "option",
]
