"""The samples of conf/ say what the schema says."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from echomox.config.describe import dynamic_text, sample_dynamic, sample_static, static_text, toml_value
from echomox.config.load import Reader, parse_dynamic, parse_static, read_table
from echomox.config.schema import Account, Auth, Domain, Dynamic, JunkFilter, Limits, Listeners, Logs, Static

CONF = Path(__file__).parents[3] / "conf"
SAMPLES = {"echomox.toml": (sample_static, Static), "domains.toml": (sample_dynamic, Dynamic)}


@pytest.mark.parametrize("name", SAMPLES)
def test_the_committed_sample_is_current(name):
    assert (CONF / name).read_text(encoding="utf-8") == SAMPLES[name][0](), "run `make conf`"


@pytest.mark.parametrize("name", SAMPLES)
def test_every_option_of_a_sample_is_one_of_the_schema(name):
    make, cls = SAMPLES[name]
    text = re.sub(r"^#(?=\w+ = )", "", make(), flags=re.M)
    reader = Reader(name, text.encode())
    read_table(reader, cls, reader.table, ())
    assert reader.problems == []


STATIC = Static(
    hostname="mail.a.test",
    listeners=Listeners(smtp=("127.0.0.1:25",), submissions=(), imaps=()),
    limits=replace(Limits(), connections=5, tls_timeout=7.5),
    auth=Auth(plaintext_from=("127.0.0.0/8",)),
    logs=Logs(level="debug", levels={"smtpd": "trace"}),
)


@pytest.mark.parametrize("full", [True, False])
def test_static_text_reads_back(full):
    assert parse_static("x/echomox.toml", static_text(STATIC, full).encode()) == STATIC


@pytest.mark.parametrize("full", [True, False])
def test_dynamic_text_reads_back(full):
    dynamic = Dynamic(
        {"a.test": Domain(description='"quoted" \\ \u00e9', separators=("+", "-")), "b.test": Domain()},
        {
            "ann": Account(addresses=("ann@a.test", "@b.test"), junk_filter=JunkFilter("off", 0.1, 0.2)),
            "bob": Account(),
        },
    )
    assert parse_dynamic("x/domains.toml", dynamic_text(dynamic, full).encode()) == dynamic


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (5, "5"),
        (0.5, "0.5"),
        ('a"b\\c\x7f', '"a\\"b\\\\c\\u007f"'),
        (("a", "b"), '["a", "b"]'),
        ({}, "{}"),
        ({"a b": 1}, '{ "a b" = 1 }'),
    ],
)
def test_toml_value(value, text):
    assert toml_value(value) == text
