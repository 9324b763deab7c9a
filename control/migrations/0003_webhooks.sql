-- Who is told what happens, and what was told: an outbox that a crash does not empty.

CREATE TABLE webhooks (
    id {id},
    user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    urls TEXT NOT NULL,                   -- encrypted JSON: the URL by event; under '' that of all the others
    events TEXT NOT NULL,                 -- JSON
    thresholds TEXT NOT NULL,             -- JSON
    secret TEXT NOT NULL,                 -- encrypted
    old_secret TEXT NOT NULL DEFAULT '',  -- encrypted: it signs beside the new one for a while
    old_secret_until DOUBLE PRECISION NOT NULL DEFAULT 0,
    enabled SMALLINT NOT NULL,
    disabled_reason TEXT NOT NULL DEFAULT '',
    failing_since DOUBLE PRECISION,       -- NULL: the last try went well
    created_at DOUBLE PRECISION NOT NULL,
    updated_at DOUBLE PRECISION NOT NULL
);
CREATE INDEX webhooks_user ON webhooks (user_id);

CREATE TABLE webhook_deliveries (
    id {id},
    webhook_id BIGINT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    message_id TEXT NOT NULL,             -- the same on every retry and replay
    event TEXT NOT NULL,
    body TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,  -- tries that were begun
    next_at DOUBLE PRECISION NOT NULL,    -- when it is due; of one that is being sent, when whoever sends it counts as dead
    give_up_at DOUBLE PRECISION NOT NULL,
    status INTEGER,                       -- HTTP's, of the last try that was answered
    error TEXT NOT NULL DEFAULT '',
    replay_of BIGINT,
    created_at DOUBLE PRECISION NOT NULL,
    finished_at DOUBLE PRECISION
);
CREATE INDEX webhook_deliveries_webhook ON webhook_deliveries (webhook_id, id);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (next_at) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_age ON webhook_deliveries (finished_at);
CREATE UNIQUE INDEX webhook_deliveries_once ON webhook_deliveries (webhook_id, message_id) WHERE replay_of IS NULL;

CREATE TABLE webhook_attempts (
    delivery_id BIGINT NOT NULL REFERENCES webhook_deliveries (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    at DOUBLE PRECISION NOT NULL,
    status INTEGER,
    error TEXT NOT NULL,
    seconds DOUBLE PRECISION NOT NULL,
    response TEXT NOT NULL,
    PRIMARY KEY (delivery_id, number)
);

-- What was announced as started and not yet as stopped: after a crash somebody must still be told. A stream's row may be gone by then.
CREATE TABLE webhook_broadcasts (
    stream_id BIGINT PRIMARY KEY,
    user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    stream_name TEXT NOT NULL,
    started_at DOUBLE PRECISION NOT NULL,
    seen_at DOUBLE PRECISION NOT NULL,
    peak_viewers INTEGER NOT NULL
);
