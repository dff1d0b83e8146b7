-- index.db of one account, version 9. Times are Unix seconds, sizes bytes, booleans 0 or 1.
-- Writers hold one short BEGIN IMMEDIATE transaction; see database.py for the pragmas.

-- The one row of counters. Nothing here is ever given twice, not even after a power cut (see recover.py).
CREATE TABLE state (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    modseq INTEGER NOT NULL,              -- highest given (RFC 7162)
    next_id INTEGER NOT NULL,             -- of messages and contents
    synced_id INTEGER NOT NULL,           -- files of contents below this are known to be on disk
    uidvalidity INTEGER NOT NULL,         -- highest given
    epoch INTEGER NOT NULL,               -- the last unclean stop of the server this account was put in order after
    name TEXT NOT NULL,
    instance TEXT NOT NULL,               -- random: a later account of the same name has another
    created REAL NOT NULL,
    settings BLOB NOT NULL DEFAULT x'',
    older INTEGER NOT NULL DEFAULT 0,     -- contents up to this were there before the last upgrade; of them
    sorted INTEGER NOT NULL DEFAULT 0,    -- those up to this have their rows in sorting, and
    packed INTEGER NOT NULL DEFAULT 0,    -- those up to this have a packed form: see backlog.py
    vocabulary INTEGER NOT NULL DEFAULT 0 -- what new contents are packed with; 0: none
);

-- Deleted mailboxes stay as rows without a name, so that their ids are not given again.
CREATE TABLE mailbox (
    id INTEGER PRIMARY KEY,
    name TEXT UNIQUE,
    uidvalidity INTEGER NOT NULL,
    uidnext INTEGER NOT NULL DEFAULT 1,
    special_use TEXT NOT NULL DEFAULT '', -- without a name: '/' and the name it had (see mailboxes.give_up)
    recent INTEGER NOT NULL DEFAULT 1,    -- this UID and higher ones were \Recent in no session yet
    named INTEGER NOT NULL DEFAULT 0,     -- modseq of the last renaming, or of the deletion
    modseq INTEGER NOT NULL,              -- highest of a change in it
    have_counts INTEGER NOT NULL DEFAULT 1,
    total INTEGER NOT NULL DEFAULT 0,
    deleted INTEGER NOT NULL DEFAULT 0,   -- with \Deleted
    unread INTEGER NOT NULL DEFAULT 0,    -- neither \Seen nor \Deleted
    unseen INTEGER NOT NULL DEFAULT 0,    -- not \Seen
    size INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE subscription (name TEXT PRIMARY KEY) WITHOUT ROWID;

-- A message in a mailbox: what changes, what lists show. key = mailbox_id << 32 | uid keeps a mailbox together in UID order.
-- A move keeps the id and gets another key. A copy has an id of its own and shares the content.
CREATE TABLE message (
    key INTEGER PRIMARY KEY,
    id INTEGER NOT NULL,
    content INTEGER NOT NULL,
    mailbox_id INTEGER NOT NULL,
    modseq INTEGER NOT NULL,
    flags INTEGER NOT NULL,               -- bits of engine.Flag
    size INTEGER NOT NULL,                -- prefix and file
    received REAL NOT NULL,               -- INTERNALDATE
    saved REAL NOT NULL,                  -- put into this mailbox (RFC 8514)
    keywords TEXT NOT NULL                -- sorted, one space between
);
CREATE UNIQUE INDEX message_by_id ON message (id);
CREATE INDEX message_by_modseq ON message (mailbox_id, modseq);
CREATE INDEX message_copies ON message (content) WHERE content != id;

-- What does not change: from the one parsing at delivery. The file is msg/<id div 8192, 5 digits>/<id>. Of form 1
-- and higher ones (packing.py), envelope, prefix and verdict are packed and the columns marked * are empty, for `rest`
-- has them; of form 2 and higher ones, and of those below 0 (close.py), which have no preview, `bulk` has rest and verdict,
-- parts may be short and delivery is a checksum. Of form 0, which versions before 7 wrote, all is as it stands.
CREATE TABLE content (
    id INTEGER PRIMARY KEY,               -- the id of the first message that had it
    crc INTEGER NOT NULL,                 -- CRC-32 of the file
    file_size INTEGER NOT NULL,
    header_size INTEGER NOT NULL,
    sent REAL NOT NULL,
    sent_day TEXT NOT NULL,
    eight_bit INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    in_reply_to TEXT NOT NULL,            -- *
    subject TEXT NOT NULL,
    from_text TEXT NOT NULL,              -- *
    to_text TEXT NOT NULL,                -- *
    cc_text TEXT NOT NULL,                -- *
    bcc_text TEXT NOT NULL,               -- *
    mail_from TEXT NOT NULL,              -- *
    remote_ip TEXT NOT NULL,              -- *
    delivery TEXT NOT NULL,
    prefix BLOB NOT NULL,                 -- this recipient's trace headers
    envelope BLOB NOT NULL,
    body BLOB NOT NULL,                   -- *
    bodystructure BLOB NOT NULL,          -- *
    parts TEXT NOT NULL,                  -- JSON: list of message.structure.Part as lists
    refs TEXT NOT NULL,                   -- * References, separated by spaces
    preview TEXT NOT NULL,                -- *
    verdict TEXT NOT NULL,                -- JSON of the filter's verdict
    defects TEXT NOT NULL,                -- * separated by newlines
    form INTEGER NOT NULL DEFAULT 0,
    rest BLOB NOT NULL DEFAULT x''
);

-- What is seldom wanted of contents of forms but 0 and 1, apart, so that what is listed stands closer together.
CREATE TABLE bulk (
    content INTEGER PRIMARY KEY,
    rest BLOB NOT NULL,
    verdict BLOB NOT NULL
);
CREATE TRIGGER content_takes_bulk AFTER DELETE ON content
    BEGIN DELETE FROM bulk WHERE content = old.id; END;

-- What contents of form -2 and lower ones are packed with, and of version 8 of form 3 and higher ones, besides what all
-- accounts have in common: -2 and 3 are with number 1.
-- Rows never change. made: next_id when it was made. See vocabulary.py.
CREATE TABLE vocabulary (
    id INTEGER PRIMARY KEY,
    made INTEGER NOT NULL,
    rest BLOB NOT NULL,
    trace BLOB NOT NULL
);

-- What the message feels like, by the filter's affective stage: only where it was classified. In `affect` as multiples
-- of 1/10000; in the other where such are not exact, and of versions before 8. See affect.py.
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
CREATE TABLE affective_state (
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

-- What messages are sorted and threaded by; see sortkeys.py. Ids of texts are 0 for "".
CREATE TABLE sorting (
    content INTEGER PRIMARY KEY,
    thread INTEGER NOT NULL,              -- the content that was the first of it
    sent INTEGER NOT NULL,                -- the internal date where the message has no date
    reply INTEGER NOT NULL,               -- the subject says that it is one, or forwarded
    subject INTEGER NOT NULL,             -- sort_text.id of the base subject
    from_box INTEGER NOT NULL,
    to_box INTEGER NOT NULL,
    cc_box INTEGER NOT NULL,
    from_name INTEGER NOT NULL,
    to_name INTEGER NOT NULL,
    name INTEGER NOT NULL,                -- hash of the message id, 0 for none
    refs BLOB NOT NULL                    -- hashes of the references, int64, little-endian
);
CREATE TRIGGER content_takes_sorting AFTER DELETE ON content
    BEGIN DELETE FROM sorting WHERE content = old.id; END;
CREATE TABLE sort_text (
    text TEXT PRIMARY KEY,
    id INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE thread_name (
    name INTEGER PRIMARY KEY,             -- hash of a message id
    thread INTEGER NOT NULL
);

-- Threads into which mail is delivered as \Seen; see muted.py.
CREATE TABLE muted (thread INTEGER PRIMARY KEY);

-- Tombstones: what a client that comes back after a year must be told (RFC 7162 3.2.6).
CREATE TABLE expunged (
    key INTEGER PRIMARY KEY,
    id INTEGER NOT NULL,                  -- 0 where no message may ever have been
    mailbox_id INTEGER NOT NULL,
    modseq INTEGER NOT NULL
);
CREATE INDEX expunged_by_modseq ON expunged (mailbox_id, modseq);

-- Files to unlink once the removal of their rows is on disk.
CREATE TABLE erase (content INTEGER PRIMARY KEY);

-- Keywords in the case they were first seen in; and those that each mailbox has had.
CREATE TABLE keyword (name TEXT PRIMARY KEY COLLATE NOCASE) WITHOUT ROWID;
CREATE TABLE mailbox_keyword (
    mailbox_id INTEGER NOT NULL,
    name TEXT NOT NULL COLLATE NOCASE,
    PRIMARY KEY (mailbox_id, name)
) WITHOUT ROWID;

CREATE TABLE secret (scheme TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE login (
    id INTEGER PRIMARY KEY,
    time REAL NOT NULL,
    address TEXT NOT NULL,
    protocol TEXT NOT NULL,
    mechanism TEXT NOT NULL,
    result TEXT NOT NULL,
    remote_ip TEXT NOT NULL
);

-- What the user said of a message, for the trainer: label 'spam', 'ham' or '' (no longer either).
CREATE TABLE learn_outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    message_id INTEGER NOT NULL,
    label TEXT NOT NULL
);

-- Whom the account has written to; and how much it has sent to other servers, by pieces of five minutes (sent.py).
CREATE TABLE correspondent (
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
);

-- METADATA (RFC 5464); mailbox 0 is the account itself.
CREATE TABLE annotation (
    mailbox_id INTEGER NOT NULL,
    entry TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (mailbox_id, entry)
) WITHOUT ROWID;
CREATE TRIGGER mailbox_takes_annotations AFTER UPDATE OF name ON mailbox WHEN new.name IS NULL
    BEGIN DELETE FROM annotation WHERE mailbox_id = old.id; END;

-- Whom mailboxes are shared with (ACL, RFC 4314): account names or "anyone", with "-" before them for negative rights.
CREATE TABLE acl (
    mailbox_id INTEGER NOT NULL,
    who TEXT NOT NULL,
    rights TEXT NOT NULL,                 -- of imap.acl.RIGHTS, in that order
    PRIMARY KEY (mailbox_id, who)
) WITHOUT ROWID;
CREATE TRIGGER mailbox_takes_acl AFTER UPDATE OF name ON mailbox WHEN new.name IS NULL
    BEGIN DELETE FROM acl WHERE mailbox_id = old.id; END;

-- Mailboxes that are searches (virtual.py). Outside of these tables their ids are negative.
CREATE TABLE virtual (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    search TEXT NOT NULL,                 -- a SEARCH program as IMAP writes it
    special_use TEXT NOT NULL,
    uidvalidity INTEGER NOT NULL,
    uidnext INTEGER NOT NULL DEFAULT 1,
    recent INTEGER NOT NULL DEFAULT 1,
    modseq INTEGER NOT NULL,              -- of the last change of its members
    seen INTEGER NOT NULL DEFAULT 0       -- modseq of the account up to which members are known
);
CREATE TABLE virtual_member (
    virtual_id INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    message_id INTEGER NOT NULL,
    modseq INTEGER NOT NULL,              -- when it came in
    PRIMARY KEY (virtual_id, uid)
) WITHOUT ROWID;
CREATE UNIQUE INDEX virtual_member_by_message ON virtual_member (virtual_id, message_id);
CREATE INDEX virtual_member_by_modseq ON virtual_member (virtual_id, modseq);
CREATE TABLE virtual_expunged (
    virtual_id INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    modseq INTEGER NOT NULL,
    PRIMARY KEY (virtual_id, uid)
) WITHOUT ROWID;

-- The tables of the data architecture under their own column names.
CREATE VIEW v_account AS
    SELECT name AS Name, 'accounts/' || name AS Dir, 'msg' AS DestinationDir, 'junk.db' AS JunkFilter,
           0 AS ReservoirState, settings AS Settings
    FROM state;

CREATE VIEW v_mailbox AS
    SELECT id AS ID, uidvalidity AS UIDValidity, uidnext AS UIDNext, name AS Name, have_counts AS HaveCounts, total AS Total,
           deleted AS Deleted, unread AS Unread, unseen AS Unseen, size AS Size
    FROM mailbox WHERE name IS NOT NULL;

CREATE VIEW v_message AS
    SELECT m.id AS ID, m.key & 4294967295 AS UID, m.mailbox_id AS MailboxID, c.message_id AS MessageID, c.subject AS Subject,
           m.size AS Size, m.received AS Received, c.remote_ip AS RemoteIP, (m.flags & 64) != 0 AS Junk,
           (m.flags & 128) != 0 AS Notjunk, (m.flags & 1) != 0 AS Seen, (m.flags & 2) != 0 AS Answered,
           (m.flags & 4) != 0 AS Flagged, (m.flags & 32) != 0 AS Forwarded, (m.flags & 16) != 0 AS Draft,
           (m.flags & 8) != 0 AS Deleted, printf('msg/%05d/%d', m.content / 8192, m.content) AS File
    FROM message m JOIN content c ON c.id = m.content;

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
    FROM message m JOIN content c ON c.id = m.content WHERE c.parts NOT LIKE '[%';

CREATE VIEW v_affective_state AS
    SELECT m.id AS MessageID, a.joy AS Joy, a.sadness AS Sadness, a.anger AS Anger, a.fear AS Fear,
           a.disgust AS Disgust, a.interest AS Interest, a.surprise AS Surprise, a.valence AS Valence,
           a.arousal AS Arousal, a.dominance AS Dominance
    FROM message m JOIN affective_state a ON a.content = m.content
    UNION ALL
    SELECT m.id, a.joy / 10000.0, a.sadness / 10000.0, a.anger / 10000.0, a.fear / 10000.0, a.disgust / 10000.0,
           a.interest / 10000.0, a.surprise / 10000.0, a.valence / 10000.0, a.arousal / 10000.0, a.dominance / 10000.0
    FROM message m JOIN affect a ON a.content = m.content;
