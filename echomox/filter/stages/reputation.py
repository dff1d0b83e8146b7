"""The reputation stage: what the account has said before of the sender, and of those like it (F08, F22, F23).

First the lists of senders: the user's own (`allow`, then `block`, in `junk_filter`), the domain's, the server's
(config.senderlists); the first that has the sender decides alone, and the reason says whose it is. A mail whose DMARC
check failed is not let in by `allow`: its From is not to be believed.

Then, from the most exact to the widest, what trained messages had of `identities`: the address in From, its domain,
the domain above it that belongs to one owner, a domain that has signed it, the domain that SPF passed for, the address
the mail came from, its net, and the net around that. The first step of which at least LEAST messages are known answers:

    P = (spam + DOUBT / 2) / (ham + spam + DOUBT)        trust = n / (n + YOUTH[step]), n = ham + spam

A sender whose DMARC check passed, known from FRIEND ham or more and no spam, decides alone too: no words of a friend
make his mail spam.

So a sender known from one ham is a weak sign and one known from twenty a strong one, and a whole net is weaker than
an address. Who signs or sends for others, as senders of newsletters do, is weaker than an author's own organisation.
Reasons name the step that answered.

A From can be forged, and its steps answer all the same; the auth stage has what the checks say of that. The names of
the steps dkim and spf are proven, and a name that did not pass is neither counted nor looked up: nobody gains a step of
another's by writing his name.

Whom the account has written to (`delivery` asks the store and says ("correspondent", "yes") with the results of its
checks) is no stranger: that counts as WRITTEN ham more than what was learnt of his address, and after a passed DMARC
check and without spam from there it decides alone. When DMARC or SPF failed it counts for nothing.

The counts are words of junk.db, counted, taken back and looked up with the others of a message (`known`); the Bayes
stage does not read them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from echomox.config.schema import JunkFilter
from echomox.config.senderlists import decided_by
from echomox.filter.combine import DECIDES
from echomox.filter.context import Context, Question, no_opinion
from echomox.filter.counts.known import KEY, Known, look_up
from echomox.filter.features import Features
from echomox.filter.identities import counted
from echomox.ipc.schema import Evidence

NAME = "reputation"
YOUTH: Mapping[str, float] = {
    "from": 2.0, "domain": 6.0, "organisation": 10.0, "dkim": 20.0, "spf": 20.0, "ip": 8.0, "net": 30.0,
    "wide-net": 60.0,
}  # fmt: skip
LEAST: Mapping[str, int] = {
    "from": 1, "domain": 2, "organisation": 3, "dkim": 3, "spf": 3, "ip": 2, "net": 4, "wide-net": 6,
}  # fmt: skip
DOUBT = 1.0
FRIEND = 3
LISTED = 1e-4
"""P of a sender on a list, or 1 less that."""
WRITTEN = 8
CORRESPONDENT = ("correspondent", "yes")


def words(features: Features) -> tuple[str, ...]:
    """What training counts of a message beside its tokens."""
    return counted(features.identities())


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
    """What the words were looked up for says of the senders too: of each account with one look-up."""
    look_up([question for question in questions if question[1].ham + question[1].spam])
    return [_judge(*question) for question in questions]


def _judge(features: Features, context: Context) -> Evidence:
    """Of a message that was looked up, if the account has learnt anything."""
    identities = features.identities()
    found: Known | None = context.scratch.get(KEY) if context.ham + context.spam else None
    counts = found.others() if found else None
    decided = _by_list(identities.get("from", ""), features, context.settings)
    if decided:
        return decided
    written = _written_to(identities, features, counts)
    if written:
        return written
    if counts is None:
        return no_opinion(NAME, "untrained")
    for (step, value), (ham, spam) in zip(identities.items(), counts):
        seen = ham + spam
        if seen >= LEAST[step]:
            if step == "from" and not spam and ham >= FRIEND and ("dmarc", "pass") in features.envelope.auth:
                return Evidence(NAME, DOUBT / 2 / (seen + DOUBT), DECIDES, (f"friend {value} {ham}/{spam}",))
            probability = (spam + DOUBT / 2) / (seen + DOUBT)
            return Evidence(NAME, probability, seen / (seen + YOUTH[step]), (f"{step} {value} {ham}/{spam}",))
    return no_opinion(NAME, "stranger")
