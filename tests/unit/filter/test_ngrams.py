"""The n-grams stage and its learner against a slow plain reference."""

from math import exp, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echomox.filter.context import Context, nothing
from echomox.filter.features import read
from echomox.filter.hashing import hashes
from echomox.filter.stages import ngrams

MAIL = (
    b"From: A <a@Example.org>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nReceived: from x\r\n\r\nHello World, hello\r\n"
)
LEARNER = ngrams.LEARNER


def context(model=None, ham=50, spam=50):
    return Context(2, ham, spam, nothing, lambda name: model)


def slow(features):
    """The set of features, as the docstring has it."""
    found = set()
    for salt, data in ((0x5BD1E995, ngrams.head_bytes(features.sender)), (0, ngrams.body_bytes(features))):
        for at in range(len(data) - 3):
            value = int.from_bytes(data[at : at + 4], "little") ^ salt
            found.add((value * 2654435761 & 0xFFFFFFFF) >> (32 - ngrams.BITS))
    for word in features.words(2):
        found.add(int(hashes([word])[0]) >> (64 - ngrams.BITS))
    return sorted(found)


def test_features_are_those_of_the_plain_reference():
    features = read(MAIL)
    assert ngrams.indices(features, 2).tolist() == slow(features)


@pytest.mark.parametrize(
    "text, folded",
    [
        ("plain", b"plain"),
        ("grüß", b"gr\xfc\xdf"),
        ("да", b"\xb4\xb0"),
        ("中a", b"\xce\x2da"),
        ("한국", b"\xd5\x5c\xad\x6d"),
        ("😀", b"\xf6\x00"),
    ],
)
def test_letters_are_read_as_one_byte_or_two(text, folded):
    assert ngrams.folded(text.encode()) == folded
    assert ngrams.folded(text.encode() + "中".encode()[:2]) == folded


@pytest.mark.parametrize("raw", ["中文邮件".encode("gb2312"), "почта".encode("koi8-r"), b"gr\xfc\xdfe"])
def test_what_is_no_utf8_stays_as_it_is(raw):
    assert ngrams.folded(raw) == raw


def test_only_what_the_sender_wrote_is_read_decoded_and_lower_case():
    assert ngrams.head_bytes(read(MAIL).sender) == "from:a <a@example.org>\nsubject:grüße".encode("latin-1")


@pytest.mark.parametrize("data", [b"", b"\r\n", b"A: b\r\n\r\nx", b"\xff\xfe" * 3000, b"Subject: " + b"=?" * 5000])
def test_anything_can_be_read(data):
    found = ngrams.indices(read(data), 2)
    assert found.tolist() == slow(read(data))


def test_a_step_is_the_gradient_of_the_log_loss_with_soft_labels():
    state, features = LEARNER.fresh(), read(MAIL)
    weights = {}
    found = slow(features)
    for label in ("spam", "spam", "ham", "spam", "ham", "ham"):
        z = sum(weights.get(at, 0) for at in found) / (ngrams.SCALE * sqrt(len(found)))
        target = 1 - ngrams.SOFT if label == "spam" else ngrams.SOFT
        step = round(ngrams.RATE * ngrams.SCALE * (target - 1 / (1 + exp(-z))) / sqrt(len(found)))
        for at in found:
            weights[at] = weights.get(at, 0) + step
        LEARNER.add(state, label, LEARNER.contribution(state, features, context(), label))
        assert {int(at): int(state[at]) for at in np.flatnonzero(state)} == weights
    evidence = ngrams.run(features, context(LEARNER.decode(LEARNER.publish(state))))
    z = sum(weights.values()) / (ngrams.SCALE * sqrt(len(found)))
    assert evidence.probability == pytest.approx(1 / (1 + exp(-ngrams.SHARPEN * z)), rel=1e-12)


def test_it_learns_and_says_nothing_before_it_has():
    assert ngrams.run(read(MAIL), context(None)).weight == 0.0
    assert ngrams.run(read(MAIL), context(LEARNER.fresh(), 1, 1)).weight == 0.0
    state = LEARNER.fresh()
    spam, ham = read(b"Subject: buy\r\n\r\nbuy now cheap\r\n"), read(b"Subject: hi\r\n\r\nsee you at lunch\r\n")
    for _ in range(8):
        for features, label in ((spam, "spam"), (ham, "ham")):
            LEARNER.add(state, label, LEARNER.contribution(state, features, context(), label))
    model = LEARNER.decode(LEARNER.publish(state))
    assert ngrams.run(spam, context(model)).probability > 0.8 > 0.3 > ngrams.run(ham, context(model)).probability


@given(st.integers(-(2**31), 2**31 - 1), st.sets(st.integers(0, ngrams.TABLE - 1), max_size=400))
def test_packed_contributions_come_back(step, features):
    found = np.array(sorted(features), np.uint32)
    again, same = ngrams.unpack(ngrams.pack(step, found))
    assert again == step and same.tolist() == found.tolist()


@given(st.binary(max_size=200))
def test_bytes_that_are_no_contribution_are_an_error_or_features(data):
    try:
        _, found = ngrams.unpack(data)
    except ValueError:
        return
    assert all(0 <= at < ngrams.TABLE for at in found.tolist())


@pytest.mark.parametrize("data", [b"", b"abc", b"\0" * (4 * ngrams.TABLE - 1)])
def test_tables_of_another_size_are_an_error(data):
    with pytest.raises(ValueError, match="table"):
        LEARNER.load(data)
    with pytest.raises(ValueError, match="table"):
        LEARNER.decode(data)


def test_what_is_published_is_bounded():
    state = LEARNER.fresh()
    state[:2] = (10**6, -(10**6))
    assert LEARNER.decode(LEARNER.publish(state))[:3].tolist() == [32767, -32768, 0]
    assert (LEARNER.load(LEARNER.dump(state)) == state).all()


def test_a_contribution_is_the_step_and_the_features():
    features = read(MAIL)
    step, found = ngrams.unpack(LEARNER.contribution(LEARNER.fresh(), features, context(), "spam"))
    assert found.tolist() == ngrams.indices(features, context().ngrams).tolist()
    assert ngrams.pack(step, found) == LEARNER.contribution(LEARNER.fresh(), read(MAIL), context(), "spam")
    assert ngrams.packed(np.zeros(0, np.uint32)) == b""
