"""Words in, tables out."""

from __future__ import annotations

import pytest

from echomox.cli.console import CommandError, counted, fitted, limited, pairs, printable, rows, table
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
        ("quotta=5", r"no option quotta; did you mean `quota`\?"),
        ("quota=many", "quota=many: not allowed; a whole number, at least 0, or as 500M or 5G"),
        ("disabled=maybe", "disabled=maybe: not allowed; true or false"),
        ("junk_filter=off", "no option junk_filter; "),
        ("quota_messages=5G", "a whole number, at least 0"),
    ],
)
def test_a_word_that_is_none_says_what_there_is(word, why):
    with pytest.raises(CommandError, match=why) as caught:
        parse_settings(Account, [word])
    assert caught.value.code == 2


def test_lists_of_tables_are_no_options():
    assert "dkim" not in options(Domain)


def test_an_empty_table_says_so_and_a_column_of_nothing_stands_to_the_left():
    assert table(("name", "n"), [], "no names") == ["no names"]
    assert rows(("name", "description"), [("a", ""), ("b", None)]) == ["name  description", "a     -", "b     -"]
    assert rows(("name", "count"), [("a", ""), ("b", 5)]) == ["name  count", "a         -", "b         5"]


def test_only_a_terminal_gets_narrow_tables(monkeypatch):
    entries = [(1, "someone@example.org", "x" * 100)]
    assert max(map(len, rows(("id", "from", "text"), entries))) > 100
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    _, line = rows(("id", "from", "text"), entries)
    assert len(line) == 60 and line.startswith(" 1  someone@example.org  xxx") and line.endswith("x\u2026")
    monkeypatch.setenv("COLUMNS", "10")
    assert len(rows(("id", "from", "text"), entries)[1]) == 2 + 2 + 19 + 2 + 20


@pytest.mark.parametrize(
    ("widths", "room", "fits"),
    [([5, 50, 70], 80, [5, 35, 36]), ([5, 10, 20], 80, [5, 10, 20]), ([30, 30], 10, [20, 20]), ([], 10, [])],
)
def test_the_widest_columns_give(widths, room, fits):
    assert fitted(widths, [20] * len(widths), room) == fits


def test_a_list_that_may_be_cut_says_so():
    assert limited([1, 2], 2) == ["at most 2 are shown; `--limit N` shows more"]
    assert limited([1], 2) == limited([], 2) == limited([], 0) == []


def test_counts_have_their_noun():
    assert [counted(n, "member") for n in (0, 1, 2)] == ["0 members", "1 member", "2 members"]
