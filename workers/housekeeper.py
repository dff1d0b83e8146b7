"""The housekeeper: what may wait while mail is there. It fills the full-text indexes (`workers.indexer`) and does what
is due by the clock (`workers.scheduler`).

Both only begin again where they were when they are ended at any moment, nobody waits for either, and both work in
threads and step back for the other processes; so they share one, which an idle server has less to keep in memory for.
When one of them fails the process ends, and a new one takes its place.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from workers.indexer import indexing
from workers.scheduler import scheduling

if TYPE_CHECKING:
    from workers.base import Worker

NICENESS = 15  # mail goes before its index


async def run(worker: Worker) -> None:
    """The body of the process."""
    os.nice(NICENESS)
    async with indexing(worker) as indexer, scheduling(worker) as scheduler:
        worker.ready()
        await worker.stopping(indexer, scheduler)
