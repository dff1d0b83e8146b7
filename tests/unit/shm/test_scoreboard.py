"""shm.scoreboard: slots, counters, the header's cells."""

from __future__ import annotations

import pytest

from shm.layout import TooLarge
from shm.scoreboard import COUNTERS, GAUGES, Scoreboard, State, scoreboard_size


@pytest.fixture
def board():
    return Scoreboard.private(4)


def test_names_are_unique_and_gauges_are_counters():
    assert len(set(COUNTERS)) == len(COUNTERS)
    assert set(COUNTERS) >= GAUGES


def test_fresh_slot_is_free_and_an_assigned_one_starts(board):
    assert all(slot.state is State.FREE for slot in board.slots)
    slot = board.take("smtp", 1)
    assert (slot.name, slot.service, slot.get("index"), slot.state) == ("smtp.1", "smtp", 1, State.STARTING)
    assert board.live() == [slot]


def test_fields_do_not_overlap(board):
    slot = board.take("submission", 63)
    fields = ("pid", "static_generation", "config_generation", "connections", "restarts", "memory")
    for value, field in enumerate(fields, 100):
        slot.set(field, value)
    for value, field in enumerate(("started", "heartbeat", "drain"), 7):
        slot.set_time(field, value + 0.25)
    for value, counter in enumerate(COUNTERS, 1000):
        slot.count(counter, value)
    assert [slot.get(field) for field in fields] == list(range(100, 100 + len(fields)))
    assert [slot.time(field) for field in ("started", "heartbeat", "drain")] == [7.25, 8.25, 9.25]
    assert [slot.counter(counter) for counter in COUNTERS] == list(range(1000, 1000 + len(COUNTERS)))
    assert slot.name == "submission.63"
    assert all(other.state is State.FREE and not other.get("pid") for other in board.slots[1:])


def test_totals_are_sums_over_all_slots(board):
    for n, slot in enumerate(board.slots):
        slot.count("smtp_connections", n + 1)
    assert board.total("smtp_connections") == 10
    assert board.totals()["smtp_connections"] == 10
    assert list(board.totals()) == list(COUNTERS)


def test_totals_stay_when_a_worker_is_replaced(board):
    slot = board.take("imap", 0)
    slot.count("imap_commands", 41)
    slot.count("imap_idle", 3)
    slot.set("connections", 5)
    slot.state = State.GONE
    again = board.take("imap", 0)
    assert again is slot
    again.count("imap_commands")
    assert board.total("imap_commands") == 42
    assert (board.total("imap_idle"), board.connections()) == (0, 0)


def test_slots_of_others_are_taken_only_when_no_fresh_one_is_left(board):
    first = board.take("smtp", 0)
    first.state = State.GONE
    assert board.take("smtp", 1) is board.slots[1]
    assert board.take("smtp", 0) is first
    assert [board.take("imap", n).number for n in range(2)] == [2, 3]
    assert board.take("imap", 2) is None
    board.slots[2].state = State.GONE
    assert board.take("imap", 2) is board.slots[2]


def test_gauge_does_not_go_below_zero_and_an_unknown_counter_is_an_error(board):
    slot = board.slots[0]
    slot.count("imap_idle", 2)
    slot.count("imap_idle", -5)
    assert slot.counter("imap_idle") == 0
    with pytest.raises(KeyError):
        slot.count("no_such_counter")


def test_service_name_that_does_not_fit_is_refused(board):
    with pytest.raises(ValueError, match="longer than 24"):
        board.take("s" * 25, 0)


def test_config_generation_has_two_writers_who_do_not_meet(board):
    assert board.config_generation == 1
    assert [board.bump_config(by) for by in ("control", "supervisor", "control")] == [2, 3, 4]


def test_log_levels_are_told_to_all(board):
    assert (board.log_generation, board.log_levels()) == (0, None)
    board.set_log_levels("warn", {"smtpd": "debug"})
    assert board.log_generation == 1
    assert board.log_levels() == ("warn", {"smtpd": "debug"})
    with pytest.raises(TooLarge):
        board.set_log_levels("warn", {"x" * 100 + str(n): "debug" for n in range(100)})
    assert board.log_levels() == ("warn", {"smtpd": "debug"})


def test_reload_message_is_cut_to_its_place(board):
    assert board.reload_message() == ""
    board.set_reload_message("echomox.toml:3: ü " * 500)
    assert board.reload_message().startswith("echomox.toml:3: ü echomox")


def test_second_view_of_the_same_memory_keeps_what_is_there():
    memory = memoryview(bytearray(scoreboard_size(2)))
    first = Scoreboard(memory, 2)
    first.bump_config("control")
    first.take("smtp", 0)
    second = Scoreboard(memory, 2)
    assert second.config_generation == 2
    assert second.slots[0].name == "smtp.0"


def test_released_board_lets_go_of_its_memory():
    backing = bytearray(scoreboard_size(3))
    memory = memoryview(backing)
    board = Scoreboard(memory, 3)
    board.release()
    memory.release()
    backing.extend(b"x")  # BufferError if any view were left
