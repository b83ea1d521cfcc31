-- Events that were taken into the inbox, so that one that comes again by another way is handled once.
CREATE TABLE inbox_events (
    event_id TEXT NOT NULL PRIMARY KEY,
    received_ts INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX inbox_events_ts ON inbox_events (received_ts);
