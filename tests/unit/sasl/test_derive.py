"""sasl.derive: what is kept of a password (RFC 8265 4.2, RFC 5802 3, RFC 7677 4)."""

from __future__ import annotations

import re
import subprocess
import sys

import argon2
import bcrypt
import pytest

from echomox.sasl.derive import (
    LONG,
    PASSWORD_HASHES,
    BadPassword,
    decoy,
    derive,
    iterations,
    memory,
    parse_cram,
    parse_scram,
    password_secret,
    prepare_password,
    verify_bcrypt,
    verify_password,
)

PASSWORDS = ["x", "correct horse battery staple", "pässwörd", "x" * 72, "x" * 73, "ü" * 40, "日" * 300]


@pytest.mark.parametrize("kind", PASSWORD_HASHES)
@pytest.mark.parametrize("password", PASSWORDS)
def test_the_password_is_right_and_no_other(password, kind):
    secret = derive(password, 4, kind)[kind]
    assert verify_password(secret, password)
    for other in (password + "x", password[:-1], password.swapcase() + "x", ""):
        assert not verify_password(secret, other)


@pytest.mark.parametrize("kind", PASSWORD_HASHES)
def test_an_account_has_one_hash_beside_the_other_secrets(kind):
    secrets = derive("secret", 4, kind)
    assert secrets.keys() == {kind, "scram-sha-256", "scram-sha-1", "cram-md5"}
    assert password_secret(secrets) == secrets[kind] and password_secret({"cram-md5": "x"}) == ""


def test_argon2id_is_what_others_read_and_write():
    """RFC 9106; the PHC string is checked by argon2's own high-level reader."""
    secret = derive("secret", 4, "argon2id")["argon2id"]
    assert secret.startswith("$argon2id$v=19$m=512,t=3,p=1$")
    assert argon2.PasswordHasher().verify(secret, "secret")
    foreign = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=2).hash("secret")
    assert verify_password(foreign, "secret") and not verify_password(foreign, "Secret")


@pytest.mark.parametrize("cost, kib", [(4, 512), (10, 32 * 1024), (11, 64 * 1024), (13, 256 * 1024), (15, 256 * 1024)])
def test_memory_follows_the_cost(cost, kib):
    assert memory(cost) == kib


def test_the_library_of_argon2_is_not_imported_for_bcrypt():
    code = (
        "import sys; from echomox.sasl import derive, verify_password, load_hash; load_hash('bcrypt'); "
        "verify_password(derive('x', 4)['bcrypt'], 'x'); sys.exit('argon2' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_stored_secret_is_bcrypt():
    assert derive("secret", 4)["bcrypt"].startswith("$2b$04$")
    assert derive("s" * 73, 4)["bcrypt"].startswith(LONG + "$2b$04$")
    assert bcrypt.checkpw(b"secret", derive("secret", 4)["bcrypt"].encode())


def test_long_passwords_count_to_their_end():
    """bcrypt alone looks at 72 octets only."""
    assert not verify_bcrypt(derive("x" * 100, 4)["bcrypt"], "x" * 99 + "y")
    assert not verify_bcrypt(derive("x" * 72, 4)["bcrypt"], "x" * 73)


@pytest.mark.parametrize(
    "secret",
    ["", "$2b$", "plain", LONG, "$2b$04$" + "é" * 53, "$argon2id$", "$argon2id$v=19$m=8,t=1,p=1$é", "$argon2i$"],
)
def test_a_broken_secret_lets_nobody_in(secret):
    assert not verify_password(secret, "x")


@pytest.mark.parametrize(
    "password, prepared",
    [
        ("correct horse battery staple", b"correct horse battery staple"),  # RFC 8265 4.3, 12 to 16
        ("Correct Horse Battery Staple", b"Correct Horse Battery Staple"),
        ("πßå", "πßå".encode()),
        ("Jack of ♦s", "Jack of ♦s".encode()),
        ("foo bar", b"foo bar"),
        ("a\u030a", "å".encode()),  # NFC
        ("a\u3000b", b"a b"),
    ],
)
def test_passwords_are_prepared(password, prepared):
    assert prepare_password(password) == prepared


@pytest.mark.parametrize(
    "password", ["", "my cat is a \tby", "a\0b", "a\x7f", "a\x85b", "\ud800", "x" * 1025]
)
def test_what_cannot_be_a_password(password):
    with pytest.raises(BadPassword):
        derive(password, 4)
    for kind in PASSWORD_HASHES:
        assert not verify_password(derive("x", 4, kind)[kind], password)


def test_each_derivation_has_salts_of_its_own():
    first, second = derive("secret", 4), derive("secret", 4)
    assert first.keys() == {"bcrypt", "scram-sha-256", "scram-sha-1", "cram-md5"}
    assert [scheme for scheme in first if first[scheme] == second[scheme]] == [
        "cram-md5"
    ]  # which has no salt
    assert "secret" not in "".join(first.values())


def test_scram_secrets_as_text():
    secrets = derive("secret", 4)
    keys = parse_scram(secrets["scram-sha-256"])
    assert (keys.iterations, len(keys.salt), len(keys.stored), len(keys.server)) == (4096, 16, 32, 32)
    assert secrets["scram-sha-256"].startswith("SCRAM-SHA-256$4096:")
    assert len(parse_scram(secrets["scram-sha-1"]).stored) == 20


@pytest.mark.parametrize(
    "cost, rounds", [(4, 4096), (8, 4096), (10, 16384), (12, 65536), (14, 262144), (31, 262144)]
)
def test_iterations_follow_the_cost(cost, rounds):
    assert iterations(cost) == rounds


@pytest.mark.parametrize("kind", PASSWORD_HASHES)
@pytest.mark.parametrize("name", ["nobody", "ü@example.org", ""])
def test_decoys_have_the_shape_of_secrets(name, kind):
    true, false = derive("secret", 4, kind), decoy(name, b"k" * 32, 4, kind)
    for scheme, secret in true.items():
        assert re.sub(r"[A-Za-z0-9+/.]", "x", secret) == re.sub(r"[A-Za-z0-9+/.]", "x", false[scheme]), scheme
    assert len(parse_cram(false["cram-md5"])[0]) == 16
    assert not verify_password(false[kind], "secret")


def test_a_decoy_costs_what_a_secret_costs():
    """bcrypt takes it: it hashes, and does not stop at a malformed salt."""
    for number in range(50):
        secret = decoy(f"name{number}", b"k", 4)["bcrypt"].encode()
        assert bcrypt.hashpw(b"x", secret)[:29] == secret[:29]


def test_a_decoy_of_argon2id_is_hashed_against_with_its_own_cost():
    found = argon2.extract_parameters(decoy("nobody", b"k", 4, "argon2id")["argon2id"])
    true = argon2.extract_parameters(derive("secret", 4, "argon2id")["argon2id"])
    assert found == true
    with pytest.raises(argon2.exceptions.VerifyMismatchError):  # it hashed, and did not stop at a malformed text
        argon2.PasswordHasher().verify(decoy("nobody", b"k", 4, "argon2id")["argon2id"], "x")


def test_decoys_hang_on_name_and_key():
    assert decoy("a", b"k", 4) == decoy("a", b"k", 4)
    for other in (decoy("b", b"k", 4), decoy("a", b"l", 4)):
        assert all(decoy("a", b"k", 4)[scheme] != other[scheme] for scheme in other if scheme != "generation")
