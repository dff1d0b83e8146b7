"""Operations that change mailboxes: whom they are shared with, virtual ones (X63), and repairs (T29). See
`workers.operations`. Sessions that show them hear of it at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from echomox.config.snapshot import load_snapshot
from echomox.imap.acl import ALL, ANYONE, changed, granted, read_rights, shown
from echomox.imap.lexer import Bad
from workers.site import Refused, Site

Fields = Mapping[str, Any]
Answer = dict[str, Any]

USES = {"": "", "all": "\\All", "flagged": "\\Flagged", "important": "\\Important"}


def identifier(site: Site, who: str) -> str:
    """An account's name or address, or "anyone", "-" before it for what it may not do: as access lists have it."""
    name = who.removeprefix("-")
    sign = who[: len(who) - len(name)]
    if name.lower() == ANYONE:
        return sign + ANYONE
    snapshot = load_snapshot(site.paths, site.static(), 1)
    account = name if name in snapshot.dynamic.accounts else snapshot.login_account(name)
    if account is None:
        raise Refused(f"no account {name}; `echomox account list` shows what there is")
    return sign + account


def acl_show(site: Site, fields: Fields) -> Answer:
    store = site.store(fields["account"])
    mailbox = store.mailbox(fields["mailbox"])
    entries = {store.name: ALL, **store.acl(mailbox.id)}
    return {"mailbox": mailbox.name, "acl": {who: shown(rights) for who, rights in entries.items()}}


def acl_set(site: Site, fields: Fields) -> Answer:
    """rights: letters of RFC 4314, with "+" or "-" before them to add to or take from what there is."""
    store, text = site.store(fields["account"]), fields["rights"]
    mailbox, who = store.mailbox(fields["mailbox"]), identifier(site, fields["who"])
    if who.removeprefix("-") == store.name:
        raise Refused("the owner has all rights")
    change = text[:1] if text[:1] in ("+", "-") else ""
    try:
        rights = changed(store.acl(mailbox.id).get(who, ""), change, read_rights(text[len(change) :]))
    except Bad as error:
        raise Refused(f"{error}; there are {ALL}, and c and d for kx and te") from None
    store.set_acl(mailbox.id, {who: rights or None})
    return acl_show(site, fields_of(fields))


def acl_remove(site: Site, fields: Fields) -> Answer:
    store = site.store(fields["account"])
    mailbox = store.mailbox(fields["mailbox"])
    kept = store.acl(mailbox.id)
    who = fields["who"] if fields["who"] in kept else identifier(site, fields["who"])
    if who not in kept:
        raise Refused(f"mailbox {mailbox.name} has no rights for {who}")
    store.set_acl(mailbox.id, {who: None})
    return acl_show(site, fields_of(fields))


def fields_of(fields: Fields) -> Fields:
    return {"account": fields["account"], "mailbox": fields["mailbox"]}


def shares(site: Site, fields: Fields) -> Answer:
    """All that is shared; with `account`, by it and with it. rights: what the other may do."""
    wanted = fields.get("account", "")
    if wanted:
        site.account(wanted)
    found = []
    for owner in site.engine.accounts():
        store = site.engine.open(owner)
        lists = store.shared()
        for mailbox in store.mailboxes() if lists else ():
            for who in sorted(entry for entry in lists.get(mailbox.id, {}) if not entry.startswith("-")):
                rights = granted(lists[mailbox.id], who) if who != ANYONE else lists[mailbox.id][who]
                if not wanted or wanted in (owner, who) or who == ANYONE:
                    found.append({"owner": owner, "mailbox": mailbox.name, "who": who, "rights": shown(rights)})
    return {"shares": found}


def virtual_list(site: Site, fields: Fields) -> Answer:
    found = site.store(fields["account"]).virtual_mailboxes()
    return {"virtual": [{"name": one.name, "search": one.search, "use": one.special_use} for one in found]}


def virtual_add(site: Site, fields: Fields) -> Answer:
    """use: "all", "flagged", "important" or "": the special use that LIST shows."""
    use = fields.get("use", "")
    if use not in USES:
        raise Refused(f"no use {use}; there are {', '.join(filter(None, USES))}")
    mailbox = site.store(fields["account"]).define_virtual(fields["name"], fields["search"], USES[use])
    return {"name": mailbox.name, "messages": mailbox.total}


def virtual_remove(site: Site, fields: Fields) -> Answer:
    """Its messages stay where they are."""
    store = site.store(fields["account"])
    if fields["name"] not in {one.name for one in store.virtual_mailboxes()}:
        raise Refused(f"no virtual mailbox {fields['name']}; `echomox mailbox virtual list` shows what there is")
    store.delete_mailbox(fields["name"])
    return {"name": fields["name"]}


def repair(task: str, site: Site, fields: Fields) -> Answer:
    """changed: what `AccountStore.repair` says."""
    changed = site.store(fields["account"]).repair(task, fields.get("mailbox", ""))
    return {"account": fields["account"], "changed": changed}
