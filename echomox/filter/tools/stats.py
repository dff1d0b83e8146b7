"""What an account's filter knows, as dictionaries: `echomox filter stats ACCOUNT` and `echomox filter word
ACCOUNT WORD`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from echomox.config.schema import JunkFilter
from echomox.filter import combine
from echomox.filter.context import DEFAULTS
from echomox.filter.counts.known import probability
from echomox.filter.counts.readers import Readers
from echomox.filter.counts.wordmap import NOTHING
from echomox.filter.counts.words import FILE, junk_path
from echomox.filter.learning.alarm import lessons_of, watch
from echomox.filter.learning.learners import decode
from echomox.filter.stages import esn
from echomox.filter.stages.bayes import LEAST


def stats(accounts: Path, account: str, settings: JunkFilter = DEFAULTS) -> dict[str, Any]:
    """The row of JUNKFILTER, the size of WORD, the row of RESERVOIR, what the parts weigh in the combination, and
    bytes by part: on disk, and what a classifier keeps in memory for the account ("<part>.read").

    accounts: the directory of all accounts. All 0 for an account that was never trained. Raises StoreError for a
    bad name, sqlite3.Error for a file that is broken.
    """
    readers = Readers(accounts, decode)
    reader = readers.get(account)
    totals = reader.totals() if reader else NOTHING
    words, outbox = reader.size() if reader else (0, 0)
    sizes = reader.sizes() if reader else {}
    learned = reader.model(combine.NAME) if reader else None
    combination = combine.fixed(learned, settings.weights) or combine.DEFAULT
    reservoir = esn.describe(reader.model(esn.NAME) if reader else None, settings, esn.NETWORK.weights())
    readers.close()
    watched = watch(lessons_of(accounts, account))
    path = junk_path(accounts, account)
    return {
        "account": account,
        "MessageTotal": totals.total,
        "MessageHam": totals.ham,
        "MessageSpam": totals.spam,
        "Threshold": totals.threshold,
        "words": words,
        "outbox": outbox,
        "ready": totals.ham >= LEAST and totals.spam >= LEAST,
        "file": FILE,
        "bytes": path.stat().st_size if reader else 0,
        "reservoir": reservoir,
        "combination": {
            "weights": {name: round(weight, 4) for name, weight in combination.weights.items()},
            "bias": round(combination.bias, 4),
            "junk_from": round(combination.low, 2),
            "refused_from": round(combination.high, 2),
        },
        "contradicted": {"recent_percent": watched.recent, "before_percent": watched.before},
        "alarms": list(watched.alarms),
        "part_bytes": sizes,
    }


def word(accounts: Path, account: str, token: str) -> dict[str, Any]:
    """The row of WORD for a token, as `explain` shows it; of one that is not known as it is written, in lower case.
    probability: of spam, 0.5 for one that is not known.
    """
    readers = Readers(accounts)
    reader = readers.get(account)
    totals = reader.totals() if reader else NOTHING
    ham, spam = reader.word(token) if reader else (0, 0)
    if reader and not ham + spam and any(reader.word(token.lower())):
        token = token.lower()
        ham, spam = reader.word(token)
    readers.close()
    found = probability(ham, spam, totals.ham, totals.spam)
    return {"account": account, "Word": token, "Ham": ham, "Spam": spam, "probability": found}
