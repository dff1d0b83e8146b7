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


NO_SIZES = ["", "-", "5Q", "G", "1e3", "9223372036854775808", "99999999999T", "9" * 400 + "G", "9" * 5000]


@pytest.mark.parametrize("text", NO_SIZES, ids=range(len(NO_SIZES)))
def test_what_is_no_size_or_too_large_is_refused(text):
    with pytest.raises(ValueError):
        size(text)


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
