"""What is kept for sorting: collation, first addresses, the upgrade of an older database, what tidying takes out."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from echomox.config.paths import Paths
from echomox.message.mime import parse
from echomox.store import sortkeys
from echomox.store.sqlite import SqliteEngine
from echomox.store.verify import verify
from tests.contract.older import to_version_6
from tests.contract.stores import ALICE, add, message


def test_collation() -> None:
    """RFC 5051 2: title case, decomposed, no more."""
    table = {"abc": "ABC", "Ä": "A\u0308", "ä": "A\u0308", "ß": "ß", "ﬁ": "fi", "ς": "Σ", "한": "한"}
    assert {text: sortkeys.collated(text) for text in table} == table
    assert sortkeys.collated("\ud800") == "?"


def keys(header: str) -> sortkeys.Keys:
    one = parse(f"{header}\r\n\r\n.\r\n".encode())
    values = (
        one.message_id,
        one.in_reply_to,
        " ".join(one.references),
        one.subject,
        one.envelope,
        one.sent,
        one.sent_day,
    )
    return sortkeys.keys_of(values, 77.9)


@pytest.mark.parametrize(
    ("header", "texts"),
    [
        ("Subject: x", ("X", "", "", "", "", "")),
        ("From: a@b", ("", "A", "", "", "A@B", "")),
        ('From: "Q \\"t\\" (x)" <a@b>, c@d\r\nTo: e@f, g@h', ("", "A", "E", "", 'Q "T" (X)', "E@F")),
        ("From: Group: a@b, c@d;\r\nCc: x@y", ("", "GROUP", "", "X", "GROUP", "")),
        ("To: =?utf-8?B?w4RyZ2Vy?= <u@v>", ("", "", "U", "", "", "A\u0308RGER")),
        ("Sender: s@t\r\nReply-To: r@t\r\nCc: <>", ("", "", "", "", "", "")),
        (f"From: {'n' * 3000} <a@b>\r\nTo: k@l", ("", "A", "K", "", "N" * 200, "K@L")),
    ],
)
def test_first_addresses(header: str, texts: tuple[str, ...]) -> None:
    assert keys(header).texts == texts


def test_dates_and_references() -> None:
    assert keys("Subject: x").sent == 77
    assert keys("Date: Mon, 02 Nov 2026 10:00:00 +0000").sent == 1_793_613_600
    assert keys("In-Reply-To: <a@b> <c@d>").references == ("<a@b>",)
    assert keys("References: <a@b>\r\n <c@d>\r\nIn-Reply-To: <z@z>").references == ("<a@b>", "<c@d>")
    many = keys("References: " + " ".join(f"<{n}@x>\r\n" for n in range(900))).references
    assert len(many) == sortkeys.REFERENCES and many[-1] == "<899@x>"


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths.home(tmp_path)


def rows(paths: Paths, statement: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(paths.accounts / ALICE / "index.db")
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.commit()
        connection.close()


def test_an_older_database_gets_what_it_lacks(paths: Paths) -> None:
    engine = SqliteEngine(paths)
    engine.recover()
    engine.create(ALICE)
    for number in range(3):
        add(engine, source=message(f"Re: {number}", headers=f"References: <{b'Re: 0'.hex()}@example.org>\r\n"))
    engine.close()
    columns = "content, thread, sent, reply, subject, from_box, to_box, cc_box, from_name, to_name, name, refs"
    before = rows(paths, f"SELECT {columns} FROM sorting")
    to_version_6(paths.accounts / ALICE / "index.db")
    for table in ("sorting", "sort_text", "thread_name", "acl", "virtual", "virtual_member", "virtual_expunged"):
        rows(paths, f"DROP TABLE {table}")
    for trigger in ("mailbox_takes_acl", "content_takes_sorting"):
        rows(paths, f"DROP TRIGGER IF EXISTS {trigger}")
    rows(paths, "PRAGMA user_version=4")
    engine = SqliteEngine(paths)
    store = engine.open(ALICE)
    assert store.mailbox("INBOX").total == 3
    assert rows(paths, "SELECT 1 FROM sorting") == [] and verify(paths, ALICE) == []
    assert store.modernize(lambda: False) > 0 and store.modernize(lambda: False) == 0
    assert rows(paths, f"SELECT {columns} FROM sorting") == before
    store.close()
    rows(paths, "DELETE FROM sorting WHERE content = 2")
    assert [fault.kind for fault in verify(paths, ALICE)] == ["sorting"]
    assert [fault.kind for fault in verify(paths, ALICE, fix=True)] == ["sorting"]
    assert verify(paths, ALICE) == []
    assert [row[0] for row in rows(paths, "SELECT content FROM sorting ORDER BY content")] == [1, 2, 3]
    # What is deleted goes, and what only it had is tidied away.
    store.remove(store.mailbox("INBOX").id, [2, 3])
    assert len(rows(paths, "SELECT 1 FROM sorting")) == 1
    store.tidy_texts(lambda: False)
    assert [text for (text,) in rows(paths, "SELECT text FROM sort_text ORDER BY text")] == ["0", "ANN", "BOB"]
    engine.close()
