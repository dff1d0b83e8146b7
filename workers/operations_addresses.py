"""Operations on aliases and rulesets of domains.toml. See `workers.operations`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from typing import Any

from echomox.config.checks import address_key
from echomox.config.edit import Draft, editing
from echomox.config.schema import Alias, Dynamic, Ruleset
from echomox.config.snapshot import Group, Snapshot
from echomox.delivery.rulesets import looked_at, matching
from workers.site import Refused, Site

Fields = Mapping[str, Any]
Answer = dict[str, Any]
_CONDITIONS = ("address", "mail_from", "message_from", "verified_domain", "headers")


# -- aliases ------------------------------------------------------------------------


def alias_list(site: Site, fields: Fields) -> Answer:
    return {"aliases": [_alias(name, alias) for name, alias in site.dynamic().aliases.items()]}


def alias_show(site: Site, fields: Fields) -> Answer:
    dynamic = site.dynamic()
    key = _key(dynamic, fields["address"])
    return {**_alias(key, dynamic.aliases[key]), "reached": _reached(site, dynamic, key)}


def _alias(name: str, alias: Alias) -> Answer:
    return {"address": name, **asdict(alias), "members": list(alias.members)}


def _reached(site: Site, dynamic: Dynamic, key: str) -> list[Answer]:
    """Who gets its mail in the end, members of aliases within it included."""
    snapshot = Snapshot(dynamic, site.static(), 0)
    here, elsewhere = snapshot.members(Group(key, key, dynamic.aliases[key]))
    return [
        *({"address": member.address, "account": account} for account, member in here.items()),
        *({"address": address, "account": ""} for address in elsewhere),
    ]


def _key(dynamic: Dynamic, address: str) -> str:
    try:
        key = address_key(address, dynamic.domains)[0]
    except ValueError:
        key = ""
    if key not in dynamic.aliases:
        raise Refused(f"no alias {address}; `echomox alias list` shows what there is")
    return key


def alias_add(site: Site, fields: Fields) -> Answer:
    address, members = fields["address"], tuple(map(str, fields["members"]))
    with editing(site.paths) as draft:
        draft.add_alias(address, Alias(members=members))
        draft.set_alias(address, _paths_of(fields.get("settings", {})))
        dynamic = draft.check()
    site.publish()
    key = _key(dynamic, address)
    return _alias(key, dynamic.aliases[key])


def alias_remove(site: Site, fields: Fields) -> Answer:
    with editing(site.paths) as draft:
        key = _key(draft.dynamic, fields["address"])
        draft.remove_alias(key)
        draft.check()
    site.publish()
    return {"address": key}


def alias_set(site: Site, fields: Fields) -> Answer:
    with editing(site.paths) as draft:
        key = _key(draft.dynamic, fields["address"])
        draft.set_alias(key, _paths_of(fields["settings"]))
        dynamic = draft.check()
    site.publish()
    return _alias(key, dynamic.aliases[key])


def alias_members(site: Site, fields: Fields) -> Answer:
    add, remove = list(map(str, fields.get("add", ()))), list(map(str, fields.get("remove", ())))
    dynamic = site.dynamic()
    key = _key(dynamic, fields["address"])
    if add or remove:
        with editing(site.paths) as draft:
            key = _key(draft.dynamic, fields["address"])
            members = _without(draft.dynamic.aliases[key].members, remove, key)
            draft.set_alias(key, {("members",): (*members, *add)})
            dynamic = draft.check()
        site.publish()
    return {"address": key, "members": list(dynamic.aliases[key].members), "reached": _reached(site, dynamic, key)}


def _without(members: Iterable[str], remove: Iterable[str], key: str) -> list[str]:
    left = list(members)
    for address in remove:
        found = next((member for member in left if member.lower() == address.lower()), None)
        if found is None:
            raise Refused(f"{address} is no member of {key}; `echomox alias show {key}` shows who is")
        left.remove(found)
    return left


def _paths_of(settings: Mapping[str, Any]) -> dict[tuple[str, ...], Any]:
    return {tuple(name.split(".")): value for name, value in settings.items()}


# -- rulesets -----------------------------------------------------------------------


def ruleset_list(site: Site, fields: Fields) -> Answer:
    rules = site.account(fields["account"]).rulesets
    return {"rulesets": [_rule(number, rule) for number, rule in enumerate(rules, 1)]}


def _rule(number: int, rule: Ruleset) -> Answer:
    when = [f"{name}={getattr(rule, name)}" for name in _CONDITIONS if name != "headers" and getattr(rule, name)]
    when += [f"{name}: {value}" for name, value in rule.headers.items()]
    return {"number": number, "when": "; ".join(when), "then": _then(rule), **asdict(rule)}


def _then(rule: Ruleset) -> str:
    said = [item.name for item in fields(Ruleset) if item.name not in (*_CONDITIONS, "comment")]
    found = [(name, getattr(rule, name)) for name in said]
    return "; ".join(name if value is True else f"{name}={value}" for name, value in found if value)


def ruleset_add(site: Site, fields: Fields) -> Answer:
    name, settings = fields["account"], dict(fields["settings"])
    try:
        rule = Ruleset(**settings)
    except TypeError as error:
        raise Refused(f"not a rule: {error}") from None
    with editing(site.paths) as draft:
        number = draft.add_ruleset(name, rule, fields.get("at", 0))
        draft.check()
    site.publish()
    return {"account": name, "number": number}


def ruleset_remove(site: Site, fields: Fields) -> Answer:
    name, number = fields["account"], fields["number"]
    with editing(site.paths) as draft:
        _check_number(draft, name, number)
        draft.remove_ruleset(name, number)
        draft.check()
    site.publish()
    return {"account": name, "number": number}


def _check_number(draft: Draft, name: str, number: int) -> None:
    account = draft.dynamic.accounts.get(name)
    if account is None:
        raise Refused(f"no account {name}; `echomox account list` shows what there is")
    if not 1 <= number <= len(account.rulesets):
        raise Refused(f"account {name} has rules 1 to {len(account.rulesets)}; `echomox ruleset list {name}`")


def ruleset_test(site: Site, fields: Fields) -> Answer:
    """Which rule of an account fits a header block (as Latin-1 text)."""
    name = fields["account"]
    account = site.account(name)
    source = fields["header"].encode("latin-1", "replace")
    header = source.partition(b"\r\n\r\n" if b"\r\n" in source else b"\n\n")[0] + b"\r\n"
    seen = looked_at(header, fields.get("mail_from", ""), frozenset(map(str.lower, fields.get("verified", ()))))
    to = fields.get("to") or next(iter(account.addresses), "")
    rule = matching(account.rulesets, seen, Snapshot(site.dynamic(), site.static(), 0), to)
    if rule is None:
        return {"number": 0, "then": ""}
    return {"number": account.rulesets.index(rule) + 1, "then": _then(rule)}
