"""`echomox filter replay ACCOUNT`: what would have become of an account's mail under other settings (F31).

The messages the account was trained with are judged and then taught, each in its turn, to a scratch account under
the settings asked about, and to another under those of now. Nothing of the account is changed. What a delivery does
with thresholds besides (`strict`) is not in it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from echomox.config.schema import JunkFilter
from echomox.filter.context import Stage
from echomox.filter.counts.readers import Readers
from echomox.filter.features import Features
from echomox.filter.learning.training import StoreSource
from echomox.filter.stages import STAGES
from echomox.filter.tools import figures
from echomox.filter.tools.trial import Trial
from echomox.log import Log
from echomox.store.engine import AccountStore

PLACES = ("inbox", "junk", "reject")


def replay(
    store: AccountStore,
    accounts: Path,
    settings: tuple[JunkFilter, JunkFilter],
    log: Log,
    progress: Callable[[int, int], None] = lambda done, of: None,
    stages: tuple[Sequence[Stage], Sequence[Stage]] = (STAGES, STAGES),
) -> dict[str, Any]:
    """settings, stages: (of now, asked about). Of each: {"confusion": kind -> place -> messages, "figures": see
    `figures`}; "messages": that were there still; "moved": how many would have gone elsewhere."""
    order = _order(accounts, store.name)
    labels: list[bool] = []
    with tempfile.TemporaryDirectory(prefix="echomox-replay-") as directory:
        scratch = [Path(directory) / name for name in ("now", "then")]
        for path in scratch:
            path.mkdir()
        trials = [Trial(path, one, stages=own) for path, one, own in zip(scratch, settings, stages)]
        found: list[list[tuple[float, str]]] = [[], []]
        try:
            for number, label, features in _messages(store, order, log):
                labels.append(label == "spam")
                for trial, answers in zip(trials, found):
                    own = replace(features, memo={})  # of other rules the membranes say another thing
                    answers += [(item.probability, item.place) for item in trial.classify([own])]
                    trial.train({number: (own, label)})
                progress(len(labels), len(order))
        finally:
            for trial in trials:
                trial.close()
    moved = sum(one[1] != other[1] for one, other in zip(*found))
    return {"messages": len(labels), "moved": moved, "now": _of(found[0], labels), "then": _of(found[1], labels)}


def _order(accounts: Path, account: str) -> list[tuple[int, str]]:
    readers = Readers(accounts)
    try:
        reader = readers.get(account)
        return reader.in_order() if reader else []
    finally:
        readers.close()


def _messages(store: AccountStore, order: list[tuple[int, str]], log: Log) -> Iterator[tuple[int, str, Features]]:
    source = StoreSource(store, log)
    for message, label in order:
        features = source(message)
        if features is not None:
            yield message, label, features


def _of(answers: list[tuple[float, str]], labels: list[bool]) -> dict[str, Any]:
    confusion = {kind: dict.fromkeys(PLACES, 0) for kind in ("ham", "spam")}
    for (_, place), spam in zip(answers, labels):
        confusion["spam" if spam else "ham"][place] += 1
    sample = figures.sample([probability for probability, _ in answers], labels)
    return {"confusion": confusion, "figures": figures.summary(sample, 0)}
