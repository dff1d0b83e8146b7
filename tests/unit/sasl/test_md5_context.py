"""sasl.md5_context against hashlib (RFC 1321 A.5 is in hashlib's own tests)."""

from __future__ import annotations

import hashlib
import random

import pytest

from echomox.sasl.md5_context import BLOCK, INITIAL, compress, finish


@pytest.mark.parametrize("size", [*range(130), 1000, 4096])
def test_digest_equals_hashlib(size):
    data = random.Random(size).randbytes(size)
    assert finish(INITIAL, 0, data) == hashlib.md5(data).digest()


@pytest.mark.parametrize("blocks", [1, 2, 5])
def test_a_state_can_be_kept_and_taken_up(blocks):
    data = random.Random(blocks).randbytes(blocks * BLOCK + 77)
    state = INITIAL
    for place in range(0, blocks * BLOCK, BLOCK):
        state = compress(state, data[place : place + BLOCK])
    assert finish(state, blocks * BLOCK, data[blocks * BLOCK :]) == hashlib.md5(data).digest()


def test_the_suite_of_the_rfc():
    """RFC 1321 A.5."""
    assert finish(INITIAL, 0, b"message digest").hex() == "f96b697d7cb7938d525a2f31aaf161d0"
