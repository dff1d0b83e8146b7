"""The clients of the classifier pool: `classify` asks the classifier that owes us the fewest answers.

An answer that is late is None to the caller, and goes on counting as owed, so that a classifier that hangs
gets no more than its share. None also when no classifier is connected or all have `MOST_OWED` requests of
ours: mail never waits for a filter longer than its time limit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from echomox.config.paths import Paths
from echomox.ipc.channel import Client
from echomox.ipc.frame import FrameError
from echomox.ipc.schema import Classify, Verdict, Verdicts
from echomox.log import Log

MOST_OWED = 256
FRAME_SOURCE = 64 * 1024
"""A message up to this size travels in the frame, a longer one by its spool id."""


class ClassifierPool:
    """count(counter): told of classify_timeouts (late or lost) and classify_full (nobody to ask)."""

    def __init__(
        self,
        paths: Paths,
        count: int,
        timeout: float,
        log: Log,
        counter: Callable[[str], None] = lambda name: None,
    ) -> None:
        self._timeout = timeout
        self._counter = counter
        self._turn = -1
        self._log = log
        self._clients = [Client(paths.socket(f"classify.{index}"), log.sink.role, log) for index in range(count)]

    @property
    def connected(self) -> int:
        """How many classifiers can be asked now."""
        return sum(client.connected for client in self._clients)

    async def start(self) -> None:
        await asyncio.gather(*[client.start() for client in self._clients])

    async def close(self) -> None:
        await asyncio.gather(*[client.close() for client in self._clients])

    async def classify(self, request: Classify) -> list[Verdict] | None:
        """One verdict per account, in the order of the request; None when unavailable or late."""
        client = self._choose()
        if client is None or client.owed >= MOST_OWED:
            self._counter("classify_full")
            return None
        try:
            answer = await client.request(request, self._timeout)
        except FrameError as error:
            self._log.warn("not classified", cid=request.cid, error=str(error))
            return None
        if isinstance(answer, Verdicts):
            verdicts = list(answer.verdicts)
            if tuple(verdict.account for verdict in verdicts) == request.accounts:
                return verdicts
        self._counter("classify_timeouts")
        return None

    def _choose(self) -> Client | None:
        """The connected client that owes least; of equals the next in turn, so that several workers do not
        all ask the first."""
        self._turn += 1
        turn, clients = self._turn % len(self._clients) if self._clients else 0, self._clients
        connected = [client for client in [*clients[turn:], *clients[:turn]] if client.connected]
        return min(connected, key=lambda client: client.owed, default=None)
