"""Checks of a received header (S23, S24), and the spool."""

import os
from dataclasses import replace

import pytest

from echomox.config.schema import Limits
from echomox.smtpd.body import IN_MEMORY, Body, Spool
from echomox.smtpd.header import LOOP, TOO_LARGE, TWO_FROM, check_header

LIMITS = replace(Limits(), header_size=16_384, received_hops=30)

HEADERS = [
    (b"From: a\r\n\r\nbody", None),
    (b"\r\nFrom: a\r\nFrom: b\r\n", None),
    (b"", None),
    (b"no header at all", None),
    (b"Subject: x\r\n\r\nFrom: in the body\r\nFrom: b\r\n", None),
    (b"From: a\r\nfrom : b\r\n\r\n", TWO_FROM),
    (b"From: a\r\nX-From: b\r\n\r\n", None),
    (b"Subject: x\r\n From: folded\r\nFrom: a\r\n\r\n", None),
    (b"From: a\r\nFROM:b\r\n\r\n", TWO_FROM),
    (b"Subject: \xfc\r\nFrom: \xfc\r\n\r\n", None),
    (b"Received: x\r\n" * 30 + b"\r\n", None),
    (b"Received: x\r\n" * 31 + b"\r\n", LOOP),
    (b"Received: x\r\n" * 29 + b"\r\n" + b"Received: x\r\n" * 9, None),
    (b"X: " + b"y" * 16_379 + b"\r\n\r\n", None),
    (b"X: " + b"y" * 16_382 + b"\r\n\r\n", TOO_LARGE),
    (b"X: " + b"y" * 20_000, TOO_LARGE),
]


@pytest.mark.parametrize("data, expected", HEADERS)
def test_header(data, expected):
    assert check_header(data[: LIMITS.header_size + 4], LIMITS) == expected


@pytest.mark.parametrize("size", [0, 1, IN_MEMORY, IN_MEMORY + 1, 3 * IN_MEMORY])
def test_a_body_reads_as_it_was_written(size, tmp_path):
    body = Body(Spool(tmp_path), 10 * IN_MEMORY)
    data = os.urandom(size)
    for start in range(0, size, 10_000):
        body.write(data[start : start + 10_000])
    assert (body.size, body.read(), body.read(5)) == (size, data, data[:5])
    assert bool(body.spool_id) == (size > IN_MEMORY)
    body.discard()
    assert not list(tmp_path.iterdir())


def test_a_new_worker_removes_half_received_files_of_dead_ones(tmp_path):
    names = [f"{os.getppid()}-1", "999999999-1", "4194999-7", "other", f"{os.getpid()}-1"]
    for name in names:
        (tmp_path / name).touch()
    Spool(tmp_path).prepare()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted([names[0], "other"])
