"""Where keys stand in a TOML text."""

from __future__ import annotations

import pytest

from echomox.config.positions import line_of, positions, statements

TEXT = '''\
# comment = 1
top = """
[not.a.table]
key = 2
"""
list = [
  "a", # [x]
  "]",
]
[domains."example.com"]
'a b'.c = 1
[[domains."example.com".dkim]]
selector = "x"
[[domains."example.com".dkim]]
selector = "y"
[domains."example.com".dkim.below]
z = { in = { side = 1 } }
'''

LINES = {
    ("top",): 2,
    ("list",): 6,
    ("domains",): 10,
    ("domains", "example.com"): 10,
    ("domains", "example.com", "a b", "c"): 11,
    ("domains", "example.com", "dkim", 0, "selector"): 13,
    ("domains", "example.com", "dkim", 1, "selector"): 15,
    ("domains", "example.com", "dkim", 1, "below"): 16,
    ("domains", "example.com", "dkim", 1, "below", "z", "in", "side"): 17,
    ("not there",): 1,
    ("list", 1): 6,
}


@pytest.mark.parametrize("path", LINES)
def test_a_key_has_the_line_it_stands_on(path):
    assert line_of(positions(TEXT), path) == LINES[path]


def test_statements_have_every_line_once():
    found = statements(TEXT)
    lines = [line for item in found for line in range(item.first, item.last + 1)]
    assert lines == list(range(1, TEXT.count("\n") + 2))
