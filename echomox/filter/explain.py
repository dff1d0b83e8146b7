"""Why the filter thinks so: everything behind one verdict as a dictionary, for `echomox filter explain`."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np

from echomox.config.schema import JunkFilter
from echomox.filter.context import Context
from echomox.filter.decide import decide
from echomox.filter.features import READ_BYTES, Envelope, Features, groups, read
from echomox.filter.hashed import Places, strings
from echomox.filter.judge import Judge
from echomox.filter.known import Known, known, probability
from echomox.filter.stages import affect, bayes, esn, membranes, with_own
from echomox.log import logger

SHOWN = 15
DETAILS: dict[str, Callable[[Features, Context, membranes.Rules], dict[str, Any]]] = {
    membranes.NAME: lambda features, context, rules: membranes.trace(features, rules),
    esn.NAME: lambda features, context, rules: esn.explain(features, context, esn.NETWORK),
    affect.NAME: lambda features, context, rules: affect.explain(features),
}
"""What more can be told, by the stage that tells it."""


def explain(
    data: bytes,
    account: str,
    accounts: Path,
    junk_filter: JunkFilter,
    rules: membranes.Rules,
) -> dict[str, Any]:
    """A message (its own bytes, without our trace prefix) judged for an account now.

    accounts: the directory of all accounts; rules: the server's. Keys: account, probability, place, reason,
    header, parts, learned, stages, features (headers, body, metadata) and words (tokens, known, spam, ham).
    Raises StoreError for a bad account name.
    """
    features = read(data[:READ_BYTES], Envelope(), len(data))
    stages = with_own(membranes.stage(lambda: rules))
    judge = Judge(accounts, lambda name: junk_filter, logger("filter"), stages)
    try:
        verdict = judge.verdict(account, features, time.monotonic() + 60.0)
        words = _words(features, judge.context(account))
    finally:
        judge.close()
    decision = decide(junk_filter, verdict)
    return {
        "account": account,
        "probability": verdict.probability,
        "place": decision.place,
        "reason": decision.reason,
        "header": decision.header.decode("ascii"),
        "parts": verdict.parts,
        "learned": verdict.learned,
        "stages": [
            {
                "stage": item.stage,
                "probability": item.probability,
                "weight": item.weight,
                "reasons": list(item.reasons),
            }
            for item in verdict.evidence
        ],
        "features": groups(features),
        "words": words,
    }


def details(
    found: tuple[bytes, str], accounts: Path, junk_filter: JunkFilter, rules: membranes.Rules, wanted: Collection[str]
) -> dict[str, Any]:
    """What the stages in `wanted`, of DETAILS, saw and did, by their names. found: a message, for an account; the rest
    as for `explain`."""
    data, account = found
    features = read(data[:READ_BYTES], Envelope(), len(data))
    judge = Judge(accounts, lambda name: junk_filter, logger("filter"))
    try:
        context = judge.context(account)
        return {name: DETAILS[name](features, context.another(), rules) for name in DETAILS if name in wanted}
    finally:
        judge.close()


def _words(features: Features, context: Context) -> dict[str, Any]:
    """The tokens that pull most to either side, by the account's counts."""
    found = known(features, context)
    places, odds = bayes.strongest(found)
    order = np.argsort(-np.abs(odds), kind="stable")
    spam, ham = (places[order[side[order]]] for side in (odds > 0, odds < 0))
    distinct = found.tokens.distinct
    return {
        "tokens": len(distinct),
        "known": int(found.counts[distinct].any(axis=1).sum()),
        "spam": _shown(features, context, found, spam[:SHOWN]),
        "ham": _shown(features, context, found, ham[:SHOWN]),
    }


def _shown(features: Features, context: Context, found: Known, places: Places) -> list[dict[str, Any]]:
    rows = zip(strings(features.text, found.tokens, places), found.counts[places].tolist())
    return [
        {"probability": probability(ham, spam, context.ham, context.spam), "word": word, "ham": ham, "spam": spam}
        for word, (ham, spam) in rows
    ]
