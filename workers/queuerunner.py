"""The queue runner: the process that delivers what stands in the queue (`data/queue`), to others and to ourselves.

Bells come in on queue.sock; the work is `echomox.queue.runner`. Several of it share the queue by leases. TERM ends the
leasing; what is under way goes on as long as the drain may last, then its leases are given back.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from echomox.config.opinions import opinions
from echomox.delivery.bounce import Maker
from echomox.delivery.local import LocalDelivery
from echomox.delivery.localjobs import LocalJobs
from echomox.delivery.outbox import Outbox
from echomox.delivery.signing import HostSigner
from echomox.dns import open_resolver
from echomox.ipc.bells import Bells
from echomox.log import Log, logger
from echomox.outbound.remote import Place, open_remote
from echomox.queue import database
from echomox.queue.database import QueueError
from echomox.queue.holder import holder_name
from echomox.queue.model import Outgoing, Report
from echomox.queue.routes import is_local, ways_of
from echomox.queue.runner import Means, Runner
from echomox.store import open_engine
from workers.sendon import SendOn

if TYPE_CHECKING:
    from collections.abc import Callable

    from workers.base import Worker

BELL_BYTES = 4096
AGAIN = 5.0
"""Seconds between looks at a queue that cannot be opened."""


async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ring: Callable[[], None]) -> None:
    """One who rings, until he hangs up."""
    try:
        while await reader.read(BELL_BYTES):
            ring()
    except OSError:
        pass
    finally:
        writer.close()


async def opened(worker: Worker, log: Log) -> Path | None:
    """The queue's directory; waits while it cannot be opened. None: this process is to end."""
    while not worker.draining:
        try:
            return await asyncio.to_thread(database.prepare, worker.paths)
        except (OSError, QueueError) as error:
            log.error("the queue cannot be opened", error=error)
        worker.ready()
        with suppress(TimeoutError):
            await asyncio.wait_for(worker.stopping(), AGAIN)
    return None


async def run(worker: Worker) -> None:
    """The body of the process."""
    log = logger("queue")
    directory = await opened(worker, log)
    if directory is not None:
        await serve(worker, log, directory)


async def serve(worker: Worker, log: Log, directory: Path) -> None:
    engine = open_engine(worker.paths)
    committer = engine.committer(worker.name)
    bells = Bells(worker.paths.socket("change"), log)
    engine.on_change = bells.ring
    engine.opinion = opinions(worker)
    await bells.start()
    resolver = open_resolver(worker.static.dns)
    send_on = SendOn(worker, resolver)
    local = LocalDelivery(worker, engine, committer, rules=send_on.rules)
    remote = open_remote(Place(worker.static, worker.paths), resolver, log, worker.count)
    hostname = worker.static.hostname
    maker = Maker(hostname, random.SystemRandom(), HostSigner(hostname, worker.snapshot, log))

    def compose(report: Report) -> Outgoing | None:
        return maker.compose(report, time.time())

    runner = Runner(
        Means(
            directory=directory,
            holder=holder_name(worker.name),
            queue=worker.static.queue,
            ways=ways_of(worker.snapshot),
            deliver=remote.deliver,
            deliver_local=LocalJobs(worker, engine, local, send_on.srs).deliver,
            is_local=lambda domain: is_local(worker.snapshot(), domain),
            compose=compose,
            log=log,
            count=worker.count,
            runners=max(1, worker.static.workers.queuerunner),
        )
    )
    callers: set[asyncio.Task[None]] = set()

    async def heard(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        callers.add(task)
        task.add_done_callback(callers.discard)
        await hear(reader, writer, runner.ring)

    servers = [await asyncio.start_unix_server(heard, sock=one) for one in worker.listeners.get("queue", ())]
    outbox = asyncio.create_task(Outbox(worker, engine, committer, directory).run()) if worker.index == 0 else None
    running = asyncio.create_task(runner.run())
    worker.ready()
    await worker.stopping()
    runner.stop()
    for server in servers:
        server.close()
    for task in callers:
        task.cancel()
    await running
    await finish(worker, runner)
    if outbox is not None:
        outbox.cancel()
        await asyncio.wait((outbox,))
    await remote.close()
    await send_on.close()
    await resolver.close()
    await committer.close()
    local.close()
    await bells.close()
    engine.close()


async def finish(worker: Worker, runner: Runner) -> None:
    """What is under way, as long as there is time."""
    ended = asyncio.create_task(runner.finish())
    late = asyncio.create_task(worker.out_of_time())
    await asyncio.wait((ended, late), return_when=asyncio.FIRST_COMPLETED)
    for task in (ended, late):
        task.cancel()
    await runner.close()
