"""The worker of port 25: mail from other servers, with STARTTLS where a certificate is configured."""

from __future__ import annotations

import gc
import os
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from echomox.config.opinions import opinions
from echomox.config.senderlists import filter_of
from echomox.delivery.authcheck import MailChecks
from echomox.delivery.authlog import FILE as AUTHLOG_FILE
from echomox.delivery.authlog import AuthLog
from echomox.delivery.bounce import Maker
from echomox.delivery.judging import Judging
from echomox.delivery.local import LocalDelivery
from echomox.delivery.returns import Returns
from echomox.delivery.signing import HostSigner
from echomox.dns import open_resolver
from echomox.filter.judge import fallback_judge
from echomox.ipc.bells import Bells
from echomox.ipc.classify import ClassifierPool
from echomox.ipc.schema import Classify, Verdict
from echomox.log import logger
from echomox.net.limit import ConnectionLimits, DeliveryLimits
from echomox.net.listen import Acceptors
from echomox.net.tls import server_context
from echomox.smtpd.body import Spool
from echomox.smtpd.notify import Notifier
from echomox.smtpd.receive import Receive
from echomox.smtpd.service import Settings, SmtpService
from echomox.store import open_engine
from workers import table
from workers.sendon import SendOn

if TYPE_CHECKING:
    from workers.base import Worker

RUBBISH = 10_000
"""Objects after which Python looks for cycles. A mail leaves none, and at the usual 700 the search takes 2 % of the
time."""


def settings(worker: Worker) -> Settings:
    """What both SMTP services have; makes the worker's spool directory."""
    static = worker.static
    spool = Spool(worker.paths.spool / worker.name)
    spool.prepare()
    blocked = worker.blocks.has if worker.service != "smtp" or static.limits.block_smtp else None
    return Settings(
        hostname=static.hostname,
        limits=static.limits,
        context=server_context(static.tls, worker.paths.config, clients=worker.service == "submission"),
        spool=spool,
        connections=ConnectionLimits(worker.limiter, worker.service, static.limits, blocked=blocked),
        log=logger("smtpd"),
        count=worker.count,
        use=worker.use_connections,
    )


async def run(worker: Worker) -> None:
    gc.set_threshold(RUBBISH)
    static = worker.static
    engine = open_engine(worker.paths)
    committer = engine.committer(worker.name)
    bells = Bells(worker.paths.socket("change"), worker.log)
    engine.on_change = bells.ring
    engine.opinion = opinions(worker)
    classifiers = ClassifierPool(
        worker.paths, classifier_sockets(worker), static.filter.classify_timeout, worker.log, worker.count
    )
    await bells.start()
    await classifiers.start()
    judge = fallback_judge(worker.paths.accounts, lambda name: filter_of(worker.snapshot().dynamic, name), worker.log)

    def fallback(request: Classify) -> Sequence[Verdict]:
        return judge.verdicts(request, worker.paths.spool)

    resolver = open_resolver(static.dns)
    authlog = AuthLog(worker.paths.data / AUTHLOG_FILE, logger("mailauth"))
    authlog.start()
    checks = MailChecks(static, resolver, worker.paths.spool, authlog, logger("mailauth"))
    send_on = SendOn(worker, resolver)
    judging = Judging(worker, engine, classifiers, fallback)
    delivery = LocalDelivery(worker, engine, committer, judging, checks, send_on.rules)
    limits = DeliveryLimits(worker.limiter, static.limits)
    returns = Returns(send_on.spool, static.queue, logger("queue"), worker.count)
    role = Receive(worker, engine, delivery, limits, send_on.srs, returns)
    service = SmtpService(replace(settings(worker), notifier=notifier(worker, send_on)), role)
    acceptors = Acceptors()
    await acceptors.open(worker.listeners.get("smtp", ()), service.plain)
    worker.ready()
    await worker.stopping()
    await acceptors.close()
    await drain(worker, service)
    await committer.close()
    delivery.close()
    await send_on.close()
    await authlog.close()
    await resolver.close()
    judge.close()
    await classifiers.close()
    await bells.close()
    engine.close()


def notifier(worker: Worker, send_on: SendOn) -> Notifier:
    """Who tells senders that asked for it that their mail is in the mailbox."""
    return Notifier(send_on.spool, report_maker(worker), send_on.bell.ring)


def report_maker(worker: Worker) -> Maker:
    """Of delivery status notifications, signed."""
    hostname = worker.static.hostname
    return Maker(hostname, random.SystemRandom(), HostSigner(hostname, worker.snapshot, worker.log))


def classifier_sockets(worker: Worker) -> int:
    """How many classifiers there are at most: sockets without one are tried in vain, which costs little."""
    return table.classifier_count(worker.static, os.cpu_count() or 1)


async def drain(worker: Worker, service: SmtpService) -> None:
    """After a stop idle connections end at once; after a reload all go on for a while."""
    seconds = worker.drain_time()
    await service.drain(seconds, at_once=seconds <= worker.static.workers.stop_time)
