"""Whether an account has written to who a mail is from (F08, F23): a strong sign for the filter that it is wanted.

The store knows to whom the account's mail went. What is asked about is the first address in From: the name that the
reader knows. It is told to the classifiers as a result of the delivery's checks, ("correspondent", "yes"), so that the
verdict depends on the request alone; whether the name is to be believed is for the filter to say, by the other results.
"""

from __future__ import annotations

import re

from echomox.dns.types import canonical_name
from echomox.ipc.schema import Verdict
from echomox.message.address import address_text, mailboxes, parse_addresses
from echomox.message.header import read_fields
from echomox.store.engine import Engine, StoreError

EVIDENCE = ("correspondent", "yes")
_HAM = re.compile(r" ([0-9]+)/[0-9]+\Z")


def author(header: bytes) -> str:
    """The first address of From as the store compares addresses: lower-case, the domain in A-labels. "" without one."""
    value = read_fields(header, 0, len(header)).get(b"from", b"")
    for box in mailboxes(parse_addresses(address_text(value))):
        if box.domain:
            return f"{box.local}@{canonical_name(box.domain) or box.domain}".lower()
    return ""


def acquainted(engine: Engine, account: str, address: str) -> bool:
    """Not when the store has trouble: then the mail is judged without."""
    try:
        return bool(address) and bool(engine.open(account).correspondents([address]))
    except StoreError:
        return False


def said_of_author(verdict: Verdict) -> tuple[str, int]:
    """What the reputation stage said: its first word ("written", "friend", "allow", "block", "from", "domain", …;
    "stranger" and "untrained" of nobody known, "" when it was not asked), and how many ham it knew."""
    for item in verdict.evidence:
        if item.stage == "reputation" and item.reasons:
            found = _HAM.search(item.reasons[0])
            return item.reasons[0].partition(" ")[0], int(found[1]) if found else 0
    return "", 0
