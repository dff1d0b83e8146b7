"""Canonical fields against those of dkimpy, whose forms they are."""

import random

import pytest
from dkim.canonicalization import Relaxed

from echomox.mailauth.mailtext import HeaderFields, relaxed_field

FIELDS = [
    (b"A", b" X\r\n"),  # RFC 6376 3.4.5
    (b"B ", b" Y\t\r\n\tZ  \r\n"),
    (b"Subject", b"\r\n"),
    (b"Subject", b""),
    (b"SUBJECT\t ", b" a\r\n  b\r\n\t\r\n c \t\r\n"),
    (b"x", b" bare\n lines\n"),
    (b"x", b"\r\r\n"),
    (b"x", b" a\rb\r \r\n"),
    (b"x", b" \x0b\x0c text \x0c\r\n"),
    (b"x", b" \xc3\xa9\xa0\r\n"),
]


def expected(name: bytes, value: bytes) -> bytes:
    ((name, value),) = Relaxed.canonicalize_headers([(name, value)])
    return name + b":" + value


@pytest.mark.parametrize(("name", "value"), FIELDS)
def test_a_relaxed_field_is_that_of_dkimpy(name, value):
    assert relaxed_field(name, value) == expected(name, value)


def test_any_field_is_that_of_dkimpy():
    rng = random.Random(6376)
    for _ in range(5000):
        value = bytes(rng.choices(b"ab \t\r\n\x0b", k=rng.randrange(12)))
        assert relaxed_field(b"Name ", value) == expected(b"Name ", value), value


def test_of_a_name_the_lowest_field_comes_first_and_then_nothing():
    """RFC 6376 5.4.2; asking twice gives the same."""
    fields = HeaderFields(b"X: 1\r\nY: a\r\nx : 2\r\n\r\n")
    for form, chosen in ((b"relaxed", b"x:2\r\ny:a\r\nx:1\r\n"), (b"simple", b"x : 2\r\nY: a\r\nX: 1\r\n")):
        for _ in range(2):
            assert fields.canonical(form, [b"x", b"none", b"y", b"y", b"x", b"x"]) == chosen
