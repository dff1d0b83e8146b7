"""The worker of ports 587 (STARTTLS) and 465 (TLS from the first byte): mail of our users, after a login."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from echomox.config.opinions import opinions
from echomox.delivery.local import LocalDelivery
from echomox.dns import open_resolver
from echomox.ipc.bells import Bells
from echomox.ipc.queuebell import QueueBell
from echomox.net.listen import Acceptors, Handshake
from echomox.net.login import Authenticator
from echomox.queue.routes import ways_of
from echomox.queue.spool import QueueSpool
from echomox.smtpd.notify import Notifier
from echomox.smtpd.service import SmtpService
from echomox.smtpd.submit import Submit
from echomox.store import open_engine
from workers.sendon import SendOn
from workers.smtp import drain, report_maker, settings

if TYPE_CHECKING:
    from workers.base import Worker


async def run(worker: Worker) -> None:
    engine = open_engine(worker.paths)
    committer = engine.committer(worker.name)
    bells = Bells(worker.paths.socket("change"), worker.log)
    engine.on_change = bells.ring
    engine.opinion = opinions(worker)
    await bells.start()
    spool = QueueSpool(worker.paths, ways=ways_of(worker.snapshot), min_free=worker.static.queue.min_free)
    bell = QueueBell(worker.paths.socket("queue"))
    resolver = open_resolver(worker.static.dns)
    send_on = SendOn(worker, resolver, spool)
    delivery = LocalDelivery(worker, engine, committer, rules=send_on.rules)
    role = Submit(worker, engine, delivery, spool, bell.ring)
    notifier = Notifier(spool, report_maker(worker), bell.ring)
    authenticator = Authenticator(worker, engine, "submission")
    service = SmtpService(replace(settings(worker), notifier=notifier), role, authenticator)
    worker.live = service
    acceptors = Acceptors()
    await acceptors.open(worker.listeners.get("submission", ()), service.plain)
    if service.context is not None:
        handshake = Handshake(service.context, worker.static.limits.tls_timeout, service.implicit_tls)
        acceptors.open_tls(worker.listeners.get("submissions", ()), handshake)
    elif worker.listeners.get("submissions"):
        worker.log.warn("no certificate: port for TLS from the first byte is not served", listener="submissions")
    worker.ready()
    await worker.stopping()
    await acceptors.close()
    await drain(worker, service)
    await authenticator.close()
    await committer.close()
    await send_on.close()
    await spool.close()
    await resolver.close()
    bell.close()
    role.close()
    delivery.close()
    await bells.close()
    engine.close()
