-- The queue. Times are seconds since 1970. One row of `message` per recipient; the bytes are stored once, in `body` or
-- in the file msg/<first letter>/<name>.

CREATE TABLE content (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT NOT NULL,
    sender TEXT NOT NULL,
    message_id TEXT NOT NULL,
    subject TEXT NOT NULL,
    size INTEGER NOT NULL,                -- prefix and body
    prefix BLOB NOT NULL,
    file TEXT NOT NULL,                   -- "" when the bytes are in body
    ret TEXT NOT NULL,
    envid TEXT NOT NULL,
    smtputf8 INTEGER NOT NULL,
    eightbit INTEGER NOT NULL,
    binary INTEGER NOT NULL,
    tls INTEGER NOT NULL,
    kind TEXT NOT NULL,
    from_id TEXT NOT NULL,
    extra TEXT NOT NULL,                  -- JSON object
    log_id TEXT NOT NULL,
    received_from TEXT NOT NULL,
    queued REAL NOT NULL,
    recipients INTEGER NOT NULL           -- rows of message that are left
);
CREATE INDEX content_from_id ON content (from_id) WHERE from_id != '';
CREATE INDEX content_message_id ON content (message_id) WHERE message_id != '';
CREATE INDEX content_envid ON content (envid) WHERE envid != '';
CREATE INDEX content_file ON content (file) WHERE file != '';

CREATE TABLE body (content INTEGER PRIMARY KEY, data BLOB NOT NULL);

CREATE TABLE message (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    content INTEGER NOT NULL REFERENCES content (id),
    flow INTEGER NOT NULL,
    recipient TEXT NOT NULL,
    domain TEXT NOT NULL,
    orcpt TEXT NOT NULL,
    notify TEXT NOT NULL,                 -- words with commas, sorted
    state TEXT NOT NULL CHECK (state IN ('queued', 'leased', 'held')),
    hold TEXT NOT NULL DEFAULT '',        -- why it is held
    attempts INTEGER NOT NULL DEFAULT 0,
    next_attempt REAL NOT NULL,
    transport TEXT NOT NULL,
    require_tls INTEGER,                  -- NULL, 0 or 1
    delay_told INTEGER NOT NULL DEFAULT 0,
    last_ip TEXT NOT NULL DEFAULT '',
    last_error TEXT NOT NULL DEFAULT '',
    results TEXT NOT NULL DEFAULT '[]',   -- JSON: the last tries
    holder TEXT NOT NULL DEFAULT '',      -- who leases it
    lease_until REAL NOT NULL DEFAULT 0,
    interrupted INTEGER NOT NULL DEFAULT 0 -- its last holder vanished: the try may have succeeded
);
CREATE INDEX message_due ON message (flow, next_attempt) WHERE state = 'queued';
CREATE INDEX message_content ON message (content, flow);
CREATE INDEX message_leased ON message (lease_until) WHERE state = 'leased';

-- What one account sends to one next hop: the unit of fairness. `turn`: when it is next looked at, the later of its
-- earliest message and its place in the line. No row without queued messages.
CREATE TABLE flow (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT NOT NULL,
    hop TEXT NOT NULL,
    turn REAL NOT NULL,
    UNIQUE (account, hop)
);
CREATE INDEX flow_turn ON flow (account, turn, id, hop);
CREATE INDEX flow_next ON flow (turn, hop);
CREATE INDEX flow_hop ON flow (hop);

CREATE TABLE retired (
    id INTEGER PRIMARY KEY,               -- of message
    content INTEGER NOT NULL,
    account TEXT NOT NULL,
    sender TEXT NOT NULL,
    recipient TEXT NOT NULL,
    message_id TEXT NOT NULL,
    subject TEXT NOT NULL,
    size INTEGER NOT NULL,
    from_id TEXT NOT NULL,
    envid TEXT NOT NULL,
    kind TEXT NOT NULL,
    tls INTEGER NOT NULL,
    require_tls INTEGER,
    transport TEXT NOT NULL,
    extra TEXT NOT NULL,
    queued REAL NOT NULL,
    attempts INTEGER NOT NULL,
    status TEXT NOT NULL,                 -- delivered, relayed, failed, suppressed, dropped; bounced: by a later report
    results TEXT NOT NULL,
    retired REAL NOT NULL,
    keep_until REAL NOT NULL
);
CREATE INDEX retired_keep ON retired (keep_until);
CREATE INDEX retired_from_id ON retired (from_id) WHERE from_id != '';
CREATE INDEX retired_message_id ON retired (message_id) WHERE message_id != '';
CREATE INDEX retired_envid ON retired (envid) WHERE envid != '';

CREATE TABLE suppression (
    account TEXT NOT NULL,
    base TEXT NOT NULL,                   -- address without what follows its separator, lower case
    original TEXT NOT NULL,
    manual INTEGER NOT NULL,
    reason TEXT NOT NULL,
    hits INTEGER NOT NULL,                -- answers so far; it counts from the configured number on
    active INTEGER NOT NULL,
    created REAL NOT NULL,
    PRIMARY KEY (account, base)
) WITHOUT ROWID;

CREATE TABLE hold_rule (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT NOT NULL,                -- "" any
    sender_domain TEXT NOT NULL,
    recipient_domain TEXT NOT NULL,
    created REAL NOT NULL
);
