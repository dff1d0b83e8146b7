"""What every worker that delivers has for mail that is sent on: the queue, the key of return addresses, the rules.

Port 25, submission and the queue runner make one each; see `echomox.delivery.policy` and `echomox.delivery.forward`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from echomox.delivery.forward import Forwarder
from echomox.delivery.policy import AddressRules
from echomox.delivery.srs import Srs, load_keys
from echomox.delivery.subjectpass import SubjectPass
from echomox.ipc.queuebell import QueueBell
from echomox.log import logger
from echomox.queue.routes import ways_of
from echomox.queue.spool import QueueSpool
from echomox.reports.arrivals import Arrivals
from echomox.reports.database import FILE as REPORTS

if TYPE_CHECKING:
    from echomox.dns.types import Resolver
    from workers.base import Worker


class SendOn:
    """One per process; made in its loop. spool: that the worker has already, else one is made."""

    def __init__(self, worker: Worker, resolver: Resolver, spool: QueueSpool | None = None) -> None:
        """Raises OSError; ValueError for a key file that holds none."""
        self._own = spool is None
        self.spool = spool or QueueSpool(
            worker.paths, ways=ways_of(worker.snapshot), min_free=worker.static.queue.min_free
        )
        self.bell = QueueBell(worker.paths.socket("queue"))
        self.srs: Srs = load_keys(worker.paths.data)
        forwarder = Forwarder(self.spool, self.srs, worker.paths.spool, logger("delivery"), self.bell.ring)
        self.arrivals = Arrivals(worker.paths.data / REPORTS, logger("reports"), worker.count)
        subject_pass = SubjectPass(worker.paths.data, logger("delivery"))
        self.rules = AddressRules(worker, resolver, forwarder, arrivals=self.arrivals, subject_pass=subject_pass)

    async def close(self) -> None:
        if self._own:
            await self.spool.close()
        self.bell.close()
        self.arrivals.close()
