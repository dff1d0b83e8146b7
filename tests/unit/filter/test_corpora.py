"""Corpora in the forms in which others give theirs away, and the JSON service over them."""

import io
import json
import os
import sqlite3

import pytest

from echomox.config.schema import JunkFilter
from echomox.filter.learning.training import Pupil
from echomox.filter.tools import servejson
from echomox.filter.tools.corpus import CorpusError, load
from tests.corpus.shapes import PLACES, SHAPES, shaped
from tests.unit.filter.test_parts import mail


def corpus(directory, count=24):
    lines = []
    for n in range(count):
        (directory / f"{n}.eml").write_bytes(mail(n, n % 2 == 1))
        lines.append(f"{'spam' if n % 2 else 'ham'}\t{n}.eml\t2024-01-{1 + n:02}T00:00:00Z\n")
    (directory / "index.tsv").write_text("".join(lines))
    return directory


def test_an_index_of_trec_is_in_its_order(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "data").mkdir()
    for name in ("inmail.1", "inmail.2", "inmail.10"):
        (tmp_path / "data" / name).write_bytes(b"From a@example.org Sun Apr  8 13:07:32 2007\nSubject: x\n\ny\n")
    index = tmp_path / "full" / "index"
    index.write_text("spam ../data/inmail.10\nham ../data/inmail.1\nSpam ../data/inmail.2\n")
    found = load(tmp_path)
    assert [(one.spam, one.path.name) for one in found] == [
        (True, "inmail.10"),
        (False, "inmail.1"),
        (True, "inmail.2"),
    ]
    for line in ("spam", "maybe ../data/inmail.1", "spam ../data/none"):
        index.write_text(f"ham ../data/inmail.1\n{line}\n")
        with pytest.raises(CorpusError, match="index:2"):
            load(tmp_path)


@pytest.mark.parametrize("name, line", [("index", b"%s %s\n"), ("index.tsv", b"%s\t%s\t2024-01-01T00:00:00Z\n")])
def test_an_index_names_files_by_their_bytes(tmp_path, name, line):
    odd = os.fsdecode(b"odd-\xff")
    (tmp_path / odd).write_bytes(b"Subject: x\n\ny\n")
    (tmp_path / name).write_bytes(b"".join(line % (kind, os.fsencode(odd)) for kind in (b"spam", b"ham")))
    assert [(one.spam, one.path.name) for one in load(tmp_path)] == [(True, odd), (False, odd)]
    (tmp_path / name).write_bytes(b"\x80\xff\n")
    with pytest.raises(CorpusError, match=":1: not label"):
        load(tmp_path)


def test_a_line_of_text_that_begins_with_from_ends_no_message(tmp_path):
    text = b"From a@example.org Sun Apr  8 13:07:32 2007\nSubject: x\n\none\n\nFrom now on, two\n"
    for kind in ("ham", "spam"):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "1").write_bytes(text)
    assert [one.read() for one in load(tmp_path)] == [b"Subject: x\r\n\r\none\r\n\r\nFrom now on, two\r\n"] * 2


def test_kinds_without_dates_are_spread_among_each_other(tmp_path):
    for kind, count in (("ham", 4), ("spam", 2)):
        (tmp_path / kind).mkdir()
        for n in range(count):
            (tmp_path / kind / str(n)).write_bytes(b"Subject: x\ny %d\n" % n)
    found = load(tmp_path)
    assert [one.spam for one in found] == [False, True, False, False, True, False]
    assert [one.path.name for one in found if not one.spam] == ["0", "1", "2", "3"]


def test_line_ends_of_any_kind_become_those_of_smtp(tmp_path):
    for name, data in (("a", b"x\ry\r\rz"), ("b", b"x\ny\n\nz"), ("c", b"x\r\ny\r\n\r\nz"), ("d", b"x\ny\r\n\nz")):
        (tmp_path / name).write_bytes(data)
        assert servejson.Mail(tmp_path / name, False, 0.0).read() == b"x\r\ny\r\n\r\nz"


@pytest.mark.parametrize("shape", [*SHAPES, *PLACES])
def test_each_shape_keeps_its_text(tmp_path, shape):
    mails = load(corpus(tmp_path))
    made = list(shaped(mails, shape))
    assert {spam for spam, _ in made} == {True, False} and all(len(data) > 20 for _, data in made)
    if shape not in PLACES:
        assert [spam for spam, _ in made] == [one.spam for one in mails]


# -- the service -----------------------------------------------------------------


def asked(directory, *requests):
    directory.mkdir(exist_ok=True)
    out = io.StringIO()
    lines = [line if isinstance(line, str) else json.dumps(line) for line in requests]
    servejson.serve(lines, out, directory, JunkFilter())
    return [json.loads(line) for line in out.getvalue().splitlines()]


@pytest.mark.parametrize("shape", ["subject-line", "words", "short"])
def test_text_without_a_header_is_learnt(tmp_path, shape):
    paths = []
    for n, (spam, data) in enumerate(shaped(load(corpus(tmp_path, 28)), shape)):
        paths.append((str(tmp_path / f"shaped{n}"), spam))
        (tmp_path / f"shaped{n}").write_bytes(data)
    lessons = [{"op": "train", "path": path, "spam": spam} for path, spam in paths[:24]]
    found = asked(tmp_path / "x", *lessons, *[{"op": "classify", "path": path} for path, _ in paths[24:]])[24:]
    assert min(found[1]["p"], found[3]["p"]) > max(found[0]["p"], found[2]["p"]) + 0.2


def test_what_cannot_be_done_is_told_and_changes_nothing(tmp_path):
    corpus(tmp_path, 24)
    paths = [str(tmp_path / f"{n}.eml") for n in range(24)]
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "binary").write_bytes(bytes(range(256)) * 200)
    lessons = [{"op": "train", "path": path, "spam": n % 2 == 1} for n, path in enumerate(paths)]
    question = {"op": "classify", "path": paths[3]}
    wrong = [
        "",
        "[]",
        '"classify"',
        "{",
        '{"op": "classify"}',
        {"op": "train", "path": paths[0]},
        {"op": "train", "path": paths[0], "spam": 1},
        {"op": "train", "path": paths[0], "spam": "true"},
        {"op": "forget", "path": paths[0]},
        {"op": ["train"], "path": paths[0], "spam": True},
        {"op": "classify", "path": 7},
        {"op": "classify", "path": ""},
        {"op": "classify", "path": str(tmp_path)},
        {"op": "train", "path": str(tmp_path / "none"), "spam": True},
        {"op": "classify", "path": "\ud800"},
        {"op": "classify", "path": "a" * 5000},
    ]
    found = asked(tmp_path / "x", question, *lessons, question, *wrong, question)
    assert found[0]["p"] < 0.3 and found[1:25] == [{}] * 24
    assert len(found) == 1 + 24 + 1 + len(wrong) - 1 + 1
    assert all(set(answer) == {"error"} and answer["error"] for answer in found[26:-1])
    assert found[-1] == found[25]
    files = [str(tmp_path / name) for name in ("empty", "binary")]
    odd = [{"op": op, "path": path, "spam": True} for path in files for op in ("classify", "train")]
    assert all("error" not in answer for answer in asked(tmp_path / "y", *odd))


def test_a_second_lesson_moves_a_message_and_a_repeated_one_does_nothing(tmp_path):
    corpus(tmp_path, 26)
    paths = [str(tmp_path / f"{n}.eml") for n in range(26)]
    lessons = [{"op": "train", "path": path, "spam": n % 2 == 1} for n, path in enumerate(paths[:24])]
    question = {"op": "classify", "path": paths[25]}
    wrong, right = {**lessons[5], "spam": False}, lessons[5]
    plain = asked(tmp_path / "a", *lessons, question)[-1]
    assert asked(tmp_path / "b", *lessons, *lessons, question)[-1] == plain
    assert asked(tmp_path / "c", *lessons, wrong, question)[-1]["p"] < plain["p"]
    moved = asked(tmp_path / "d", *lessons, wrong, right, question)[-1]
    assert moved["p"] == pytest.approx(plain["p"], abs=0.02)


def test_a_late_label_teaches_what_was_said_then(tmp_path):
    corpus(tmp_path, 28)
    (tmp_path / "x").mkdir()
    service = servejson.Service(tmp_path / "x", JunkFilter())
    paths = [str(tmp_path / f"{n}.eml") for n in range(28)]

    def ask(op, n):
        answer = service.answer(json.dumps({"op": op, "path": paths[n], "spam": n % 2 == 1}))
        assert "error" not in answer

    try:
        for n in range(24):
            ask("train", n)
        ask("classify", 25)
        ask("classify", 27)
        kept = dict(service._verdicts)
        assert [key[0] for key in kept] == [paths[25], paths[27]] and all(kept.values())
        ask("train", 27)
        ask("train", 25)
        assert not service._verdicts
    finally:
        service.close()


def test_a_lesson_that_failed_has_changed_nothing(tmp_path, monkeypatch):
    """As on a full disk."""
    corpus(tmp_path, 26)
    lessons = [{"op": "train", "path": str(tmp_path / f"{n}.eml"), "spam": n % 2 == 1} for n in range(25)]
    question = {"op": "classify", "path": str(tmp_path / "25.eml")}
    plain = asked(tmp_path / "a", *lessons, question)[-1]
    finish, calls = Pupil.finish, []

    def full(self, threshold=None):
        calls.append(1)
        if len(calls) in (8, 20):
            raise sqlite3.OperationalError("database or disk is full")
        finish(self, threshold)

    monkeypatch.setattr(Pupil, "finish", full)
    again = [*lessons[:8], lessons[7], *lessons[8:19], lessons[18], *lessons[19:], question]
    found = asked(tmp_path / "b", *again)
    assert [at for at, answer in enumerate(found) if "error" in answer] == [7, 19]
    assert found[-1] == plain
