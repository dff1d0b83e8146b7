"""sasl.cram_md5: RFC 2195 2."""

from __future__ import annotations

import hashlib
import hmac
import random

import pytest

from echomox.sasl import MECHANISM, Challenge, Context, Failure, Reason, Success, derive
from echomox.sasl.cram_md5 import hmac_md5
from echomox.sasl.derive import parse_cram

CONTEXT = Context("postoffice.reston.mci.net", 697170952.0, lambda: "1896")
SECRETS = {"tim": derive("tanstaaftanstaaf", 4)}


def answer(response: bytes):
    exchange = MECHANISM["CRAM-MD5"].begin(lambda name: SECRETS.get(name, {}), CONTEXT)
    assert exchange.step(b"") == Challenge(b"<1896.697170952@postoffice.reston.mci.net>")
    return exchange.step(response)


def test_the_example_of_the_rfc():
    assert answer(b"tim b913a602c7eda7a495b4e6e7334d3890") == Success("", "tim")
    assert answer(b"tim B913A602C7EDA7A495B4E6E7334D3890") == Success("", "tim")


@pytest.mark.parametrize(
    "response, expected",
    [
        (b"tim b913a602c7eda7a495b4e6e7334d3891", Failure(Reason.CREDENTIALS, "tim")),
        (b"tom b913a602c7eda7a495b4e6e7334d3890", Failure(Reason.CREDENTIALS, "tom")),
        (b"a b b913a602c7eda7a495b4e6e7334d3890", Failure(Reason.CREDENTIALS, "a b")),
        (b"", Failure(Reason.SYNTAX, "", "not a name and a digest")),
        (b"tim", Failure(Reason.SYNTAX, "", "not a name and a digest")),
        (b"tim b913", Failure(Reason.SYNTAX, "", "not a name and a digest")),
        (b" b913a602c7eda7a495b4e6e7334d3890", Failure(Reason.SYNTAX, "", "not a name and a digest")),
    ],
)
def test_others_are_not_let_in(response, expected):
    assert answer(response) == expected


def test_there_is_no_initial_response():
    exchange = MECHANISM["CRAM-MD5"].begin(lambda name: {}, CONTEXT)
    assert exchange.step(b"tim x").reason is Reason.SYNTAX


@pytest.mark.parametrize("length", [1, 63, 64, 65, 72, 73, 200])
def test_stored_contexts_give_hmac_md5(length):
    """RFC 2104 2; keys shorter and longer than a block."""
    source = random.Random(length)
    password = "".join(source.choice("abcdefgh") for _ in range(length))
    contexts = parse_cram(derive(password, 4)["cram-md5"])
    for size in (0, 1, 55, 56, 64, 119, 120, 500):
        message = source.randbytes(size)
        assert hmac_md5(*contexts, message) == hmac.digest(password.encode(), message, hashlib.md5)
