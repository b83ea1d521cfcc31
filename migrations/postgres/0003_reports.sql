-- What people are told of their messages.

-- The status that the sender of a message was told last; 30 (delivered) is the end of it.
ALTER TABLE messages ADD COLUMN told BIGINT NOT NULL DEFAULT 0;
UPDATE messages SET told = status;
CREATE INDEX messages_untold ON messages (login, peer, ts)
    WHERE direction = 'out' AND status >= 20 AND told < 30 AND status > told;

-- What a person is to hear: of a message (`about` is its event), or of themselves and a contact. No content.
CREATE TABLE reports (
    about TEXT NOT NULL PRIMARY KEY,
    login TEXT NOT NULL,
    peer TEXT NOT NULL, -- empty: it belongs into the chat with the bot
    kind TEXT NOT NULL,
    reason TEXT NOT NULL,
    body TEXT NOT NULL,
    loud BIGINT NOT NULL,
    attempts BIGINT NOT NULL DEFAULT 0,
    version BIGINT NOT NULL DEFAULT 1,
    told BIGINT NOT NULL DEFAULT 0, -- the version that was told last
    notice_room TEXT,
    notice_event TEXT,
    created_ts BIGINT NOT NULL
);
CREATE INDEX reports_chat ON reports (login, peer);

-- The event that stands in the room for a message that cannot be read yet.
ALTER TABLE undecryptable ADD COLUMN placeholder TEXT;

-- What a user has chosen.
CREATE TABLE preferences (
    mxid TEXT NOT NULL PRIMARY KEY,
    read_receipts BIGINT NOT NULL
);
