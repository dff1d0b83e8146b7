"""Messages read ahead by other processes: the same lessons bit for bit, whatever becomes of those processes."""

import os
import pickle
import signal
import sqlite3

import numpy as np
import pytest

from echomox.config.schema import JunkFilter
from echomox.filter.context import Stage
from echomox.filter.counts.words import Writer, junk_path
from echomox.filter.evidence import outline
from echomox.filter.features import VOCABULARY, Envelope, read
from echomox.filter.learning import ahead, training
from echomox.filter.learning.ahead import CHUNK, WORTH, Ahead, Raw, packed, prepared, sent, unpacked
from echomox.filter.learning.learners import METHOD, Method
from echomox.filter.learning.training import Pupil
from echomox.filter.stages import STAGES, esn, ngrams
from echomox.filter.tokens import Text
from echomox.filter.tools.trial import silent
from tests.unit.filter.test_parts import mail, sums

NUMBER = WORTH + 3 * CHUNK
GONE = {7, 8, 120}
METHOD_WITHOUT_CLOCK = Method(
    tuple(esn.EsnLearner(esn.NETWORK, None, lambda: 0.0) if one is esn.LEARNER else one for one in METHOD.learners)
)


class Source:
    """html: some are bigger and have pages; two are no mail at all."""

    def __init__(self):
        self.asked = []

    def fetch(self, message):
        self.asked.append(message)
        if message in GONE:
            return None
        told = (("bayes", 0.5), ("membranes", 0.25)) if message % 5 == 0 else ()
        return Raw(self.data(message), Envelope("a@b.example", "192.0.2.1", told=told))

    def data(self, message):
        if message in (20, 21):
            return (b"", b"\xff\x00" * 3000)[message % 2]
        page = b"<p>a <b>page</b> <a href=http://x.example/>y</a> caf\xc3\xa9</p>" * 20 if message % 6 == 0 else b""
        return b"Content-Type: text/html; charset=utf-8\r\n" * bool(page) + mail(message, message % 2 == 1) + page

    def __call__(self, message):
        raw = self.fetch(message)
        return raw and read(raw.data, raw.envelope)


def labels():
    return {n: ("ham", "spam")[n % 2] for n in range(NUMBER)}


def contributions(directory):
    connection = sqlite3.connect(junk_path(directory, "u0"))
    found = connection.execute("SELECT * FROM contribution ORDER BY message, part").fetchall()
    connection.close()
    return found


def taught(directory, monkeypatch, number):
    monkeypatch.setattr(training, "helpers", lambda: number)
    monkeypatch.setattr(ahead, "helpers", lambda: number)
    (directory / "u0").mkdir(parents=True)
    writer = Writer(junk_path(directory, "u0"))
    made = []
    for again in (False, True):
        with writer.transaction():
            pupil = Pupil(writer, Source(), JunkFilter(), silent(), METHOD_WITHOUT_CLOCK)
            if again:
                assert list(pupil.relearn())[-1] == (NUMBER - len(GONE),) * 2
            else:
                pupil.set_labels(labels())
            pupil.finish()
        with writer.transaction():
            writer.settle()
        made.append((sums(directory), contributions(directory)))
    writer.close()
    return made


@pytest.mark.parametrize("number", [1, 3])
def test_lessons_are_the_same_bits_with_helpers_and_without(tmp_path, monkeypatch, number):
    assert taught(tmp_path / "a", monkeypatch, number) == taught(tmp_path / "b", monkeypatch, 0)
    with pytest.raises(ChildProcessError):  # none is left
        os.waitpid(-1, os.WNOHANG)


def asked(source, **changed):
    return Ahead(source.fetch, list(range(NUMBER)), 2, STAGES, lambda message, why: None)


def test_messages_come_in_order_and_none_for_those_that_are_gone(monkeypatch):
    monkeypatch.setattr(ahead, "helpers", lambda: 2)
    source = Source()
    with asked(source) as one:
        for message in range(NUMBER):
            found = one(message)
            assert (found is None) == (message in GONE)
            if found:
                assert found.words(2) == source(message).words(2)
                assert found.envelope == source.fetch(message).envelope


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_what_a_helper_had_that_died_is_read_here(monkeypatch, number):
    monkeypatch.setattr(ahead, "helpers", lambda: 2)
    source = Source()
    with asked(source) as one:
        for message in range(NUMBER):
            if message in (2, 40):
                os.kill(one._helpers[0].pid, number)
            assert (one(message) is None) == (message in GONE)
        assert len(one._helpers) < 2


def test_trouble_of_the_disk_goes_up_and_leaves_no_process(monkeypatch):
    monkeypatch.setattr(ahead, "helpers", lambda: 2)
    source = Source()
    plain = source.fetch

    def fetch(message):
        if message == 90:
            raise OSError(5, "no disk")
        return plain(message)

    source.fetch = fetch
    with pytest.raises(OSError, match="no disk"), asked(source) as one:
        for message in range(NUMBER):
            one(message)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_helper_has_nothing_open_but_its_pipes(monkeypatch):
    monkeypatch.setattr(ahead, "helpers", lambda: 2)
    with open(os.devnull) as file, asked(Source()) as one:
        one(0)  # they have begun
        for helper in one._helpers:
            held = {int(name) for name in os.listdir(f"/proc/{helper.pid}/fd")}
            assert file.fileno() not in held and len(held - {0, 1, 2}) == 2


def test_every_message_is_read_once(monkeypatch):
    monkeypatch.setattr(ahead, "helpers", lambda: 2)
    source = Source()
    with asked(source) as one:
        assert [one(message) is None for message in range(NUMBER)] == [message in GONE for message in range(NUMBER)]
    assert sorted(source.asked) == list(range(NUMBER))


def test_answers_come_through_a_narrow_pipe(monkeypatch):
    monkeypatch.setattr(ahead, "helpers", lambda: 1)
    monkeypatch.setattr(ahead, "_PIPE", 4096)
    source = Source()
    with asked(source) as one:
        for message in range(NUMBER):
            found = one(message)
            assert (found.words(2) if found else None) == (None if message in GONE else source(message).words(2))


def test_a_stage_that_raises_costs_no_lesson(monkeypatch):
    def broken(features, context):
        raise ZeroDivisionError

    monkeypatch.setattr(ahead, "helpers", lambda: 1)
    failed = []
    stages = (Stage("broken", broken, 0.001, learned=False), *STAGES)
    with Ahead(Source().fetch, list(range(60)), 2, stages, lambda *what: failed.append(what)) as one:
        assert [one(message) is None for message in range(60)] == [n in GONE for n in range(60)]
    assert failed == []


WORDS = [["a", "größe"], ["two\nlines"], ["\ud800", "a\0b", ""], [""], []]


@pytest.mark.parametrize("singles", WORDS)
@pytest.mark.parametrize("run", WORDS)
def test_texts_arrive_as_they_were(singles, run):
    text = Text(singles, [("", run), ("t:", []), ("t:", ["x", "y"])], min(1, len(singles)))
    for one in (text, Text(singles, []), Text([], [("", run)])):
        assert ahead._text(pickle.loads(pickle.dumps(ahead._written(one)))) == one


def test_a_message_that_cannot_be_read_spoils_no_other(monkeypatch):
    monkeypatch.setattr(ahead, "helpers", lambda: 1)
    plain = ahead.read

    def read_or_fail(data, envelope):
        if data == Source().data(20):
            raise ValueError("no mail")
        return plain(data, envelope)

    monkeypatch.setattr(ahead, "read", read_or_fail)
    failed = []
    with Ahead(Source().fetch, list(range(60)), 2, STAGES, lambda *what: failed.append(what)) as one:
        assert [one(message) is None for message in range(60)] == [n in GONE or n == 20 for n in range(60)]
    assert failed == [(20, "ValueError: no mail")]


def arrays(value):
    """All that stand in what is remembered of a message, in order."""
    if isinstance(value, np.ndarray):
        yield value.dtype, value.shape, value.tobytes()
    elif isinstance(value, dict):
        for one in value.values():
            yield from arrays(one)
    elif isinstance(value, tuple):
        for one in value:
            yield from arrays(one)


def test_what_is_remembered_of_a_message_arrives_as_it_was_made():
    source = Source()
    for message in (1, 6, 20, 21):
        raw = source.fetch(message)
        (one,) = pickle.loads(sent([packed(*prepared([raw], 2, STAGES))])[4:])
        found, wanted = unpacked(one, raw.envelope), read(raw.data, raw.envelope)
        assert VOCABULARY not in found.memo  # nobody asks for it again, and it is larger than all else
        for features in (found, wanted):
            outline(features, 2), ngrams.gaps(features, 2)
        kept = [key for key in wanted.memo if key in found.memo]
        assert len(kept) == len(wanted.memo) >= 3
        for key in kept:
            assert list(arrays(found.memo[key])) == list(arrays(wanted.memo[key]))
        assert list(arrays(found.known)) == list(arrays(wanted.known)) != []
        assert found.memo[ngrams.GAPS, 2] == wanted.memo[ngrams.GAPS, 2]
