"""Small services for the supervisor's own tests: an echo server, a status server, one that fails when
told.
"""

from __future__ import annotations

import asyncio
import json
import os
import time

from echomox.net.listen import Acceptors
from echomox.supervisor.service import Service, Table
from echomox.supervisor.status import status
from workers.base import Worker, main


async def echo(worker: Worker) -> None:
    """Answers lines: "who" with name, pid and static generation; "hang" blocks the loop; "hash" the config
    generation; anything else comes back."""
    sessions: set[asyncio.StreamWriter] = set()
    handlers: set[asyncio.Task[None]] = set()

    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handlers.add(asyncio.current_task())
        sessions.add(writer)
        worker.count("smtp_connections")
        worker.use_connections(len(sessions))
        writer.write(b"hello\n")
        try:
            while line := await reader.readline():
                writer.write(answer(worker, line))
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            sessions.discard(writer)
            worker.use_connections(len(sessions))
            writer.close()
            handlers.discard(asyncio.current_task())

    def connected() -> asyncio.StreamReaderProtocol:
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(), session)

    acceptors = Acceptors()
    await acceptors.open(worker.listeners["smtp"], connected)
    worker.ready()
    await worker.stopping()
    await acceptors.close()
    for writer in list(sessions):
        writer.write(b"draining\n")
    over = asyncio.ensure_future(worker.out_of_time())
    while handlers and not over.done():
        await asyncio.wait({over, *handlers}, return_when=asyncio.FIRST_COMPLETED)
    for writer in list(sessions):
        writer.close()


def answer(worker: Worker, line: bytes) -> bytes:
    if line == b"who\n":
        return f"{worker.name} {os.getpid()} {worker.slot.get('static_generation')}\n".encode()
    if line == b"accounts\n":
        snapshot = worker.snapshot()
        return f"{snapshot.generation} {' '.join(snapshot.dynamic.accounts)}\n".encode()
    if line == b"hang\n":
        time.sleep(60)
    if line == b"fail\n":
        raise RuntimeError("told to fail")
    if line == b"write weights\n":
        worker.weights.publish(b"not mine")
    if line == b"threads\n":
        path = f"/proc/{worker.board.get('supervisor_pid')}/task"
        return f"{len(os.listdir(path))}\n".encode()
    if line == b"fds\n":
        return (" ".join(sorted(os.listdir("/proc/self/fd"), key=int)) + "\n").encode()
    if line == b"ids\n":
        return f"{os.getresuid()} {os.getresgid()} {os.getgroups()} {regain()}\n".encode()
    return line


def regain() -> str:
    try:
        os.setuid(0)
    except PermissionError:
        return "refused"
    return "root"


async def control(worker: Worker) -> None:
    """As the real one: one JSON object a line."""

    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readline():
            writer.write(json.dumps(status(worker.board)).encode() + b"\n")
        writer.close()

    server = await asyncio.start_unix_server(session, sock=worker.listeners["control"][0])
    worker.ready()
    await worker.stopping()
    server.close()


async def moody(worker: Worker) -> None:
    """Dies before it is ready while tmp/moody exists."""
    if (worker.paths.tmp / "moody").exists():
        raise RuntimeError("in a bad mood")
    worker.ready()
    await worker.stopping()


def prepare(static: object, paths: object) -> None:
    """Leaves a trace of whose rights it had."""
    (paths.tmp / "prepared").write_text(str(os.getuid()))


SERVICES = (
    Service("control", "tests.process.bodies:control", ("control",), alone=True),
    Service(
        "moody", "tests.process.bodies:moody", ("classify",), lambda s, c: s.workers.classifier or 1, True, pool=True
    ),
    Service("echo", "tests.process.bodies:echo", ("smtp",), lambda s, c: s.workers.smtp or 2),
)
PRELOAD = ("numpy", "uvloop", "workers.base", "tests.process.bodies")


def table() -> Table:
    return Table(SERVICES, main, "tests.process.bodies:prepare", preload=PRELOAD)
