"""What quickstart finds out about a host, from answers of DNS in a dictionary."""

from __future__ import annotations

import pytest

from echomox.config.hostcheck import Network, NoAnswer, ask_network, check_host

GOOD = {
    ("org.", "SOA"): ["a.org. b.org. 1 2 3 4 5"],
    ("mail.a.test", "A"): ["203.0.113.5"],
    ("5.113.0.203.in-addr.arpa.", "PTR"): ["mail.a.test."],
    ("a.test", "MX"): ["10 mail.a.test."],
    ("gmail.com", "MX"): ["20 second.test.", "5 first.test."],
}


def network(validated=True, greeting=b"220 first.test ESMTP", own=("203.0.113.5",), **changes) -> Network:
    """changes: answers by the first label of the name; None for no answer."""
    answers = {
        key: changes.get(key[0].split(".")[0], value)
        for key, value in GOOD.items()
        if changes.get(key[0].split(".")[0], value) is not None
    }

    def query(name, kind):
        if (name, kind) not in answers:
            raise NoAnswer
        return answers[name, kind], validated

    def greet(host):
        assert host == "first.test"
        if isinstance(greeting, OSError):
            raise greeting
        return greeting

    return Network(query, greet, own)


def states(found: Network) -> list[str]:
    return [finding.state for finding in ask_network("mail.a.test", "a.test", found)]


CASES = [
    ({}, "ok ok ok ok ok", ""),
    ({"validated": False}, "warn ok ok ok ok", "does not validate"),
    ({"org": None}, "warn ok ok ok ok", "does not answer"),
    ({"mail": None}, "ok warn ok ok ok", "has no address in DNS yet"),
    ({"mail": ["203.0.113.9"]}, "ok warn ok ok ok", "but this host is 203.0.113.5"),
    ({"5": ["other.test."]}, "ok ok warn ok ok", "203.0.113.5 (other.test.) is not mail.a.test"),
    ({"5": None}, "ok ok warn ok ok", "203.0.113.5 (none)"),
    ({"own": ()}, "ok ok skip ok ok", "no public address"),
    ({"a": None}, "ok ok ok ok ok", "none yet"),
    ({"a": ["10 old.test."]}, "ok ok ok warn ok", "now goes to old.test"),
    ({"gmail": None}, "ok ok ok ok skip", "not looked at"),
    ({"greeting": OSError()}, "ok ok ok ok warn", "port 25 is closed"),
    ({"greeting": b"HTTP/1.1 200"}, "ok ok ok ok warn", "no mail server"),
]


@pytest.mark.parametrize(("changes", "expected", "text"), CASES)
def test_findings(changes, expected, text):
    found = network(**changes)
    assert states(found) == expected.split()
    assert text in " ".join(finding.text for finding in ask_network("mail.a.test", "a.test", found))


def test_offline_nothing_is_asked():
    found = check_host("mail.a.test", "a.test", None)
    skipped = [finding.text for finding in found if finding.state == "skip"]
    names = ("DNSSEC", "host name", "reverse DNS", "MX of the domain", "outgoing port 25")
    assert skipped == [f"{name}: not looked at (offline)" for name in names]
