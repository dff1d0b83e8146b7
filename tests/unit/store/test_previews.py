"""Previews that are made from the file: the same that parsing gives."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from echomox.config.paths import Paths
from echomox.message.mime import parse
from echomox.store.content import WHOLE_READ
from echomox.store.rows import previews
from echomox.store.sqlite import SqliteEngine
from tests.contract.stores import ALICE, add, message
from tests.corpus import sample

LONG = f"> {'quoted ' * 20}\r\n" * 300 + "New words\r\n"
HEAD = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n"
LARGE = "A" * 76 + "\r\n"
PARTS = f"--b\r\nContent-Type: application/x\r\n\r\n{LARGE * (WHOLE_READ // 76)}--b\r\n\r\nBehind it\r\n--b--\r\n"
TEXTS = {
    "plain": message(body="The text.\r\n"),
    "none": message(body=""),
    "after a long quotation": message(body=LONG),
    "html": message(body="<p>Hello <b>there</b>", headers="Content-Type: text/html\r\n"),
    "behind a large part": message(body=PARTS, headers=HEAD),
    "in uuencode": message(body="begin 644 x\r\n#0V%T\r\n`\r\nend\r\n", headers="Content-Transfer-Encoding: x-uue\r\n"),
    "a lone surrogate": message(body="+2AA-\r\n", headers="Content-Type: text/plain; charset=utf-7\r\n"),
}


@pytest.mark.parametrize("source", TEXTS.values(), ids=TEXTS)
def test_it_is_as_parsing_gives_it(source: bytes, tmp_path: Path) -> None:
    file = tmp_path / "1"
    file.write_bytes(source)
    parsed = parse(source)
    assert previews.of_file(str(file), len(source), parsed.parts) == parsed.preview.encode("utf-8", "replace").decode()


def test_a_file_that_is_not_whole_has_none(tmp_path: Path) -> None:
    source = message(body="The text.\r\n")
    parts = parse(source).parts
    file = tmp_path / "1"
    assert previews.of_file(str(file), len(source), parts) == ""
    file.write_bytes(source[:-4])
    assert previews.of_file(str(file), len(source), parts) == ""


def test_they_come_with_whatever_else_is_asked_for(tmp_path: Path) -> None:
    engine = SqliteEngine(Paths.home(tmp_path))
    engine.recover()
    engine.create(ALICE)
    rng = random.Random(5)
    wanted = []
    for number in range(5):
        source = message(str(number), body=f"{number} {sample.prose(rng, 30, sample.HAM)}\r\n")
        wanted.append((number + 1, parse(source).preview))
        add(engine, source=source, account=ALICE)
    store = engine.open(ALICE)
    every = store.define_virtual("All", "ALL").id
    for box in (store.mailbox("INBOX").id, every):
        store.select(box, claim_recent=False)
        assert list(store.fetch(box, 1, 9, ["uid", "preview"])) == wanted
        for more in (["content"], ["parts"], ["parts", "content", "size"], ["envelope"]):
            rows = list(store.fetch(box, 1, 9, ["preview", *more, "uid"]))
            assert [(row[-1], row[0]) for row in rows] == wanted and {len(row) for row in rows} == {2 + len(more)}
            assert [row[1:-1] for row in rows] == list(store.fetch(box, 1, 9, more))
    engine.close()
