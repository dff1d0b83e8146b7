"""A classifier: answers `Classify` on its slot's classify.<i>.sock with one verdict per account.

Requests that have arrived by the time the loop comes round are judged together, at most `BATCH` of them,
then others get their turn: heartbeats, new peers. A request of a peer that has gone meanwhile is not worked
on. The network's weights are those that the trainer published in shared memory.
"""

from __future__ import annotations

import asyncio
import gc
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from echomox.config.schema import JunkFilter
from echomox.config.senderlists import filter_of
from echomox.filter.judge import Judge
from echomox.filter.stages import esn, membranes, with_own
from echomox.filter.weights import SharedWeights
from echomox.ipc.channel import LIMITS, Limits, Link, Server
from echomox.ipc.frame import Frame, encode
from echomox.ipc.schema import Classify, Failed, Verdicts
from echomox.log import Log, logger

if TYPE_CHECKING:
    from workers.base import Worker

BATCH = 32
"""All that waits is best for the slowest answers too: in a simulation with measured times, at half load and above,
smaller batches made the queue longer, for each costs more, and the shortest messages first changed nothing."""
MOST_WAITING = 1024
MOST_ACCOUNTS = 1000
RUBBISH = 200_000
"""Objects after which Python looks for cycles: a few batches. Hardly any are made, and the search costs 5 % else."""


class Classifier:
    """The service without its process. source: (the judge, the spool directory, seconds for one request);
    count: the worker's counters."""

    def __init__(
        self,
        source: tuple[Judge, Path, float],
        log: Log,
        count: Callable[[str, int], None] = lambda name, n: None,
        limits: Limits = LIMITS,
    ) -> None:
        self._judge, self._spool, self._budget = source
        self._log = log
        self._count = count
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[Link, int, Classify]] = deque()
        self._due = False
        self.server = Server(self._frame, log, dropped=lambda: count("ipc_dropped", 1), limits=limits)

    def _frame(self, link: Link, frame: Frame) -> None:
        message = frame.message
        if not isinstance(message, Classify):
            link.send(Failed("not for a classifier"), frame.request)
        elif len(message.accounts) > MOST_ACCOUNTS:
            link.send(Failed("too many accounts"), frame.request)
        elif len(self._waiting) >= MOST_WAITING:
            self._count("classify_full", 1)
            link.send(Failed("full"), frame.request)
        else:
            self._waiting.append((link, frame.request, message))
            self._arm()

    def _arm(self) -> None:
        if self._waiting and not self._due:
            self._due = True
            self._loop.call_soon(self._batch)

    def _batch(self) -> None:
        """Serves what waits, up to BATCH of it, together."""
        self._due = False
        size = min(len(self._waiting), BATCH)
        batch = [item for item in (self._waiting.popleft() for _ in range(size)) if item[0].open]
        answers: dict[Link, list[bytes]] = {}
        for (link, request, _), answer in zip(batch, self._answers([message for _, _, message in batch])):
            answers.setdefault(link, []).append(encode(answer, request))
        for link, frames in answers.items():
            link.write(b"".join(frames))
        self._count("classify_batches", 1)
        self._count("classify_requests", size)
        self._arm()

    def _answers(self, messages: list[Classify]) -> Sequence[Verdicts | Failed]:
        try:
            return [Verdicts(found) for found in self._judge.answers(messages, self._spool, self._budget)]
        except Exception as error:
            if len(messages) == 1:
                self._log.exception("not classified", cid=messages[0].cid)
                return [Failed(f"error {type(error).__name__}")]
            return [self._answers([message])[0] for message in messages]  # one must not spoil the others

    async def drain(self) -> None:
        """Serves what has arrived, then ends the connections."""
        while self._waiting:
            self._batch()
        await self.server.close()


def settle() -> None:
    """Leaves what lives now out of the search for cycles, and makes it rare."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(RUBBISH)


async def run(worker: Worker) -> None:
    """The body of the process."""
    log = logger("classifier")

    def settings(account: str) -> JunkFilter:
        return filter_of(worker.snapshot().dynamic, account)

    network = esn.Network(SharedWeights(worker.weights, log))
    rules = membranes.rules_of(worker.static.filter.rules)
    stages = with_own(network.stage(), membranes.stage(lambda: rules))
    judge = Judge(worker.paths.accounts, settings, log, stages)
    budget = worker.static.filter.classify_timeout / 2
    classifier = Classifier((judge, worker.paths.spool, budget), log, worker.count)
    await classifier.server.serve(worker.listeners["classify"])
    settle()
    worker.ready()
    await worker.stopping()
    await classifier.drain()
    judge.close()
