"""OPTION=VALUE of the command line."""

from __future__ import annotations

import pytest

from echomox.cli.settings import parse_settings, size
from echomox.config.schema import Account, Domain

SIZES = [("0", 0), ("500", 500), ("1K", 1024), ("5G", 5 << 30), ("5g", 5 << 30), ("5GB", 5 << 30), ("5 GiB", 5 << 30),
         ("1.5M", 1_572_864), ("2T", 2 << 40)]  # fmt: skip


@pytest.mark.parametrize(("text", "octets"), SIZES)
def test_sizes(text, octets):
    assert size(text) == octets


def test_words_become_values_of_their_kind():
    words = ["quota=5G", "full_name=Ann Lee", "disabled=yes", "junk_filter.junk=0.4", "refuse=a@b.example,c@d.example"]
    assert parse_settings(Account, words) == {
        "quota": 5 << 30,
        "full_name": "Ann Lee",
        "disabled": True,
        "junk_filter.junk": 0.4,
        "refuse": ["a@b.example", "c@d.example"],
    }
    assert parse_settings(Domain, ["quota=1M"]) == {"quota": 1 << 20}
