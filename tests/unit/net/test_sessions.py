"""Questions for live sessions and their answers (A13)."""

import pytest

from echomox.net.sessions import ASK, LiveSession, answer, ask, clear, take_answer

ANN = LiveSession("c1", "ann", "ann@example.test", "imap", "PLAIN", "192.0.2.1", "TLSv1.3", 1000.0, 2.5)


class Live:
    def __init__(self, *sessions):
        self.sessions = list(sessions)

    def live_sessions(self):
        return self.sessions

    def end_session(self, cid):
        before = len(self.sessions)
        self.sessions = [session for session in self.sessions if session.id != cid]
        return len(self.sessions) < before


def test_each_slot_answers_with_its_sessions(tmp_path):
    ask(tmp_path, 7, "")
    assert take_answer(tmp_path, 3, 7) is None
    answer(tmp_path, 3, Live(ANN))
    answer(tmp_path, 4, Live())
    found = take_answer(tmp_path, 3, 7)
    assert [entry["account"] for entry in found["sessions"]] == ["ann"] and not found["ended"]
    assert LiveSession(**found["sessions"][0]) == ANN
    assert take_answer(tmp_path, 4, 7) == {"number": 7, "ended": False, "sessions": []}
    assert [path.name for path in tmp_path.iterdir()] == [ASK]


def test_a_session_is_ended_by_the_worker_that_has_it(tmp_path):
    one, other = Live(ANN), Live()
    ask(tmp_path, 8, "c1")
    answer(tmp_path, 1, other)
    answer(tmp_path, 2, one)
    assert [take_answer(tmp_path, slot, 8)["ended"] for slot in (1, 2)] == [False, True]
    assert one.sessions == []


def test_an_answer_to_an_earlier_question_is_none(tmp_path):
    ask(tmp_path, 7, "")
    answer(tmp_path, 3, Live(ANN))
    assert take_answer(tmp_path, 3, 8) is None
    ask(tmp_path, 8, "")
    answer(tmp_path, 3, Live())
    assert take_answer(tmp_path, 3, 8)["sessions"] == []


def test_a_question_that_was_taken_back_is_not_answered(tmp_path):
    ask(tmp_path, 7, "")
    answer(tmp_path, 3, Live(ANN))
    for name in ("control.sock", "sessions.txt"):
        (tmp_path / name).touch()
    clear(tmp_path)
    answer(tmp_path, 3, Live(ANN))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["control.sock", "sessions.txt"]


@pytest.mark.parametrize("text", ["", "{", '{"number": 7'])
def test_half_an_answer_is_none(tmp_path, text):
    (tmp_path / "sessions.3").write_text(text)
    assert take_answer(tmp_path, 3, 7) is None
