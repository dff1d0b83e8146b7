"""Figures of a filter's quality from probabilities and labels. Pure; `ln` is natural, percentages are of 100.

(1-AUC)%   100 * (1 - area under the ROC curve): how often a ham is ranked above a spam, ties half
lam%       logistic average of the two misclassification rates at 1/2
logloss    mean of -ln of the probability that was given to the true label, bounded at FLOOR
calibration  error: how far what was said is from what was true, on average over bins of probability
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

FLOOR = 1e-6
BANDS = (0.3, 0.8)
BINS = (0.0, 0.01, 0.05, 0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sample:
    """probability: (n,) of spam. spam: (n,) of 0 and 1."""

    probability: Vector
    spam: Vector

    @property
    def ham_p(self) -> Vector:
        return np.asarray(self.probability[self.spam == 0])

    @property
    def spam_p(self) -> Vector:
        return np.asarray(self.probability[self.spam == 1])

    def after(self, first: int) -> Sample:
        return Sample(self.probability[first:], self.spam[first:])


def sample(probabilities: Sequence[float], spam: Sequence[bool]) -> Sample:
    return Sample(np.asarray(probabilities, np.float64), np.asarray(spam, np.float64))


def auc_error(found: Sample) -> float:
    """(1-AUC)%; nan without both kinds."""
    spam, ham = len(found.spam_p), len(found.ham_p)
    if not spam or not ham:
        return float("nan")
    _, inverse, counts = np.unique(found.probability, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    above = ranks[found.spam == 1].sum() - spam * (spam + 1) / 2
    return float(100 * (1 - above / (spam * ham)))


def log_loss(found: Sample) -> float:
    p = np.clip(found.probability, FLOOR, 1 - FLOOR)
    return float(-np.mean(np.where(found.spam == 1, np.log(p), np.log(1 - p)))) if len(p) else float("nan")


def share(part: NDArray[Any]) -> float:
    """Percent of true values; nan of none."""
    return float(100 * np.mean(part)) if len(part) else float("nan")


def missed_at(found: Sample, ham_lost: float) -> float:
    """Percent of spam that is not caught when the threshold loses at most `ham_lost` percent of the ham."""
    ham = np.sort(found.ham_p)[::-1]
    allowed = int(len(ham) * ham_lost / 100 + 1e-9)
    threshold = ham[allowed] if allowed < len(ham) else -1.0
    return share(found.spam_p <= threshold)


def lost_at(found: Sample, caught: float) -> float:
    """Percent of ham at or above the highest threshold that catches `caught` percent of the spam."""
    spam = np.sort(found.spam_p)[::-1]
    if not len(spam):
        return float("nan")
    threshold = spam[max(0, int(np.ceil(len(spam) * caught / 100 - 1e-9)) - 1)]
    return share(found.ham_p >= threshold)


def bands(probability: Vector) -> list[float]:
    """Percent below the first boundary, up to and with the second, and above."""
    low, high = BANDS
    return [share(probability < low), share((probability >= low) & (probability <= high)), share(probability > high)]


def lam(found: Sample) -> float:
    if not len(found.ham_p) or not len(found.spam_p):
        return float("nan")
    rates = [np.clip(np.mean(part), 1e-6, 1 - 1e-6) for part in (found.ham_p >= 0.5, found.spam_p < 0.5)]
    mean = np.mean([np.log(rate / (1 - rate)) for rate in rates])
    return float(100 / (1 + np.exp(-mean)))


def calibration(found: Sample) -> list[dict[str, float]]:
    """Per bin of probability: how many, what was said on average, what was true."""
    rows = []
    places = np.clip(np.digitize(found.probability, BINS) - 1, 0, len(BINS) - 2)
    for index, (low, high) in enumerate(pairwise(BINS)):
        inside = places == index
        if inside.any():
            said, true = float(found.probability[inside].mean()), float(found.spam[inside].mean())
            rows.append({"from": low, "to": high, "messages": int(inside.sum()), "said": said, "true": true})
    return rows


def calibration_error(found: Sample) -> float:
    """Mean distance of what was said from what was true, by the bins of `calibration` (expected calibration error)."""
    rows = calibration(found)
    total = sum(row["messages"] for row in rows)
    return sum(row["messages"] * abs(row["said"] - row["true"]) for row in rows) / total if total else float("nan")


def plain(value: Any) -> Any:
    """Figures without nan, which JSON does not have: None in its place."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and value != value else value


def roc(found: Sample, points: int = 400) -> list[tuple[float, float]]:
    """(ham lost, spam caught), both 0 to 1, ascending, at most about `points`."""
    order = np.argsort(-found.probability, kind="stable")
    p, spam = found.probability[order], found.spam[order]
    last = np.append(np.flatnonzero(np.diff(p)), len(p) - 1) if len(p) else np.zeros(0, int)
    caught, lost = np.cumsum(spam)[last] / max(1, spam.sum()), np.cumsum(1 - spam)[last] / max(1, (1 - spam).sum())
    keep = np.unique(np.linspace(0, len(last) - 1, points).astype(int)) if len(last) > points else range(len(last))
    return [(0.0, 0.0), *[(float(lost[at]), float(caught[at])) for at in keep]]


def summary(found: Sample, first: int = 1000) -> dict[str, Any]:
    """Everything as one dictionary. first: so many messages do not count in the figures "after"."""
    later = found.after(min(first, len(found.spam) // 2))
    return {
        "messages": len(found.spam),
        "spam": int(found.spam.sum()),
        "auc_error": auc_error(found),
        "auc_error_second_half": auc_error(found.after(len(found.spam) // 2)),
        "log_loss": log_loss(found),
        "calibration_error": calibration_error(found),
        "ham_misclassified": share(found.ham_p >= 0.5),
        "spam_misclassified": share(found.spam_p < 0.5),
        "lam": lam(found),
        "spam_missed_at_0.1_ham": missed_at(found, 0.1),
        "ham_lost_at_99_spam": lost_at(found, 99.0),
        "ham_bands": bands(found.ham_p),
        "spam_bands": bands(found.spam_p),
        "after": {
            "messages": len(later.spam),
            "ham_bands": bands(later.ham_p),
            "spam_bands": bands(later.spam_p),
            "log_loss": log_loss(later),
        },
    }
