"""The reputation stage: what the account has said before of the sender, and of those like it (F08, F22, F23).

First the lists of senders: the user's own (`allow`, then `block`, in `junk_filter`), the domain's, the server's
(config.senderlists); the first that has the sender decides alone, and the reason says whose it is. A mail whose DMARC
check failed is not let in by `allow`: its From is not to be believed.

Then, from the most exact to the widest, what trained messages had: the address in From, its domain, the domain
above it that belongs to one owner, the address the mail came from, and its net (IPv4 /24, IPv6 /48). The first step
of which at least LEAST messages are known answers:

    P = (spam + DOUBT / 2) / (ham + spam + DOUBT)        trust = n / (n + YOUTH[step]), n = ham + spam

A sender whose DMARC check passed, known from FRIEND ham or more and no spam, decides alone too: no words of a friend
make his mail spam.

So a sender known from one ham is a weak sign and one known from twenty a strong one, and a whole net is weaker than
an address. Reasons name the step that answered.

Whom the account has written to (`delivery` asks the store and says ("correspondent", "yes") with the results of its
checks) is no stranger: that counts as WRITTEN ham more than what was learnt of his address, and after a passed DMARC
check and without spam from there it decides alone. When DMARC or SPF failed it counts for nothing.

The domain of one owner is by the public suffix list. The counts are words of junk.db ("rep:from:
address"), counted and taken back with the others of a message; the Bayes stage does not read them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from echomox.config.schema import JunkFilter
from echomox.config.senderlists import decided_by
from echomox.dns.psl import organisational_domain
from echomox.filter.combine import DECIDES
from echomox.filter.context import Context, Question, no_opinion
from echomox.filter.features import Features
from echomox.filter.hashing import hashes
from echomox.ipc.schema import Evidence
from echomox.message.address import mailboxes, parse_addresses
from echomox.message.charset import decode_raw

NAME = "reputation"
STEPS = ("from", "domain", "organisation", "ip", "net")
YOUTH = {"from": 2.0, "domain": 6.0, "organisation": 10.0, "ip": 8.0, "net": 30.0}
LEAST = {"from": 1, "domain": 2, "organisation": 3, "ip": 2, "net": 4}
DOUBT = 1.0
PREFIX = "rep:"
FRIEND = 3
LISTED = 1e-4
"""P of a sender on a list, or 1 less that."""
WRITTEN = 8
CORRESPONDENT = ("correspondent", "yes")


def sender(features: Features) -> str:
    """The first address of From, lower-case; "" without one."""
    for name, value in features.sender:
        if name == "from":
            for box in mailboxes(parse_addresses(decode_raw(value[:1000]), 5)):
                if box.domain:
                    return f"{box.local}@{box.domain}".lower()
            return ""
    return ""


def net(ip: str) -> str:
    """The net of an address, "" for none."""
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return ""
    length = 24 if address.version == 4 else 48
    return str(ipaddress.ip_network((address, length), strict=False))


def identities(features: Features) -> dict[str, str]:
    """step -> whom it is about, in the order of STEPS; what is not known is left out. Remembered in the memo."""
    found: dict[str, str] | None = features.memo.get(NAME)
    if found is None:
        address = sender(features)
        domain = address.rpartition("@")[2]
        ip = features.envelope.remote_ip
        every = zip(STEPS, (address, domain, organisational_domain(domain), ip, net(ip) if ip else ""))
        found = features.memo[NAME] = {step: value[:200] for step, value in every if value}
    return found


def words(features: Features) -> tuple[str, ...]:
    """What training counts of a message beside its tokens."""
    return tuple([f"{PREFIX}{step}:{value}".replace("\0", "") for step, value in identities(features).items()])


def _by_list(address: str, features: Features, settings: JunkFilter) -> Evidence | None:
    found = decided_by(address, settings)
    if found is None:
        return None
    kind, where = found
    if kind == "allow" and ("dmarc", "fail") in features.envelope.auth:
        return None
    reason = f"{kind} list of {where} {address}" if where else f"{kind} list {address}"
    return Evidence(NAME, LISTED if kind == "allow" else 1.0 - LISTED, DECIDES, (reason,))


def _written_to(
    known: dict[str, str], features: Features, counts: Sequence[Sequence[int]] | None
) -> Evidence | None:
    """Of a sender whom the account has written to, and whose name is not known to be abused."""
    checks = features.envelope.auth
    if CORRESPONDENT not in checks or ("dmarc", "fail") in checks or "from" not in known:
        return None
    sure = ("dmarc", "pass") in checks
    if ("spf", "fail") in checks and not sure:
        return None
    ham, spam = counts[0] if counts else (0, 0)
    seen = ham + spam + WRITTEN
    probability = (spam + DOUBT / 2) / (seen + DOUBT)
    trust = DECIDES if sure and not spam else seen / (seen + YOUTH["from"])
    return Evidence(NAME, probability, trust, (f"written to {known['from']} {ham}/{spam}",))


def run(features: Features, context: Context) -> Evidence:
    """P(spam) by who sent it; reasons: the step that answered and its counts, as "from a@example.org 12/0"."""
    return run_batch([(features, context)])[0]


def run_batch(questions: Sequence[Question]) -> list[Evidence]:
    """With one look-up for each account."""
    accounts: dict[int, list[int]] = {}
    for at, (_, context) in enumerate(questions):
        if context.ham + context.spam:
            accounts.setdefault(id(context.lookup), []).append(at)
    counts: dict[int, list[list[int]]] = {}
    for places in accounts.values():
        asked = [words(questions[at][0]) for at in places]
        found = questions[places[0]][1].lookup(hashes([word for one in asked for word in one])).tolist()
        for at, one in zip(places, asked):
            counts[at] = found[: len(one)]
            del found[: len(one)]
    return [_judge(*question, counts.get(at)) for at, question in enumerate(questions)]


def _judge(features: Features, context: Context, counts: Sequence[Sequence[int]] | None) -> Evidence:
    """counts: of each of the identities; None for an account that has learnt nothing."""
    known = identities(features)
    decided = _by_list(known.get("from", ""), features, context.settings)
    if decided:
        return decided
    written = _written_to(known, features, counts)
    if written:
        return written
    if counts is None:
        return no_opinion(NAME, "untrained")
    for (step, value), (ham, spam) in zip(known.items(), counts):
        seen = ham + spam
        if seen >= LEAST[step]:
            if step == "from" and not spam and ham >= FRIEND and ("dmarc", "pass") in features.envelope.auth:
                return Evidence(NAME, DOUBT / 2 / (seen + DOUBT), DECIDES, (f"friend {value} {ham}/{spam}",))
            probability = (spam + DOUBT / 2) / (seen + DOUBT)
            return Evidence(NAME, probability, seen / (seen + YOUTH[step]), (f"{step} {value} {ham}/{spam}",))
    return no_opinion(NAME, "stranger")
