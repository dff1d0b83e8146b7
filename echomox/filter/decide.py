"""From a verdict to a place: the bands of the account (K1, F10, F11), and the header field that says why.

Below `junk` to the Inbox, up to and including `reject` to Junk, above it a refusal; both boundaries belong
to Junk. An account in mode "junk-only" never refuses, one in mode "off" takes all. What no stage has an
opinion on, and what could not be classified at all, goes to the Inbox: doubt never costs mail. So does mail of an
account that was taught one kind only ("one-sided", see `judge`), and in shadow mode all mail, with what would have
become of it as the reason ("shadow-reject"). Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from echomox.config.schema import JunkFilter
from echomox.filter.combine import logit
from echomox.ipc.schema import Evidence, Verdict

FIELD = "X-EchoMox-Verdict"
LINE_LIMIT = 78  # RFC 5322 section 2.1.1: should
WORD_LIMIT = 120
REASONS_SHOWN = 3
_NOT_WORD = re.compile(r"[^A-Za-z0-9._:@/=+*<>!$%&'#?-]")


@dataclass(frozen=True, slots=True)
class Decision:
    """place: "inbox", "junk" or "reject". reason: a few words for the log. header: the whole field with its
    CRLF.
    """

    place: str
    reason: str
    header: bytes


def place_of(junk_filter: JunkFilter, probability: float) -> tuple[str, str]:
    """(place, deciding rule) for a probability that evidence stands behind."""
    if junk_filter.mode == "off":
        return "inbox", "filter-off"
    if probability < junk_filter.junk:
        return "inbox", "below-junk"
    if probability <= junk_filter.reject:
        return "junk", "from-junk-to-reject"
    if junk_filter.mode == "junk-only":
        return "junk", "above-reject-junk-only"
    return "reject", "above-reject"


def decide(junk_filter: JunkFilter, verdict: Verdict | None) -> Decision:
    """Where the message goes for this account. verdict None: the classifiers were late or gone."""
    if verdict is None:
        place, reason, probability = "inbox", "classifier-unavailable", 0.0
    elif not any(evidence.weight > 0 for evidence in verdict.evidence):
        place, reason, probability = "inbox", "no-evidence", 0.0
    else:
        probability = verdict.probability
        place, reason = _judged(junk_filter, verdict)
    return Decision(place, reason, _header(place, reason, probability, verdict))


def quarantined(junk_filter: JunkFilter, decision: Decision, verdict: Verdict | None) -> Decision:
    """The decision for mail that its author's domain wants in Junk (DMARC p=quarantine): no Inbox any more, but in an
    account that only tries the filter, or has none."""
    if decision.place != "inbox" or junk_filter.mode == "off" or junk_filter.shadow:
        return decision
    probability = verdict.probability if verdict is not None else 0.0
    return Decision("junk", "dmarc-quarantine", _header("junk", "dmarc-quarantine", probability, verdict))


def forged(verdict: Verdict | None = None) -> Decision:
    """The decision for mail that its author's domain wants refused (DMARC p=reject)."""
    probability = verdict.probability if verdict is not None else 0.0
    return Decision("reject", "dmarc-reject", _header("reject", "dmarc-reject", probability, verdict))


def _judged(junk_filter: JunkFilter, verdict: Verdict) -> tuple[str, str]:
    acts = verdict.probability if verdict.acts is None else verdict.acts
    place, reason = place_of(junk_filter, acts)
    if acts < verdict.probability and place != place_of(junk_filter, verdict.probability)[0]:
        reason = "one-sided"
    if acts <= 0.0:  # whatever the thresholds: nothing that may act has an opinion
        place = "inbox"
    if junk_filter.shadow and place != "inbox":
        return "inbox", f"shadow-{place}"
    return place, reason


def _header(place: str, reason: str, probability: float, verdict: Verdict | None) -> bytes:
    parts = verdict.parts if verdict else "none"
    tokens = [f"{place};", f"p={probability:.4f};", f"reason={reason};", f"parts={_word(parts)};"]
    if verdict:
        tokens.append(f"by={_word(decisive(verdict))};")
        tokens.append(f"learned={verdict.learned};")
        for evidence in verdict.evidence:
            tokens += _part(evidence)
    return fold(FIELD, tokens)


def decisive(verdict: Verdict) -> str:
    """The part that pulled most to the side that won; "none" without an opinion."""
    pulls = {item.stage: item.weight * logit(item.probability) for item in verdict.evidence if item.weight > 0}
    if not pulls:
        return "none"
    return max(pulls, key=lambda name: pulls[name] if verdict.probability >= 0.5 else -pulls[name])


def _part(evidence: Evidence) -> list[str]:
    value = f"{_word(evidence.stage)}={evidence.probability:.4f}*{evidence.weight:.2f}"
    reasons = [_word(reason) for reason in evidence.reasons[:REASONS_SHOWN]]
    if not reasons:
        return [value + ";"]
    inner = ",".join(reasons)
    return [value, f"({inner});"]


def _word(text: str) -> str:
    """Printable ASCII that can break neither the field nor its comments."""
    return _NOT_WORD.sub("_", text)[:WORD_LIMIT] or "_"


def fold(name: str, tokens: list[str]) -> bytes:
    """A header field of these words, folded at about 78 characters (RFC 5322 section 2.2.3), CRLF ended."""
    lines: list[str] = []
    line = f"{name}:"
    for token in tokens:
        if len(line) + 1 + len(token) > LINE_LIMIT and line.strip():
            lines.append(line)
            line = "\t" + token
        else:
            line += " " + token
    lines.append(line)
    return "\r\n".join(lines).encode("ascii") + b"\r\n"
