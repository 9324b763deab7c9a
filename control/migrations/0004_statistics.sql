-- What streams did over time: a row a minute, and rolled up to longer steps as they come. Rows of a stream that is gone are removed
-- a little at a time: all at once, by a foreign key, nobody else could write meanwhile.

CREATE TABLE samples (
    stream_id BIGINT NOT NULL,
    step INTEGER NOT NULL,                -- seconds: 60, 300, 3600, 86400
    at DOUBLE PRECISION NOT NULL,         -- the beginning of the step
    seconds DOUBLE PRECISION NOT NULL,    -- how long it was on air
    viewers DOUBLE PRECISION NOT NULL,    -- averages of that time, but for peak
    peak INTEGER NOT NULL,
    bitrate DOUBLE PRECISION NOT NULL,    -- kbit/s
    frame_rate DOUBLE PRECISION NOT NULL,
    sent BIGINT NOT NULL,                 -- packets to players that are connected ...
    dropped BIGINT NOT NULL,              -- ... and those that were withheld from slow ones
    PRIMARY KEY (stream_id, step, at)
);
CREATE INDEX samples_age ON samples (step, at);
