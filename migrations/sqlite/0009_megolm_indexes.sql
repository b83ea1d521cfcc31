-- Which event was encrypted with which key of a Megolm session: the same key under another event id is a replay.
CREATE TABLE megolm_indexes (
    session_id TEXT NOT NULL,
    message_index INTEGER NOT NULL,
    event_id TEXT NOT NULL,
    seen_ts INTEGER NOT NULL,
    PRIMARY KEY (session_id, message_index)
) WITHOUT ROWID;
CREATE INDEX megolm_indexes_ts ON megolm_indexes (seen_ts);
