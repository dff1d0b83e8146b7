"""A27: passwords by RFC 8265, with RFC 4013 for what is older; names."""

import pytest

from echomox.sasl import derive, verify_password
from echomox.sasl.derive import OLDER, parse_scram, scram_keys
from echomox.sasl.prepare import BadPassword, known_password, older_password, prepare_password, prepare_username

# RFC 8265 4.3 (table 3) and RFC 4013 3: (password, OpaqueString or None, SASLprep where it is another form)
PASSWORDS = [
    ("correct horse battery staple", "correct horse battery staple", None),
    ("Correct Horse Battery Staple", "Correct Horse Battery Staple", None),
    ("πßå", "πßå", None),
    ("Jack of ♦s", "Jack of ♦s", None),
    ("foo\u1680bar", "foo bar", None),
    ("", None, None),
    ("my cat is a \u0009by", None, None),
    ("I\u00adX", None, "IX"),
    ("\u00aa", "\u00aa", "a"),
    ("\u2168", "\u2168", "IX"),
    ("a\u0308", "\u00e4", None),
    ("\u0627\u0031", "\u0627\u0031", None),
    ("x" * 1024, "x" * 1024, None),
    ("x" * 1025, None, None),
    ("ü" * 513, None, None),
    ("\ud800", None, None),
]


@pytest.mark.parametrize("password, opaque, older", PASSWORDS)
def test_passwords(password, opaque, older):
    if opaque is None:
        with pytest.raises(BadPassword):
            prepare_password(password)
    else:
        assert prepare_password(password) == known_password(password) == opaque.encode()
    assert older_password(password) == (None if older is None else older.encode())


def test_what_was_taken_once_still_opens():
    """A code point without a character was no reason to refuse, before RFC 8265 was held to."""
    with pytest.raises(BadPassword, match="U\\+0378"):
        prepare_password("a\u0378")
    assert known_password("a\u0378") == "a\u0378".encode()


def test_a_password_of_another_server_is_known_in_its_older_form():
    secret = derive("IX", 4)["bcrypt"]
    assert verify_password(secret, "\u2168")
    assert not verify_password(secret, "\u2167")


def test_scram_knows_both_forms():
    secrets = derive("\u2168", 4)
    assert {"scram-sha-256" + OLDER, "scram-sha-1" + OLDER} <= secrets.keys()
    keys, older = parse_scram(secrets["scram-sha-256"]), parse_scram(secrets["scram-sha-256" + OLDER])
    assert (keys.salt, keys.iterations) == (older.salt, older.iterations)
    assert older == scram_keys(b"IX", keys.salt, keys.iterations, "sha256")
    assert not [scheme for scheme in derive("plain", 4) if scheme.endswith(OLDER)]


NAMES = [
    ("juliet@example.com", "juliet@example.com"),
    ("fuß", "fuß"),
    ("Σ", "Σ"),
    ("ｊuliet@example.org", "juliet@example.org"),
    ("a\u0308b", "äb"),
    ("", None),
    ("a\nb", None),
    ("a\0b", None),
    ("henriⅳ", None),
    ("♚", None),
]  # fmt: skip


@pytest.mark.parametrize("name, expected", NAMES)
def test_names_as_in_rfc8265(name, expected):
    if expected is None:
        with pytest.raises(ValueError):
            prepare_username(name)
    else:
        assert prepare_username(name) == expected
