"""The services: one row each, in the order of start. Bodies are strings, imported by PRELOAD or in the child.

What a row may say is documented at `echomox.supervisor.service.Service`.
"""

from __future__ import annotations

from echomox.config.paths import Paths
from echomox.config.schema import Static
from echomox.supervisor.service import Service, Table


def smtp_count(static: Static, cores: int) -> int:
    return static.workers.smtp or min(cores, 4)


def submission_count(static: Static, cores: int) -> int:
    return static.workers.submission or 1


def imap_count(static: Static, cores: int) -> int:
    return static.workers.imap or cores


def classifier_count(static: Static, cores: int) -> int:
    return static.workers.classifier or cores


def queuerunner_count(static: Static, cores: int) -> int:
    return static.workers.queuerunner or 1


SERVICES = (
    Service("notifier", "workers.notifier:run", ("change",), alone=True),
    Service("control", "workers.control:run", ("control",), alone=True),
    Service("trainer", "workers.trainer:run", ("learn",), alone=True, publishes=True),
    Service("housekeeper", "workers.housekeeper:run", alone=True),
    Service("classifier", "workers.classifier:run", ("classify",), classifier_count, per_slot=True, pool=True),
    Service("queuerunner", "workers.queuerunner:run", ("queue",), queuerunner_count),
    Service("smtp", "workers.smtp:run", ("smtp",), smtp_count),
    Service("submission", "workers.submission:run", ("submission", "submissions"), submission_count),
    Service("imap", "workers.imap:run", ("imap", "imaps"), imap_count),
)

PRELOAD = (
    "numpy",
    "uvloop",
    "msgpack",
    "bcrypt",
    "sqlite3",
    "ssl",
    "encodings.ascii",
    "idna.uts46data",
    # What dnspython imports when the first record of a type comes.
    "dns.rdtypes.ANY.CAA",
    "dns.rdtypes.ANY.CNAME",
    "dns.rdtypes.ANY.DNAME",
    "dns.rdtypes.ANY.MX",
    "dns.rdtypes.ANY.NS",
    "dns.rdtypes.ANY.OPT",
    "dns.rdtypes.ANY.PTR",
    "dns.rdtypes.ANY.RRSIG",
    "dns.rdtypes.ANY.SOA",
    "dns.rdtypes.ANY.TLSA",
    "dns.rdtypes.ANY.TXT",
    "dns.rdtypes.IN.A",
    "dns.rdtypes.IN.AAAA",
    "dns.rdtypes.IN.SRV",
    "workers.base",
    "workers.notifier",
    "workers.control",
    "workers.trainer",
    "workers.housekeeper",
    "workers.classifier",
    "workers.queuerunner",
    "workers.smtp",
    "workers.submission",
    "workers.imap",
)
"""Imported once by the supervisor before it forks, so that all workers share their memory."""

LATE = (
    "_strptime",
    "argon2.low_level",
    "concurrent.futures.thread",
    "difflib",
    "dns.exception",
    "dns.resolver",
    "echomox.config.checks",
    "idna",
    "idna.uts46data",
    "precis_i18n",
    "pwd",
    "traceback",
)
"""Imported at first use where the workers' user is who started the server; see Table.late."""


def recover(static: Static, paths: Paths) -> None:
    """Before any worker starts: brings the store to a state in which every acknowledged mail is there
    once.
    """
    from echomox.log import logger
    from echomox.store import open_engine

    engine = open_engine(paths)
    try:
        counts = engine.recover()
        logger("store").info("recovered", **counts)
    finally:
        engine.close()


def warm(static: Static, paths: Paths) -> None:
    """In the supervisor, which may read a key that the workers may not: one TLS context, and so one set of session
    ticket keys, for all of them. And the tables that every classifier reads. Raises ConfigError.
    """
    from echomox.dns.psl import load
    from echomox.filter.lexicon import lexicon
    from echomox.filter.stages.membranes import reload_rules
    from echomox.net.tls import server_context

    server_context(static.tls, paths.config)
    server_context(static.tls, paths.config, clients=True)
    load()
    lexicon()
    reload_rules(static.filter.rules)


def server() -> Table:
    """The whole mail server, for the supervisor."""
    from workers.base import main

    return Table(SERVICES, main, "workers.table:recover", warm, PRELOAD, LATE)
