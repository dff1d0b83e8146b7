"""Operations on the queue: what waits, what became of it, hold rules and the suppression list (Q10, Q11, Q23 to Q25).
See `workers.operations`.

Everything is one durable transaction on `data/queue/index.db`, with the queue runner at work or without one; it hears
of what became due by its bell. Changes take a filter; an empty one is refused unless `all` is set.
"""

from __future__ import annotations

import base64
import random
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict
from typing import Any, TypeVar

from echomox.config.names import domain_key
from echomox.config.snapshot import load_snapshot
from echomox.delivery.bounce import Maker
from echomox.delivery.signing import HostSigner
from echomox.ipc.queuebell import ring_once
from echomox.log import logger
from echomox.queue import control, database, suppression
from echomox.queue.commit import once
from echomox.queue.control import Filter
from echomox.queue.database import QueueError, directory_of
from echomox.queue.destinations import ask_to_retry
from echomox.queue.finish import Context, Finished, drop, fail
from echomox.queue.insert import Ways
from echomox.queue.routes import ways_of
from workers.operations_mail import time_text
from workers.site import Refused, Site

Fields = Mapping[str, Any]
Answer = dict[str, Any]
T = TypeVar("T")

FILTER: Mapping[str, type] = {
    "ids?": list, "account?": str, "sender?": str, "sender_domain?": str, "recipient?": str, "recipient_domain?": str,
    "subject?": str, "state?": str, "transport?": str, "kind?": str, "before?": float, "after?": int,
}  # fmt: skip
CHANGE: Mapping[str, type] = {**FILTER, "all?": bool}
CHANGES = frozenset(
    f"queue.{verb}" for verb in ("hold", "unhold", "schedule", "transport", "requiretls", "fail", "drop")
)
PIECE = 512 * 1024
FURTHEST = 366 * 86_400.0
TIMES = ("Queued", "NextAttempt", "Retired", "KeepUntil", "Created")


def _run(site: Site, work: Callable[[sqlite3.Connection], T]) -> T:
    try:
        directory = database.prepare(site.paths)
        with closing(database.connect(directory, durable=True)) as connection:
            return once(connection, work)
    except QueueError as error:
        raise Refused(str(error)) from None


def _look(site: Site, work: Callable[[sqlite3.Connection], T]) -> T:
    """Without a lock: nothing is changed."""
    try:
        directory = database.prepare(site.paths)
        with closing(database.connect(directory, durable=False)) as connection:
            try:
                return work(connection)
            except sqlite3.Error as error:
                raise database.translate(error) from error
    except QueueError as error:
        raise Refused(str(error)) from None


def _filter(fields: Fields) -> Filter:
    values = {name.rstrip("?"): fields[name.rstrip("?")] for name in FILTER if name.rstrip("?") in fields}
    ids = values.pop("ids", [])
    if any(type(one) is not int for one in ids):
        raise Refused("ids are whole numbers")
    return Filter(ids=tuple(ids), **values)


def _chosen(fields: Fields) -> Filter:
    found = _filter(fields)
    if found.is_empty() and not fields.get("all"):
        raise Refused("say which messages: ids or a filter; --all for all of them")
    return found


def _ways(site: Site) -> Ways:
    snapshot = load_snapshot(site.paths, site.static(), 0)
    return ways_of(lambda: snapshot)


def _max_attempts(site: Site) -> int:
    return len(site.static().queue.schedule)


def _with_times(found: Answer) -> Answer:
    shown: Answer = {name: time_text(value) if name in TIMES and value else value for name, value in found.items()}
    for result in shown.get("Results", ()):
        result["when"] = time_text(result["when"])
    return shown


# -- what waits --------------------------------------------------------------------------


def queue_list(site: Site, fields: Fields) -> Answer:
    wanted, limit = _filter(fields), fields.get("limit", 1000)
    most = _max_attempts(site)
    found = _look(site, lambda connection: control.listing(connection, wanted, limit, most))
    return {"messages": [_with_times(one) for one in found]}


def queue_counts(site: Site, fields: Fields) -> Answer:
    return dict(_look(site, control.counts))


def queue_print(site: Site, fields: Fields) -> Answer:
    """With its tries. A message that is over is looked for too."""
    number, most = fields["id"], _max_attempts(site)
    found = _look(
        site,
        lambda connection: control.show(connection, number, most) or control.retired_show(connection, number),
    )
    if found is None:
        raise Refused(f"no message {number} in the queue; `echomox queue list` shows what there is")
    return _with_times(found)


def queue_dump(site: Site, fields: Fields) -> Answer:
    """A piece of the message as it will be sent; `size` is the whole."""
    number = fields["id"]
    directory = database.prepare(site.paths)
    span = max(0, fields["offset"]), max(0, min(fields["length"], PIECE))
    found = _look(site, lambda connection: control.piece(connection, directory, number, span))
    if found is None:
        raise Refused(f"no message {number} in the queue; `echomox queue list` shows what there is")
    return {"size": found[0], "data": base64.b64encode(found[1]).decode("ascii")}


# -- what is done with it ----------------------------------------------------------------


RETRIED = ("unhold", "change")
"""Events after which messages are tried, even if their destination was found dead a moment ago."""


def _change(
    site: Site, fields: Fields, event: str, change: Callable[[sqlite3.Connection, list[int]], object]
) -> Answer:
    """Applies it to all that fit, in portions. `ids` of the answer: what was changed."""
    wanted = _chosen(fields)
    changed: list[int] = []
    after = wanted.after
    if event in RETRIED:
        ask_to_retry(directory_of(site.paths))
    while True:
        portion = Filter(**{**_values(wanted), "after": after})

        def work(connection: sqlite3.Connection, portion: Filter = portion) -> list[int]:
            ids = control.select(connection, portion, event)
            if ids:
                change(connection, ids)
            return ids

        ids = _run(site, work)
        changed += ids
        if len(ids) < control.MOST:
            break
        after = ids[-1]
    ring_once(site.paths.socket("queue"))
    return {"changed": len(changed), "ids": changed[: control.MOST]}


def _values(wanted: Filter) -> dict[str, Any]:
    return asdict(wanted)


def queue_hold(site: Site, fields: Fields) -> Answer:
    return _change(site, fields, "hold", lambda connection, ids: control.hold(connection, ids, "by hand"))


def queue_unhold(site: Site, fields: Fields) -> Answer:
    ways = _ways(site)
    return _change(site, fields, "unhold", lambda connection, ids: control.unhold(connection, ids, ways))


def queue_schedule(site: Site, fields: Fields) -> Answer:
    """Exactly one of `at` (seconds since 1970; 0 is now) and `by` (seconds more than planned)."""
    if ("at" in fields) == ("by" in fields):
        raise Refused("give either a time or a number of seconds")
    ways, now = _ways(site), time.time()
    kind = "at" if "at" in fields else "by"
    seconds = fields[kind]
    if kind == "at":
        seconds = seconds or now
    if not (abs(seconds - now) if kind == "at" else abs(seconds)) <= FURTHEST:
        raise Refused("that is more than a year away")
    when = (kind, seconds)
    return _change(site, fields, "change", lambda connection, ids: control.reschedule(connection, ids, when, ways))


def queue_transport(site: Site, fields: Fields) -> Answer:
    name, ways = fields["name"], _ways(site)
    known = site.dynamic().transports
    if name and name not in known:
        raise Refused(f"no transport {name}; there are: {', '.join(sorted(known)) or 'none'}")
    return _change(site, fields, "change", lambda connection, ids: control.set_transport(connection, ids, name, ways))


REQUIRE_TLS = {"yes": True, "no": False, "default": None}


def queue_requiretls(site: Site, fields: Fields) -> Answer:
    value = fields["value"]
    if value not in REQUIRE_TLS:
        raise Refused(f"require TLS is one of {', '.join(REQUIRE_TLS)}, not {value}")
    wanted = REQUIRE_TLS[value]
    return _change(site, fields, "change", lambda connection, ids: control.set_require_tls(connection, ids, wanted))


def _context(site: Site) -> Context:
    static = site.static()
    snapshot = load_snapshot(site.paths, static, 0)
    signer = HostSigner(static.hostname, lambda: snapshot, logger("queue"))
    maker = Maker(static.hostname, random.SystemRandom(), signer)
    now = time.time()
    directory = database.prepare(site.paths)
    return Context(
        static.queue, directory, _ways(site), lambda report: maker.compose(report, now), now, random.random
    )


def _end(site: Site, fields: Fields, event: str, work: Callable[..., Finished]) -> Answer:
    done: list[Finished] = []
    answer = _change(site, fields, event, lambda connection, ids: done.append(work(connection, ids)))
    for finished in done:
        for path in finished.files:
            path.unlink(missing_ok=True)
    return {**answer, "reports": sum(len(finished.reports) for finished in done)}


def queue_fail(site: Site, fields: Fields) -> Answer:
    """The senders get a report."""
    context = _context(site)
    text = fields.get("reason", "") or "Delivery was given up by the administrator"
    return _end(site, fields, "fail", lambda connection, ids: fail(connection, ids, text, context))


def queue_drop(site: Site, fields: Fields) -> Answer:
    """Nobody is told."""
    context = _context(site)
    return _end(site, fields, "drop", lambda connection, ids: drop(connection, ids, context))


# -- what is over ------------------------------------------------------------------------


def retired_list(site: Site, fields: Fields) -> Answer:
    account, status, recipient = fields.get("account"), fields.get("status", ""), fields.get("recipient", "")
    limit = fields.get("limit", 1000)
    found = _look(site, lambda connection: control.retired_listing(connection, account, status, recipient, limit))
    return {"messages": [_with_times(one) for one in found]}


def retired_print(site: Site, fields: Fields) -> Answer:
    found = _look(site, lambda connection: control.retired_show(connection, fields["id"]))
    if found is None:
        raise Refused(f"no message {fields['id']} among those that are over; `echomox queue retired list`")
    return _with_times(found)


# -- hold rules --------------------------------------------------------------------------


def rule_list(site: Site, fields: Fields) -> Answer:
    return {"rules": [_with_times(one) for one in _look(site, control.rules)]}


def rule_add(site: Site, fields: Fields) -> Answer:
    """Holds what is queued and fits, too."""
    try:
        names = ("sender_domain", "recipient_domain")
        domains = [domain_key(fields[name]) if fields.get(name) else "" for name in names]
    except ValueError as error:
        raise Refused(str(error)) from None
    account = fields.get("account", "")
    if account:
        site.account(account)
    number, held = _run(
        site, lambda connection: control.add_rule(connection, (account, domains[0], domains[1]), time.time())
    )
    return {"id": number, "held": held}


def rule_remove(site: Site, fields: Fields) -> Answer:
    """What it holds stays held."""
    if not _run(site, lambda connection: control.remove_rule(connection, fields["id"])):
        raise Refused(f"no hold rule {fields['id']}; `echomox queue holdrules list` shows what there is")
    return {"id": fields["id"]}


# -- the suppression list ----------------------------------------------------------------


def _suppressed(found: suppression.Suppressed) -> Answer:
    return {
        "Account": found.account,
        "Address": found.base,
        "Original": found.original,
        "Manual": found.manual,
        "Active": found.active,
        "Reason": found.reason,
        "Hits": found.hits,
        "Created": time_text(found.created),
    }


def _address(fields: Fields) -> str:
    address: str = fields["address"]
    local, _, domain = address.rpartition("@")
    if not local or not domain or not address.isprintable() or len(address) > 320:
        raise Refused(f"{address!r} is not an address")
    return address


def suppression_list(site: Site, fields: Fields) -> Answer:
    account, limit = fields.get("account", ""), fields.get("limit", 10_000)
    found = _look(site, lambda connection: suppression.listing(connection, account, limit))
    return {"suppressed": [_suppressed(one) for one in found]}


def suppression_add(site: Site, fields: Fields) -> Answer:
    account, address = fields["account"], _address(fields)
    site.account(account)
    reason = fields.get("reason", "") or "by hand"
    return _suppressed(_run(site, lambda connection: suppression.add(connection, account, address, reason)))


def suppression_remove(site: Site, fields: Fields) -> Answer:
    account, address = fields["account"], _address(fields)
    if not _run(site, lambda connection: suppression.remove(connection, account, address)):
        raise Refused(f"{address} is not on the suppression list of {account}")
    return {"account": account, "address": suppression.base_address(address)}


def suppression_lookup(site: Site, fields: Fields) -> Answer:
    account, address = fields["account"], _address(fields)
    found = _look(site, lambda connection: suppression.lookup(connection, account, address))
    return {"found": found is not None and found.active, **(_suppressed(found) if found else {})}
