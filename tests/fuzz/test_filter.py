"""Anything as a message: it is read, hashed and judged within bounds, and the same alone and together."""

from __future__ import annotations

import os

from hypothesis import given, settings
from hypothesis import strategies as st

from echomox.filter import hashing, tokens
from echomox.filter.context import Context, nothing
from echomox.filter.features import hash_together, read
from echomox.filter.stages import STAGES

EXAMPLES = 5_000 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 100
PIECES = (
    b"From: ", b"Subject: =?utf-8?q?", b"?=\r\n", b"Content-Type: text/html; charset=utf-7\r\n", b"\r\n\r\n", b"\0",
    b"<a href=", b"http://", b"@", b"\xff\xd8\x00", "größe 日本 \ufeff".encode(), b"$1,0.0!! ", b"word " * 20, b"<!--",
    b"--x\r\n",
)  # fmt: skip
MAILS = st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=20)), max_size=30).map(b"".join)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(MAILS, min_size=1, max_size=5), st.integers(1, 3))
def test_tokens_alone_and_together(mails, ngrams):
    together = [read(data) for data in mails]
    hash_together(together, ngrams)
    for data, one in zip(mails, together):
        alone = read(data)
        assert alone.places(ngrams).hashes.tobytes() == one.places(ngrams).hashes.tobytes()
        words = alone.words(ngrams)
        assert len(words) <= tokens.MOST_TOKENS
        assert hashing.hashes(words).tolist() == one.hashed(ngrams).tolist()


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(MAILS, min_size=1, max_size=5))
def test_every_stage_answers_and_a_batch_as_one(mails):
    for stage in STAGES:
        found = [stage.run(read(data), Context(2, 50, 50, nothing)) for data in mails]
        assert all(0.0 <= item.probability <= 1.0 for item in found)
        if stage.run_batch:
            assert stage.run_batch([(read(data), Context(2, 50, 50, nothing)) for data in mails]) == found


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_words_of_ascii_are_those_of_any_text(text):
    longer = tokens.words_of(text + " ÿ")
    assert longer == [*tokens.words_of(text), "ÿ"]
