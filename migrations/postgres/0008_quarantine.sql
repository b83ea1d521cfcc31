-- What cannot be handled is set aside, so that nothing waits behind it.
ALTER TABLE sends ADD COLUMN quarantined_ts BIGINT; -- null: it is to be sent
ALTER TABLE sends ADD COLUMN reason TEXT;
ALTER TABLE outbox ADD COLUMN quarantined_ts BIGINT;
ALTER TABLE outbox ADD COLUMN reason TEXT;

-- Messages from WhatsApp that could not be handled: the stanza as it came, which is ciphertext.
CREATE TABLE quarantine (
    login TEXT NOT NULL,
    peer TEXT NOT NULL,
    stanza_id TEXT NOT NULL,
    stanza BYTEA NOT NULL,
    reason TEXT NOT NULL,
    received_ts BIGINT NOT NULL,
    due BIGINT NOT NULL DEFAULT 0, -- 1: to be tried again
    PRIMARY KEY (login, peer, stanza_id)
);

-- When the upkeep saw an object first, for those that are deleted when they are old.
ALTER TABLE crypto_kv ADD COLUMN dated_ts BIGINT;
