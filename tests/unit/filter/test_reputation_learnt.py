"""Who signed and sent a mail, from the stored message into junk.db and back: counted, judged by, taken back."""

import pytest

from echomox.config.schema import JunkFilter
from echomox.filter.judge import Judge
from echomox.filter.learning.desk import learn, retrain
from echomox.filter.learning.training import envelope_of
from echomox.ipc.schema import Classify
from echomox.log import Log, Sink
from tests.unit.filter.test_learning import Account, rows

SETTINGS = JunkFilter()
TRACE = (
    b"Received: from mx.esp.example (mx.esp.example [192.0.2.%d])\r\n\tby here.example with ESMTPS id 1;\r\n"
    b"Authentication-Results: here.example;\r\n\tspf=pass smtp.mailfrom=a@bounces.example;\r\n"
    b"\tdkim=%s header.d=esp.example header.s=s1;\r\n\tdmarc=none header.from=brand%d.example;\r\n\tiprev=pass\r\n"
)


class Content:
    def __init__(self, trace, data):
        self.whole, self.prefix_size, self.size = trace + data, len(trace), len(trace + data)

    def read(self, offset=0, length=None):
        return self.whole[offset : offset + length if length is not None else None]

    def close(self):
        pass


class Stored(Account):
    """Messages are (trace, source)."""

    def content(self, message):
        return Content(*self.messages[message])


def mail(number, dkim=b"pass"):
    source = f"From: a@brand{number}.example\r\nSubject: word{number}\r\n\r\nbody{number}\r\n".encode()
    return TRACE % (number, dkim, number), source


@pytest.fixture
def log():
    return Log("test", sink=Sink())


@pytest.fixture
def account(tmp_path, log):
    """u0, taught by three ham of one signer, each of another author and another address."""
    (tmp_path / "u0").mkdir()
    made = Stored()
    made.messages = {number: mail(number) for number in range(3)}
    for number in made.messages:
        made.says(number, "ham")
    learn(made, tmp_path, SETTINGS, log)
    return made


def request(number, dkim=b"pass"):
    """A mail as its delivery asks for it."""
    trace, source = mail(number, dkim)
    envelope = envelope_of(trace)
    return Classify(
        "c", ("u0",), source, "", envelope.mail_from, envelope.remote_ip, envelope.helo, True, envelope.auth
    )


def reasons(accounts, *requests):
    judge = Judge(accounts, lambda name: SETTINGS, Log("test", sink=Sink()))
    try:
        found = judge.answers(requests, accounts)
    finally:
        judge.close()
    return [item.reasons[0] for (one,) in found for item in one.evidence if item.stage == "reputation"]


def counted(accounts):
    return {word: pair for word, *pair in rows(accounts)["WORD"] if str(word).startswith("rep:")}


def test_what_was_counted_is_what_is_looked_up(account, tmp_path):
    known = counted(tmp_path)
    assert known["rep:dkim:esp.example"] == known["rep:spf:bounces.example"] == [3, 0]
    assert known["rep:net:192.0.2.0/26"] == known["rep:wide-net:192.0.0.0/21"] == [3, 0]
    assert reasons(tmp_path, request(100), request(101, b"fail")) == [
        "dkim esp.example 3/0", "spf bounces.example 3/0",
    ]  # fmt: skip


def test_judged_together_they_are_judged_as_alone(account, tmp_path):
    asked = [request(number, dkim) for number in (100, 101, 102) for dkim in (b"pass", b"fail")]
    assert reasons(tmp_path, *asked) == [reasons(tmp_path, one)[0] for one in asked]


def test_undo_takes_back_the_names_too(account, tmp_path, log):
    before = rows(tmp_path)
    account.messages[7] = mail(7)
    for label, known in (("spam", [3, 1]), ("", [3, 0])):
        account.says(7, label)
        learn(account, tmp_path, SETTINGS, log)
        assert counted(tmp_path)["rep:dkim:esp.example"] == known
    assert rows(tmp_path) == before


def test_undo_is_exact_when_the_stored_checks_were_others(account, tmp_path, log):
    """What was added is kept with the lesson: so is mail that was learnt before these names were."""
    account.messages[0] = mail(0, b"fail")
    account.says(0, "")
    learn(account, tmp_path, SETTINGS, log)
    assert counted(tmp_path)["rep:dkim:esp.example"] == [2, 0]


def test_a_retraining_counts_the_names_of_stored_mail(account, tmp_path, log):
    before = counted(tmp_path)
    retrain(account, tmp_path, SETTINGS, log)
    assert counted(tmp_path) == before
