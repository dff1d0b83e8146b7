"""supervisor.lifecycle: the table of transitions and the throttle."""

from __future__ import annotations

import pytest

from echomox.errors import Bug
from echomox.supervisor.lifecycle import TRANSITIONS, Event, Record, delay_after, next_state
from shm.scoreboard import State


@pytest.mark.parametrize(
    "events, end",
    [
        ([Event.START, Event.READY, Event.DRAIN, Event.EXITED], State.GONE),
        ([Event.START, Event.FAILED], State.THROTTLED),
        ([Event.START, Event.FAILED, Event.START, Event.READY], State.READY),
        ([Event.START, Event.READY, Event.EXITED, Event.START], State.STARTING),
        ([Event.START, Event.READY, Event.FAILED], State.THROTTLED),
        ([Event.START, Event.DRAIN, Event.EXITED], State.GONE),
        ([Event.START, Event.FAILED, Event.DRAIN], State.GONE),
    ],
)
def test_lives(events, end):
    state = State.FREE
    for event in events:
        state = next_state(state, event)
    assert state is end


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("event", list(Event))
def test_what_is_not_in_the_table_is_a_bug(state, event):
    if (state, event) in TRANSITIONS:
        assert next_state(state, event) is TRANSITIONS[state, event]
    else:
        with pytest.raises(Bug, match=event.name):
            next_state(state, event)


def test_delay_doubles_from_one_second_to_sixty():
    assert [delay_after(n) for n in range(10)] == [0, 1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert delay_after(10_000) == 60


def test_worker_that_never_gets_ready_waits_longer_each_time():
    record = Record()
    ends = [record.ended(State.STARTING, 0.1) for _ in range(8)]
    assert [wait for _, wait in ends] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert {event for event, _ in ends} == {Event.FAILED}
    assert record.restarts == 8


def test_worker_that_dies_after_a_long_life_is_replaced_at_once():
    record = Record()
    record.ended(State.STARTING, 0.1)
    assert [record.ended(State.READY, 3600.0) for _ in range(3)] == [(Event.EXITED, 0.0)] * 3
    assert record.ended(State.STARTING, 0.1) == (Event.FAILED, 1.0)


def test_worker_that_dies_soon_after_ready_is_replaced_at_once_only_the_first_time():
    record = Record()
    assert [record.ended(State.READY, 1.0)[1] for _ in range(4)] == [0, 1, 2, 4]
