"""Training alone: lessons a second from messages on disk to a committed junk.db, as the trainer does them.

    outbox      a long outbox of a fresh account
    settle      what of that nobody waits for, by itself: the words, each into its row
    retrain     everything it has learned, anew
    one by one  corrections, each a transaction of its own with all that classifiers read

The processor time of the processes that read ahead is counted too.
"""

from __future__ import annotations

import gc
import resource
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from echomox.config.schema import JunkFilter
from echomox.filter.counts.words import Writer, junk_path
from echomox.filter.features import Envelope, Features, read
from echomox.filter.learning.ahead import Raw
from echomox.filter.learning.training import Pupil
from echomox.filter.stages import membranes
from echomox.filter.tools.trial import silent
from workers.trainer import warm

CORRECTIONS = 100
Lessons = Sequence[tuple[bytes, str]]


class Files:
    """A source of messages: one a file."""

    def __init__(self, directory: Path, lessons: Lessons) -> None:
        self._directory = directory
        for number, (data, _) in enumerate(lessons):
            (directory / str(number)).write_bytes(data)

    def fetch(self, message: int) -> Raw:
        return Raw((self._directory / str(message)).read_bytes(), Envelope())

    def __call__(self, message: int) -> Features:
        return read(self.fetch(message).data)


def training(directory: Path, lessons: Lessons) -> dict[str, float]:
    """Lessons a second by the clock, and of processor time, of each kind; milliseconds of one correction."""
    account = directory / "account"
    account.mkdir()
    source, labels = Files(directory, lessons), {number: label for number, (_, label) in enumerate(lessons)}
    bulk = dict(list(labels.items())[:-CORRECTIONS])
    writer = Writer(junk_path(directory, "account"))
    usual = gc.get_threshold()
    membranes.default_rules()
    warm()  # as the trainer's process does
    try:
        found: dict[str, float] = {}
        with _timed(found, "outbox", len(bulk)), _lesson(writer, source) as pupil:
            pupil.set_labels(bulk)
        with _timed(found, "settle", len(bulk)), writer.transaction():  # before it does anything else
            writer.settle()
        with _timed(found, "retrain", len(bulk)), _lesson(writer, source) as pupil:
            for _ in pupil.relearn():
                pass
        with writer.transaction():
            writer.settle()
            pupil = Pupil(writer, source, JunkFilter(), silent())
        times = [_correction(writer, pupil, number, labels[number]) for number in labels if number not in bulk]
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()
        writer.close()
    return found | {"correction_cpu_ms": 1000 * statistics.median(times)}


@contextmanager
def _lesson(writer: Writer, source: Callable[[int], Features]) -> Iterator[Pupil]:
    with writer.transaction():
        pupil = Pupil(writer, source, JunkFilter(), silent())
        yield pupil
        pupil.finish()


def _correction(writer: Writer, pupil: Pupil, number: int, label: str) -> float:
    began = time.process_time()
    with writer.transaction():
        pupil.set_labels({number: label})
        pupil.finish()
    return time.process_time() - began


@contextmanager
def _timed(found: dict[str, float], name: str, number: int) -> Iterator[None]:
    began, spent = time.perf_counter(), _spent()
    yield
    found[f"{name}_rate"] = number / (time.perf_counter() - began)
    found[f"{name}_rate_of_a_core"] = number / (_spent() - spent)


def _spent() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime
