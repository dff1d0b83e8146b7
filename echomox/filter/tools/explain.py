"""Why the filter thinks so: everything behind one verdict as a dictionary, for `echomox filter explain`.

A message is given by its own bytes, without our trace prefix, or as `Raw` with the envelope it came in.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from echomox.config.schema import JunkFilter
from echomox.filter.context import Context, Question, Stage
from echomox.filter.counts.known import Known, known, probability
from echomox.filter.decide import decide
from echomox.filter.features import READ_BYTES, Envelope, Features, groups, read
from echomox.filter.hashed import Places, strings
from echomox.filter.judge import Judge
from echomox.filter.learning.ahead import Raw
from echomox.filter.stages import affect, auth, bayes, esn, membranes, with_own
from echomox.ipc.schema import Evidence
from echomox.log import logger

SHOWN = 15
TIMES = 3
DETAILS: dict[str, Callable[[Features, Context, membranes.Rules], dict[str, Any]]] = {
    membranes.NAME: lambda features, context, rules: membranes.trace(features, rules),
    esn.NAME: lambda features, context, rules: esn.explain(features, context, esn.NETWORK),
    affect.NAME: lambda features, context, rules: affect.explain(features),
}
"""What more can be told, by the stage that tells it."""


def explain(
    message: bytes | Raw,
    account: str,
    accounts: Path,
    junk_filter: JunkFilter,
    rules: membranes.Rules,
) -> dict[str, Any]:
    """A message judged for an account now.

    accounts: the directory of all accounts; rules: the server's. Keys: account, probability, place, reason,
    header, parts, learned, stages, checks (of the delivery, each with what it counts), features (headers, body,
    metadata) and words (tokens, known, spam, ham). Raises StoreError for a bad account name.
    """
    features = _features(message)
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
        "checks": [
            {"method": method, "result": result, "log_odds": auth.LOG_ODDS.get((method, result), 0.0)}
            for method, result in features.envelope.auth
        ],
        "features": groups(features),
        "words": words,
    }


def _features(message: bytes | Raw) -> Features:
    raw = message if isinstance(message, Raw) else Raw(message, Envelope())
    return read(raw.data[:READ_BYTES], raw.envelope, len(raw.data))


def details(
    found: tuple[bytes | Raw, str],
    accounts: Path,
    junk_filter: JunkFilter,
    rules: membranes.Rules,
    wanted: Collection[str],
) -> dict[str, Any]:
    """What the stages in `wanted`, of DETAILS, saw and did, by their names. found: a message, for an account; the rest
    as for `explain`."""
    message, account = found
    features = _features(message)
    judge = Judge(accounts, lambda name: junk_filter, logger("filter"))
    try:
        context = judge.context(account)
        return {name: DETAILS[name](features, context.another(), rules) for name in DETAILS if name in wanted}
    finally:
        judge.close()


def timing(message: bytes | Raw, account: str, accounts: Path, junk_filter: JunkFilter) -> dict[str, float]:
    """Microseconds of this thread: to read the message, in each stage, and in all; the least of three times. Stages
    that leave what they computed to later ones pay for it: the first to look up words looks them up for all."""
    spent: dict[str, float] = {}
    judge = Judge(accounts, lambda name: junk_filter, logger("filter"), _timed(with_own(), spent))
    least: dict[str, float] = {}
    try:
        for _ in range(TIMES):
            spent.clear()
            start = time.thread_time()
            features = _features(message)
            spent["read"] = time.thread_time() - start
            judge.verdict(account, features, time.monotonic() + 60.0)
            spent["all"] = time.thread_time() - start
            least = {name: min(value, least.get(name, value)) for name, value in spent.items()}
    finally:
        judge.close()
    return {name: round(1e6 * value, 1) for name, value in least.items()}


def _timed(stages: Sequence[Stage], spent: dict[str, float]) -> list[Stage]:
    def timed(stage: Stage) -> Stage:
        def run(features: Features, context: Context) -> Evidence:
            start = time.thread_time()
            found = stage.run(features, context)
            spent[stage.name] = spent.get(stage.name, 0.0) + time.thread_time() - start
            return found

        def run_batch(questions: Sequence[Question]) -> list[Evidence]:
            start = time.thread_time()
            found = stage.run_batch(questions) if stage.run_batch else []
            spent[stage.name] = spent.get(stage.name, 0.0) + time.thread_time() - start
            return found

        return replace(stage, run=run, run_batch=run_batch if stage.run_batch else None)

    return [timed(stage) for stage in stages]


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
