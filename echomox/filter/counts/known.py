"""What an account's counts say of a message's tokens: looked up once for all messages that are judged together, and
shared by the stages that read words.

A token held by s of S spam and h of H ham messages has by Robinson the probability of spam f(w): the share of spam
among the messages that held it, as if all kinds were equally frequent, drawn towards PRIOR by STRENGTH messages of
doubt:

    p = (s / S) / (s / S + h / H)        f = (STRENGTH PRIOR + (s + h) p) / (STRENGTH + s + h)

`Known.odds` are its log-odds ln f / (1 - f), 0 for a token that is not known, rounded to multiples of 1 / UNIT: sums of
them are exact, and so the same in any order and whatever is judged together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from echomox.filter.context import Context, Counts, Question
from echomox.filter.features import Features, hash_together
from echomox.filter.hashed import Hashed

KEY = "known"
"""Where it is left in Context.scratch."""
STRENGTH = 0.1
PRIOR = 0.45
UNIT = 65536.0

Odds = NDArray[np.float64]


class Known(NamedTuple):
    """Of one message and account, by place; see `hashed`."""

    tokens: Hashed
    counts: Counts
    odds: Odds

    def others(self) -> list[list[int]]:
        """[ham, spam] of what is counted beside the tokens."""
        found: list[list[int]] = self.counts[self.tokens.others : -1].tolist()
        return found


def known(features: Features, context: Context) -> Known:
    """Of one message."""
    if KEY not in context.scratch:
        look_up([(features, context)])
    found: Known = context.scratch[KEY]
    return found


def look_up(questions: Sequence[Question]) -> None:
    """Leaves what is known of each message in its context; of each account with one look-up."""
    questions = [question for question in questions if KEY not in question[1].scratch]
    if len(questions) < 2:
        _together(questions)
        return
    accounts: dict[int, list[Question]] = {}
    lengths: dict[int, list[Features]] = {}
    for question in questions:
        features, context = question
        accounts.setdefault(id(context.lookup), []).append(question)
        lengths.setdefault(context.ngrams, []).append(features)
    for ngrams, messages in lengths.items():
        hash_together(messages, ngrams)
    for group in accounts.values():
        _together(group)


def _together(group: Sequence[Question]) -> None:
    """Of one account."""
    if not group:
        return
    context = group[0][1]
    tokens = [features.places(context.ngrams) for features, _ in group]
    every = tokens[0].hashes if len(group) == 1 else np.concatenate([one.hashes for one in tokens])
    counts = context.lookup(every)
    odds = log_odds(counts, context.ham, context.spam)
    start = 0
    for (_, own), one in zip(group, tokens):
        end = start + len(one.hashes)
        own.scratch[KEY] = Known(one, counts[start:end], odds[start:end])
        start = end


def probability(ham: int, spam: int, all_ham: int, all_spam: int) -> float:
    """f(w) of one token, 0.5 for one that is not known."""
    if not ham + spam:
        return 0.5
    share = spam / max(1, all_spam)
    share /= share + ham / max(1, all_ham)
    return (STRENGTH * PRIOR + (ham + spam) * share) / (STRENGTH + ham + spam)


def log_odds(counts: Counts, ham: int, spam: int) -> Odds:
    """counts: (tokens, 2); ham, spam: messages learnt."""
    hams, spams = counts[:, 0].astype(np.float64), counts[:, 1].astype(np.float64)
    seen = hams + spams
    share = spams / max(1, spam)
    every = hams / max(1, ham)
    every += share
    np.divide(share, every, out=share, where=every > 0.0)
    share *= seen
    share += STRENGTH * PRIOR
    seen += STRENGTH
    odds: Odds = np.log(share / (seen - share))
    odds *= UNIT
    np.rint(odds, out=odds)
    odds /= UNIT
    odds[every == 0.0] = 0.0
    return odds
