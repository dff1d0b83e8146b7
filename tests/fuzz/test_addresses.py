"""Strangers' bytes against SRS, Delivered-To, rulesets; any text against the configuration of addresses."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from echomox.config.load import ConfigProblems, parse_dynamic
from echomox.config.patterns import BadPattern, Pattern
from echomox.config.schema import Ruleset
from echomox.delivery.lists import comes_back
from echomox.delivery.rulesets import fits, looked_at
from echomox.delivery.srs import NotSrs, Srs, is_srs
from tests.unit.delivery.world import snapshot, to

SRS = Srs((b"k" * 32,))
FOUND = snapshot('[aliases."team@a.test"]\nmembers = ["ann@a.test", "eve@far.example"]\n')
RULE = Ruleset(message_from="x", mail_from="y", headers={"list-.*": "dev"})
WORDS = st.text('=+-SR01aA@."\\ \x00\u00e9', max_size=80)


@given(WORDS | st.text(max_size=80).map("SRS0={}".format) | st.text(max_size=80).map("SRS1={}".format))
def test_no_local_part_is_undone_but_ours(local):
    is_srs(local)
    try:
        SRS.undo(local, 1.7e9)
    except NotSrs:
        return
    raise AssertionError("undone without our signature")


@given(WORDS, st.floats(0, 4e9))
def test_what_was_rewritten_comes_back(sender, now):
    try:
        rewritten = SRS.rewrite(sender, "a.test", now)
    except ValueError:
        return
    if not rewritten:
        assert not sender
        return
    local = rewritten.rpartition("@")[0]
    assert len(local.encode()) <= 64
    back = SRS.undo(local, now)
    # of what was an SRS address of another server the form may be another
    assert is_srs(sender.rpartition("@")[0]) or back == sender


@given(st.binary(max_size=500), st.text(max_size=50))
def test_any_header_can_be_looked_at(header, mail_from):
    header = b"List-Id: dev\r\nDelivered-To: " + header + b"\r\n"
    seen = looked_at(header, mail_from, frozenset())
    fits(RULE, seen, FOUND, "ann@a.test")
    comes_back(FOUND, header, to(FOUND, "team@a.test"))


@given(st.text(max_size=60), st.text(max_size=200))
def test_any_expression_is_one_or_is_not(text, subject):
    try:
        pattern = Pattern(text)
    except BadPattern:
        return
    pattern.fits(subject)
    pattern.fits_whole(subject)


@given(st.text(max_size=40), st.lists(st.text(max_size=40), max_size=4))
def test_any_alias_is_read_or_refused(name, members):
    from echomox.config.describe import toml_value

    text = f'[domains."a.test"]\n[aliases]\n{toml_value(name)} = {{ members = {toml_value(members)} }}\n'
    try:
        parse_dynamic("/x/domains.toml", text.encode("utf-8", "replace"))
    except ConfigProblems:
        pass
