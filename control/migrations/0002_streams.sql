-- What users stream, and where it goes on to.

-- Whose stream key that is: nobody else can take it, and its owner may give it to several streams in turn.
CREATE TABLE stream_keys (
    key_hash TEXT PRIMARY KEY,
    user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE
);
CREATE INDEX stream_keys_user ON stream_keys (user_id);

CREATE TABLE streams (
    id {id},
    user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    input_type TEXT NOT NULL,
    input_url TEXT NOT NULL,              -- encrypted: it holds the stream key, or a password
    key_hash TEXT REFERENCES stream_keys (key_hash),  -- of the key that an encoder pushes with; NULL for what is pulled
    latency_mode TEXT NOT NULL,
    record_enabled SMALLINT NOT NULL,
    auto_start SMALLINT NOT NULL,
    video_codec TEXT NOT NULL,
    audio_codec TEXT NOT NULL,
    bitrate_mode TEXT NOT NULL,
    keyframe_interval DOUBLE PRECISION,   -- NULL: where the source has its keyframes
    qualities TEXT NOT NULL,              -- JSON
    started SMALLINT NOT NULL DEFAULT 0,  -- whether its user wants it on air
    starts BIGINT NOT NULL DEFAULT 0,     -- how often it was wanted: which time a pull belongs to
    stopped_at DOUBLE PRECISION,          -- when it was stopped, or the last push after that was refused
    created_at DOUBLE PRECISION NOT NULL,
    updated_at DOUBLE PRECISION NOT NULL
);
CREATE INDEX streams_user ON streams (user_id);
CREATE INDEX streams_key ON streams (key_hash);

CREATE TABLE destinations (
    id {id},
    user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    stream_id BIGINT REFERENCES streams (id) ON DELETE CASCADE,  -- NULL: for all streams of the user
    name TEXT NOT NULL,
    platform TEXT NOT NULL,
    rtmp_url TEXT NOT NULL,
    stream_key TEXT NOT NULL,             -- encrypted
    rendition TEXT NOT NULL DEFAULT '',
    enabled SMALLINT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    updated_at DOUBLE PRECISION NOT NULL
);
CREATE INDEX destinations_user ON destinations (user_id);
-- With its user, for what is nobody's alone: a stream's destinations are looked for among those without one too.
CREATE INDEX destinations_stream ON destinations (stream_id, user_id);
