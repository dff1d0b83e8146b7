"""Why the filter thinks so: everything behind one verdict as a dictionary, for `echomox filter explain`."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from echomox.config.schema import JunkFilter
from echomox.filter.context import Context
from echomox.filter.decide import decide
from echomox.filter.features import READ_BYTES, Envelope, Features, groups, read
from echomox.filter.judge import Judge
from echomox.filter.stages import affect, bayes, esn, membranes
from echomox.filter.words import NOTHING, Readers
from echomox.log import Log, logger

SHOWN = 15
DETAILS: dict[str, Callable[[Features, Context], dict[str, Any]]] = {
    membranes.NAME: lambda features, context: membranes.trace(features),
    esn.NAME: lambda features, context: esn.explain(features, context, esn.NETWORK),
    affect.NAME: lambda features, context: affect.explain(features),
}
"""What more can be told, by the stage that tells it."""


def explain(
    data: bytes,
    account: str,
    accounts: Path,
    junk_filter: JunkFilter,
    log: Log,
) -> dict[str, Any]:
    """A message (its own bytes, without our trace prefix) judged for an account now.

    accounts: the directory of all accounts. Keys: account, probability, place, reason, header, parts,
    learned, stages, features (headers, body, metadata) and words (tokens, known, spam, ham). Raises
    StoreError for a bad account name.
    """
    features = read(data[:READ_BYTES], Envelope(), len(data))
    judge = Judge(accounts, lambda name: junk_filter, log)
    verdict = judge.verdict(account, features, time.monotonic() + 60.0)
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
        "words": _words(features.words(junk_filter.ngrams), account, accounts),
    }


def details(
    data: bytes, account: str, accounts: Path, junk_filter: JunkFilter, wanted: Collection[str]
) -> dict[str, Any]:
    """What the stages in `wanted`, of DETAILS, saw and did, by their names; the rest as for `explain`."""
    features = read(data[:READ_BYTES], Envelope(), len(data))
    judge = Judge(accounts, lambda name: junk_filter, logger("filter"))
    try:
        context = judge.context(account)
        return {name: DETAILS[name](features, context.another()) for name in DETAILS if name in wanted}
    finally:
        judge.close()


def _words(tokens: tuple[str, ...], account: str, accounts: Path) -> dict[str, Any]:
    """The tokens that pull most to either side, by the account's counts."""
    readers = Readers(accounts)
    reader = readers.get(account)
    totals = reader.totals() if reader else NOTHING
    counts = reader.counts(tokens) if reader else {}
    readers.close()
    found = bayes.strongest(counts, max(1, totals.ham), max(1, totals.spam))
    found.sort(key=lambda word: (-abs(word[0] - 0.5), word[1]))
    return {
        "tokens": len(tokens),
        "known": len(counts),
        "spam": [_shown(word) for word in found if word[0] > 0.5][:SHOWN],
        "ham": [_shown(word) for word in found if word[0] < 0.5][:SHOWN],
    }


def _shown(word: bayes.Word) -> dict[str, Any]:
    return dict(zip(("probability", "word", "ham", "spam"), word))
