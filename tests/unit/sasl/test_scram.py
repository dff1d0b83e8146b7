"""sasl.scram: RFC 5802 5, RFC 7677 3, and a client that is not ours (scramp)."""

from __future__ import annotations

import base64

import pytest
from scramp import ScramClient, ScramException

from echomox.sasl import MECHANISM, Challenge, Context, Failure, Reason, Success, decoy, derive
from echomox.sasl.derive import format_scram, scram_keys

# (mechanism, salt, our nonce, client first, server first, client final, server final)
EXAMPLES = [
    (
        "SCRAM-SHA-1",
        "QSXCR+Q6sek8bf92",
        "3rfcNHYJY1ZVvWVs7j",
        "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
        "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
        "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
        "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
    ),
    (
        "SCRAM-SHA-256",
        "W22ZaJ0SNY7soEsUEjb6gQ==",
        "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
        "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
        "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    ),
]
HASHES = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256"}


def of_rfc(name: str, salt: str, nonce: str):
    """An exchange with the password "pencil"."""
    keys = scram_keys(b"pencil", base64.b64decode(salt), 4096, HASHES[name])
    secrets = {name.lower(): format_scram(name.lower(), keys)}
    return MECHANISM[name].begin(lambda user: secrets, Context("h", 0.0, lambda: nonce))


@pytest.mark.parametrize("name, salt, nonce, first, challenge, final, signature", EXAMPLES)
def test_the_example_of_the_rfc(name, salt, nonce, first, challenge, final, signature):
    exchange = of_rfc(name, salt, nonce)
    assert exchange.step(first.encode()) == Challenge(challenge.encode())
    assert exchange.step(final.encode()) == Challenge(signature.encode())
    assert exchange.step(b"") == Success("", "user")


FINAL = EXAMPLES[1][5]


@pytest.mark.parametrize(
    "final, reason",
    [
        (FINAL[:-4] + "AA==", Reason.CREDENTIALS),
        (FINAL.replace("%hv", "%hw"), Reason.CREDENTIALS),
        (FINAL.replace("biws", "eSws"), Reason.SYNTAX),  # says "y" now
        (FINAL.replace("c=biws,", ""), Reason.SYNTAX),
        (FINAL.split(",p=")[0], Reason.SYNTAX),
        (FINAL.split(",p=")[0] + ",p=AAAA", Reason.CREDENTIALS),
        (FINAL.split(",p=")[0] + ",p=A", Reason.SYNTAX),
        (FINAL.replace(",p=", ",x=1,p="), Reason.CREDENTIALS),  # an extension is part of what is signed
        ("", Reason.SYNTAX),
    ],
)
def test_other_final_messages_are_not_let_in(final, reason):
    exchange = of_rfc(*EXAMPLES[1][:3])
    exchange.step(EXAMPLES[1][3].encode())
    outcome = exchange.step(final.encode())
    assert isinstance(outcome, Failure)
    assert (outcome.reason, outcome.name) == (reason, "user")


def test_the_signature_is_answered_with_nothing():
    exchange = of_rfc(*EXAMPLES[1][:3])
    exchange.step(EXAMPLES[1][3].encode())
    exchange.step(EXAMPLES[1][5].encode())
    assert exchange.step(b"x").reason is Reason.SYNTAX


@pytest.mark.parametrize(
    "first, outcome",
    [
        (b"n,,n=user,r=abc", None),
        (b"y,,n=user,r=abc", None),
        (b"n,a=user,n=user,r=abc", None),
        (b"n,,n=user,r=abc,x=1", None),
        (b"p=tls-unique,,n=user,r=abc", Reason.SYNTAX),
        (b"n,a=other,n=user,r=abc", Reason.CREDENTIALS),
        (b"n,,m=1,n=user,r=abc", Reason.SYNTAX),
        (b"n,,n=,r=abc", Reason.SYNTAX),
        (b"n,,n=user,r=", Reason.SYNTAX),
        (b"n,,n=user,r=a b", Reason.SYNTAX),
        (b"n,,n=us=er,r=abc", Reason.SYNTAX),
        (b"n,,n=us\0er,r=abc", Reason.SYNTAX),
        (b"n,n=user,r=abc", Reason.SYNTAX),
        (b"x,,n=user,r=abc", Reason.SYNTAX),
        (b"n,,n=us\xe4r,r=abc", Reason.SYNTAX),
        (b"", Reason.SYNTAX),
    ],
)
def test_first_messages(first, outcome):
    step = of_rfc(*EXAMPLES[1][:3]).step(first)
    if outcome is None:
        assert isinstance(step, Challenge)
    else:
        assert step.reason is outcome


def test_escapes_in_names():
    """RFC 5802 5.1."""
    asked = []

    def lookup(name):
        asked.append(name)
        return decoy(name, b"k", 4)

    MECHANISM["SCRAM-SHA-256"].begin(lookup, Context("h", 0.0, lambda: "n")).step(b"n,,n=a=2Cb=3Dc,r=abc")
    assert asked == ["a,b=c"]


def dialog(name: str, secrets, user: str, password: str):
    """A whole exchange with scramp's client; the outcome."""
    client = ScramClient([name], user, password)
    exchange = MECHANISM[name].begin(lambda _: secrets, Context("h", 0.0, lambda: "0123456789abcdefgh"))
    step = exchange.step(client.get_client_first().encode())
    assert isinstance(step, Challenge)
    client.set_server_first(step.data.decode())
    step = exchange.step(client.get_client_final().encode())
    if not isinstance(step, Challenge):
        return step
    client.set_server_final(step.data.decode())
    return exchange.step(b"")


@pytest.mark.parametrize("name", list(HASHES))
@pytest.mark.parametrize("user, password", [("user", "pencil"), ("a,b=c", "x" * 100), ("müller", "pässwörd")])
def test_another_client_gets_in(name, user, password):
    secrets = derive(password, 4)
    assert dialog(name, secrets, user, password) == Success("", user)
    assert dialog(name, secrets, user, password + "x") == Failure(Reason.CREDENTIALS, user)


@pytest.mark.parametrize("name", list(HASHES))
def test_the_client_notices_a_server_without_the_secret(name):
    true = derive("pencil", 4)[name.lower()]
    forged = (
        true.rsplit(":", 1)[0] + ":" + base64.b64encode(bytes(20 if name.endswith("-1") else 32)).decode()
    )
    with pytest.raises(ScramException):
        dialog(name, {name.lower(): forged}, "user", "pencil")


@pytest.mark.parametrize("name", list(HASHES))
def test_an_unknown_name_looks_like_a_known_one(name):
    key = bytes(range(32))
    first = b"n,,n=nobody,r=abc"

    def challenge():
        exchange = MECHANISM[name].begin(
            lambda user: decoy(user, key, 4), Context("h", 0.0, lambda: "n" * 18)
        )
        return exchange.step(first).data

    known = (
        MECHANISM[name]
        .begin(lambda user: derive("pencil", 4), Context("h", 0.0, lambda: "n" * 18))
        .step(first)
        .data
    )
    assert challenge() == challenge()  # the salt does not change
    assert len(challenge()) == len(known)
    assert dialog(name, decoy("user", key, 4), "user", "pencil") == Failure(Reason.CREDENTIALS, "user")
