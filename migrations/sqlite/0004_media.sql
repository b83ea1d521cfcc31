-- Files that the bridge hosts for the gatekeeper's proxy: ciphertext in the media folder, under the name `reference`.
-- A row stays for a while after its file, so that a late request learns that the file is gone.
CREATE TABLE media (
    reference TEXT NOT NULL PRIMARY KEY,
    login TEXT NOT NULL,
    peer TEXT NOT NULL,
    event_id TEXT NOT NULL UNIQUE,
    keys BLOB NOT NULL, -- sealed: media key, SHA-256 of the plaintext
    enc_sha256 BLOB NOT NULL,
    length INTEGER NOT NULL, -- of the plaintext
    kind TEXT NOT NULL,
    thumbnail BLOB, -- sealed
    created_ts INTEGER NOT NULL,
    expires_ts INTEGER NOT NULL,
    stored INTEGER NOT NULL DEFAULT 1
);
CREATE INDEX media_login ON media (login);
CREATE INDEX media_expires ON media (expires_ts);

-- Files from WhatsApp that could not be fetched, and what it takes to try again.
CREATE TABLE media_missing (
    login TEXT NOT NULL,
    peer TEXT NOT NULL,
    stanza_id TEXT NOT NULL,
    content BLOB NOT NULL, -- sealed: the message
    created_ts INTEGER NOT NULL,
    PRIMARY KEY (login, peer, stanza_id)
) WITHOUT ROWID;
