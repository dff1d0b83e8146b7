"""The operations behind `echomox ...` and the admin pages: one row each, by name, with the fields that they
take.

The control worker runs them for whoever may connect to control.sock; a command runs them itself when there
is no server. They are plain functions of a Site and of checked fields, and answer with what can be written
as JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from echomox.errors import ConfigError
from echomox.store.engine import StoreError
from workers import operations_access as access
from workers import operations_config as config
from workers import operations_filter as filters
from workers import operations_mail as mail
from workers import operations_server as server
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
    Operation("message.list", mail.message_list, {"account": str, "mailbox": str, "limit?": int}),
    Operation("message.show", mail.message_show, _MESSAGE),
    Operation("message.parts", mail.message_parts, _MESSAGE),
    Operation("message.affect", mail.message_affect, _MESSAGE),
    Operation("message.raw", mail.message_raw, {**_MESSAGE, "offset": int, "length": int}),
    Operation("filter.explain", filters.explain, {**_MESSAGE, "membranes?": bool, "esn?": bool, "affect?": bool}),
    Operation("filter.state", filters.state, {"account": str}),
    Operation("filter.stats", filters.stats, {"account": str}),
    Operation("filter.word", filters.word, {"account": str, "word": str}),
    Operation("status", server.status, {}),
    Operation("counters", server.counters, {}),
    Operation("reload", server.reload, {}),
    Operation("loglevels", server.loglevels, {"package?": str, "level?": str}),
    Operation("version", server.version, {}),
)

CHANGES = frozenset(
    operation.name
    for operation in OPERATIONS
    if operation.name.rpartition(".")[2] in ("add", "remove", "set", "set-password", "end", "reload", "loglevels")
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
