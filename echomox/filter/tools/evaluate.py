"""`echomox filter eval`: how good the filter is on a corpus of labelled mail, by the very code the server runs.

    online     classify each message in order of time, then train its label
    delayed    the same, the label coming `delay` messages or `delay_seconds` later, whichever is sooner
    cold       fresh accounts that begin at several places of the corpus: their first COLD messages
    drift      train the first half of each kind, classify the second without learning from it
    attack     after `online` on all but the last: spam padded with the text of trained ham, in amounts of its size

Of every protocol the figures are told for the whole, for each part alone (what the stage said; 0.28 where it had no
opinion), and for all but one (the combination learned anew without the part; parts that read what another part
learned still do).
Speeds are CPU seconds of this process, from the bytes of a message.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echomox.config.schema import JunkFilter
from echomox.filter.context import Stage
from echomox.filter.features import Features, read
from echomox.filter.stages import STAGES
from echomox.filter.tools import figures
from echomox.filter.tools.corpus import Mail, halves
from echomox.filter.tools.padding import padded, plain_text
from echomox.filter.tools.trial import Answer, Trial, alone, combined, stages_of, told

NOTHING = "nothing"
"""The name of no part: all of them combined anew, with which the rows of all but one are to be compared."""
PROTOCOLS = ("online", "delayed", "cold", "drift", "attack")
BATCH = 32
LESSON = 500
COLD = 200
STARTS = 10
ATTACKED = 200
AMOUNTS = (0, 10, 25, 50, 100, 200, 300)

Progress = Callable[[str, int, int], None]
Report = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be measured, and how. delay: messages, delay_seconds: of the corpus' own time."""

    protocols: Sequence[str] = PROTOCOLS
    settings: JunkFilter = JunkFilter()  # noqa: RUF009 - frozen
    delay: int = 100
    delay_seconds: float = 86400.0
    ablation: bool = True
    stages: tuple[Stage, ...] = STAGES


def _silent(protocol: str, done: int, of: int) -> None:
    """No progress is shown."""


class Evaluation:
    """One corpus, one plan. scratch: a directory for the scratch accounts, each of which is removed after use."""

    def __init__(self, mails: Sequence[Mail], plan: Plan, scratch: Path | None = None) -> None:
        self._mails = mails
        self._plan = plan
        self._scratch = scratch
        self._spam = [mail.spam for mail in mails]

    def run(self, progress: Progress = _silent) -> Report:
        """Protocol -> its report; see the module."""
        run = {
            "online": self.online,
            "delayed": self.delayed,
            "cold": self.cold,
            "drift": self.drift,
            "attack": self.attack,
        }
        head: Report = {"messages": len(self._mails), "spam": sum(self._spam)}
        return head | {name: run[name](progress) for name in PROTOCOLS if name in self._plan.protocols}

    # -- protocols

    def online(self, progress: Progress = _silent) -> Report:
        with self._trial() as trial:
            answers = []
            for place, mail in enumerate(self._mails):
                features = read(mail.read())
                answers += trial.classify([features])
                trial.train({place: (told(features, answers[-1]), _label(mail))})
                progress("online", place + 1, len(self._mails))
            lessons = [[place - 1] if place else [] for place in range(len(answers))]
            return self._report(answers, self._spam, trial, lessons)

    def delayed(self, progress: Progress = _silent) -> Report:
        with self._trial() as trial:
            answers: list[Answer] = []
            waiting: deque[int] = deque()
            lessons: list[list[int]] = []
            for place, mail in enumerate(self._mails):
                lesson = []
                while waiting and self._is_due(waiting[0], place):
                    lesson.append(waiting.popleft())
                for start in range(0, len(lesson), LESSON):
                    trial.train({at: self._late(at, answers[at]) for at in lesson[start : start + LESSON]})
                answers += trial.classify([mail.read()])
                waiting.append(place)
                lessons.append(lesson)
                progress("delayed", place + 1, len(self._mails))
            return self._report(answers, self._spam, trial, lessons)

    def drift(self, progress: Progress = _silent) -> Report:
        first, second = halves(self._mails)
        with self._trial() as trial:
            for start in range(0, len(first), LESSON):
                trial.train({at: self._lesson(at) for at in first[start : start + LESSON]})
                progress("drift", start, len(self._mails))
            answers: list[Answer] = []
            for start in range(0, len(second), BATCH):
                answers += trial.classify([self._mails[at].read() for at in second[start : start + BATCH]])
                progress("drift", len(first) + start, len(self._mails))
            spam = [self._spam[at] for at in second]
            return self._report(answers, spam, trial, [[]] * len(spam))

    def cold(self, progress: Progress = _silent) -> Report:
        """Counts by place in the life of an account, summed over all starts; `untrained`: what an account without any
        training says of the whole corpus."""
        size = min(COLD, len(self._mails))
        starts = sorted({round(at * (len(self._mails) - size) / (STARTS - 1)) for at in range(STARTS)})
        curves = {name: [0] * size for name in ("ham", "spam", "ham_junk", "ham_rejected", "caught")}
        probabilities: list[float] = []
        labels: list[bool] = []
        for number, start in enumerate(starts):
            with self._trial() as trial:
                for at in range(size):
                    features = read(self._mails[start + at].read())
                    answer = trial.classify([features])[0]
                    trial.train({at: (told(features, answer), _label(self._mails[start + at]))})
                    _count(curves, at, self._mails[start + at].spam, answer)
                    probabilities.append(answer.probability)
                    labels.append(self._mails[start + at].spam)
            progress("cold", number + 1, len(starts))
        totals = {name: sum(values) for name, values in curves.items()}
        found = figures.sample(probabilities, labels)
        return {"starts": len(starts), "totals": totals, "curves": curves, "figures": figures.summary(found, 0)} | {
            "untrained": self._untrained()
        }

    def _untrained(self) -> Report:
        with self._trial() as trial:
            answers: list[Answer] = []
            for start in range(0, len(self._mails), BATCH):
                answers += trial.classify([mail.read() for mail in self._mails[start : start + BATCH]])
        found = figures.sample([answer.probability for answer in answers], self._spam)
        return figures.summary(found, 0)

    def attack(self, progress: Progress = _silent) -> Report:
        """Percent of the attacking spam that is out of the Inbox, and that is refused: amount -> part -> share."""
        last = [at for at in range(len(self._mails)) if self._spam[at]][-ATTACKED:]
        attacking = set(last)
        known = [at for at in range(len(self._mails)) if at not in attacking]
        texts = [text for at in known[::7] if not self._spam[at] and (text := plain_text(read(self._mails[at].read())))]
        with self._trial() as trial:
            for start in range(0, len(known), LESSON):
                trial.train({at: self._lesson(at) for at in known[start : start + LESSON]})
                progress("attack", start, len(self._mails))
            table = {}
            for amount in AMOUNTS:
                mails = [padded(self._mails[at].read(), amount, texts, at) for at in last]
                usable = [mail for mail in mails if mail is not None]
                answers: list[Answer] = []
                for start in range(0, len(usable), BATCH):
                    answers += trial.classify(usable[start : start + BATCH])
                table[str(amount)] = _caught(answers)
                progress("attack", len(known) + amount, len(known) + AMOUNTS[-1])
            return {"spam": len(usable), "amounts": table}

    # -- helpers

    @contextmanager
    def _trial(self) -> Iterator[Trial]:
        with (
            tempfile.TemporaryDirectory(prefix="echomox-eval-", dir=self._scratch) as directory,
            Trial(Path(directory), self._plan.settings, stages=self._plan.stages) as trial,
        ):
            yield trial

    def _lesson(self, place: int) -> tuple[bytes, str]:
        return self._mails[place].read(), _label(self._mails[place])

    def _late(self, place: int, answer: Answer) -> tuple[Features, str]:
        return told(read(self._mails[place].read()), answer), _label(self._mails[place])

    def _is_due(self, earlier: int, now: int) -> bool:
        waited = self._mails[now].time - self._mails[earlier].time
        return now - earlier > self._plan.delay or waited >= self._plan.delay_seconds

    def _report(self, answers: list[Answer], spam: Sequence[bool], trial: Trial, lessons: list[list[int]]) -> Report:
        whole = figures.sample([answer.probability for answer in answers], spam)
        report: Report = {
            "all": figures.summary(whole),
            "places": _places(answers, spam),
            "calibration": figures.calibration(whole),
            "roc": figures.roc(whole),
            "learning": _learning(answers, spam),
            "speed": _speed("classify", trial.classify_seconds, trial.classified)
            | _speed("train", trial.train_seconds, trial.trained),
        }
        if self._plan.ablation:
            report |= self._ablation(answers, spam, lessons)
        return report

    def _ablation(self, answers: list[Answer], spam: Sequence[bool], lessons: list[list[int]]) -> Report:
        names = stages_of(answers)
        single = {name: alone(answers, name) for name in names}
        without = {
            name: combined(answers, spam, [other for other in names if other != name], lessons, self._plan.settings)
            for name in (NOTHING, *names)
        }
        return {
            "alone": {name: figures.summary(figures.sample(found, spam)) for name, found in single.items()},
            "without": {name: figures.summary(figures.sample(found, spam)) for name, found in without.items()},
        }


def _speed(name: str, seconds: float, messages: int) -> dict[str, float]:
    """CPU time of one, and how many a second of a processor."""
    return {
        f"{name}_us": 1e6 * seconds / max(1, messages),
        f"{name}_per_second": messages / seconds if seconds else 0.0,
    }


def _label(mail: Mail) -> str:
    return "spam" if mail.spam else "ham"


def _count(curves: dict[str, list[int]], at: int, spam: bool, answer: Answer) -> None:
    curves["spam" if spam else "ham"][at] += 1
    if spam:
        curves["caught"][at] += answer.place != "inbox"
    else:
        curves["ham_junk"][at] += answer.place == "junk"
        curves["ham_rejected"][at] += answer.place == "reject"


def _places(answers: Sequence[Answer], spam: Sequence[bool]) -> dict[str, dict[str, int]]:
    """Where the mail of each kind went."""
    found: dict[str, dict[str, int]] = {kind: dict.fromkeys(("inbox", "junk", "reject"), 0) for kind in ("ham", "spam")}
    for answer, is_spam in zip(answers, spam):
        found["spam" if is_spam else "ham"][answer.place] += 1
    return found


def _learning(answers: Sequence[Answer], spam: Sequence[bool], points: int = 40) -> list[dict[str, float]]:
    """Errors at 1/2 and log-loss by stretches of the corpus."""
    size = max(50, len(answers) // points)
    rows = []
    for start in range(0, len(answers), size):
        part = figures.sample([item.probability for item in answers[start : start + size]], spam[start : start + size])
        wrong = figures.share((part.probability >= 0.5) != (part.spam == 1))
        rows.append({"from": start, "wrong": wrong, "log_loss": figures.log_loss(part)})
    return rows


def _caught(answers: Sequence[Answer]) -> dict[str, list[float]]:
    """part -> [percent not in the Inbox, percent refused]."""
    low, high = figures.BANDS
    parts = {"all": [answer.probability for answer in answers]}
    parts |= {name: alone(answers, name) for name in stages_of(answers)}
    return {
        name: [100 * sum(p >= low for p in found) / len(found), 100 * sum(p > high for p in found) / len(found)]
        for name, found in parts.items()
        if found
    }
