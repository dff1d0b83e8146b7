"""From an address of ours to those who get its mail: accounts, members of aliases, addresses elsewhere (S32, S33).

Each account and each address elsewhere stands once in what comes out, however many ways lead there; circles of
aliases and of accounts that send on to each other end where they meet themselves. What goes elsewhere is judged by
the filter of an account: who sends on, or an alias's owner.

A message that was sent on for an address carries that address in a Delivered-To field (RFC 9228), by which it is
known when it comes back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from echomox.config.snapshot import Group, Recipient, Snapshot, Unknown
from echomox.delivery.incoming import Destination
from echomox.delivery.rulesets import comparable

DEPTH = 20
"""Accounts that may send on to each other in a row."""
_DELIVERED = re.compile(rb"^delivered-to[ \t]*:[ \t]*([^\r\n]+)", re.I | re.M)


def destinations(snapshot: Snapshot, found: Recipient | Group) -> list[Destination]:
    """Where mail goes to what `Snapshot.recipient` has found. Empty for an alias none of whose members is left."""
    made: dict[tuple[str, bool], Destination] = {}
    outside: set[str] = set()
    if isinstance(found, Recipient):
        _account(snapshot, found, "", made, outside, 0)
        return list(made.values())
    here, elsewhere = snapshot.members(found)
    for member in here.values():
        _account(snapshot, member, found.address, made, outside, 0)
    owner = found.alias.owner or next(iter(here), "") or snapshot.postmaster
    relay = tuple(address for address in elsewhere if address not in outside)
    if relay and owner:
        _add(made, Destination(owner, found.address, via=found.address, relay=relay, keep=False))
    return list(made.values())


def _account(
    snapshot: Snapshot,
    found: Recipient,
    via: str,
    made: dict[tuple[str, bool], Destination],
    outside: set[str],
    depth: int,
) -> None:
    """The account itself, and those that it sends on to."""
    account = snapshot.account(found.account)
    keep = account.forward_keep or not account.forward
    if (found.account, True) in made or (found.account, False) in made:
        return
    relay: dict[str, None] = {}
    base = Destination(found.account, found.address, found.mailbox, via=via, keep=keep, reports=found.reports)
    _add(made, base)
    for address in account.forward if depth < DEPTH else ():
        to = snapshot.recipient(address)
        if isinstance(to, Recipient):
            _account(snapshot, to, via or found.address, made, outside, depth + 1)
        elif isinstance(to, Group):
            here, elsewhere = snapshot.members(to)
            for member in here.values():
                _account(snapshot, member, via or found.address, made, outside, depth + 1)
            relay.update(dict.fromkeys(elsewhere))
        elif to.reason == "domain":
            relay.setdefault(address)
    new = tuple(address for address in relay if address not in outside)
    outside.update(new)
    if new:
        made[found.account, keep] = replace(made[found.account, keep], relay=new)


def _add(made: dict[tuple[str, bool], Destination], new: Destination) -> None:
    key = new.account, new.keep
    old = made.get(key)
    made[key] = new if old is None else replace(old, relay=(*old.relay, *new.relay))


def comes_back(snapshot: Snapshot, header: bytes, wanted: Iterable[Destination]) -> str:
    """The address for which this message was sent on once already and would be again; "" for none."""
    sending = [one.via or one.address for one in wanted if one.relay and not one.returned]
    if not sending:
        return ""
    ours = {comparable(snapshot, address) for address in sending} - {""}
    for match in _DELIVERED.finditer(header):
        key = comparable(snapshot, match[1].strip(b" \t<>").decode("utf-8", "replace"))
        if key in ours:
            return key
    return ""


def is_member(snapshot: Snapshot, group: Group, address: str) -> bool:
    """Whether an address is one of the members, or leads to one who has an account here."""
    here, elsewhere = snapshot.members(group)
    found = snapshot.recipient(address)
    if isinstance(found, Recipient):
        return found.account in here
    if isinstance(found, Unknown) and found.reason == "domain":
        key = comparable(snapshot, address)
        return bool(key) and any(comparable(snapshot, member) == key for member in elsewhere)
    return False
