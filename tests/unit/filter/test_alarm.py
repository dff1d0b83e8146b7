"""Drift and poisoning: when the administrator is told, and when not."""

from __future__ import annotations

import pytest

from echomox.config.schema import JunkFilter
from echomox.filter import combine
from echomox.filter.context import Context, nothing
from echomox.filter.features import read
from echomox.filter.learning.alarm import EARLIER, RECENT, Lesson, Watch, lessons_of, watch
from echomox.filter.learning.desk import learn
from echomox.filter.tools.trial import silent
from echomox.ipc.schema import Evidence
from echomox.log import Log, Sink
from tests.unit.filter.test_learning import Account
from tests.unit.filter.test_parts import mail

RIGHT, WRONG, SURELY_WRONG = Lesson(True, 2.0), Lesson(True, -1.0), Lesson(False, 3.5)


def lessons(wrong: int, before: int, kind: Lesson = WRONG, earlier: int = EARLIER) -> list[Lesson]:
    """So many of the recent and of the earlier ones are wrong."""
    return (
        [kind] * wrong + [RIGHT] * (RECENT - wrong) + [kind] * before + [RIGHT] * (earlier - before)
    )


@pytest.mark.parametrize(
    "found, alarms",
    [
        ([], ()),
        ([WRONG] * 150, ()),  # no earlier ones to compare with
        (lessons(0, 0), ()),
        (lessons(9, 0), ()),  # too few
        (lessons(10, 0), ("drift",)),
        (lessons(10, 45), ()),  # 10 % after 5 %
        (lessons(30, 45), ("drift",)),
        (lessons(100, 900), ()),  # one who teaches errors only
        (lessons(0, 900), ()),  # better than before
        (lessons(10, 0, SURELY_WRONG), ("drift", "poisoning")),
        (lessons(10, 0, SURELY_WRONG, 99), ()),
    ],
)
def test_alarms_are_of_shares_that_have_risen_beyond_chance(found, alarms):
    assert watch(found).alarms == alarms


def test_shares_are_told_in_percent():
    found = watch(lessons(10, 9, SURELY_WRONG))
    assert found.recent == {"drift": 10.0, "poisoning": 10.0} and found.before == {"drift": 1.0, "poisoning": 1.0}
    assert found.lessons == RECENT + EARLIER


def test_a_lesson_tells_what_the_whole_said():
    evidence = [Evidence("ngrams", 0.99, 1.0, ())]
    state = combine.State()
    data = combine.LEARNER.contribution(state, read(b""), Context(1, 0, 0, nothing, evidence=evidence), "spam")
    assert combine.value_of(data) == pytest.approx(combine.logit(0.99), abs=combine.BIN)
    with pytest.raises(ValueError, match="combination"):
        combine.value_of(b"\x01")


def test_flags_against_what_the_filter_knows_raise_the_alarm_once(tmp_path, monkeypatch):
    account, said, counted = Account(), [], []
    (tmp_path / "u0").mkdir()
    log = Log("test", sink=Sink())
    monkeypatch.setattr(Log, "error", lambda self, event, **fields: said.append((event, fields["account"])))
    seen = Watch(tmp_path, log, lambda name, n: counted.append(name))
    assert lessons_of(tmp_path, "u0") == []
    for start in range(0, 300, 10):
        for n in range(start, start + 10):
            account.messages[n] = mail(n, n % 2 == 1)
            account.says(n, ("ham", "spam")[n % 2])
        learn(account, tmp_path, JunkFilter(), silent())
    seen.look("u0")
    assert (said, counted) == ([], []) and len(lessons_of(tmp_path, "u0")) == 300
    for n in range(300, 340):
        account.messages[n] = mail(n, n % 2 == 1)
        account.says(n, ("spam", "ham")[n % 2])
    learn(account, tmp_path, JunkFilter(), silent())
    seen.look("u0")
    seen.look("u0")
    assert "filter_alarms" in counted and len(said) == len(counted) == len(set(said))
    assert all(name == "u0" for _, name in said)
