"""Operations on the allow and block lists of accounts, domains and the server (F22). See `workers.operations`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from echomox.config.edit import Draft, editing
from echomox.config.names import domain_key
from echomox.config.schema import Dynamic, JunkFilter, Senders
from echomox.config.senderlists import SERVER, decided_by, entry_trouble, filter_of
from workers.site import Refused, Site

Fields = Mapping[str, Any]
Answer = dict[str, Any]
KINDS = ("allow", "block")
WHERE = {"account?": str, "domain?": str}
"""Whose lists: an account's, a domain's, without both the server's."""


def senders_list(site: Site, fields: Fields) -> Answer:
    """All lists that have entries, or one place's."""
    dynamic = site.dynamic()
    places = [_place(dynamic, fields)] if fields.get("account") or fields.get("domain") else _all(dynamic)
    return {"lists": [entry for place, table in places for entry in _entries(place, table)]}


def _all(dynamic: Dynamic) -> list[tuple[str, JunkFilter | Senders]]:
    return [
        (SERVER, dynamic.senders),
        *((f"domain {name}", domain.senders) for name, domain in dynamic.domains.items()),
        *((f"account {name}", account.junk_filter) for name, account in dynamic.accounts.items()),
    ]


def _entries(place: str, table: JunkFilter | Senders) -> list[Answer]:
    return [{"of": place, "list": kind, "sender": entry} for kind in KINDS for entry in getattr(table, kind)]


def _place(dynamic: Dynamic, fields: Fields) -> tuple[str, JunkFilter | Senders]:
    """Raises Refused for a place that is not there."""
    account, domain = fields.get("account", ""), fields.get("domain", "")
    if account and domain:
        raise Refused("give an account or a domain, not both")
    if account:
        if account not in dynamic.accounts:
            raise Refused(f"no account {account}; `echomox account list` shows what there is")
        return f"account {account}", dynamic.accounts[account].junk_filter
    if domain:
        try:
            key = domain_key(domain)
        except ValueError as error:
            raise Refused(str(error)) from None
        if key not in dynamic.domains:
            raise Refused(f"no domain {domain}; `echomox domain list` shows what there is")
        return f"domain {key}", dynamic.domains[key].senders
    return SERVER, dynamic.senders


def senders_add(site: Site, fields: Fields) -> Answer:
    kind, sender = _kind(fields["list"]), fields["sender"].strip().lower()
    if trouble := entry_trouble(sender):
        raise Refused(trouble)
    with editing(site.paths) as draft:
        place, table = _place(draft.dynamic, fields)
        there = getattr(table, kind)
        if sender not in [one.strip().lower() for one in there]:
            _set(draft, fields, kind, (*there, sender))
    site.publish()
    return {"of": place, "list": kind, "sender": sender}


def senders_remove(site: Site, fields: Fields) -> Answer:
    """From the list named, or from both."""
    wanted = fields["sender"].strip().lower()
    kinds = (_kind(fields["list"]),) if fields.get("list") else KINDS
    removed = []
    with editing(site.paths) as draft:
        place, table = _place(draft.dynamic, fields)
        for kind in kinds:
            there = getattr(table, kind)
            left = tuple(entry for entry in there if entry.strip().lower() != wanted)
            if left != there:
                _set(draft, fields, kind, left)
                removed.append(kind)
        if not removed:
            raise Refused(f"{wanted} is on no list of {place}; `echomox senders list` shows what is")
    site.publish()
    return {"of": place, "lists": removed, "sender": wanted}


def senders_test(site: Site, fields: Fields) -> Answer:
    """Which list decides of a sender, for an account. list: "" if none does."""
    account, sender = fields["account"], fields["sender"].strip().lower()
    site.account(account)
    found = decided_by(sender, filter_of(site.dynamic(), account))
    kind, where = found or ("", "")
    return {"account": account, "sender": sender, "list": kind, "of": where or f"account {account}" if kind else ""}


def _kind(text: str) -> str:
    if text not in KINDS:
        raise Refused(f"no list {text!r}; there are {' and '.join(KINDS)}")
    return text


def _set(draft: Draft, fields: Fields, kind: str, entries: tuple[str, ...]) -> None:
    if fields.get("account"):
        draft.set_account(fields["account"], {("junk_filter", kind): entries})
    elif fields.get("domain"):
        draft.set_domain(domain_key(fields["domain"]), {("senders", kind): entries})
    else:
        draft.set_server_senders(kind, entries)
    draft.check()
