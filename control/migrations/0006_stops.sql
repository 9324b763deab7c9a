-- Whether a stream was on air when it was stopped: then its encoder is still there, and tries again.
ALTER TABLE streams ADD COLUMN stopped_on_air SMALLINT NOT NULL DEFAULT 0;
