"""echomox.sasl under arbitrary input.

1. Any responses end in a Failure or a CheckPassword after a bounded number of steps; nobody is let in without
the secret. 2. A password, prepared, is verified by what is derived from it; a stored text is read back. 3.
MD5 stopped and taken up at any block is MD5.

HYPOTHESIS_PROFILE=long for the long run.
"""

from __future__ import annotations

import hashlib
import hmac
import os

from hypothesis import given, settings
from hypothesis import strategies as st

from echomox.sasl import MECHANISMS, Challenge, CheckPassword, Context, Failure, decoy
from echomox.sasl.cram_md5 import hmac_md5
from echomox.sasl.derive import (
    SCRAM_HASHES,
    BadPassword,
    ScramKeys,
    format_scram,
    parse_scram,
    prepare_password,
)
from echomox.sasl.md5_context import BLOCK, INITIAL, compress, finish

settings.register_profile("long", max_examples=20_000, deadline=None)
settings.register_profile("short", max_examples=200, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))

CONTEXT = Context("mx.example.org", 0.0, lambda: "0123456789abcdefgh")
PIECES = st.sampled_from(
    [
        b"\0", b"user", b"n,,", b"y,,", b"p=tls-unique,,", b"n,a=user,", b"n=user", b",", b"r=abc",
        b"r=abc0123456789abcdefgh", b"c=biws", b"p=AAAA", b",p=", b"=2C", b"=3D", b"=", b" ", b"0" * 32,
        b"\xff", b"\xc3\xa4", b"x" * 5000,
    ]
)  # fmt: skip
RESPONSE = st.lists(st.one_of(PIECES, st.binary(max_size=5)), max_size=8).map(b"".join)


@given(st.sampled_from(MECHANISMS), st.lists(RESPONSE, min_size=6, max_size=6))
def test_an_exchange_ends_and_lets_nobody_in(mechanism, responses):
    exchange = mechanism.begin(lambda name: decoy(name, b"k", 4), CONTEXT)
    steps = [exchange.step(response) for response in responses]
    ends = [step for step in steps if not isinstance(step, Challenge)]
    assert len(steps) - len(ends) <= 2
    assert isinstance(ends[0], Failure | CheckPassword)
    assert all(isinstance(step, Failure) for step in ends[1:])


@given(st.text(max_size=80))
def test_a_prepared_password_stays_as_it_is(password):
    try:
        prepared = prepare_password(password)
    except BadPassword:
        return
    assert prepare_password(prepared.decode()) == prepared


@given(st.sampled_from(sorted(SCRAM_HASHES)), st.integers(1, 10**7), st.binary(), st.binary(), st.binary())
def test_scram_secrets_are_read_back(scheme, rounds, salt, stored, server):
    keys = ScramKeys(rounds, salt, stored, server)
    assert parse_scram(format_scram(scheme, keys)) == keys


@given(st.binary(max_size=400), st.integers(0, 6))
def test_md5_taken_up_again_is_md5(data, blocks):
    blocks = min(blocks, len(data) // BLOCK)
    state = INITIAL
    for place in range(0, blocks * BLOCK, BLOCK):
        state = compress(state, data[place : place + BLOCK])
    assert finish(state, blocks * BLOCK, data[blocks * BLOCK :]) == hashlib.md5(data).digest()


@given(st.binary(min_size=1, max_size=64), st.binary(max_size=300))
def test_contexts_give_hmac(key, message):
    padded = key.ljust(BLOCK, b"\0")
    inner = compress(INITIAL, bytes(octet ^ 0x36 for octet in padded))
    outer = compress(INITIAL, bytes(octet ^ 0x5C for octet in padded))
    assert hmac_md5(inner, outer, message) == hmac.digest(key, message, "md5")
