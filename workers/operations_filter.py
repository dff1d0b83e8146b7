"""Operations that ask an account's filter: why a message was judged so, what it knows. See
`workers.operations`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any

from echomox.config.senderlists import filter_of
from echomox.delivery.acquaintance import EVIDENCE, author
from echomox.errors import ConfigError
from echomox.filter.features import READ_BYTES, Envelope
from echomox.filter.learning.ahead import Raw
from echomox.filter.learning.training import envelope_of
from echomox.filter.stages import auth
from echomox.filter.stages.membranes import rules_of
from echomox.filter.tools import stats as known
from echomox.filter.tools.explain import DETAILS, details, timing
from echomox.filter.tools.explain import explain as judge
from echomox.filter.weights import DIRECTORY, ROW, STATE, StateFile
from workers.operations_mail import find_message
from workers.site import Refused, Site

Fields = Mapping[str, Any]
Answer = dict[str, Any]
TIMING = "timing"
SHOWN = (*DETAILS, TIMING)
"""What `explain` says beside the verdict when it is asked for."""
DELIVERED = ("place", "reason", "probability", "parts", "learned")
"""What it says of the verdict that a stored message came with."""


def explain(site: Site, fields: Fields) -> Answer:
    """A stored message judged again, now; with those of SHOWN that are asked for."""
    account = fields["account"]
    store = site.store(account)
    _, row = find_message(store, fields["id"], ["id", "verdict"])
    content = store.content(fields["id"])
    try:
        trace = content.read(0, content.prefix_size) if content.prefix_size else b""
        data = content.read(content.prefix_size)
    finally:
        content.close()
    then = json.loads(row["verdict"]) if row["verdict"] else {}
    raw = Raw(data, as_delivered(envelope_of(trace), then))
    found = explain_message(site, account, raw, [name for name in SHOWN if fields.get(name)])
    return found | {"delivered": {name: then[name] for name in DELIVERED if name in then}}


def as_delivered(envelope: Envelope, verdict: Mapping[str, Any]) -> Envelope:
    """With what the verdict kept of the checks and the header field does not tell: the name in EHLO, and a failure of
    DMARC that the domain's owner only watches."""
    (reasons,) = [item["reasons"] for item in verdict.get("evidence", ()) if item["stage"] == auth.NAME] or [()]
    said = dict(reason.partition("=")[::2] for reason in reasons)
    told = {method: said[method] for method in ("dmarc", "helo") if method in said}
    kept = [result for result in envelope.auth if result[0] not in told]
    return replace(envelope, auth=(*kept, *told.items()))


def explain_message(site: Site, account: str, message: Raw, wanted: Collection[str] = ()) -> Answer:
    """A message judged for an account. wanted: of SHOWN."""
    site.account(account)
    junk_filter = filter_of(site.dynamic(), account)
    try:
        rules = rules_of(site.static().filter.rules)
    except ConfigError as error:
        raise Refused(str(error)) from None
    message = _acquainted(site, account, message)
    accounts = site.paths.accounts
    found = judge(message, account, accounts, junk_filter, rules)
    found |= details((message, account), accounts, junk_filter, rules, wanted)
    if TIMING in wanted:
        found[TIMING] = timing(message, account, accounts, junk_filter)
    return found


def _acquainted(site: Site, account: str, message: Raw) -> Raw:
    """With what a delivery would ask the store: whether the account has written to who it is from."""
    try:
        store = site.store(account)
    except Refused:  # no mail yet
        return message
    address = author(message.data[:READ_BYTES].partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
    if not address or not store.correspondents([address]):
        return message
    envelope = message.envelope
    return message._replace(envelope=replace(envelope, auth=(*envelope.auth, EVIDENCE)))


def stats(site: Site, fields: Fields) -> Answer:
    """F04: MessageTotal, MessageHam, MessageSpam, Threshold, and more."""
    settings = site.account(fields["account"]).junk_filter
    return known.stats(site.paths.accounts, fields["account"], settings)


def state(site: Site, fields: Fields) -> Answer:
    """RESERVOIR and the rows of ESN_STATE, as state.db has them. recorded: False where it has none of the account,
    which was not trained since the reservoir came; then the row is what its settings and its junk.db say."""
    account = fields["account"]
    settings = site.account(account).junk_filter
    directory = site.paths.data / DIRECTORY
    row, states = None, []
    try:
        if (directory / STATE).exists():
            with closing(StateFile(directory)) as file:
                row, states = file.row(account), file.states(account)
    except sqlite3.Error as error:
        raise Refused(f"{DIRECTORY}/{STATE}: {error}; `echomox verifydata` looks at all files") from None
    found = row or {"AccountID": account, **known.stats(site.paths.accounts, account, settings)["reservoir"]}
    reservoir = {name: found[name] for name in ("AccountID", *ROW)} | {"Trained": bool(found["Trained"])}
    return {"reservoir": reservoir, "states": states, "recorded": row is not None}


def word(site: Site, fields: Fields) -> Answer:
    """F05: Word, Ham, Spam."""
    site.account(fields["account"])
    if not fields["word"]:
        raise Refused("give a word; `echomox filter explain` shows which ones a message has")
    return known.word(site.paths.accounts, fields["account"], fields["word"])
