"""What must hold between accounts, aliases and domains: no address belongs to two, members are there, expressions
compile. Called by `checks.check_dynamic`; what comes back has its addresses in the form by which they are compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING
from unicodedata import normalize

from echomox.config.names import base_local, domain_key, split_address
from echomox.config.patterns import BadPattern, pattern
from echomox.config.schema import Account, Alias, Domain, Dynamic, Ruleset

if TYPE_CHECKING:
    from echomox.config.load import Reader

MEMBERS = 1000
FORWARDS = 20
OTHER_USES = frozenset({"inbox", "drafts", "sent", "archive", "trash", "junk", "rejects"})
Place = tuple[str | int, ...]


def check_addresses(reader: Reader, dynamic: Dynamic, taken: Mapping[str, str]) -> Dynamic:
    """dynamic: its domains by key. taken: account by address, as compared."""
    for name, domain in dynamic.domains.items():
        _alias_domain(reader, name, domain, dynamic, taken)
    aliases: dict[str, Alias] = {}
    for name, alias in dynamic.aliases.items():
        key = _alias_key(reader, name, dynamic, taken, aliases)
        if key:
            aliases[key] = alias
    known = Known(dynamic.domains, {*taken, *aliases})
    written = dict(zip(aliases, dynamic.aliases)) if len(aliases) == len(dynamic.aliases) else {}
    for key, alias in aliases.items():
        path: Place = ("aliases", written.get(key, key))
        if not alias.members:
            reader.problem(path, "has no members; they are a list of addresses")
        if len(alias.members) > MEMBERS:
            reader.problem((*path, "members"), f"more than {MEMBERS} members")
        members = _addresses(reader, (*path, "members"), alias.members, known)
        if alias.owner and alias.owner not in dynamic.accounts:
            reader.problem((*path, "owner"), f"no account {alias.owner}")
        aliases[key] = replace(alias, members=members)
    accounts = {
        name: _account(reader, ("accounts", name), account, dynamic.domains, known)
        for name, account in dynamic.accounts.items()
    }
    return replace(dynamic, aliases=aliases, accounts=accounts)


class Known:
    """Which addresses at our domains there are."""

    def __init__(self, domains: Mapping[str, Domain], addresses: set[str]) -> None:
        self._domains = domains
        self._addresses = addresses

    def trouble(self, address: str) -> tuple[str, str]:
        """(the address with its domain normalised, "") or ("", why mail to it would go nowhere)."""
        try:
            local, key = split_address(address)
        except ValueError as error:
            return "", f'"{address}" is not an address: {error}'
        if not local:
            return "", f'"{address}": a whole address is needed here'
        domain = self._domains.get(key)
        if domain is not None and not self._has(local, key, domain):
            return "", f'"{address}": there is no such address; `echomox address list` shows what there is'
        return f"{address.rpartition('@')[0]}@{key}", ""

    def _has(self, local: str, key: str, domain: Domain) -> bool:
        if domain.alias_of:
            key = domain.alias_of
            domain = self._domains.get(key, domain)
        base = base_local(local if domain.case_sensitive else local.lower(), domain.separators)
        return bool({f"{base}@{key}", f"@{key}"} & self._addresses) or base.lower() == "postmaster"


def _alias_domain(
    reader: Reader, name: str, domain: Domain, dynamic: Dynamic, taken: Mapping[str, str]
) -> None:
    if not domain.alias_of:
        return
    path: Place = ("domains", name, "alias_of")
    target = dynamic.domains.get(domain.alias_of)
    if target is None:
        reader.problem(path, f'no domain "{domain.alias_of}" in this file')
    elif target.alias_of:
        reader.problem(path, f'"{domain.alias_of}" is itself another domain\'s; name {target.alias_of}')
    own = next((address for address in taken if address.endswith("@" + name)), "")
    if own:
        reader.problem(path, f"{own} is an address of this domain; it may have none of its own")


def _alias_key(
    reader: Reader, name: str, dynamic: Dynamic, taken: Mapping[str, str], aliases: Mapping[str, Alias]
) -> str:
    from echomox.config.checks import address_key

    path: Place = ("aliases", name)
    try:
        key, trouble = address_key(name, dict(dynamic.domains))
    except ValueError as error:
        key, trouble = "", f"not an address: {error}"
    if key.startswith("@"):
        trouble = "an alias is a whole address, as team@example.com"
    elif key in taken:
        trouble = f"is an address of account {taken[key]}"
    elif key in aliases:
        trouble = "the same alias is there already"
    elif key and dynamic.domains[key.rpartition("@")[2]].alias_of:
        trouble = "its domain has no addresses of its own (alias_of)"
    if trouble:
        reader.problem(path, trouble)
        return ""
    return key


def _addresses(reader: Reader, path: Place, addresses: Sequence[str], known: Known) -> tuple[str, ...]:
    found: list[str] = []
    for place, address in enumerate(addresses):
        normal, trouble = known.trouble(address)
        if trouble:
            reader.problem((*path, place), trouble)
        elif normal in found:
            reader.problem((*path, place), f'"{address}" is there twice')
        else:
            found.append(normal)
    return tuple(found)


def _account(
    reader: Reader, path: Place, account: Account, domains: Mapping[str, Domain], known: Known
) -> Account:
    if len(account.forward) > FORWARDS:
        reader.problem((*path, "forward"), f"more than {FORWARDS} addresses; make an alias for them")
    forward = _addresses(reader, (*path, "forward"), account.forward, known) if account.forward else ()
    refuse = []
    for place, address in enumerate(account.refuse):
        try:
            local, key = split_address(address)
            domain = domains.get(key)
            if not local or domain is None or f"@{key}" not in account.addresses:
                raise ValueError(f'no address at one of the account\'s "@domain" ({key} is none)')
            refuse.append(f"{local if domain.case_sensitive else local.lower()}@{key}")
        except ValueError as error:
            reader.problem((*path, "refuse", place), f'"{address}": {error}')
    for key in ("junk_mailbox", "neutral_mailbox", "notjunk_mailbox"):
        _pattern(reader, (*path, key), getattr(account, key))
    if account.queue_mailbox.lower() == "inbox":
        reader.problem((*path, "queue_mailbox"), "the Inbox cannot be it; name a mailbox of its own, as Outbox")
    elif trouble := _mailbox(account.queue_mailbox):
        reader.problem((*path, "queue_mailbox"), trouble)
    if account.introbox:
        account = replace(account, introbox=_introbox(reader, (*path, "introbox"), account))
    rules = tuple(
        _ruleset(reader, (*path, "rulesets", place), rule) for place, rule in enumerate(account.rulesets)
    )
    if not (forward or refuse or rules):
        return account
    return replace(account, forward=forward, refuse=tuple(refuse), rulesets=rules)


def _introbox(reader: Reader, path: Place, account: Account) -> str:
    """The name of the mailbox of strangers, in the form in which the store keeps it."""
    name = normalize("NFC", account.introbox)
    trouble = _mailbox(name)
    if name.lower() in OTHER_USES or name == account.queue_mailbox:
        trouble = f'"{name}" is there for other mail; name a mailbox of its own, as Introductions'
    elif name.startswith("#") or set(name) & {"*", "%"} or not name.isprintable():
        trouble = f'"{name[:80]}": no * and %, no control characters, and no # at the beginning'
    if trouble:
        reader.problem(path, trouble)
    first, *rest = name.split("/")
    return "/".join(["INBOX" if first.upper() == "INBOX" else first, *rest])


def _ruleset(reader: Reader, path: Place, rule: Ruleset) -> Ruleset:
    conditions = (rule.address, rule.mail_from, rule.message_from, rule.verified_domain, rule.headers)
    if not any(conditions):
        reader.problem(path, "no condition: give address, mail_from, message_from, verified_domain or headers")
    if not (
        rule.mailbox or rule.list_allow_domain or rule.is_forward or rule.message_auth_required or rule.accept_rejects
    ):
        reader.problem(path, "says nothing of what to do: mailbox, list_allow_domain, is_forward, …")
    for key in ("mail_from", "message_from"):
        _pattern(reader, (*path, key), getattr(rule, key))
    for name, value in rule.headers.items():
        _pattern(reader, (*path, "headers", name), name)
        _pattern(reader, (*path, "headers", name), value)
    verified = _domain_name(reader, (*path, "verified_domain"), rule.verified_domain)
    listed = _domain_name(reader, (*path, "list_allow_domain"), rule.list_allow_domain)
    address = rule.address
    if address:
        try:
            local, domain = split_address(address)
            address = f"{local}@{domain}"
        except ValueError as error:
            reader.problem((*path, "address"), str(error))
    for key in ("mailbox", "accept_rejects"):
        if trouble := _mailbox(getattr(rule, key)):
            reader.problem((*path, key), trouble)
    return replace(rule, address=address, verified_domain=verified, list_allow_domain=listed)


def _domain_name(reader: Reader, path: Place, name: str) -> str:
    try:
        return domain_key(name) if name else ""
    except ValueError as error:
        reader.problem(path, str(error))
        return name


def _pattern(reader: Reader, path: Place, text: str) -> None:
    try:
        pattern(text)
    except BadPattern as error:
        reader.problem(path, f'"{text[:80]}": {error}')


def _mailbox(name: str) -> str:
    """Why it can be no mailbox's name; "" if it can (the store looks again, when it makes it)."""
    if name and (len(name.encode("utf-8", "replace")) > 500 or "" in name.split("/") or len(name.split("/")) > 20):
        return f'"{name[:80]}": a mailbox is named as "Lists/dev"'
    return ""
