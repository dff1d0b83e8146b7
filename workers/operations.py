"""The operations behind `echomox ...` and the admin pages: one row each, by name, with the fields that they
take.

The control worker runs them for whoever may connect to control.sock; a command runs them itself when there
is no server. They are plain functions of a Site and of checked fields, and answer with what can be written
as JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from echomox.errors import ConfigError
from echomox.store.engine import REPAIRS, FlagOp, StoreError
from workers import operations_access as access
from workers import operations_addresses as addresses
from workers import operations_config as config
from workers import operations_dns as dns
from workers import operations_filter as filters
from workers import operations_mail as mail
from workers import operations_mailboxes as mailboxes
from workers import operations_queue as queue
from workers import operations_reports as reports
from workers import operations_senders as senders
from workers import operations_server as server
from workers import operations_tls as tls
from workers.site import Refused, Site

__all__ = ["CHANGES", "OPERATIONS", "Operation", "Refused", "Site", "execute"]

Fields = Mapping[str, Any]


class Operation(NamedTuple):
    """fields: type by name; a name that ends in "?" may be missing."""

    name: str
    run: Callable[[Site, Fields], dict[str, Any]]
    fields: Mapping[str, type]


_SETTINGS = {"name": str, "settings": dict}
_NAME = {"name": str}
_MESSAGE = {"account": str, "id": int}

OPERATIONS = (
    Operation("account.list", config.account_list, {}),
    Operation("account.show", config.account_show, _NAME),
    Operation(
        "account.add",
        config.account_add,
        {"name": str, "addresses": list, "settings?": dict, "password?": str},
    ),
    Operation("account.remove", config.account_remove, {"name": str, "keep_mail?": bool}),
    Operation("account.set", config.account_set, _SETTINGS),
    Operation("account.set-password", config.account_set_password, {"name": str, "password?": str}),
    Operation("address.list", config.address_list, {"account?": str, "domain?": str}),
    Operation("address.add", config.address_add, {"address": str, "account": str}),
    Operation("address.remove", config.address_remove, {"address": str}),
    Operation("alias.list", addresses.alias_list, {}),
    Operation("alias.show", addresses.alias_show, {"address": str}),
    Operation("alias.add", addresses.alias_add, {"address": str, "members": list, "settings?": dict}),
    Operation("alias.remove", addresses.alias_remove, {"address": str}),
    Operation("alias.set", addresses.alias_set, {"address": str, "settings": dict}),
    Operation("alias.members", addresses.alias_members, {"address": str, "add?": list, "remove?": list}),
    Operation("ruleset.list", addresses.ruleset_list, {"account": str}),
    Operation("ruleset.add", addresses.ruleset_add, {"account": str, "settings": dict, "at?": int}),
    Operation("ruleset.remove", addresses.ruleset_remove, {"account": str, "number": int}),
    Operation(
        "ruleset.test",
        addresses.ruleset_test,
        {"account": str, "header": str, "mail_from?": str, "to?": str, "verified?": list},
    ),
    Operation("senders.list", senders.senders_list, senders.WHERE),
    Operation("senders.add", senders.senders_add, {**senders.WHERE, "list": str, "sender": str}),
    Operation("senders.remove", senders.senders_remove, {**senders.WHERE, "list?": str, "sender": str}),
    Operation("senders.test", senders.senders_test, {"account": str, "sender": str}),
    Operation("domain.list", config.domain_list, {}),
    Operation("domain.show", config.domain_show, _NAME),
    Operation("domain.add", config.domain_add, {"name": str, "settings?": dict, "dkim?": bool}),
    Operation("domain.remove", config.domain_remove, _NAME),
    Operation("domain.set", config.domain_set, _SETTINGS),
    Operation("domain.dnsrecords", config.domain_dnsrecords, _NAME),
    Operation("block.list", access.block_list, {}),
    Operation("block.add", access.block_add, {"net": str, "seconds?": int, "why?": str}),
    Operation("block.remove", access.block_remove, {"net": str}),
    Operation("sessions.list", access.sessions_list, {"account?": str}),
    Operation("sessions.end", access.sessions_end, {"id": str}),
    Operation("logins.list", mail.logins_list, {"account": str, "limit?": int}),
    Operation("mailbox.list", mail.mailbox_list, {"account": str}),
    Operation("mailbox.show", mail.mailbox_show, {"account": str, "mailbox": str}),
    Operation("mailbox.acl", mailboxes.acl_show, {"account": str, "mailbox": str}),
    Operation(
        "mailbox.acl.set", mailboxes.acl_set, {"account": str, "mailbox": str, "who": str, "rights": str}
    ),
    Operation("mailbox.acl.remove", mailboxes.acl_remove, {"account": str, "mailbox": str, "who": str}),
    *(
        Operation(f"mailbox.{task}", partial(mailboxes.repair, task), {"account": str, "mailbox?": str})
        for task in ("bumpuidvalidity", "reassignuids", "recalculate", "fixuidmeta")
    ),
    *(
        Operation(f"account.{task}", partial(mailboxes.repair, task), {"account": str})
        for task in ("reparse", "reassignthreads", "fixmsgsize")
    ),
    Operation("mailbox.virtual.list", mailboxes.virtual_list, {"account": str}),
    Operation(
        "mailbox.virtual.add", mailboxes.virtual_add, {"account": str, "name": str, "search": str, "use?": str}
    ),
    Operation("mailbox.virtual.remove", mailboxes.virtual_remove, {"account": str, "name": str}),
    Operation("mailbox.shares", mailboxes.shares, {"account?": str}),
    Operation("message.list", mail.message_list, {"account": str, "mailbox": str, "limit?": int}),
    Operation("message.show", mail.message_show, _MESSAGE),
    Operation("message.parts", mail.message_parts, _MESSAGE),
    Operation("message.affect", mail.message_affect, _MESSAGE),
    Operation("message.mute", partial(mail.mute, FlagOp.ADD), _MESSAGE),
    Operation("message.unmute", partial(mail.mute, FlagOp.REMOVE), _MESSAGE),
    Operation("message.raw", mail.message_raw, {**_MESSAGE, "offset": int, "length": int}),
    Operation(
        "filter.explain",
        filters.explain,
        {**_MESSAGE, "membranes?": bool, "esn?": bool, "affect?": bool, "timing?": bool},
    ),
    Operation("filter.state", filters.state, {"account": str}),
    Operation("filter.stats", filters.stats, {"account": str}),
    Operation("filter.word", filters.word, {"account": str, "word": str}),
    Operation("queue.list", queue.queue_list, {**queue.FILTER, "limit?": int}),
    Operation("queue.count", queue.queue_counts, {}),
    Operation("queue.print", queue.queue_print, {"id": int}),
    Operation("queue.dump", queue.queue_dump, {"id": int, "offset": int, "length": int}),
    Operation("queue.hold", queue.queue_hold, queue.CHANGE),
    Operation("queue.unhold", queue.queue_unhold, queue.CHANGE),
    Operation("queue.schedule", queue.queue_schedule, {**queue.CHANGE, "at?": float, "by?": float}),
    Operation("queue.transport", queue.queue_transport, {**queue.CHANGE, "name": str}),
    Operation("queue.requiretls", queue.queue_requiretls, {**queue.CHANGE, "value": str}),
    Operation("queue.fail", queue.queue_fail, {**queue.CHANGE, "reason?": str}),
    Operation("queue.drop", queue.queue_drop, queue.CHANGE),
    Operation(
        "queue.retired.list",
        queue.retired_list,
        {"account?": str, "status?": str, "recipient?": str, "limit?": int},
    ),
    Operation("queue.retired.print", queue.retired_print, {"id": int}),
    Operation("queue.holdrules.list", queue.rule_list, {}),
    Operation(
        "queue.holdrules.add", queue.rule_add, {"account?": str, "sender_domain?": str, "recipient_domain?": str}
    ),
    Operation("queue.holdrules.remove", queue.rule_remove, {"id": int}),
    Operation("queue.suppression.list", queue.suppression_list, {"account?": str, "limit?": int}),
    Operation("queue.suppression.add", queue.suppression_add, {"account": str, "address": str, "reason?": str}),
    Operation("queue.suppression.remove", queue.suppression_remove, {"account": str, "address": str}),
    Operation("queue.suppression.lookup", queue.suppression_lookup, {"account": str, "address": str}),
    Operation("dns.lookup", dns.dns_lookup, {"name": str, "type": str, "resolver?": str}),
    Operation("spf.check", dns.spf_check, {"ip": str, "mail_from": str, "helo?": str, "resolver?": str}),
    Operation("spf.parse", dns.spf_parse, {"record": str}),
    Operation("dmarc.lookup", dns.dmarc_lookup, {"domain": str, "tree_walk?": bool, "resolver?": str}),
    Operation(
        "dmarc.check",
        dns.dmarc_check,
        {
            "domain": str, "tree_walk?": bool, "ip?": str, "mail_from?": str, "helo?": str, "dkim?": list,
            "resolver?": str,
        },
    ),
    Operation("dnsbl.check", dns.dnsbl_check, {"ip?": str, "zones": list, "resolver?": str}),
    Operation("mtasts.list", tls.mtasts_list, {}),
    Operation("mtasts.policy", tls.mtasts_policy, _NAME),
    Operation("reports.list", reports.reports_list, reports.SPAN),
    Operation("reports.show", reports.reports_show, {"kind": str, "id": int}),
    Operation("reports.summary", reports.reports_summary, reports.SPAN),
    Operation("reports.sent", reports.reports_sent, reports.SENT),
    Operation("reports.suppression.list", reports.suppression_list, {"limit?": int}),
    Operation("reports.suppression.add", reports.suppression_add, {"address": str, "reason?": str}),
    Operation("reports.suppression.remove", reports.suppression_remove, {"address": str}),
    Operation("status", server.status, {}),
    Operation("counters", server.counters, {}),
    Operation("reload", server.reload, {}),
    Operation("loglevels", server.loglevels, {"package?": str, "level?": str}),
    Operation("version", server.version, {}),
)

CHANGES = frozenset(
    operation.name
    for operation in OPERATIONS
    if operation.name in queue.CHANGES
    or operation.name.rpartition(".")[2] in REPAIRS
    or operation.name.rpartition(".")[2]
    in ("add", "remove", "set", "set-password", "members", "end", "reload", "loglevels", "mute", "unmute")
)
"""Those that may change something: each is logged."""

_BY_NAME = {operation.name: operation for operation in OPERATIONS}


def execute(site: Site, op: object, fields: Fields) -> dict[str, Any]:
    """Runs one operation; raises Refused with a line for the person who asked."""
    operation = _BY_NAME.get(op) if isinstance(op, str) else None
    if operation is None:
        raise Refused(f"no operation {op!r}")
    _check(operation, fields)
    try:
        return operation.run(site, fields)
    except (ConfigError, StoreError) as error:
        raise Refused(str(error) or type(error).__name__) from None


def _check(operation: Operation, fields: Fields) -> None:
    """Exactly the fields of the row, each of its type (a bool is no int here)."""
    wanted = {name.rstrip("?"): kind for name, kind in operation.fields.items()}
    for name, value in fields.items():
        if name not in wanted:
            raise Refused(f"{operation.name} takes no field {name}; it takes {', '.join(wanted) or 'none'}")
        if type(value) is not wanted[name]:
            raise Refused(f"{operation.name}: {name} is to be of type {wanted[name].__name__}")
    for name in operation.fields:
        if not name.endswith("?") and name not in fields:
            raise Refused(f"{operation.name}: field {name} is missing")
