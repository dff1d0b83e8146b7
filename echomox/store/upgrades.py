"""The versions of index.db: what brings an older one to the newest.

Each step is one short transaction, however many messages there are: rows that a newer version writes otherwise, or of
which it keeps more, stay as they are, and `backlog` works them off afterwards, some at a time. state.older says up to
which id there may be such.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from echomox.store.engine import StoreError

VERSION = 9
_AFFECTIVE_STATE = """CREATE TABLE affective_state (
    content INTEGER PRIMARY KEY,
    joy REAL NOT NULL,
    sadness REAL NOT NULL,
    anger REAL NOT NULL,
    fear REAL NOT NULL,
    disgust REAL NOT NULL,
    interest REAL NOT NULL,
    surprise REAL NOT NULL,
    valence REAL NOT NULL,
    arousal REAL NOT NULL,
    dominance REAL NOT NULL
);
CREATE TRIGGER content_takes_affect AFTER DELETE ON content
    BEGIN DELETE FROM affective_state WHERE content = old.id; END;

CREATE VIEW v_affective_state AS
    SELECT m.id AS MessageID, a.joy AS Joy, a.sadness AS Sadness, a.anger AS Anger, a.fear AS Fear,
           a.disgust AS Disgust, a.interest AS Interest, a.surprise AS Surprise, a.valence AS Valence,
           a.arousal AS Arousal, a.dominance AS Dominance
    FROM message m JOIN affective_state a ON a.content = m.content;"""
_SENT = """CREATE TABLE correspondent (
    id INTEGER PRIMARY KEY,
    address TEXT NOT NULL UNIQUE,
    first REAL NOT NULL,
    last REAL NOT NULL,
    times INTEGER NOT NULL
);
CREATE TABLE outgoing (
    piece INTEGER PRIMARY KEY,
    recipients INTEGER NOT NULL,
    first_time INTEGER NOT NULL
);"""
_ANNOTATION = """CREATE TABLE annotation (
    mailbox_id INTEGER NOT NULL,
    entry TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (mailbox_id, entry)
) WITHOUT ROWID;
CREATE TRIGGER mailbox_takes_annotations AFTER UPDATE OF name ON mailbox WHEN new.name IS NULL
    BEGIN DELETE FROM annotation WHERE mailbox_id = old.id; END;"""
_SORTING = """CREATE TABLE sorting (
    content INTEGER PRIMARY KEY,
    thread INTEGER NOT NULL,
    sent INTEGER NOT NULL,
    reply INTEGER NOT NULL,
    subject INTEGER NOT NULL,
    from_box INTEGER NOT NULL,
    to_box INTEGER NOT NULL,
    cc_box INTEGER NOT NULL,
    from_name INTEGER NOT NULL,
    to_name INTEGER NOT NULL,
    name INTEGER NOT NULL,
    refs BLOB NOT NULL
);
CREATE TRIGGER content_takes_sorting AFTER DELETE ON content
    BEGIN DELETE FROM sorting WHERE content = old.id; END;
CREATE TABLE sort_text (
    text TEXT PRIMARY KEY,
    id INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE thread_name (
    name INTEGER PRIMARY KEY,
    thread INTEGER NOT NULL
);"""
_SHARING = """CREATE TABLE acl (
    mailbox_id INTEGER NOT NULL,
    who TEXT NOT NULL,
    rights TEXT NOT NULL,
    PRIMARY KEY (mailbox_id, who)
) WITHOUT ROWID;
CREATE TRIGGER mailbox_takes_acl AFTER UPDATE OF name ON mailbox WHEN new.name IS NULL
    BEGIN DELETE FROM acl WHERE mailbox_id = old.id; END;
CREATE TABLE virtual (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    search TEXT NOT NULL,
    special_use TEXT NOT NULL,
    uidvalidity INTEGER NOT NULL,
    uidnext INTEGER NOT NULL DEFAULT 1,
    recent INTEGER NOT NULL DEFAULT 1,
    modseq INTEGER NOT NULL,
    seen INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE virtual_member (
    virtual_id INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    message_id INTEGER NOT NULL,
    modseq INTEGER NOT NULL,
    PRIMARY KEY (virtual_id, uid)
) WITHOUT ROWID;
CREATE UNIQUE INDEX virtual_member_by_message ON virtual_member (virtual_id, message_id);
CREATE INDEX virtual_member_by_modseq ON virtual_member (virtual_id, modseq);
CREATE TABLE virtual_expunged (
    virtual_id INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    modseq INTEGER NOT NULL,
    PRIMARY KEY (virtual_id, uid)
) WITHOUT ROWID;"""
_COMPACT = """ALTER TABLE content ADD COLUMN form INTEGER NOT NULL DEFAULT 0;
ALTER TABLE content ADD COLUMN rest BLOB NOT NULL DEFAULT x'';
ALTER TABLE state ADD COLUMN older INTEGER NOT NULL DEFAULT 0;
ALTER TABLE state ADD COLUMN sorted INTEGER NOT NULL DEFAULT 0;
ALTER TABLE state ADD COLUMN packed INTEGER NOT NULL DEFAULT 0;
UPDATE state SET older = coalesce((SELECT max(id) FROM content), 0),
                 sorted = coalesce((SELECT max(content) FROM sorting), 0);"""
_VOCABULARY = """ALTER TABLE state ADD COLUMN vocabulary INTEGER NOT NULL DEFAULT 0;
CREATE TABLE bulk (
    content INTEGER PRIMARY KEY,
    rest BLOB NOT NULL,
    verdict BLOB NOT NULL
);
CREATE TRIGGER content_takes_bulk AFTER DELETE ON content
    BEGIN DELETE FROM bulk WHERE content = old.id; END;
CREATE TABLE vocabulary (
    id INTEGER PRIMARY KEY,
    made INTEGER NOT NULL,
    rest BLOB NOT NULL,
    trace BLOB NOT NULL
);
CREATE TABLE muted (thread INTEGER PRIMARY KEY);
CREATE TABLE affect (
    content INTEGER PRIMARY KEY,
    joy INTEGER NOT NULL,
    sadness INTEGER NOT NULL,
    anger INTEGER NOT NULL,
    fear INTEGER NOT NULL,
    disgust INTEGER NOT NULL,
    interest INTEGER NOT NULL,
    surprise INTEGER NOT NULL,
    valence INTEGER NOT NULL,
    arousal INTEGER NOT NULL,
    dominance INTEGER NOT NULL
);
CREATE TRIGGER content_takes_exact_affect AFTER DELETE ON content
    BEGIN DELETE FROM affect WHERE content = old.id; END;
DROP VIEW v_affective_state;
CREATE VIEW v_affective_state AS
    SELECT m.id AS MessageID, a.joy AS Joy, a.sadness AS Sadness, a.anger AS Anger, a.fear AS Fear,
           a.disgust AS Disgust, a.interest AS Interest, a.surprise AS Surprise, a.valence AS Valence,
           a.arousal AS Arousal, a.dominance AS Dominance
    FROM message m JOIN affective_state a ON a.content = m.content
    UNION ALL
    SELECT m.id, a.joy / 10000.0, a.sadness / 10000.0, a.anger / 10000.0, a.fear / 10000.0, a.disgust / 10000.0,
           a.interest / 10000.0, a.surprise / 10000.0, a.valence / 10000.0, a.arousal / 10000.0, a.dominance / 10000.0
    FROM message m JOIN affect a ON a.content = m.content;
DROP VIEW v_part;
CREATE VIEW v_part AS
    SELECT m.id AS MessageID, p.key AS PartNum, json_extract(p.value, '$[1]') AS ContentType,
           json_extract(p.value, '$[4]') AS Disposition, json_extract(p.value, '$[9]') AS Size,
           json_extract(p.value, '$[8]') AS BodyOffset, json_extract(p.value, '$[0]') AS Path,
           json_extract(p.value, '$[5]') AS Filename
    FROM message m JOIN content c ON c.id = m.content,
         json_each(CASE WHEN c.parts LIKE '[%' THEN c.parts ELSE '[]' END) p
    UNION ALL
    SELECT m.id, 0, CASE substr(c.parts, 1, 2) WHEN 'p ' THEN 'text/plain' WHEN 'h ' THEN 'text/html'
                    ELSE substr(c.parts, 1, instr(c.parts, ' ') - 1) END,
           '', c.file_size - c.header_size, c.header_size, '1', ''
    FROM message m JOIN content c ON c.id = m.content WHERE c.parts NOT LIKE '[%'"""
_CLOSE = "UPDATE state SET vocabulary = 0"
"""One that was made for the older forms has other things; the next one is made at once."""
UPGRADES: Sequence[str] = (_AFFECTIVE_STATE, _SENT, _ANNOTATION, _SORTING, _SHARING, _COMPACT, _VOCABULARY, _CLOSE)
"""UPGRADES[n] brings a database of version n + 1 to n + 2; schema.sql is always the newest."""


class NewerIndex(StoreError):
    """Of a version that this program does not know."""


def upgrade(connection: sqlite3.Connection, account: str) -> None:
    """Brings an older database to VERSION, one transaction a step. Raises NewerIndex."""
    while (version := connection.execute("PRAGMA user_version").fetchone()[0]) != VERSION:
        if version > VERSION:
            raise NewerIndex(
                f"the index of account {account} has version {version}, and this program knows {VERSION} at most; "
                "start the newer echomox that wrote it, or restore the account from a backup"
            )
        connection.execute("BEGIN IMMEDIATE")
        if connection.execute("PRAGMA user_version").fetchone()[0] == version:
            for statement in UPGRADES[version - 1].split(";\n"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version={version + 1}")
        connection.execute("COMMIT")
