"""The learned parts in training: exact undo, isolation, the same bits in any batch and process, upgrade, folding."""

import hashlib
import json
import os
import sqlite3
import subprocess
import sys
import zlib

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from echomox.config.schema import JunkFilter
from echomox.filter.context import Stage, no_opinion
from echomox.filter.counts.readers import Reader
from echomox.filter.counts.words import Writer, junk_path
from echomox.filter.decide import decide
from echomox.filter.features import Envelope, read
from echomox.filter.hashing import hashes
from echomox.filter.judge import SURE, Asked, Judge
from echomox.filter.learning import parts, training
from echomox.filter.learning.desk import Desk, due, learn, retrain
from echomox.filter.learning.learners import LEARNERS
from echomox.filter.learning.training import Pupil, envelope_of
from echomox.filter.stages import STAGES
from echomox.filter.tools.trial import silent
from echomox.ipc.schema import Evidence, Verdict
from tests.unit.filter.test_learning import Account

SETTINGS = JunkFilter()
LOG = silent()
SUBJECTS = ("cheap offer", "meeting minutes", "buy now", "lunch on friday")
VOLATILE = ("updated",)


def mail(number, spam):
    kind = SUBJECTS[(0 if spam else 1) + 2 * (number % 2)]
    return (
        f"From: {'x' if spam else 'friend'}{number % 5}@{'bad' if spam else 'good'}.example\r\n"
        f"Subject: {kind} {number}\r\nDate: Mon, 1 Jan 2024 10:00:{number % 60:02} +0000\r\n\r\n"
        f"{kind} word{number % 7} word{number % 3} and some more text {number}\r\n"
    ).encode()


MAILS = {n: read(mail(n, n % 2 == 1)) for n in range(60)}


def pupil(directory, name="u0"):
    (directory / name).mkdir(exist_ok=True)
    writer = Writer(junk_path(directory, name))
    with writer.transaction():
        return writer, Pupil(writer, MAILS.get, SETTINGS, LOG)


def say(writer, one, labels):
    with writer.transaction():
        one.set_labels(labels)
        one.finish()
    with writer.transaction():
        writer.settle()


def sums(directory, name="u0"):
    """Everything that classifiers and later lessons depend on: counts, states and read-outs."""
    connection = sqlite3.connect(junk_path(directory, name))
    found = [
        connection.execute("SELECT * FROM WORD ORDER BY Word").fetchall(),
        connection.execute("SELECT * FROM JUNKFILTER").fetchall(),
        {row[0]: hashlib.sha256(row[1]).hexdigest() for row in connection.execute("SELECT name, data FROM part")},
    ]
    connection.close()
    return found


lessons = st.lists(st.tuples(st.sampled_from(range(8)), st.sampled_from(["spam", "ham", ""])), min_size=1, max_size=14)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lessons)
def test_taking_everything_back_restores_the_bits(tmp_path_factory, steps):
    directory = tmp_path_factory.mktemp("undo")
    writer, one = pupil(directory)
    say(writer, one, {n: ("ham", "spam")[n % 2] for n in range(20, 34)})
    before = sums(directory)
    for message, label in steps:
        say(writer, one, {message: label})
    say(writer, one, {message: "" for message, _ in steps})
    assert sums(directory) == before
    writer.close()


def test_training_one_account_leaves_the_bits_of_another(tmp_path):
    ours, one = pupil(tmp_path, "u0")
    theirs, other = pupil(tmp_path, "u1")
    say(ours, one, {n: ("ham", "spam")[n % 2] for n in range(30)})
    say(theirs, other, {n: ("spam", "ham")[n % 2] for n in range(30)})
    before, verdict = sums(tmp_path, "u1"), judged(tmp_path, [50], "u1")
    say(ours, one, dict.fromkeys(range(30, 40), "spam"))
    assert sums(tmp_path, "u1") == before and judged(tmp_path, [50], "u1") == verdict
    ours.close(), theirs.close()


def judged(directory, numbers, name="u0", size=64, stages=STAGES):
    judge = Judge(directory, lambda account: SETTINGS, LOG, stages)
    asked = [Asked(name, read(mail(n, n % 2 == 1)), float("inf")) for n in numbers]
    out = []
    for start in range(0, len(asked), size):
        out += judge.judge(asked[start : start + size])
    judge.close()
    return out


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    directory = tmp_path_factory.mktemp("trained")
    writer, one = pupil(directory)
    for start in range(0, 48, 6):
        say(writer, one, {n: ("ham", "spam")[n % 2] for n in range(start, start + 6)})
    writer.close()
    return directory


def test_every_part_has_learned_and_speaks(trained):
    (verdict,) = judged(trained, [51])
    assert verdict.parts == "all" and verdict.learned == 48
    speaking = {item.stage for item in verdict.evidence if item.weight > 0}
    assert {"bayes", "ngrams", "reputation"} <= speaking
    assert [item.stage for item in verdict.evidence] == [stage.name for stage in STAGES]
    assert verdict.probability > 0.5 > judged(trained, [50])[0].probability


@pytest.mark.parametrize("size", [1, 2, 3, 7, 31, 32, 33, 64])
def test_the_same_bits_in_any_batch(trained, size):
    numbers = list(range(40, 60)) * 4
    assert judged(trained, numbers, size=size) == judged(trained, numbers, size=len(numbers))


PROGRAM = """
import sys, json
from pathlib import Path
from tests.unit.filter.test_parts import judged
found = judged(Path(sys.argv[1]), range(40, 60), size=5)
print(json.dumps([[v.probability.hex(), [e.probability.hex() for e in v.evidence]] for v in found]))
"""


def test_the_same_bits_in_another_process(trained):
    here = [[v.probability.hex(), [e.probability.hex() for e in v.evidence]] for v in judged(trained, range(40, 60))]
    environment = os.environ | {"PYTHONHASHSEED": "77", "OPENBLAS_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(trained)], capture_output=True, check=True, env=environment
    )
    assert json.loads(done.stdout) == here


def test_a_batch_that_raises_is_asked_again_one_by_one(trained):
    def run(features, context):
        if features.structure.subject.endswith("41"):
            raise ZeroDivisionError
        return Evidence("odd", 0.9, 1.0, ())

    def run_batch(questions):
        return [run(*question) for question in questions]

    stages = (*STAGES, Stage("odd", run, 0.001, run_batch))
    found = judged(trained, [40, 41, 42], stages=stages)
    assert [verdict.parts for verdict in found] == ["all", "fallback", "all"]
    assert found[1].evidence[-1] == no_opinion("odd", "error ZeroDivisionError")


# -- one-sided accounts --------------------------------------------------------


@pytest.mark.parametrize("thresholds", [JunkFilter(), JunkFilter(junk=0.05, reject=0.1), JunkFilter(junk=0.0)])
def test_an_account_taught_spam_only_files_by_what_needs_no_teaching(tmp_path, thresholds):
    writer, one = pupil(tmp_path)
    say(writer, one, dict.fromkeys(range(1, 2 * SURE + 20, 2), "spam"))
    writer.close()
    bare = [stage for stage in STAGES if stage.learned]
    (verdict,) = judged(tmp_path, [51], stages=bare)
    assert verdict.acts == 0.0
    assert decide(thresholds, verdict).place == "inbox"
    (verdict,) = judged(tmp_path, [51])
    (untaught,) = judged(tmp_path, [51], name="stranger")
    assert verdict.acts <= untaught.probability + 1e-9


def test_a_few_spam_alone_are_told_as_inbox_too(tmp_path):
    writer, one = pupil(tmp_path)
    say(writer, one, dict.fromkeys(range(1, 20, 2), "spam"))
    writer.close()
    (verdict,) = judged(tmp_path, [51], stages=[stage for stage in STAGES if stage.learned])
    assert 0.0 < verdict.probability < 0.3


# -- files ---------------------------------------------------------------------


def test_a_file_of_version_1_is_upgraded_and_filled(tmp_path):
    """As the first release left it: words only. Its messages are in the store but one."""
    account = Account()
    account.messages = {n: mail(n, n % 2 == 1) for n in range(30)}
    (tmp_path / "u0").mkdir()
    connection = sqlite3.connect(junk_path(tmp_path, "u0"))
    connection.executescript(
        """CREATE TABLE JUNKFILTER (id INTEGER PRIMARY KEY CHECK (id = 1), MessageTotal INTEGER NOT NULL,
        MessageHam INTEGER NOT NULL, MessageSpam INTEGER NOT NULL, Threshold REAL NOT NULL);
        INSERT INTO JUNKFILTER VALUES (1, 30, 15, 15, 0.3);
        CREATE TABLE WORD (Word TEXT PRIMARY KEY, Ham INTEGER NOT NULL, Spam INTEGER NOT NULL) WITHOUT ROWID;
        CREATE TABLE trained (message INTEGER PRIMARY KEY, label TEXT NOT NULL, tokens BLOB NOT NULL);
        CREATE TABLE state (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
        INSERT INTO state VALUES ('outbox', 7); PRAGMA user_version=1; PRAGMA journal_mode=WAL;"""
    )
    counts = {}
    for n in range(30):
        label, tokens = ("ham", "spam")[n % 2], list(read(account.messages[n]).words(2))
        for token in tokens:
            counts.setdefault(token, [0, 0])[n % 2] += 1
        connection.execute("INSERT INTO trained VALUES (?, ?, ?)", (n, label, zlib.compress(msgpack.packb(tokens))))
    connection.executemany("INSERT INTO WORD VALUES (?, ?, ?)", [(word, *both) for word, both in counts.items()])
    connection.commit()
    connection.close()
    assert judged(tmp_path, [51])[0].learned == 30  # readers do with it before the trainer comes
    gone = account.messages.pop(3)
    assert due(account, tmp_path)
    state = retrain(account, tmp_path, SETTINGS, LOG)
    assert (state.messages, state.ham, state.spam, state.outbox) == (30, 15, 15, 7)
    assert not due(account, tmp_path)
    assert judged(tmp_path, [51])[0].evidence[1].weight > 0
    writer = Writer(junk_path(tmp_path, "u0"))
    assert sorted(writer.trained(3).tokens.tolist()) == sorted(hashes(read(gone).words(2)).tolist())
    writer.close()


def test_a_file_that_another_has_changed_is_opened_anew(tmp_path):
    account = Account()
    account.messages = {n: mail(n, n % 2 == 1) for n in range(40)}
    (tmp_path / "u0").mkdir()
    desk = Desk(tmp_path, LOG)
    for n in range(20):
        account.says(n, ("ham", "spam")[n % 2])
    desk.learn(account, SETTINGS)
    retrain(account, tmp_path, SETTINGS, LOG)  # by another process
    for n in range(20, 30):
        account.says(n, ("ham", "spam")[n % 2])
    desk.learn(account, SETTINGS)
    desk.settle("u0")
    once = sums(tmp_path)
    desk.close()
    retrain(account, tmp_path, SETTINGS, LOG)
    assert sums(tmp_path)[:2] == once[:2] and sums(tmp_path)[1][0][1] == 30


def test_states_are_whole_after_any_number_of_lessons(tmp_path):
    """Opened anew after each lesson, or kept open: the same read-outs."""
    writer, one = pupil(tmp_path, "u0")
    for n in range(40):
        say(writer, one, {n: ("ham", "spam")[n % 2]})
        again, other = pupil(tmp_path, "u1")
        say(again, other, {n: ("ham", "spam")[n % 2]})
        again.close()
    writer.close()
    kept, anew = sums(tmp_path, "u0"), sums(tmp_path, "u1")
    names = [name for name in kept[2] if name.startswith(("ngrams", "combine"))]  # the network keeps the time too
    assert names and kept[:2] == anew[:2] and [kept[2][name] for name in names] == [anew[2][name] for name in names]
    assert judged(tmp_path, [51], "u0")[0].probability == judged(tmp_path, [51], "u1")[0].probability


def test_retraining_gives_the_same_verdicts_and_can_be_undone(tmp_path):
    account = Account()
    account.messages = {n: mail(n, n % 2 == 1) for n in range(40)}
    (tmp_path / "u0").mkdir()
    for n in range(40):
        account.says(n, ("ham", "spam")[n % 2])
    learn(account, tmp_path, SETTINGS, LOG)
    before = sums(tmp_path)
    seen = []
    retrain(account, tmp_path, SETTINGS, LOG, lambda done, of: seen.append((done, of)))
    assert sums(tmp_path)[:2] == before[:2] and seen[-1] == (40, 40)
    account.messages.clear()  # from what they had added
    retrain(account, tmp_path, SETTINGS, LOG)
    assert sums(tmp_path)[:2] == before[:2]
    for n in range(40):
        account.says(n, "")
    learn(account, tmp_path, SETTINGS, LOG)
    assert sums(tmp_path)[0] == []


def test_a_damaged_part_starts_afresh_and_waits_for_a_retraining(tmp_path):
    account = Account()
    account.messages = {n: mail(n, n % 2 == 1) for n in range(30)}
    (tmp_path / "u0").mkdir()
    for n in range(24):
        account.says(n, ("ham", "spam")[n % 2])
    learn(account, tmp_path, SETTINGS, LOG)
    connection = sqlite3.connect(junk_path(tmp_path, "u0"))
    connection.execute("UPDATE part SET data = x'00' WHERE name LIKE 'ngrams%'")
    connection.commit()
    connection.close()
    (verdict,) = judged(tmp_path, [51])
    assert verdict.evidence[1].weight == 0.0 and verdict.evidence[0].weight > 0.0
    account.says(25, "spam")
    assert learn(account, tmp_path, SETTINGS, LOG).retrain
    retrain(account, tmp_path, SETTINGS, LOG)
    assert judged(tmp_path, [51])[0].evidence[1].weight > 0.0


def test_old_contributions_are_folded_and_stay_in_the_sums(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "KEEP", 5)
    monkeypatch.setattr(parts, "OFTEN", 2)
    writer, one = pupil(tmp_path)
    for n in range(12):
        say(writer, one, {n: ("ham", "spam")[n % 2]})
    assert writer.trained(2).tokens is None and writer.contributions(2) == {}
    assert len(writer.trained(11).tokens) and set(writer.contributions(11)) <= {learner.name for learner in LEARNERS}
    before = sums(tmp_path)
    say(writer, one, {2: ""})
    assert sums(tmp_path) == before and writer.trained(2) is None
    writer.close()


def test_readers_of_words_only_ignore_parts(tmp_path, trained):
    reader = Reader(junk_path(trained, "u0"))
    reader.totals()
    assert reader.model("ngrams") is None
    assert set(reader.sizes()) >= {"ngrams", "ngrams.read", "combine", "contributions"}
    reader.close()


TRACE = (
    b"Return-Path: <a@b.example>\r\nDelivered-To: u@here.example\r\n"
    b"Received: from mail.b.example (mx.b.example [192.0.2.7])\r\n\tby here.example with ESMTPS\r\n"
    b"\t(TLSv1.3 X) id 1 for <u@here.example>; Mon, 1 Jan 2024 10:00:00 +0000\r\n"
    b"Authentication-Results: here.example;\r\n\tspf=pass smtp.mailfrom=b.example;\r\n\tdkim=fail\r\n"
)


def test_the_envelope_is_read_from_our_own_trace_fields():
    found = envelope_of(TRACE)
    assert (found.mail_from, found.remote_ip, found.helo, found.tls) == (
        "a@b.example", "192.0.2.7", "mail.b.example", True,
    )  # fmt: skip
    assert found.auth == (("spf", "pass"), ("dkim", "fail"), ("spf-domain", "b.example"))
    assert envelope_of(b"").remote_ip == "" and found.told == ()
    evidence = (Evidence("bayes", 0.9876, 0.3, ("cheap 0/9",)), Evidence("esn", 0.5, 0.0, ("p=0.1*0.1",)))
    header = decide(SETTINGS, Verdict("u0", 0.9, evidence, "all", 30)).header
    assert envelope_of(TRACE + header).told == (("bayes", 0.9876),)
    assert envelope_of(b"Received: from x ([IPv6:2001:db8::1]) by y with SMTP;\r\n").remote_ip == "2001:db8::1"


@pytest.mark.parametrize(
    "field, sent_on",
    [
        (b"X-EchoMox-Rule: inbox; reason=below-junk,ruleset-forward\r\n", True),
        (b"X-EchoMox-Rule: inbox;\r\n\treason=ruleset-forward,dnsbl:x.example\r\n", True),
        (b"X-EchoMox-Rule: inbox; reason=below-junk,ruleset-list\r\n", False),
        (b"X-EchoMox-Rule: inbox; reason=ruleset\r\nX-Other: a,ruleset-forward\r\n", False),
    ],
)
def test_what_a_forwarder_has_sent_on_is_learnt_without_its_peer(field, sent_on):
    """As it was judged: `delivery.local` leaves the same out."""
    found = envelope_of(TRACE + field)
    assert (found == Envelope(tls=True)) is sent_on
    assert sent_on or found == envelope_of(TRACE)
