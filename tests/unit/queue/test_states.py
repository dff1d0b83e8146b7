"""The table of states, and that nothing goes beside it."""

from __future__ import annotations

import pytest

from echomox.errors import Bug
from echomox.queue.states import RETIRED, STATES, TRANSITIONS, after, states_for


def test_every_state_is_reached_and_left():
    reached = set(TRANSITIONS.values())
    assert reached == {*STATES, RETIRED}
    assert {state for state, _ in TRANSITIONS} == {"", *STATES}


def test_nothing_leaves_what_is_over():
    assert not [pair for pair in TRANSITIONS if pair[0] == RETIRED]


@pytest.mark.parametrize("event", ["hold", "unhold", "change", "fail", "drop", "lease"])
def test_what_is_under_way_is_left_alone(event):
    assert "leased" not in states_for(event)
    with pytest.raises(Bug):
        after("leased", event)


def test_only_what_is_queued_is_leased():
    assert states_for("lease") == ("queued",)
