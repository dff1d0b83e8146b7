"""IMAP for one account on standard input and output: what a worker is to the sessions of `echomox imapd`, in a
process that somebody started by hand."""

from __future__ import annotations

import asyncio
import sys

from echomox.config.load import load_static
from echomox.config.opinions import opinions
from echomox.config.paths import Paths
from echomox.config.snapshot import Snapshot, load_snapshot
from echomox.imapd.pipe import serve
from echomox.imapd.service import Backend, Service
from echomox.imapd.upload import Upload
from echomox.ipc.bells import Bells
from echomox.log import Log, logger
from echomox.net.blocks import Blocks
from echomox.net.login import Authenticator
from echomox.store import open_engine
from shm.limiter import LimiterSlabs


class Alone:
    """imapd.service.Host without a supervisor: limits and counters of this process alone."""

    def __init__(self, paths: Paths) -> None:
        self.name = "imapserve"
        self.paths = paths
        self.static = load_static(paths.static)
        self.log: Log = logger("imapd")
        self.limiter = LimiterSlabs.private()
        self.blocks = Blocks(paths, lambda: 0, self.log)
        self._snapshot = load_snapshot(paths, self.static, 1)

    def snapshot(self) -> Snapshot:
        return self._snapshot

    def count(self, counter: str, n: int = 1) -> None:
        """There is no scoreboard."""

    def use_connections(self, n: int) -> None:
        """The same."""


async def serve_account(paths: Paths, account: str) -> None:
    """Until the client has gone. Raises ValueError when standard input and output are files."""
    host = Alone(paths)
    engine = open_engine(paths)
    Upload.clear(paths.spool / host.name)
    bells = Bells(paths.socket("change"), host.log, host.name)
    await bells.start()
    committer = engine.committer(host.name)
    authenticator = Authenticator(host, engine, "imap")
    service = Service(host, Backend(engine, committer, authenticator, bells, None), asyncio.get_running_loop())

    def changed(name: str, modseq: int) -> None:
        bells.ring(name, modseq)
        service.changed(name)

    engine.on_change = changed
    engine.opinion = opinions(host)
    ticking = asyncio.get_running_loop().create_task(service.ticking())
    try:
        await serve(service, account, sys.stdin.buffer, sys.stdout.buffer)
    finally:
        ticking.cancel()
        await authenticator.close()
        await committer.close()
        await bells.close()
        engine.close()
