"""An account as older versions of its index left it. Of version 8: rows in form 2 and in that of a vocabulary, with
their previews. Of version 7: all rows in form 1, nothing of vocabularies. Of version 6: all in the plain form, no
columns for another."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from echomox.message.mime import parse
from echomox.store.database import FILES_PER_DIRECTORY, connect
from echomox.store.rows import affect, compact, packing
from echomox.store.rows.packing import COMPACT, DENSE, REST, WORDS

VIEWS = (
    """CREATE VIEW v_part AS
    SELECT m.id AS MessageID, p.key AS PartNum, json_extract(p.value, '$[1]') AS ContentType,
           json_extract(p.value, '$[4]') AS Disposition, json_extract(p.value, '$[9]') AS Size,
           json_extract(p.value, '$[8]') AS BodyOffset, json_extract(p.value, '$[0]') AS Path,
           json_extract(p.value, '$[5]') AS Filename
    FROM message m JOIN content c ON c.id = m.content, json_each(c.parts) p""",
    """CREATE VIEW v_affective_state AS
    SELECT m.id AS MessageID, a.joy AS Joy, a.sadness AS Sadness, a.anger AS Anger, a.fear AS Fear,
           a.disgust AS Disgust, a.interest AS Interest, a.surprise AS Surprise, a.valence AS Valence,
           a.arousal AS Arousal, a.dominance AS Dominance
    FROM message m JOIN affective_state a ON a.content = m.content""",
)
ADDED = {"content": ("form", "rest"), "state": ("older", "sorted", "packed")}


def _as_before_8(connection: sqlite3.Connection) -> None:
    connection.execute(
        "INSERT INTO affective_state SELECT content, joy / 10000.0, sadness / 10000.0, anger / 10000.0, fear / 10000.0,"
        " disgust / 10000.0, interest / 10000.0, surprise / 10000.0, valence / 10000.0, arousal / 10000.0,"
        " dominance / 10000.0 FROM affect"
    )
    for name in ("v_affective_state", "v_part"):
        connection.execute(f"DROP VIEW {name}")
    for view in VIEWS:
        connection.execute(view)
    for name in ("content_takes_exact_affect", "content_takes_bulk"):
        connection.execute(f"DROP TRIGGER {name}")
    for name in ("affect", "vocabulary", "bulk", "muted"):
        connection.execute(f"DROP TABLE {name}")
    connection.execute("ALTER TABLE state DROP COLUMN vocabulary")
    connection.execute("PRAGMA user_version=7")


def _values(connection: sqlite3.Connection, path: Path, identity: int) -> dict[str, Any]:
    """Of a content as a row has them that keeps its preview."""
    values = compact.read(connection.execute, identity)
    assert values is not None
    file = path.parent / "msg" / f"{identity // FILES_PER_DIRECTORY:05d}" / str(identity)
    return {"preview": parse(file.read_bytes()).preview, **values}


def to_version_8(path: Path) -> None:
    """path: of index.db; nobody has it open. Every second row is in the form of a vocabulary that was made for it."""
    connection = connect(str(path))
    rest, said = b"Hello, hello", b"Delivered-To: ann"
    number = connection.execute(
        "INSERT INTO vocabulary (made, rest, trace) SELECT next_id, ?, ? FROM state", (rest, said)
    ).lastrowid
    assert number is not None
    connection.execute("UPDATE state SET vocabulary = ?", (number,))
    for (identity,) in connection.execute("SELECT id FROM content").fetchall():
        values = _values(connection, path, identity)
        form = DENSE + number if identity % 2 else DENSE
        words = packing.words_of(rest, said) if identity % 2 else WORDS[DENSE]
        prefix, verdict = compact.trace(connection.execute, identity)
        short, _ = affect.cut(verdict)
        envelope = packing.pack_envelope(values["envelope"], values["subject"], values["message_id"])
        packed = packing.pack_rest([values[name] for name in REST], envelope, words)
        connection.execute(
            "UPDATE content SET form = ?, envelope = ?, prefix = ? WHERE id = ?",
            (form, envelope, packing.pack_prefix(prefix, words), identity),
        )
        connection.execute(compact.BULK, (identity, packed, packing.pack_verdict(short, prefix, words)))
    connection.execute("PRAGMA user_version=8")
    connection.close()


def to_version_7(path: Path) -> None:
    """path: of index.db; nobody has it open."""
    connection = connect(str(path))
    words = WORDS[COMPACT]
    for (identity,) in connection.execute("SELECT id FROM content").fetchall():
        values = _values(connection, path, identity)
        prefix, verdict = compact.trace(connection.execute, identity)
        envelope = packing.shorter_envelope(values["envelope"], values["subject"], values["message_id"])
        rest = packing.pack_rest([values[name] for name in REST], envelope, words)
        packed = packing.pack_prefix(prefix, words), packing.pack_verdict(verdict, prefix, words)
        connection.execute(
            "UPDATE content SET form = 1, parts = ?, envelope = ?, rest = ?, prefix = ?, verdict = ?, delivery = ?"
            " WHERE id = ?",
            (values["parts"], envelope, rest, *packed, f"delivery-{identity}", identity),
        )
    _as_before_8(connection)
    connection.close()


def to_version_6(path: Path) -> None:
    """path: of index.db; nobody has it open."""
    connection = connect(str(path))
    for (identity,) in connection.execute("SELECT id FROM content").fetchall():
        values = _values(connection, path, identity)
        prefix, verdict = compact.trace(connection.execute, identity)
        names = ("envelope", "parts", *REST)
        connection.execute(
            f"UPDATE content SET {', '.join(f'{name} = ?' for name in names)}, prefix = ?, verdict = ? WHERE id = ?",
            (*(values[name] for name in names), prefix, verdict, identity),
        )
    _as_before_8(connection)
    for table, columns in ADDED.items():
        for column in columns:
            connection.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    connection.execute("PRAGMA user_version=6")
    connection.close()
