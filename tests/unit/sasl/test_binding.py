"""A05, A06: channel binding against an independent client (scramp), downgrade, EXTERNAL."""

import base64

import pytest
import scramp

from echomox.sasl import MECHANISM, Challenge, Context, Failure, Reason, Success, derive

END_POINT = b"\x17" * 32
SECRETS = {**derive("pencil", 4), "generation": "1"}


def context(bindings=None, plus=False, certificate=()):
    return Context("mx.example.org", 0.0, lambda: "n" * 18, bindings or {}, plus, certificate)


def converse(mechanism, offered, binding, known):
    """The server's outcome for a client that knows `binding` of its channel."""
    client = scramp.ScramMechanism(mechanism)
    assert client
    one = scramp.ScramClient(offered, "user", "pencil", channel_binding=binding)
    exchange = MECHANISM[one.mechanism_name].begin(lambda name: SECRETS, known)
    step = exchange.step(one.get_client_first().encode())
    if not isinstance(step, Challenge):
        return one.mechanism_name, step
    one.set_server_first(step.data.decode())
    step = exchange.step(one.get_client_final().encode())
    if not isinstance(step, Challenge):
        return one.mechanism_name, step
    one.set_server_final(step.data.decode())
    return one.mechanism_name, exchange.step(b"")


BOUND = context({"tls-server-end-point": END_POINT}, plus=True)


@pytest.mark.parametrize("name", ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"])
def test_a_client_bound_to_this_channel_is_in(name):
    used, outcome = converse(name, [name], ("tls-server-end-point", END_POINT), BOUND)
    assert (used, outcome) == (name, Success("", "user"))


def test_a_client_bound_to_another_channel_is_not():
    _, outcome = converse("SCRAM-SHA-256-PLUS", ["SCRAM-SHA-256-PLUS"], ("tls-server-end-point", b"\x18" * 32), BOUND)
    assert isinstance(outcome, Failure) and outcome.reason is Reason.CREDENTIALS


@pytest.mark.parametrize("kind", ["tls-unique", "tls-exporter"])
def test_other_kinds_of_binding_are_not_there(kind):
    exchange = MECHANISM["SCRAM-SHA-256-PLUS"].begin(lambda name: SECRETS, BOUND)
    outcome = exchange.step(f"p={kind},,n=user,r=abc".encode())
    assert isinstance(outcome, Failure) and outcome.reason is Reason.SYNTAX


@pytest.mark.parametrize(
    "mechanism, first, known, good",
    [
        # RFC 5802 6: "y" is from a client that was not shown -PLUS
        ("SCRAM-SHA-256", b"y,,n=user,r=abc", BOUND, False),
        ("SCRAM-SHA-256", b"y,,n=user,r=abc", context({"tls-server-end-point": END_POINT}), True),
        ("SCRAM-SHA-256", b"n,,n=user,r=abc", BOUND, True),
        ("SCRAM-SHA-256", b"p=tls-server-end-point,,n=user,r=abc", BOUND, False),
        ("SCRAM-SHA-256-PLUS", b"n,,n=user,r=abc", BOUND, False),
        ("SCRAM-SHA-256-PLUS", b"y,,n=user,r=abc", BOUND, False),
        ("SCRAM-SHA-256-PLUS", b"p=tls-server-end-point,,n=user,r=abc", BOUND, True),
        ("SCRAM-SHA-256-PLUS", b"p=tls-server-end-point,,n=user,r=abc", context(), False),
    ],
)
def test_flags_of_channel_binding(mechanism, first, known, good):
    step = MECHANISM[mechanism].begin(lambda name: SECRETS, known).step(first)
    assert isinstance(step, Challenge) is good


def test_the_binding_is_part_of_what_is_proved():
    """A client that leaves the data out of its last message is refused."""
    exchange = MECHANISM["SCRAM-SHA-256-PLUS"].begin(lambda name: SECRETS, BOUND)
    exchange.step(b"p=tls-server-end-point,,n=user,r=abc")
    header = base64.b64encode(b"p=tls-server-end-point,,")
    outcome = exchange.step(b"c=" + header + b",r=abc" + b"n" * 18 + b",p=AAAA")
    assert isinstance(outcome, Failure)


EXTERNAL = [
    # (names of the certificate, response, name it is in as)
    (("a@example.org", "acc"), b"", "a@example.org"),
    (("a@example.org", "acc"), b"acc", "acc"),
    (("a@example.org", "acc"), b"A@example.org", "A@example.org"),
    (("a@example.org", "acc"), b"b@example.org", None),
    ((), b"", None),
    ((), b"a@example.org", None),
    (("a@example.org",), b"\xff", None),
    (("a@example.org",), b"a\0b", None),
]


@pytest.mark.parametrize("names, response, expected", EXTERNAL)
def test_external(names, response, expected):
    outcome = MECHANISM["EXTERNAL"].begin(lambda name: SECRETS, context(certificate=names)).step(response)
    if expected is None:
        assert isinstance(outcome, Failure)
    else:
        assert outcome == Success("", expected)
