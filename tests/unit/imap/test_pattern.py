"""imap.pattern: RFC 3501 6.3.8, RFC 9051 6.3.9."""

from __future__ import annotations

import time

import pytest

from echomox.imap.pattern import Pattern, Patterns, join


@pytest.mark.parametrize(
    "pattern, matching, others",
    [
        ("*", ["a", "a/b", "INBOX", ""], []),
        ("%", ["a", "INBOX", ""], ["a/b"]),
        ("%/%", ["a/b", "/"], ["a", "a/b/c"]),
        ("a/*", ["a/b", "a/b/c", "a/"], ["a", "ab"]),
        ("a/%", ["a/b"], ["a/b/c", "a"]),
        ("*b", ["b", "a/b", "bb"], ["a/bc"]),
        ("a*", ["a", "ab", "a/b"], ["ba"]),
        ("%*%", ["a", "a/b/c"], []),
        ("%%", ["a"], ["a/b"]),
        ("%b%/*", ["abc/d", "b/"], ["a/b", "b"]),
        ("a.b", ["a.b"], ["aXb"]),
        ("inbox", ["INBOX"], ["inbox", "INBOX/a"]),
        ("iNbOx/%", ["INBOX/a"], ["INBOX", "inbox/a"]),
        ("[a]", ["[a]"], ["a"]),
        ("Foo", ["Foo"], ["foo", "FOO"]),
        ("日*", ["日本語"], ["本"]),
        ("", [""], ["a"]),
    ],
)
def test_wildcards(pattern, matching, others):
    compiled = Pattern(pattern)
    assert [name for name in matching if not compiled.matches(name)] == []
    assert [name for name in others if compiled.matches(name)] == []


@pytest.mark.parametrize(
    "pattern, name, matches",
    [
        ("inb%", "INBOX", True),
        ("*Ox", "INBOX", True),
        ("inb%", "Inbound", False),
        ("Inb%", "Inbound", True),
        ("INBOX", "INBOX", True),
        ("inbox*", "INBOX/Sub", True),
    ],
)
def test_inbox_in_any_case(pattern, name, matches):
    assert Patterns("", [pattern]).match(name) is matches


def test_one_of_several_patterns():
    """RFC 5258 5, example BBB."""
    patterns = Patterns("", ["INBOX", "Drafts", "Sent/%"])
    names = ["INBOX", "Drafts", "Drafts/x", "Sent", "Sent/March2004", "Sent/March2004/a"]
    assert [name for name in names if patterns.match(name)] == ["INBOX", "Drafts", "Sent/March2004"]


@pytest.mark.parametrize(
    "reference, pattern, joined",
    [
        ("", "*", "*"),
        ("~smith/Mail/", "foo.*", "~smith/Mail/foo.*"),
        ("archive/", "%", "archive/%"),
        ("#news.", "comp.mail.*", "#news.comp.mail.*"),
        ("~smith/Mail/", "/usr/doc/foo", "usr/doc/foo"),
    ],
)
def test_reference_comes_before(reference, pattern, joined):
    """RFC 3501 6.3.8, the table of interpretations (our names have no leading separator)."""
    assert join(reference, pattern) == joined


def test_no_pattern_is_slow():
    hostile = Pattern("*a" * 500 + "b")
    began = time.process_time()
    for _ in range(20):
        assert not hostile.matches("a" * 1000)
    assert time.process_time() - began < 10


def test_an_endless_pattern_matches_nothing():
    assert not Pattern("a" * 3000).matches("a" * 3000)
    assert not Pattern("a" * 3000).matches("a" * 2000)
