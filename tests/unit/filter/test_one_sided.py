"""What is told of mail to an account that was taught one kind only."""

from math import log

import pytest

from echomox.config.schema import JunkFilter
from echomox.filter.combine import LOW, combine, logit
from echomox.filter.tools.trial import Trial
from tests.unit.filter.test_parts import mail

CRUDE = (
    b"From: x9921@example.net\r\nSubject: FREE CASH!!! ACT NOW!!!\r\n\r\n"
    b"Make money fast, guaranteed! Order now: http://192.0.2.9/ - 100% free, lowest prices, viagra, casino.\r\n"
)
TALK = (
    b"From: Ann <ann@example.org>\r\nTo: you@example.test\r\nSubject: Re: the patch\r\n"
    b"Date: Mon, 5 Jan 2026 08:00:00 +0000\r\nMessage-ID: <a.b.c@example.org>\r\nIn-Reply-To: <d@example.test>\r\n\r\n"
    b"> does it compile?\r\n\r\nYes, thanks.\r\n"
)


def judged(directory, ham, spam):
    """What an account of so many lessons makes of talk and of crude spam."""
    with Trial(directory, JunkFilter()) as trial:
        lessons = [(n, "ham") for n in range(0, 2 * ham, 2)] + [(n, "spam") for n in range(1, 2 * spam, 2)]
        trial.train({n: (mail(n, label == "spam"), label) for n, label in lessons})
        return trial.classify([TALK, CRUDE, mail(99, True)])


def by_rules(answer):
    return combine([item for item in answer.evidence if item.stage in ("membranes", "affect")]).probability


@pytest.mark.parametrize(("spam", "most"), [(5, 0.3), (40, 0.5)])
def test_spam_alone_does_not_make_spam_of_all_mail(tmp_path, spam, most):
    talk, crude, _ = judged(tmp_path, 0, spam)
    assert talk.probability < most < crude.probability
    assert talk.place == "inbox"


def test_what_was_taught_more_often_moves_what_the_rules_say(tmp_path):
    _, _, alike = judged(tmp_path, 2, 50)
    rules = logit(by_rules(alike))
    assert rules < LOW  # so it is believed half as much, as far as it is below
    assert logit(alike.probability) == pytest.approx((LOW + rules) / 2 + log(51 / 3), abs=1e-6)


def test_an_account_that_knows_both_is_told_what_all_parts_say(tmp_path):
    talk, crude, alike = judged(tmp_path, 30, 30)
    assert alike.probability > 0.9 > by_rules(alike)
    assert talk.probability < crude.probability
