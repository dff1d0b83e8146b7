"""MTA-STS: records and policies (RFC 8461)."""

import pytest

from echomox.tlspolicy.mtasts import (
    BODY_LIMIT,
    MAX_AGE,
    BadPolicy,
    Policy,
    parse_policy,
    parse_record,
    policy_id,
    policy_text,
)

RFC = b"version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmx: backupmx.example.com\r\nmax_age: 604800\r\n"  # noqa: E501

RECORDS = [
    ([b"v=STSv1; id=20160831085700Z;"], "20160831085700Z"),  # RFC 8461 3.1
    ([b"v=STSv1;id=1"], "1"),
    ([b"v=STSv1; x=y; id=a1; id=b2"], "a1"),
    ([b"v=spf1 -all", b"v=STSv1; id=1;"], "1"),
    ([b"v=STSv10; id=1;"], None),
    ([b"V=STSv1; id=1;"], None),
    ([b" v=STSv1; id=1;"], None),
    ([], None),
]


@pytest.mark.parametrize("values, expected", RECORDS)
def test_record(values, expected):
    assert parse_record(values) == expected


@pytest.mark.parametrize(
    "values",
    [[b"v=STSv1;"], [b"v=STSv1; id="], [b"v=STSv1; id=a-b"], [b"v=STSv1; id=" + b"1" * 33],
     [b"v=STSv1; id=1;", b"v=STSv1; id=2;"]],
)  # fmt: skip
def test_record_that_is_wrong(values):
    with pytest.raises(BadPolicy):
        parse_record(values)


def test_policy_of_the_rfc():
    # RFC 8461 3.2
    found = parse_policy(RFC)
    assert found == Policy("enforce", ("mail.example.com", "*.example.net", "backupmx.example.com"), 604_800)
    assert parse_policy(policy_text(found).encode()) == found


GOOD = [
    (b"max_age:1\nmx:a.b\nmode:testing\nversion:STSv1", Policy("testing", ("a.b",), 1)),
    (b"version: STSv1\nmode: none\nmax_age: 86400\n", Policy("none", (), 86_400)),
    (b"version: STSv1\nmode: none\nmode: enforce\nmax_age: 1\nmax_age: 2", Policy("none", (), 1)),
    (b"version: STSv1\nmode: none\nmax_age: 9999999999\nx-new: \xc3\xbc\n\n\n", Policy("none", (), MAX_AGE)),
    (b"version: STSv1\nmode: enforce\nmx: MX.Example.COM.\nmax_age: 1", Policy("enforce", ("mx.example.com",), 1)),
]


@pytest.mark.parametrize("body, expected", GOOD)
def test_policy_that_is_tolerated(body, expected):
    assert parse_policy(body) == expected


BAD = [
    b"", b"version: STSv1", b"version: STSv2\nmode: none\nmax_age: 1", b"version: STSv1\nmode: Enforce\nmax_age: 1",
    b"version: STSv1\nmode: none\nmax_age: -1", b"version: STSv1\nmode: none\nmax_age: 12345678901",
    b"version: STSv1\nmode: enforce\nmax_age: 1", b"version: STSv1\nmode: none\nmax_age: 1\ngarbage",
    b"version: STSv1\nmode: enforce\nmx: *\nmax_age: 1", b"version: STSv1\nmode: enforce\nmx: a b\nmax_age: 1",
    b"version: STSv1\nmode: enforce\nmx: [192.0.2.1]\nmax_age: 1", b"\xff", b"a" * (BODY_LIMIT + 1),
    b"<html>not found</html>", b"version: STSv1\nmode: enforce\nmx: *.*.example\nmax_age: 1",
]  # fmt: skip


@pytest.mark.parametrize("body", BAD)
def test_policy_that_is_wrong(body):
    with pytest.raises(BadPolicy):
        parse_policy(body)


HOSTS = [
    ("mail.example.com", True), ("MAIL.example.com", True), ("example.net", False), ("a.example.net", True),
    ("a.b.example.net", False), ("example.com", False), ("xmail.example.com", False), ("aexample.net", False),
]  # fmt: skip


@pytest.mark.parametrize("host, allowed", HOSTS)
def test_hosts_of_a_policy(host, allowed):
    # RFC 8461 4.1: a wildcard stands for exactly one label.
    assert parse_policy(RFC).allows(host) is allowed


def test_the_id_changes_with_the_policy_and_is_one():
    one, other = policy_id(Policy("enforce", ("a.b",), 1)), policy_id(Policy("testing", ("a.b",), 1))
    assert one != other
    assert parse_record([f"v=STSv1; id={one}".encode()]) == one
