-- Times are milliseconds since the Unix epoch. `login` is the Matrix id of an enlisted user, `peer` a WhatsApp JID.
-- Columns marked "sealed" hold AES-256-GCM ciphertext under the sealing key.
-- No foreign keys: the writer reorders statements of different tables inside one transaction.

CREATE TABLE meta (
    key TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- Matrix to WhatsApp: what the homeserver handed over and the bridge has not finished.
CREATE TABLE inbox_txns (
    hs TEXT NOT NULL,
    txn_id TEXT NOT NULL,
    received_ts INTEGER NOT NULL,
    PRIMARY KEY (hs, txn_id)
) WITHOUT ROWID;
CREATE INDEX inbox_txns_ts ON inbox_txns (received_ts);

CREATE TABLE inbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL UNIQUE,
    room_id TEXT NOT NULL,
    sender TEXT NOT NULL,
    type TEXT NOT NULL,
    body BLOB NOT NULL, -- sealed
    received_ts INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_try_ts INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL DEFAULT 'new',
    reason TEXT
);
CREATE INDEX inbox_room ON inbox (room_id, seq);
CREATE INDEX inbox_state ON inbox (state, seq);

CREATE TABLE inbox_todevice (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    hash TEXT NOT NULL UNIQUE,
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    body BLOB NOT NULL -- sealed
);
CREATE INDEX inbox_todevice_user ON inbox_todevice (user_id, seq);

CREATE TABLE inbox_crypto (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    body TEXT NOT NULL
);

-- Enlisted identities and their Signal keys.
CREATE TABLE logins (
    mxid TEXT NOT NULL PRIMARY KEY,
    state TEXT NOT NULL,
    jid TEXT,
    account_id TEXT,
    registration_id INTEGER NOT NULL,
    identity BLOB,  -- sealed
    noise_key BLOB, -- sealed
    next_prekey_id INTEGER NOT NULL,
    routing_info BLOB,
    management_room TEXT,
    last_error TEXT,
    created_ts INTEGER NOT NULL,
    updated_ts INTEGER NOT NULL
);
CREATE INDEX logins_state ON logins (state);
CREATE UNIQUE INDEX logins_jid ON logins (jid) WHERE jid IS NOT NULL;
CREATE UNIQUE INDEX logins_account ON logins (account_id) WHERE account_id IS NOT NULL;
CREATE INDEX logins_management ON logins (management_room);

CREATE TABLE consents (
    mxid TEXT NOT NULL,
    version TEXT NOT NULL,
    accepted_ts INTEGER NOT NULL,
    text_sha256 TEXT NOT NULL,
    withdrawn_ts INTEGER,
    PRIMARY KEY (mxid, version, accepted_ts)
) WITHOUT ROWID;

CREATE TABLE signal_prekeys (
    login TEXT NOT NULL,
    id INTEGER NOT NULL,
    record BLOB NOT NULL, -- sealed
    uploaded INTEGER NOT NULL,
    PRIMARY KEY (login, id)
) WITHOUT ROWID;

CREATE TABLE signal_signed_prekeys (
    login TEXT NOT NULL,
    id INTEGER NOT NULL,
    record BLOB NOT NULL, -- sealed
    created_ts INTEGER NOT NULL,
    current INTEGER NOT NULL,
    PRIMARY KEY (login, id)
) WITHOUT ROWID;

CREATE TABLE signal_sessions (
    login TEXT NOT NULL,
    peer TEXT NOT NULL,
    record BLOB, -- sealed
    identity BLOB,
    updated_ts INTEGER NOT NULL,
    PRIMARY KEY (login, peer)
);

-- People, ghosts, rooms, messages.
CREATE TABLE contacts (
    login TEXT NOT NULL,
    peer TEXT NOT NULL,
    phone TEXT NOT NULL,
    alias TEXT,
    PRIMARY KEY (login, peer)
) WITHOUT ROWID;
CREATE INDEX contacts_phone ON contacts (login, phone);

CREATE TABLE ghosts (
    mxid TEXT NOT NULL PRIMARY KEY,
    phone TEXT,
    peer TEXT,
    device_id TEXT NOT NULL,
    stage TEXT NOT NULL,
    display_name TEXT,
    created_ts INTEGER NOT NULL
);
CREATE INDEX ghosts_phone ON ghosts (phone);
CREATE INDEX ghosts_stage ON ghosts (stage);

CREATE TABLE portals (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    login TEXT NOT NULL,
    peer TEXT NOT NULL,
    ghost TEXT NOT NULL,
    room_id TEXT UNIQUE,
    encrypted INTEGER NOT NULL,
    bot_joined INTEGER NOT NULL,
    state TEXT NOT NULL,
    UNIQUE (login, peer)
);
CREATE INDEX portals_ghost ON portals (ghost);

CREATE TABLE messages (
    login TEXT NOT NULL,
    peer TEXT NOT NULL,
    stanza_id TEXT NOT NULL,
    event_id TEXT,
    room_id TEXT NOT NULL,
    direction TEXT NOT NULL,
    status INTEGER NOT NULL,
    ts INTEGER NOT NULL,
    PRIMARY KEY (login, peer, stanza_id)
) WITHOUT ROWID;
CREATE INDEX messages_event ON messages (event_id);
CREATE INDEX messages_room ON messages (room_id, ts);
CREATE INDEX messages_stanza ON messages (login, stanza_id);

-- Ciphertext that the other side has not accepted yet.
CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    login TEXT NOT NULL,
    stanza_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    peer TEXT NOT NULL,
    stanza BLOB NOT NULL,
    event_id TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    UNIQUE (login, stanza_id, kind, peer)
);
CREATE INDEX outbox_login ON outbox (login, seq);

CREATE TABLE sends (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    txn_id TEXT NOT NULL UNIQUE,
    room_id TEXT NOT NULL,
    sender TEXT NOT NULL,
    device_id TEXT NOT NULL,
    method TEXT NOT NULL,
    event_type TEXT NOT NULL,
    target TEXT,
    content BLOB NOT NULL, -- sealed
    ts INTEGER NOT NULL,
    login TEXT,
    peer TEXT,
    stanza_id TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_try_ts INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX sends_room ON sends (room_id, seq);

CREATE TABLE undecryptable (
    login TEXT NOT NULL,
    peer TEXT NOT NULL,
    stanza_id TEXT NOT NULL,
    retries INTEGER NOT NULL,
    first_ts INTEGER NOT NULL,
    last_ts INTEGER NOT NULL,
    PRIMARY KEY (login, peer, stanza_id)
) WITHOUT ROWID;

-- The Matrix devices' keys (one row per object, keyed by user and device), and the token signing keys.
CREATE TABLE crypto_kv (
    acct TEXT NOT NULL,
    kind TEXT NOT NULL,
    k1 TEXT NOT NULL,
    k2 TEXT NOT NULL,
    v BLOB NOT NULL, -- sealed
    tag TEXT NOT NULL DEFAULT '',
    flag INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (acct, kind, k1, k2)
);
CREATE INDEX crypto_kv_tag ON crypto_kv (acct, kind, tag, k2) WHERE tag <> '';

CREATE TABLE token_keys (
    kid TEXT NOT NULL PRIMARY KEY,
    pkcs8 BLOB NOT NULL, -- sealed
    created_ts INTEGER NOT NULL,
    retired_ts INTEGER
);
