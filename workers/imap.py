"""IMAP on ports 143 and 993: listeners, engine, bells; the sessions are `echomox.imapd`.

Drain: nothing new is accepted, sessions go on for `drain_time`, idle ones are then told BYE, commands end
first."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from echomox.config.opinions import opinions
from echomox.imapd.service import Backend, Service
from echomox.imapd.upload import Upload
from echomox.ipc.bells import Bells
from echomox.net.listen import Acceptors, Handshake
from echomox.net.login import Authenticator
from echomox.net.tls import server_context
from echomox.store import open_engine

if TYPE_CHECKING:
    from workers.base import Worker


async def run(worker: Worker) -> None:
    loop = asyncio.get_running_loop()
    engine = open_engine(worker.paths)
    Upload.clear(worker.paths.spool / worker.name)
    bells = Bells(worker.paths.socket("change"), worker.log, worker.name)
    await bells.start()
    committer = engine.committer(worker.name)
    authenticator = Authenticator(worker, engine, "imap")
    tls = server_context(worker.static.tls, worker.paths.config, clients=True)
    service = Service(worker, Backend(engine, committer, authenticator, bells, tls), loop)

    def changed(account: str, modseq: int) -> None:
        bells.ring(account, modseq)
        service.changed(account)

    engine.on_change = changed
    engine.opinion = opinions(worker)
    worker.live = service
    acceptors = await listen(worker, service)
    ticking = loop.create_task(service.ticking())
    worker.ready()
    try:
        await worker.stopping()
        await acceptors.close()
        await service.drain(worker.drain_time())
    finally:
        ticking.cancel()
        await authenticator.close()
        await committer.close()
        await bells.close()
        engine.close()


async def listen(worker: Worker, service: Service) -> Acceptors:
    """Without a certificate there is no implicit TLS."""
    acceptors = Acceptors()
    await acceptors.open(worker.listeners.get("imap", ()), partial(service.session, False))
    implicit = worker.listeners.get("imaps", ())
    if service.tls_context is not None:
        acceptors.open_tls(implicit, Handshake(service.tls_context, service.limits.tls_timeout, service.implicit_tls))
    elif implicit:
        worker.log.warn("no certificate: not listening", listener="imaps")
    return acceptors
