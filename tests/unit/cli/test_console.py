"""Words in, tables out."""

from __future__ import annotations

import pytest

from echomox.cli.console import CommandError, pairs, printable, rows
from echomox.cli.settings import options, parse_settings
from echomox.config.schema import Account, Domain


def test_rows_stand_in_columns_numbers_to_the_right():
    assert rows(("name", "n"), [("a", 5), ("bcd", 100)]) == ["name    n", "a       5", "bcd   100"]


def test_no_rows_are_a_heading():
    assert rows(("name", "n"), []) == ["name  n"]


def test_pairs_flatten_tables():
    assert pairs({"a": {"b": True, "c": []}, "d": 1}) == ["a.b  yes", "a.c  -", "d    1"]


def test_nothing_steers_the_terminal():
    assert printable("a\x1b[31mb\u202e") == "a\ufffd[31mb\ufffd"


SETTINGS = [
    (Account, ["quota=5"], {"quota": 5}),
    (Account, ["disabled=yes", "admin=off"], {"disabled": True, "admin": False}),
    (Account, ["junk_filter.junk=0.2"], {"junk_filter.junk": 0.2}),
    (Account, ["full_name=A = B"], {"full_name": "A = B"}),
    (Account, ["full_name="], {"full_name": ""}),
    (Account, ["addresses=a@b.test,c@d.test"], {"addresses": ["a@b.test", "c@d.test"]}),
    (Domain, ["separators="], {"separators": []}),
    (Domain, [], {}),
]


@pytest.mark.parametrize(("cls", "words", "settings"), SETTINGS)
def test_words_become_values_of_the_schema(cls, words, settings):
    assert parse_settings(cls, words) == settings


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("quota", "give OPTION=VALUE; options are addresses"),
        ("quotta=5", "no option quotta; there are addresses"),
        ("quota=many", "quota=many: to be a whole number"),
        ("disabled=maybe", "disabled=maybe: to be true or false"),
        ("junk_filter=off", "no option junk_filter"),
    ],
)
def test_a_word_that_is_none_says_what_there_is(word, why):
    with pytest.raises(CommandError, match=why) as caught:
        parse_settings(Account, [word])
    assert caught.value.code == 2


def test_lists_of_tables_are_no_options():
    assert "dkim" not in options(Domain)
