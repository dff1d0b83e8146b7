"""Operations on domains.toml: accounts, addresses, domains. See `workers.operations`.

A change is checked whole before anything is made; what belongs to it elsewhere (the account's store, key
files) is made before the file is replaced, so that workers never see an account that is not there.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from echomox.config.checks import address_key, parse_listener
from echomox.config.dnsrecords import PLACEHOLDERS, Facts, records, reverse_notes
from echomox.config.edit import Draft, editing
from echomox.config.files import write_atomic
from echomox.config.hostcheck import own_addresses
from echomox.config.keys import dkim_public, new_dkim_key, new_password
from echomox.config.names import domain_key
from echomox.config.outbound import own_policy_id
from echomox.config.quickstart import KEYS, REPORTED
from echomox.config.schema import Account, Dkim, Domain, Dynamic, Static
from echomox.sasl import BadPassword, derive, password_secret
from workers.operations_tls import own_tlsa
from workers.site import Refused, Site

Fields = Mapping[str, Any]
Answer = dict[str, Any]
OWN_PASSWORD = "this account has generated passwords only: give none, and one is made up"  # noqa: S105  # A21


def _paths_of(settings: Mapping[str, Any]) -> dict[tuple[str, ...], Any]:
    """{"junk_filter.mode": "off"} as {("junk_filter", "mode"): "off"}"""
    return {tuple(name.split(".")): value for name, value in settings.items()}


# -- accounts -----------------------------------------------------------------------


def account_list(site: Site, fields: Fields) -> Answer:
    accounts = site.dynamic().accounts
    without = sorted(set(site.engine.accounts()) - set(accounts))
    listed = [
        {
            "name": name,
            "addresses": list(account.addresses),
            "disabled": account.disabled,
            "admin": account.admin,
            "quota": account.quota,
            "mode": account.junk_filter.mode,
        }
        for name, account in accounts.items()
    ]
    return {"accounts": listed, "mail_without_account": without}


def account_show(site: Site, fields: Fields) -> Answer:
    """T01: the six of the seed's ACCOUNT, and what its mailboxes hold."""
    name = fields["name"]
    account = site.account(name)
    mailboxes = site.store(name).mailboxes()
    return {
        "Name": name,
        "Dir": f"accounts/{name}",
        "DestinationDir": "msg",
        "JunkFilter": "junk.db",
        "ReservoirState": 0,
        "Settings": asdict(account),
        "messages": sum(mailbox.total for mailbox in mailboxes),
        "size": sum(mailbox.size for mailbox in mailboxes),
        "mailboxes": len(mailboxes),
        "has_password": bool(password_secret(site.store(name).secrets())),
    }


def account_add(site: Site, fields: Fields) -> Answer:
    name, password = fields["name"], fields.get("password") or new_password()
    secrets = _derived(site, password)
    with editing(site.paths) as draft:
        draft.add_account(name, Account(addresses=tuple(map(str, fields["addresses"]))))
        draft.set_account(name, _paths_of(fields.get("settings", {})))
        if draft.check().accounts[name].generated_passwords_only and fields.get("password"):
            raise Refused(OWN_PASSWORD)
        kept = name in site.engine.accounts()
        site.engine.create(name)
        site.store(name).set_secrets(secrets)
    site.publish()
    answer: Answer = {"name": name, "addresses": list(fields["addresses"]), "kept_mail": kept}
    return answer if "password" in fields else {**answer, "password": password}


def account_remove(site: Site, fields: Fields) -> Answer:
    name = fields["name"]
    with editing(site.paths) as draft:
        draft.remove_account(name)
        draft.check()
    site.publish()
    site.engine.withdraw(name)
    removed = not fields.get("keep_mail", False) and name in site.engine.accounts()
    if removed:
        site.engine.remove(name)
    return {"name": name, "mail_removed": removed}


def account_set(site: Site, fields: Fields) -> Answer:
    with editing(site.paths) as draft:
        draft.set_account(fields["name"], _paths_of(fields["settings"]))
        dynamic = draft.check()
    site.publish()
    return {"name": fields["name"], "settings": asdict(dynamic.accounts[fields["name"]])}


def account_set_password(site: Site, fields: Fields) -> Answer:
    name, password = fields["name"], fields.get("password") or new_password()
    if site.account(name).generated_passwords_only and fields.get("password"):
        raise Refused(OWN_PASSWORD)
    secrets = _derived(site, password)
    site.engine.create(name)
    site.store(name).set_secrets(secrets)
    return {"name": name} if "password" in fields else {"name": name, "password": password}


def _derived(site: Site, password: str) -> dict[str, str]:
    try:
        auth = site.static().auth
        return derive(password, auth.bcrypt_cost, auth.password_hash)
    except BadPassword as error:
        raise Refused(f"this password cannot be used: {error}") from None


# -- addresses ----------------------------------------------------------------------


def address_list(site: Site, fields: Fields) -> Answer:
    domain = _key(fields["domain"]) if "domain" in fields else None
    listed = [
        {"address": address, "account": name}
        for name, account in site.dynamic().accounts.items()
        for address in account.addresses
        if fields.get("account", name) == name and (domain is None or _domain_of(address) == domain)
    ]
    return {"addresses": listed}


def address_add(site: Site, fields: Fields) -> Answer:
    name, address = fields["account"], fields["address"]
    with editing(site.paths) as draft:
        account = _account_of(draft, name)
        draft.set_account(name, {("addresses",): (*account.addresses, address)})
        draft.check()
    site.publish()
    return {"address": address, "account": name}


def address_remove(site: Site, fields: Fields) -> Answer:
    with editing(site.paths) as draft:
        name, written = _holder(draft, fields["address"])
        account = _account_of(draft, name)
        left = tuple(address for address in account.addresses if address != written)
        draft.set_account(name, {("addresses",): left})
        draft.check()
    site.publish()
    return {"address": written, "account": name}


def _account_of(draft: Draft, name: str) -> Account:
    account = draft.dynamic.accounts.get(name)
    if account is None:
        raise Refused(f"no account {name}; `echomox account list` shows what there is")
    return account


def _holder(draft: Draft, address: str) -> tuple[str, str]:
    """(account, the address as its list has it), by any spelling of an address."""
    domains = draft.dynamic.domains
    try:
        wanted = address_key(address, domains)[0]
    except ValueError:
        wanted = ""
    for name, account in draft.dynamic.accounts.items():
        for written in account.addresses:
            if wanted and address_key(written, domains)[0] == wanted:
                return name, written
    raise Refused(f"no account has the address {address}; `echomox address list` shows what there is")


# -- domains ------------------------------------------------------------------------


def _key(name: str) -> str:
    try:
        return domain_key(name)
    except ValueError as error:
        raise Refused(f"{name}: {error}") from None


def _domain_of(address: str) -> str:
    return domain_key(address.rpartition("@")[2])


def _known_domain(dynamic: Dynamic, name: str) -> tuple[str, Domain]:
    key = _key(name)
    if key not in dynamic.domains:
        raise Refused(f"no domain {name}; `echomox domain list` shows what there is")
    return key, dynamic.domains[key]


def domain_list(site: Site, fields: Fields) -> Answer:
    dynamic = site.dynamic()
    counts: dict[str, int] = {}
    for account in dynamic.accounts.values():
        for address in account.addresses:
            counts[_domain_of(address)] = counts.get(_domain_of(address), 0) + 1
    listed = [
        {
            "name": name,
            "description": domain.description,
            "disabled": domain.disabled,
            "addresses": counts.get(name, 0),
            "dkim": [key.selector for key in domain.dkim],
        }
        for name, domain in dynamic.domains.items()
    ]
    return {"domains": listed}


def domain_show(site: Site, fields: Fields) -> Answer:
    key, domain = _known_domain(site.dynamic(), fields["name"])
    addresses = address_list(site, {"domain": key})["addresses"]
    return {"name": key, **asdict(domain), "addresses": [entry["address"] for entry in addresses]}


def domain_add(site: Site, fields: Fields) -> Answer:
    key = _key(fields["name"])
    with editing(site.paths) as draft:
        if key in draft.dynamic.domains:
            raise Refused(f"domain {key} is there already")
        dkim = _dkim_keys(site, key) if fields.get("dkim", True) else {}
        plain = Domain() if fields.get("settings", {}).get("alias_of") else REPORTED  # it has no addresses of its own
        draft.add_domain(key, replace(plain, dkim=tuple(dkim)))
        draft.set_domain(key, _paths_of(fields.get("settings", {})))
        try:
            for row, pem in dkim.items():
                write_atomic(site.paths.config / row.key, pem)
            draft.check()
        except BaseException:
            for row in dkim:
                (site.paths.config / row.key).unlink(missing_ok=True)
            raise
    site.publish()
    return {"name": key, "dkim": [row.selector for row in dkim]}


def _dkim_keys(site: Site, domain: str) -> dict[Dkim, bytes]:
    """New keys by their rows, under file names that are free."""
    (site.paths.config / "dkim").mkdir(mode=0o700, exist_ok=True)
    year = datetime.datetime.now(datetime.UTC).year
    found = {}
    for letter, algorithm in KEYS:
        selector = f"{year}{letter}"
        while (file := site.paths.config / f"dkim/{domain}.{selector}.pem").exists():
            selector += "x"  # keys of an earlier life of this domain stay as they are
        row = Dkim(selector, algorithm, str(file.relative_to(site.paths.config)))
        found[row] = new_dkim_key(algorithm)
    return found


def domain_remove(site: Site, fields: Fields) -> Answer:
    with editing(site.paths) as draft:
        key, _ = _known_domain(draft.dynamic, fields["name"])
        used = [entry["address"] for entry in address_list(site, {"domain": key})["addresses"]]
        if used:
            more = f" and {len(used) - 5} more" if len(used) > 5 else ""
            raise Refused(f"domain {key} still has addresses: {', '.join(used[:5])}{more}; remove them first")
        draft.remove_domain(key)
        draft.check()
    site.publish()
    return {"name": key}


def domain_set(site: Site, fields: Fields) -> Answer:
    with editing(site.paths) as draft:
        key, _ = _known_domain(draft.dynamic, fields["name"])
        draft.set_domain(key, _paths_of(fields["settings"]))
        dynamic = draft.check()
    site.publish()
    return {"name": key, "settings": asdict(replace(dynamic.domains[key], dkim=()))}


def domain_dnsrecords(site: Site, fields: Fields) -> Answer:
    static = site.static()
    key, domain = _known_domain(site.dynamic(), fields["name"])
    facts = Facts(
        domain=key,
        hostname=static.hostname,
        addresses=tuple(own_addresses()) or PLACEHOLDERS,
        dkim=tuple((row.selector, *dkim_public(Path(row.key).read_bytes())) for row in domain.dkim),
        reports=f"{domain.dmarc_reports.local_part or 'postmaster'}@{key}",
        tls_reports=f"{domain.tls_reports.local_part or 'postmaster'}@{key}",
        policy_id=own_policy_id(domain, static.hostname),
        tlsa=own_tlsa(static.tls.certificate),
        **_ports(static),
    )
    return {"records": [record._asdict() for record in records(facts)], "reverse": reverse_notes(facts)}


def _ports(static: Static) -> dict[str, int]:
    """The first port of each service that clients look for; the usual one where it is off."""
    found = {}
    for name in ("submission", "submissions", "imap", "imaps"):
        endpoints = getattr(static.listeners, name)
        if endpoints:
            found[name] = parse_listener(endpoints[0])[1]
    return found
