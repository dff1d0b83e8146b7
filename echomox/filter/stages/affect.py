"""The affective stage: what a message feels like, and what that says of its kind (R40 to R49).

Terms of emotion are counted (`filter.lexicon`) and become a profile (`reservoir.affect`). The probability is the
profile's spam score by fixed weights; it is a weak sign, so its trust is small, WEIGHT, but in an account that was
taught nothing or little, where hardly anything else is known; and where no stage before this one has an opinion it has
none either: a feeling alone never decides. A combiner that learns reads the probability whatever the trust.

The profile is of the message alone, so it is computed once for all accounts and left in `Features.memo` under NAME;
`of` gives it to others: for the verdict, the store and `echomox filter explain`.
"""

from __future__ import annotations

from typing import NamedTuple

from echomox.filter import lexicon
from echomox.filter.context import Context
from echomox.filter.features import Features
from echomox.ipc.schema import Evidence
from echomox.reservoir.affect import FEELINGS, FIELDS, KINDS, Affect, Warning, affect, warning

NAME = "affect"
WEIGHT = 0.25
YOUTH = 20
"""Messages an account was taught until its own parts are half of what is heard: before, this one is trusted more."""
DIGITS = 4
REASONS = 6
TERMS = 3
STRONG = 0.05
"""Intensity from which a kind is named among the reasons."""


class Found(NamedTuple):
    """What the stage knows of one message."""

    reading: lexicon.Reading
    affect: Affect

    @property
    def profile(self) -> tuple[float, ...]:
        """The ten values of AFFECTIVE_STATE, in the order of reservoir.affect.FIELDS, rounded for the store."""
        return tuple([round(value, DIGITS) for value in self.affect.row])

    @property
    def warning(self) -> Warning | None:
        """What to tell the reader of a mail that presses; None for others."""
        return warning(self.affect, self.reading.by_kind())


def of(features: Features) -> Found:
    """Computed at the first call for a message."""
    found: Found | None = features.memo.get(NAME)
    if found is None:
        reading = lexicon.read(features)
        found = features.memo[NAME] = Found(reading, affect(reading.counts))
    return found


def run(features: Features, context: Context) -> Evidence:
    """P(spam) by the profile; reasons: what is felt, with the terms it was read from, strongest first."""
    found = of(features)
    if not found.reading.counts.words:
        return Evidence(NAME, 0.5, 0.0, ("no text",))
    heard = any(item.weight > 0.0 for item in context.evidence)
    trust = max(WEIGHT, YOUTH / (YOUTH + context.ham + context.spam)) if heard else 0.0
    return Evidence(NAME, found.affect.spam, trust, () if context.brief else reasons(found))


def reasons(found: Found) -> tuple[str, ...]:
    """As "fear 0.31 (danger, virus)"."""
    felt = (*found.affect.felt, found.affect.pressure, found.affect.ask)
    strong = sorted([(-value, kind) for value, kind in zip(felt, KINDS) if value >= STRONG])[:REASONS]
    if not strong:
        return ("nothing felt",)
    terms = found.reading.by_kind()
    return tuple([f"{kind} {-value:.2f} ({', '.join(terms[kind][:TERMS])})" for value, kind in strong])


def explain(features: Features) -> dict[str, object]:
    """Everything, for `echomox filter explain --affect`: the ten fields of AFFECTIVE_STATE, what was felt before the
    flow, the cognitive values, the scores, the matched terms by kind, and the warning or ""."""
    found = of(features)
    one = found.affect
    names = ("attention", "complexity", "uncertainty", "pressure", "ask", "engagement", "spam")
    return {
        "profile": dict(zip(FIELDS, found.profile)),
        "felt": {kind: round(value, DIGITS) for kind, value in zip(KINDS[:FEELINGS], one.felt)},
        **{name: round(getattr(one, name), DIGITS) for name in names},
        "terms": {kind: list(terms) for kind, terms in found.reading.by_kind().items()},
        "warning": str(found.warning or ""),
    }
