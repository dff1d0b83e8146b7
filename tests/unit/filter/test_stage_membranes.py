"""The membrane stage: the tree, the default rules one by one, the five signals and the probability."""

from __future__ import annotations

from importlib.resources import files
from math import exp

import pytest

from echomox.errors import ConfigError
from echomox.filter.context import Context, nothing
from echomox.filter.features import Envelope, Features, read
from echomox.filter.stages import membranes
from echomox.reservoir.membrane import SIGNALS, TOP, Object, Outcome, Pattern, Rule

RULES = membranes.default_rules()
TEXT = files("echomox.filter").joinpath("data/membranes.rules").read_text("utf-8")
TREE = {
    "skin": "",
    "content": "skin", "header": "skin", "sender": "skin",
    "word_patterns": "content", "link_analysis": "content", "spf_dkim": "header", "reputation": "sender",
    "spam_words": "word_patterns", "ham_words": "word_patterns", "phishing_links": "link_analysis",
    "auth_status": "spf_dkim", "ip_reputation": "reputation",
}  # fmt: skip
GOOD_HEAD = (
    b"From: Ann Other <ann@example.org>\r\nTo: Bob <bob@example.net>\r\nSubject: Lunch\r\n"
    b"Date: Fri, 01 Mar 2024 10:00:00 +0100\r\nMessage-ID: <abcdef@example.org>\r\n"
)
DECEIT = (
    b"From: Bank <x@evil.example>\r\n" + GOOD_HEAD.partition(b"\r\n")[2] + b"MIME-Version: 1.0\r\n"
    b'Content-Type: text/html\r\n\r\n<p>Hello</p><a href="http://evil.example/">bank.com</a>\r\n'
)
PHISH = DECEIT.replace(
    b"Hello", b"Urgent: verify your account within 24 hours, your account has been limited. Dear customer"
)
SPAM = (
    b"From: deals4711x@yahoo.com\r\nTo: undisclosed-recipients:;\r\nSubject: MAKE MONEY FAST!!!     qx81z\r\n"
    b"Date: 2024-03-01\r\nX-Mailer: MassMail 2.0\r\nX-Priority: 1\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\n"
    b'<font size="7" color="#ff0000">Make money! Extra income! Guaranteed! Click here, order now, free trial, '
    b'risk free!</font> <a href="http://192.0.2.1/?id=bob@example.net">CLICK HERE</a> to be removed. '
    b"This is not spam.\r\n"
)


def features(data: bytes) -> Features:
    return read(data)


def outcome(data: bytes) -> Outcome:
    return membranes.outcome(read(data), RULES)


def probability(data: bytes) -> float:
    return membranes.evidence(outcome(data)).probability


def test_the_tree_is_the_named_one():
    assert {membrane.name: membrane.parent for membrane in RULES.system.membranes} == TREE


def test_the_checker_finds_nothing_in_the_default_rules():
    assert RULES.warnings == ()


def _object(pattern: Pattern) -> Object:
    """A least object that fits."""
    value = pattern.low + (0.5 if pattern.above else 0.0)
    if value <= 0.0:
        value = min(1.0, pattern.high / 2 if pattern.high < TOP else 1.0)
    return Object(pattern.type, value, pattern.charge or 0)


@pytest.mark.parametrize(
    ("rule", "home"),
    [(rule, home) for rule in RULES.system.rules for home in rule.membranes],
    ids=[f"{rule.name}-{home}" for rule in RULES.system.rules for home in rule.membranes],
)
def test_every_default_rule_fires(rule: Rule, home: str):
    """Given just what it asks for, in each of its membranes."""
    found = RULES.system.evolve({home: [_object(pattern) for pattern in (*rule.inputs, *rule.present)]})
    assert (home, 1) in [(event.membrane, event.step) for event in found.trace if event.rule is rule]
    assert found.halted and not any(event.stopped for event in found.trace)


def test_all_that_a_default_rule_makes_of_signals_reaches_the_skin():
    for rule in RULES.system.rules:
        for home in rule.membranes:
            found = RULES.system.evolve({home: [_object(pattern) for pattern in (*rule.inputs, *rule.present)]})
            assert all(
                item.type not in SIGNALS for name, items in found.contents.items() if name != "skin" for item in items
            )


def test_a_link_that_names_another_domain_gives_the_phishing_signal():
    found = outcome(DECEIT)
    assert found.signals["phishing"] > 0.4
    assert any(reason.startswith("deceit") for reason in membranes.evidence(found).reasons)


def test_asking_for_secrets_beside_a_false_link_is_a_lure():
    names = [event.rule.name for event in outcome(PHISH).trace if event.rule]
    assert "lure" in names and "credential_pressure" in names
    assert probability(PHISH) > 0.5 > probability(DECEIT)


def test_the_bands_of_plain_messages():
    ham = GOOD_HEAD + b"In-Reply-To: <1@example.net>\r\n\r\nYes, thanks!\r\n> shall we meet?\r\n-- \r\nAnn\r\n"
    assert probability(ham) < 0.05
    assert probability(GOOD_HEAD + b"\r\nShall we meet at noon?\r\n") < 0.1
    assert probability(SPAM) > 0.8


@pytest.mark.parametrize(
    ("outside", "signal", "sign"),
    [
        ({"dmarc": "pass"}, "auth", 1), ({"dmarc": "fail"}, "auth", -1), ({"spf": "fail"}, "auth", -1),
        ({"reputation": 0.8}, "reputation", 1), ({"reputation": -0.8}, "reputation", -1),
        ({"known": True}, "reputation", 1),
    ],
)  # fmt: skip
def test_what_the_server_found_out_counts(outside: dict[str, str | float | bool], signal: str, sign: int):
    found = membranes.outcome(features(DECEIT), RULES, outside)
    assert found.signals[signal] * sign > 0.1
    assert (membranes.log_odds(found.amounts) - membranes.log_odds(outcome(DECEIT).amounts)) * sign < 0


def test_signals_are_in_their_ranges_and_shown_in_the_first_reason():
    found = outcome(SPAM)
    assert all((-1.0 if name in ("auth", "reputation") else 0.0) <= found.signals[name] <= 1.0 for name in SIGNALS)
    first = membranes.evidence(found).reasons[0]
    assert [item.partition("=")[0] for item in first.split("/")] == list(SIGNALS)


def test_the_probability_is_the_documented_function():
    amounts = dict.fromkeys(SIGNALS, 0.0)
    assert membranes.log_odds(amounts) == membranes.BIAS
    assert membranes.log_odds({**amounts, "spam": 1.0}) == membranes.BIAS + membranes.WEIGHTS["spam"]
    assert membranes.log_odds({**amounts, "ham": 100.0}) == -membranes.LIMIT
    values = [membranes.log_odds({**amounts, "spam": float(n)}) for n in range(50)]
    assert values == sorted(values) and values[-1] > values[-2]
    at = (2.55 - membranes.BIAS) / membranes.WEIGHTS["spam"]
    assert 1 / (1 + exp(-membranes.log_odds({**amounts, "spam": at}))) == pytest.approx(0.8, abs=0.01)


def test_too_many_kinds_of_tricks_dissolve_the_leaf():
    kinds = ("pressure", "money", "credit", "offer", "removal", "law", "sex", "drugs", "lottery", "fortune", "wares")
    objects = [Object(kind) for kind in kinds]
    found = RULES.system.evolve({"spam_words": objects})
    assert str(found.trace[0]) == "1 spam_words: dissolves, 11 objects to its parent"
    assert "every_trick" in {event.rule.name for event in found.trace if event.rule}


def test_shutting_a_membrane_keeps_weak_evidence_inside():
    open_, closed = "spam_words in word_patterns permeability 0.5", "spam_words in word_patterns permeability 0.4"
    assert open_ in TEXT
    shut = membranes.rules_from(TEXT.replace(open_, closed))
    weak, strong = {"spam_words": [Object("wares")]}, {"spam_words": [Object("money", 3.0)]}
    assert RULES.system.evolve(weak).amounts["spam"] > 0.0 == shut.system.evolve(weak).amounts["spam"]
    assert RULES.system.evolve(strong).amounts == shut.system.evolve(strong).amounts


def test_the_same_message_gives_the_same_bits():
    for data in (DECEIT, PHISH, SPAM):
        again = membranes.rules_from(TEXT)
        first, second = outcome(data), membranes.outcome(read(data), again)
        assert first.trace == second.trace and first.amounts == second.amounts


def test_the_trace_shows_objects_and_rules():
    shown = membranes.trace(features(PHISH))
    assert shown["membranes"][0]["name"] == "skin"
    leaf = next(item for item in shown["membranes"] if item["name"] == "phishing_links")
    assert {"type": "link_mismatch", "value": 1.0, "charge": 0, "mobility": 1.0} in leaf["begins"]
    assert {"deceit", "lure"} <= {event["rule"] for event in shown["events"]}
    assert set(shown["signals"]) == set(SIGNALS) and shown["halted"]


@pytest.mark.parametrize(
    "results, fired, silent",
    [
        ((("correspondent", "yes"),), {"acquaintance"}, set()),
        ((("correspondent", "yes"), ("dmarc", "fail")), {"not_aligned"}, {"acquaintance"}),
        ((("dkim", "fail"), ("dkim", "pass"), ("dkim", "fail")), {"signed"}, {"signature_broken"}),
        ((("spf", "softfail"), ("dkim", "none"), ("iprev", "fail")), {"spf_doubt"}, {"signed", "signature_broken"}),
    ],
)
def test_the_checks_of_the_delivery_are_facts(results, fired, silent):
    found = membranes.trace(read(PHISH, Envelope(auth=results)))
    rules = {event["rule"] for event in found["events"]}
    assert fired <= rules and not silent & rules


def test_a_rule_file_is_read_again_only_when_it_is_good(tmp_path):
    file = tmp_path / "own.rules"
    file.write_text(TEXT.replace("rule acquaintance in sender", "rule old_friend in sender"))
    own = membranes.reload_rules(str(file))
    assert membranes.rules_of(str(file)) is own and membranes.rules_of("") is RULES
    stage = membranes.stage(lambda: own)
    known = read(PHISH, Envelope(auth=(("correspondent", "yes"),)))
    assert any("old_friend" in reason for reason in stage.run(known, Context(2, 0, 0, nothing)).reasons)
    file.write_text(TEXT + "\nrule broken in nowhere: -> \n")
    with pytest.raises(ConfigError, match=rf"{file}: line \d+"):
        membranes.reload_rules(str(file))
    assert membranes.rules_of(str(file)) is own
    file.unlink()
    with pytest.raises(ConfigError, match=str(file)):
        membranes.reload_rules(str(file))
