"""The stages run over a batch of messages, one stage after the other. Used by the judge, and by the trainer for
what every stage says of a message before it is trained.

A stage that raises, or for which no time is left, gives evidence of weight 0 that says so; a batch that raises is
asked again one by one, so that a message can only spoil its own verdict.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from math import inf

from echomox.filter.context import Question, Stage, no_opinion
from echomox.ipc.schema import Evidence

Failed = Callable[[Stage, int, Exception], None]
"""(stage, which question, why)."""


class Run:
    """One pass. Each question's context.evidence is filled in the order of the stages. complete: for each
    question whether every stage ran."""

    def __init__(self, stages: Sequence[Stage], failed: Failed) -> None:
        self._stages = stages
        self._failed = failed
        self.complete: list[bool] = []

    def examine(self, questions: Sequence[Question], deadlines: Sequence[float] = ()) -> None:
        """deadlines: of each question, on the monotonic clock."""
        self.complete = [True] * len(questions)
        first = min(deadlines, default=inf)
        for stage in self._stages:
            places: Sequence[int] = range(len(questions))
            asked = questions
            if deadlines and time.monotonic() + stage.cost > first:
                places = self._in_time(stage, questions, deadlines)
                asked = [questions[place] for place in places]
            batch = self._batch(stage, asked)
            if batch is not None:
                for place, evidence in zip(places, batch):
                    questions[place][1].evidence.append(evidence)
                continue
            for place in places:
                # Looked at again: what ran before this question in the same stage took time too.
                if deadlines and time.monotonic() + stage.cost > deadlines[place]:
                    self._late(stage, questions[place], place)
                else:
                    questions[place][1].evidence.append(self._one(stage, questions[place], place))

    def _in_time(self, stage: Stage, questions: Sequence[Question], deadlines: Sequence[float]) -> list[int]:
        limit = time.monotonic() + stage.cost
        places = []
        for place, question in enumerate(questions):
            if limit > deadlines[place]:
                self._late(stage, question, place)
            else:
                places.append(place)
        return places

    def _late(self, stage: Stage, question: Question, place: int) -> None:
        question[1].evidence.append(no_opinion(stage.name, "no time"))
        self.complete[place] = False

    def _batch(self, stage: Stage, questions: Sequence[Question]) -> list[Evidence] | None:
        """None: to be asked one by one."""
        if stage.run_batch is None or not questions:
            return None
        try:
            found = stage.run_batch(questions)
        except Exception:  # it is told of by the one that raises when asked alone
            return None
        return found if len(found) == len(questions) else None

    def _one(self, stage: Stage, question: Question, place: int) -> Evidence:
        try:
            return stage.run(*question)
        except Exception as error:
            self._failed(stage, place, error)
            self.complete[place] = False
            return no_opinion(stage.name, f"error {type(error).__name__}")
