"""Makes the shared segments, all three, before the first fork."""

from __future__ import annotations

from echomox.supervisor.service import Shared
from shm.limiter import LimiterSlabs, limiter_size
from shm.scoreboard import Scoreboard, scoreboard_size
from shm.segment import Segment
from shm.weights import WeightBuffer, weights_size


def make_shared(slots: int, slabs: int) -> Shared:
    """slots: most processes at once, with those that drain. slabs: most of them that serve people. Raises
    OSError, and then none
    is left."""
    made: list[Segment] = []
    try:
        for size in (scoreboard_size(slots), limiter_size(slabs), weights_size()):
            made.append(Segment(size))
    except BaseException:
        for segment in made:
            segment.close()
        raise
    board, limiter, weights = made
    return Shared(
        Scoreboard(board.memory, slots),
        LimiterSlabs(limiter.memory),
        WeightBuffer(weights.memory),
        (board, limiter, weights),
    )
