"""Hashes of tokens against a slow reference, and tokens at their places."""

from __future__ import annotations

import random

import numpy as np
import pytest

from echomox.filter import hashing
from echomox.filter.features import Envelope, hash_together, read
from echomox.filter.hashed import FEW, hashed, strings
from echomox.filter.identities import counted
from echomox.filter.tokens import Text
from tests.unit.filter.test_tokens import HEAD, HTML, NASTY, mail

MASK = (1 << 64) - 1


def slow(token: str) -> int:
    """As the docstring has it."""
    data = token.replace("\0", "").encode("utf-8", "replace")[: hashing.CHUNK - 1]
    value = sum(byte * pow(hashing.BASE, at, 1 << 64) for at, byte in enumerate(data)) & MASK
    value ^= value >> 32
    for _ in range(2):
        value = value * 0xD6E8FEB86659FD93 & MASK
        value ^= value >> 32
    return value or 1


TOKENS = ["a", "", "word word", "größe", "日本", "\ud800", "nul\0nul", "x" * 41, "from:a@b.example", "y" * 40_000]


@pytest.mark.parametrize("token", TOKENS, ids=range(len(TOKENS)))
def test_a_hash_is_the_mixed_polynomial(token):
    assert hashing.hashes([token]).tolist() == [slow(token)]


def test_hashes_do_not_depend_on_what_they_are_made_with():
    draw = random.Random(7)
    many = draw.choices(TOKENS, k=200) + [f"w{draw.randrange(10**9)}" for _ in range(20_000)]
    assert hashing.hashes(many).tolist() == [hashing.hashes([token])[0] for token in many]
    assert hashing.hashes([]).tolist() == []


def test_joined_sums_are_those_of_the_joined_tokens():
    first, second = hashing.sums(["one ", "größe ", ""]), hashing.sums(["two", "日本", "x"])
    assert hashing.mix(hashing.join(first, second).values).tolist() == [slow("one two"), slow("größe 日本"), slow("x")]


TEXT = Text(["h:Subject", "part:text/plain"], [("subject:", ["a", "b"]), ("", []), ("", ["a", "b", "c"]), ("", ["z"])])


@pytest.mark.parametrize("ngrams", [1, 2, 3])
def test_every_place_has_the_hash_of_its_token(ngrams):
    (found,) = hashed([TEXT], ngrams)
    words = ["subject:a", "subject:b", "a", "b", "c", "z"]
    pairs = ["subject:a subject:b".replace(" subject:", " "), "subject:b", "a b", "b c", "c", "z"]
    threes = ["subject:a", "subject:b", "a b c", "b", "c", "z"]
    wanted = [*TEXT.singles, *words, *(pairs if ngrams > 1 else []), *(threes if ngrams > 2 else [])]
    assert found.hashes.tolist() == [*map(slow, wanted), 0]
    assert strings(TEXT, found, found.distinct) == list(dict.fromkeys(wanted))


@pytest.mark.parametrize("ngrams", [1, 2, 3])
def test_together_and_alone_are_the_same(ngrams):
    messages = [HEAD, mail("Subject: x y z", body=HTML, kind="text/html"), *NASTY]
    together = [read(data) for data in messages * 3]
    hash_together(together, ngrams)
    for data, one in zip(messages * 3, together):
        alone = read(data).places(ngrams)
        found = one.places(ngrams)
        assert found.hashes.tobytes() == alone.hashes.tobytes()
        assert found.distinct.tobytes() == alone.distinct.tobytes()
        assert (found.at, found.words) == (alone.at, alone.words)
        assert hashing.hashes(one.words(ngrams)).tolist() == one.hashed(ngrams).tolist()


def test_whom_a_message_is_from_is_hashed_behind_its_tokens():
    messages = [read(data, Envelope(remote_ip="192.0.2.7")) for data in (HEAD, b"From: a@b.example\r\n\r\nx", b"")]
    hash_together(messages, 2)
    for one in messages:
        found, words = one.places(2), counted(one.identities())
        alone = hashed([one.text], 2)[0]
        assert hashing.hashes(words).tolist() == found.hashes[found.others : -1].tolist() and len(words) >= 2
        assert alone.hashes[:-1].tolist() == found.hashes[: found.others].tolist()
        assert alone.distinct.tolist() == found.distinct.tolist() and found.hashes[-1] == 0


ODD = Text(["ü", "a\0b"], [("t:", []), ("", ["x"]), ("t:", ["a", "\ud800"]), ("", []), ("", ["a", "b", "c", "größe"])])


@pytest.mark.parametrize("text", [TEXT, ODD, Text([], []), Text(["a"], []), Text([], [("", [])])])
@pytest.mark.parametrize("ngrams", [1, 2, 3])
def test_strings_are_the_same_whether_few_or_many_are_asked_for(text, ngrams):
    (found,) = hashed([text], ngrams)
    places = np.arange(len(found.hashes) - 1)
    wanted = strings(text, found, np.tile(places, FEW + 1))[: len(places)]
    assert hashing.hashes(wanted).tolist() == found.hashes[:-1].tolist()
    assert [strings(text, found, places[at : at + 1])[0] for at in places.tolist()] == wanted
    assert all("\0" not in token for token in wanted)
