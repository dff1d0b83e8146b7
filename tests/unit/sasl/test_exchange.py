"""sasl: what holds for every row of MECHANISMS (RFC 4422), PLAIN (RFC 4616) and LOGIN."""

from __future__ import annotations

import pytest

from echomox.sasl import (
    MECHANISM,
    MECHANISMS,
    Challenge,
    CheckPassword,
    Context,
    Failure,
    Reason,
    Success,
    decoy,
    first_step,
)
from echomox.sasl.values import RESPONSE

CONTEXT = Context("mx.example.org", 697170952.9, lambda: "3rfcNHYJY1ZVvWVs7j")


def lookup(name: str) -> dict[str, str]:
    return decoy(name, bytes(32), 4)


def begin(name: str):
    return MECHANISM[name].begin(lookup, CONTEXT)


PLAIN = [
    # RFC 4616 4
    (b"\0tim\0tanstaaftanstaaf", CheckPassword("", "tim", "tanstaaftanstaaf")),
    (b"tim\0tim\0tanstaaftanstaaf", CheckPassword("tim", "tim", "tanstaaftanstaaf")),
    (b"Tim\0tim\0x", CheckPassword("Tim", "tim", "x")),
    ("\0ä\0ö".encode(), CheckPassword("", "ä", "ö")),
    # nobody may act for another
    (b"Ursel\0Kurt\0xipj3plmq", Reason.CREDENTIALS),
    (b"", Reason.SYNTAX),
    (b"tim\0secret", Reason.SYNTAX),
    (b"\0tim\0a\0b", Reason.SYNTAX),
    (b"\0\0secret", Reason.SYNTAX),
    (b"\0tim\0", Reason.SYNTAX),
    (b"\0t\xe4\0x", Reason.SYNTAX),
    (b"\0tim\0\xe4", Reason.SYNTAX),
    (b"\0t\nim\0x", Reason.SYNTAX),
]


@pytest.mark.parametrize("response, expected", PLAIN)
def test_plain(response, expected):
    outcome = begin("PLAIN").step(response)
    if isinstance(expected, Reason):
        assert isinstance(outcome, Failure)
        assert outcome.reason is expected
    else:
        assert outcome == expected


def test_login_asks_for_name_and_password():
    exchange = begin("LOGIN")
    assert exchange.step(b"") == Challenge(b"Username:")
    assert exchange.step(b"tim") == Challenge(b"Password:")
    assert exchange.step(b"secret") == CheckPassword("", "tim", "secret")


def test_login_takes_the_name_as_initial_response():
    exchange = begin("LOGIN")
    assert first_step(MECHANISM["LOGIN"], exchange, b"tim") == Challenge(b"Password:")
    assert exchange.step(b"") == CheckPassword("", "tim", "")


def test_login_needs_a_name():
    exchange = begin("LOGIN")
    exchange.step(b"")
    assert exchange.step(b"").reason is Reason.SYNTAX


@pytest.mark.parametrize("mechanism", MECHANISMS, ids=lambda row: row.name)
def test_without_initial_response_there_is_a_challenge(mechanism):
    step = first_step(mechanism, mechanism.begin(lookup, CONTEXT), None)
    assert isinstance(step, Challenge)
    assert bool(step.data) is not mechanism.client_first


@pytest.mark.parametrize("mechanism", MECHANISMS, ids=lambda row: row.name)
@pytest.mark.parametrize("size", [RESPONSE + 1, 1 << 20])
def test_a_long_response_is_the_end(mechanism, size):
    exchange = mechanism.begin(lookup, CONTEXT)
    if not mechanism.client_first:
        exchange.step(b"")
    assert exchange.step(b"x" * size) == Failure(Reason.SYNTAX, detail="response too long")
    assert exchange.step(b"x") == Failure(Reason.SYNTAX, detail="a response after the end")


@pytest.mark.parametrize("mechanism", MECHANISMS, ids=lambda row: row.name)
@pytest.mark.parametrize("garbage", [b"\xff", b"\0", b" ", b",,,", b"n,,n=a"])
def test_garbage_never_lets_anyone_in(mechanism, garbage):
    exchange = mechanism.begin(lookup, CONTEXT)
    step = exchange.step(b"" if not mechanism.client_first else garbage)
    for _ in range(5):
        if not isinstance(step, Challenge):
            break
        step = exchange.step(garbage)
    assert not isinstance(step, Challenge | Success)


def test_mechanisms_that_show_the_password_need_tls():
    others = {"EXTERNAL", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"}  # which go by TLS
    assert {row.name for row in MECHANISMS if row.needs_tls} == {"PLAIN", "LOGIN"} | others


def test_a_password_does_not_show():
    assert "secret" not in repr(CheckPassword("", "tim", "secret"))
