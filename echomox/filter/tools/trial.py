"""A filter under trial: the judge and the trainer's pupil, as the server runs them, on a scratch junk.db.

Nothing is simulated: every lesson is a transaction, every verdict reads what was committed. What every stage said
is kept, so that `without` and `alone` can say what the whole would have been, and what a part was worth.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from echomox.config.schema import JunkFilter
from echomox.filter import combine
from echomox.filter.context import DEFAULTS, Context, Stage, nothing
from echomox.filter.counts.words import Writer, junk_path
from echomox.filter.decide import decide
from echomox.filter.features import Features, read
from echomox.filter.judge import INBOX, Asked, Judge
from echomox.filter.learning.learners import Method
from echomox.filter.learning.training import Pupil
from echomox.filter.stages import STAGES
from echomox.ipc.schema import Evidence
from echomox.log import Log, Sink

ACCOUNT = "trial"
PATIENCE = 3600.0


class Answer(NamedTuple):
    """place: "inbox", "junk" or "reject" under the settings. evidence: of every stage, with its own trust as weight,
    before the combination."""

    probability: float
    place: str
    evidence: tuple[Evidence, ...]


def silent() -> Log:
    sink = Sink()
    sink.default = 100
    return Log("trial", sink=sink)


class Trial:
    """directory: empty, for the scratch account. log: who wants to see failing stages gives one. stages: of the
    server, whose membranes may have rules of their own."""

    def __init__(
        self, directory: Path, settings: JunkFilter, log: Log | None = None, stages: Sequence[Stage] = STAGES
    ) -> None:
        self._directory = directory
        self._settings = settings
        self._log = log or silent()
        self._stages = tuple(stages)
        self.classify_seconds = self.train_seconds = 0.0
        self.classified = self.trained = 0
        self._start()

    def _start(self) -> None:
        (self._directory / ACCOUNT).mkdir(mode=0o700)
        path = junk_path(self._directory, ACCOUNT)
        self._known: dict[int, Features] = {}
        self._judge = Judge(self._directory, lambda name: self._settings, self._log, self._stages)
        self._writer = Writer(path)
        self._pupil: Pupil | None = None
        """None before the first lesson, and after one that failed: what it knew is not what the file has."""

    def close(self) -> None:
        self._judge.close()
        self._writer.close()

    def __enter__(self) -> Trial:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def classify(self, messages: Sequence[bytes | Features]) -> list[Answer]:
        """All together, as a classifier judges what waits; the CPU time counts from the bytes."""
        raw: list[list[Evidence]] = []
        start = time.process_time()
        features = [read(message) if isinstance(message, bytes) else message for message in messages]
        deadline = time.monotonic() + PATIENCE
        asked = [Asked(ACCOUNT, one, deadline) for one in features]
        verdicts = self._judge.judge(asked, raw.append)
        self.classify_seconds += time.process_time() - start
        self.classified += len(messages)
        return [
            Answer(verdict.probability, decide(self._settings, verdict).place, tuple(evidence))
            for verdict, evidence in zip(verdicts, raw)
        ]

    def train(self, lessons: Mapping[int, tuple[bytes | Features, str]]) -> None:
        """number of the message -> (message, "spam", "ham" or "" to take back), in one transaction. Raises OSError and
        sqlite3.Error; then nothing was learnt of them."""
        start = time.process_time()
        for number, (message, _) in lessons.items():
            self._known[number] = read(message) if isinstance(message, bytes) else message
        method = Method(stages=self._stages)
        pupil, self._pupil = self._pupil, None
        try:
            with self._writer.transaction():
                pupil = pupil or Pupil(self._writer, self._known.get, self._settings, self._log, method)
                pupil.set_labels({number: label for number, (_, label) in lessons.items()})
                pupil.finish()
        finally:
            self._known.clear()
        self._pupil = pupil
        self.train_seconds += time.process_time() - start
        self.trained += len(lessons)


def combined(
    answers: Sequence[Answer],
    spam: Sequence[bool],
    stages: Collection[str],
    lessons: Sequence[Sequence[int]],
    settings: JunkFilter = DEFAULTS,
) -> list[float]:
    """P by these stages only, combined anew in the order of the answers, as if there were no others. lessons: for
    each answer, of which earlier ones the combination learns the label before it."""
    learner = combine.LEARNER
    state = learner.fresh()
    kept = [[item for item in answer.evidence if item.stage in stages] for answer in answers]
    out = []
    for evidence, learnt in zip(kept, lessons):
        for place in learnt:
            label = "spam" if spam[place] else "ham"
            context = Context(1, 0, 0, nothing, evidence=kept[place], settings=settings)
            contribution = learner.contribution(state, _NO_FEATURES, context, label)
            if contribution:
                learner.add(state, label, contribution)
        out.append(combine.combine(evidence, combine.fixed(combine.model_of(state), settings.weights)).probability)
    return out


def told(features: Features, answer: Answer) -> Features:
    """The message as the store has it, with the header that says what each stage said."""
    said = tuple((item.stage, round(item.probability, 4)) for item in answer.evidence if item.weight > 0)
    return replace(features, envelope=replace(features.envelope, told=said))


def alone(answers: Sequence[Answer], stage: str) -> list[float]:
    """What one stage said itself; INBOX where it had no opinion."""
    return [
        next((item.probability for item in answer.evidence if item.stage == stage and item.weight > 0), INBOX)
        for answer in answers
    ]


def stages_of(answers: Sequence[Answer]) -> list[str]:
    return list(dict.fromkeys(item.stage for answer in answers for item in answer.evidence))


_NO_FEATURES = read(b"")
