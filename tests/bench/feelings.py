"""What the affective stage can tell by itself: the table of docs/affect.md.

    python -m tests.bench.feelings CORPUS        a corpus of `echomox filter eval`
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from echomox.filter.features import read
from echomox.filter.stages.affect import Found, of
from echomox.filter.tools import figures
from echomox.filter.tools.corpus import load
from echomox.reservoir.affect import FEELINGS, KINDS, WEIGHTS, Affect

NAMES = tuple(WEIGHTS)


def score(one: Affect, emotions: Sequence[float], names: Sequence[str] = NAMES) -> float:
    """The sum of the spam score over these values, with these emotions; the squash does not change their order."""
    doubt = (1.0 - one.uncertainty) / max(1e-9, 1.0 - one.emotions[-1])
    values = dict(zip(KINDS, emotions))
    values |= {"pressure": one.pressure, "ask": one.ask, "complexity": one.complexity}
    values["uncertainty"] = 1.0 - (1.0 - values["surprise"]) * doubt
    return sum(WEIGHTS[name] * values[name] for name in names)


def main(argv: Sequence[str]) -> int:
    mails = load(Path(argv[0]))
    spam = [mail.spam for mail in mails]
    found: list[Found] = []
    seconds = 0.0
    for mail in mails:
        features = read(mail.read())
        start = time.process_time()
        found.append(of(features))
        seconds += time.process_time() - start
    ones = [one.affect for one in found]
    rows = {
        "the spam score": [one.spam for one in ones],
        "the same without the flow": [score(one, one.felt) for one in ones],
        "the seven emotions alone": [score(one, one.emotions, NAMES[:FEELINGS]) for one in ones],
        "engagement alone": [one.engagement for one in ones],
    }
    for name, values in rows.items():
        print(f"{name:28}(1-AUC) {figures.auc_error(figures.sample(values, spam)):6.2f} %")
    for name, true in (
        ("above 0.5", [one.spam > 0.5 for one in ones]),
        ("warned of", [one.warning is not None for one in found]),
    ):
        said = figures.sample([float(value) for value in true], spam)
        print(f"{name:28}ham {figures.share(said.ham_p > 0):.2f} %, spam {figures.share(said.spam_p > 0):.2f} %")
    print(f"CPU a message               {1e6 * seconds / len(mails):6.0f} us, read one by one")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
