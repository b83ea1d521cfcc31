-- Rooms that were a portal's before: what was written in them and has not been handled yet still belongs to that portal.
CREATE TABLE former_rooms (
    room_id TEXT NOT NULL PRIMARY KEY,
    portal INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX former_rooms_portal ON former_rooms (portal);
