-- What streams did over time: a row a minute, and rolled up to longer steps as they come.

CREATE TABLE samples (
    stream_id BIGINT NOT NULL REFERENCES streams (id) ON DELETE CASCADE,
    step INTEGER NOT NULL,                -- seconds: 60, 300, 3600, 86400
    at DOUBLE PRECISION NOT NULL,         -- the beginning of the step
    minutes INTEGER NOT NULL,             -- how many of its minutes were on air
    viewers DOUBLE PRECISION NOT NULL,    -- averages of those minutes, but for peak
    peak INTEGER NOT NULL,
    bitrate DOUBLE PRECISION NOT NULL,    -- kbit/s
    frame_rate DOUBLE PRECISION NOT NULL,
    packet_loss DOUBLE PRECISION NOT NULL,-- percent
    PRIMARY KEY (stream_id, step, at)
);
CREATE INDEX samples_age ON samples (step, at);
