"""U14 and F08: whom an account has written to, and the limits of a day, for every engine."""

from __future__ import annotations

import pytest

from echomox.store.engine import SendLimits
from tests.contract.stores import ALICE

NONE = SendLimits(0, 0)
NOW = 1_700_000_100.0


@pytest.fixture
def store(engine):
    return engine.open(ALICE)


def test_who_was_written_to_is_known(store):
    assert store.note_sent(["a@x.example", "b@x.example", "a@x.example"], ["c@example.org"], NOW, NONE) == ""
    assert store.note_sent(["a@x.example"], [], NOW + 60, NONE) == ""
    found = store.correspondents(["a@x.example", "c@example.org", "nobody@x.example"])
    assert {address: (one.first, one.last, one.times) for address, one in found.items()} == {
        "a@x.example": (NOW, NOW + 60, 2),
        "c@example.org": (NOW, NOW, 1),
    }
    assert store.sent_today(NOW + 60) == (3, 2)


def test_nobody_has_an_address_that_is_no_utf8(store):
    store.note_sent(["a@x.example"], [], NOW, NONE)
    assert [*store.correspondents(["\udca4p@x.example", "a@x.example"])] == ["a@x.example"]


@pytest.mark.parametrize(
    "limits, outside, expected",
    [
        (SendLimits(3, 0), ["d@x.example"], ""),
        (SendLimits(2, 0), ["d@x.example"], "messages"),
        (SendLimits(2, 0), [], ""),
        (SendLimits(0, 3), ["d@x.example"], ""),
        (SendLimits(0, 2), ["d@x.example"], "recipients"),
        (SendLimits(0, 2), ["a@x.example"], ""),
        (SendLimits(0, 3), ["a@x.example", "d@x.example", "e@x.example"], "recipients"),
    ],
)
def test_limits_of_a_day(store, limits, outside, expected):
    store.note_sent(["a@x.example", "b@x.example"], [], NOW, NONE)
    before = store.sent_today(NOW)
    assert store.note_sent(outside, ["new@example.org"], NOW, limits) == expected
    assert (store.sent_today(NOW) == before) is (expected != "" or not outside)
    assert ("new@example.org" in store.correspondents(["new@example.org"])) is (expected == "")


def test_after_a_day_there_is_room_again(store):
    limits = SendLimits(2, 2)
    assert store.note_sent(["a@x.example", "b@x.example"], [], NOW, limits) == ""
    assert store.note_sent(["c@x.example"], [], NOW + 86_000, limits) == "messages"
    assert store.note_sent(["c@x.example"], [], NOW + 86_400 + 300, limits) == ""
    assert store.sent_today(NOW + 86_400 + 300) == (1, 1)
    assert set(store.correspondents(["a@x.example", "c@x.example"])) == {"a@x.example", "c@x.example"}
