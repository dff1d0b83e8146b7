"""The bands (K1, F10, F11) and the header field that names them."""

import re

import pytest

from echomox.config.schema import JunkFilter
from echomox.filter.decide import FIELD, decide, fold
from echomox.ipc.schema import Evidence, Verdict


def verdict(probability, weight=1.0, reasons=(), parts="all"):
    return Verdict("u0", probability, (Evidence("bayes", probability, weight, reasons),), parts, 20)


BANDS = [
    (0.0, "inbox"),
    (0.29, "inbox"),
    (0.30, "junk"),
    (0.38, "junk"),
    (0.80, "junk"),
    (0.81, "reject"),
    (1.0, "reject"),
]


@pytest.mark.parametrize("probability, place", BANDS)
def test_bands_and_their_boundaries(probability, place):
    assert decide(JunkFilter(), verdict(probability)).place == place


@pytest.mark.parametrize("probability, place", BANDS)
def test_junk_only_never_rejects(probability, place):
    expected = "junk" if place == "reject" else place
    assert decide(JunkFilter(mode="junk-only"), verdict(probability)).place == expected


@pytest.mark.parametrize("probability, _", BANDS)
def test_off_delivers_all(probability, _):
    assert decide(JunkFilter(mode="off"), verdict(probability)).place == "inbox"


@pytest.mark.parametrize("probability, place", [(0.49, "inbox"), (0.5, "junk"), (0.6, "junk"), (0.61, "reject")])
def test_thresholds_are_the_accounts(probability, place):
    assert decide(JunkFilter(junk=0.5, reject=0.6), verdict(probability)).place == place


@pytest.mark.parametrize("probability, reason", [(0.1, "below-junk"), (0.5, "shadow-junk"), (0.9, "shadow-reject")])
def test_shadow_mode_says_what_it_would_do_and_delivers(probability, reason):
    found = decide(JunkFilter(shadow=True), verdict(probability))
    assert (found.place, found.reason) == ("inbox", reason)
    assert found.header.startswith(b"X-EchoMox-Verdict: inbox; p=%.4f; reason=%s;" % (probability, reason.encode()))


@pytest.mark.parametrize("junk_filter", [JunkFilter(), JunkFilter(junk=0.0), JunkFilter(junk=0.0, reject=0.0)])
@pytest.mark.parametrize(
    "found, reason",
    [
        (None, "classifier-unavailable"),
        (verdict(0.0, weight=0.0), "no-evidence"),
        (verdict(0.99, weight=0.0), "no-evidence"),
        (Verdict("u0", 0.0, (), "fallback", 0), "no-evidence"),
    ],
)
def test_without_evidence_it_is_the_inbox(junk_filter, found, reason):
    decision = decide(junk_filter, found)
    assert (decision.place, decision.reason) == ("inbox", reason)


def test_the_header_names_place_probability_parts_and_reasons():
    header = decide(JunkFilter(), verdict(0.5, reasons=("viagra 0/3", "from:a@b.c 1/2"))).header.decode("ascii")
    text = header.replace("\r\n\t", " ")
    assert text == (
        f"{FIELD}: junk; p=0.5000; reason=from-junk-to-reject; parts=all; by=bayes; learned=20; "
        "bayes=0.5000*1.00 (viagra_0/3,from:a@b.c_1/2);\r\n"
    )


def test_the_header_of_no_verdict():
    assert decide(JunkFilter(), None).header == (
        b"X-EchoMox-Verdict: inbox; p=0.0000; reason=classifier-unavailable; parts=none;\r\n"
    )


NASTY = ["a\r\nBcc: all@example.org", "größe", "((", "\0\x1b[2J", "", "x" * 5000, ");", "\\", '"', "\ud800"]


@pytest.mark.parametrize("reason", NASTY)
def test_reasons_cannot_break_the_header(reason):
    header = decide(JunkFilter(), verdict(0.5, reasons=(reason, reason))).header
    assert header.endswith(b"\r\n")
    lines = header[:-2].split(b"\r\n")
    assert lines[0].startswith(FIELD.encode() + b": junk;")
    assert all(re.fullmatch(rb"\t[\x21-\x7e ]+", line) for line in lines[1:])
    assert max(map(len, lines)) < 998  # RFC 5322 section 2.1.1: must


def test_long_fields_are_folded_between_words():
    field = fold("X", ["a" * 40, "b" * 40, "c" * 100, "d"])
    assert field == b"X: %s\r\n\t%s\r\n\t%s\r\n\td\r\n" % (b"a" * 40, b"b" * 40, b"c" * 100)
