-- Who watched: a row a session. Never an address, only what a key of the server's makes of it.

CREATE TABLE viewer_sessions (
    id TEXT PRIMARY KEY,
    stream_id BIGINT NOT NULL,            -- which may be gone, as with samples
    user_id BIGINT NOT NULL,              -- whose stream it is
    life TEXT NOT NULL,                   -- which process has seen it
    started DOUBLE PRECISION NOT NULL,
    hour INTEGER NOT NULL,                -- of its start, since 1970
    ended DOUBLE PRECISION NOT NULL,      -- infinity while it lasts
    viewer BIGINT NOT NULL,               -- of address and agent, under the server's key: the same viewer has the same
    platform TEXT,                        -- windows, android, tv …; NULL here and below: not known
    country TEXT,                         -- ISO 3166-1
    startup DOUBLE PRECISION,             -- what the page's player says: seconds until the first picture ...
    played DOUBLE PRECISION,              -- ... that it moved ...
    stalled DOUBLE PRECISION              -- ... and that it stood still
);
CREATE INDEX viewer_sessions_stream ON viewer_sessions (stream_id, ended);
CREATE INDEX viewer_sessions_user ON viewer_sessions (user_id, ended);
CREATE INDEX viewer_sessions_age ON viewer_sessions (ended);

-- When each process was there for certain: the sessions of one that died ended then, as far as anybody knows.
CREATE TABLE viewer_lives (
    id TEXT PRIMARY KEY,
    seen_at DOUBLE PRECISION NOT NULL
);
