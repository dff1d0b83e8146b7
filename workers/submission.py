"""The worker of ports 587 (STARTTLS) and 465 (TLS from the first byte): mail of our users, after a login."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echomox.delivery.local import LocalDelivery
from echomox.ipc.bells import Bells
from echomox.net.listen import Acceptors, Handshake
from echomox.net.login import Authenticator
from echomox.smtpd.service import SmtpService
from echomox.smtpd.submit import Submit
from echomox.store import open_engine
from workers.smtp import drain, settings

if TYPE_CHECKING:
    from workers.base import Worker


async def run(worker: Worker) -> None:
    engine = open_engine(worker.paths)
    committer = engine.committer(worker.name)
    bells = Bells(worker.paths.socket("change"), worker.log)
    engine.on_change = bells.ring
    await bells.start()
    delivery = LocalDelivery(worker, engine, committer)
    authenticator = Authenticator(worker, engine, "submission")
    service = SmtpService(settings(worker), Submit(worker, engine, delivery), authenticator)
    worker.live = service
    acceptors = Acceptors()
    await acceptors.open(worker.listeners.get("submission", ()), service.plain)
    if service.context is not None:
        handshake = Handshake(service.context, worker.static.limits.tls_timeout, service.implicit_tls)
        acceptors.open_tls(worker.listeners.get("submissions", ()), handshake)
    elif worker.listeners.get("submissions"):
        worker.log.warn(
            "no certificate: port for TLS from the first byte is not served", listener="submissions"
        )
    worker.ready()
    await worker.stopping()
    acceptors.close()
    await drain(worker, service)
    await authenticator.close()
    await committer.close()
    delivery.close()
    await bells.close()
    engine.close()
