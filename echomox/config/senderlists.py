"""Lists of senders whose mail is never junk, or always (F22): of an account, of its domain, of the server.

An account's lists stand in its `junk_filter`, a domain's and the server's in tables `senders` of domains.toml. The
domain of an account is that of its first address, as for quota. The first list that has the sender decides: the
account's come before the domain's, those before the server's, and at each of them `allow` before `block`.

An entry is "local@domain", or "@domain" for all of a domain and those below it. Case does not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, NamedTuple

from echomox.config.names import split_address
from echomox.config.quota import home_domain
from echomox.config.schema import Dynamic, JunkFilter, Senders

if TYPE_CHECKING:
    from echomox.config.load import Reader

MOST = 10_000  # entries of one list
SERVER = "the server"
Place = tuple[str | int, ...]


class Lists(NamedTuple):
    """where: whose they are, as reasons name it; "" for the account's own."""

    where: str
    allow: tuple[str, ...]
    block: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AccountFilter(JunkFilter):
    """A filter's settings as they hold for one account. wider: the lists of its domain and of the server."""

    wider: tuple[Lists, ...] = ()


def filter_of(dynamic: Dynamic, account: str) -> JunkFilter:
    """Of a configured account; for one that is not, the defaults."""
    found = dynamic.accounts.get(account)
    if found is None:
        return JunkFilter()
    name = home_domain(dynamic, found)
    domain = dynamic.domains.get(name)
    above = [(name, domain.senders)] if domain else []
    wider = tuple(
        Lists(where, senders.allow, senders.block)
        for where, senders in (*above, (SERVER, dynamic.senders))
        if senders.allow or senders.block
    )
    own = found.junk_filter
    if not wider:
        return own
    return AccountFilter(**{item.name: getattr(own, item.name) for item in fields(own)}, wider=wider)


def lists_of(settings: JunkFilter) -> tuple[Lists, ...]:
    """In the order in which they are asked."""
    own = Lists("", settings.allow, settings.block)
    return (own, *settings.wider) if isinstance(settings, AccountFilter) else (own,)


def listed(address: str, entries: Sequence[str]) -> bool:
    """Whether one of the entries is about the address; "@example.org" is about its hosts too."""
    if not address:
        return False
    domain = address.rpartition("@")[2]
    for entry in entries:
        entry = entry.strip().lower()
        if entry == address or (entry.startswith("@") and (domain == entry[1:] or domain.endswith("." + entry[1:]))):
            return True
    return False


def decided_by(address: str, settings: JunkFilter) -> tuple[str, str] | None:
    """("allow" or "block", whose list) for an address in lower case; None when no list has it."""
    for where, allow, block in lists_of(settings):
        if allow and listed(address, allow):
            return "allow", where
        if block and listed(address, block):
            return "block", where
    return None


def check_senders(reader: Reader, dynamic: Dynamic) -> None:
    """Each entry can fit an address."""
    tables: list[tuple[Place, JunkFilter | Senders]] = [(("senders",), dynamic.senders)]
    tables += [(("domains", name, "senders"), domain.senders) for name, domain in dynamic.domains.items()]
    tables += [(("accounts", name, "junk_filter"), one.junk_filter) for name, one in dynamic.accounts.items()]
    for path, table in tables:
        for name, entries in (("allow", table.allow), ("block", table.block)):
            if len(entries) > MOST:
                reader.problem((*path, name), f"more than {MOST} entries")
            for place, entry in enumerate(entries):
                if trouble := entry_trouble(entry):
                    reader.problem((*path, name, place), trouble)


def entry_trouble(entry: str) -> str:
    """Why it can be about nobody; "" if it is well formed."""
    try:
        if "@" not in entry:
            raise ValueError("give friend@example.org, or @example.org for all of a domain")
        split_address(entry.strip())
    except ValueError as error:
        return f'"{entry[:100]}" is no sender: {error}'
    return ""
