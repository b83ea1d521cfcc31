-- What a message is beside one that stands for itself, and which one it is about.
ALTER TABLE messages ADD COLUMN kind TEXT NOT NULL DEFAULT 'message';
ALTER TABLE messages ADD COLUMN target TEXT; -- its stanza id
-- Deleted, or replaced by another reaction.
ALTER TABLE messages ADD COLUMN gone BIGINT NOT NULL DEFAULT 0;
CREATE INDEX messages_target ON messages (login, peer, target) WHERE target IS NOT NULL;

-- Messages from WhatsApp that do not stay in the room: they go when their time has come, or once they have been read.
CREATE TABLE fading (
    login TEXT NOT NULL,
    peer TEXT NOT NULL,
    stanza_id TEXT NOT NULL,
    room_id TEXT NOT NULL,
    due_ts BIGINT NOT NULL,
    when_read BIGINT NOT NULL,
    PRIMARY KEY (login, peer, stanza_id)
);
CREATE INDEX fading_due ON fading (due_ts);
CREATE INDEX fading_room ON fading (room_id) WHERE when_read = 1;

-- Which state events the room got, and after how many seconds its messages disappear on WhatsApp (0: never).
ALTER TABLE portals ADD COLUMN described TEXT NOT NULL DEFAULT '';
ALTER TABLE portals ADD COLUMN timer BIGINT NOT NULL DEFAULT 0;
