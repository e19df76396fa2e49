-- Limits of a key, counted over all processes. Keys without limits have no rows here.

ALTER TABLE api_keys
    -- Null: as many as the caller likes.
    ADD COLUMN requests_per_minute_max integer CHECK (requests_per_minute_max >= 1),
    ADD COLUMN streams_max integer CHECK (streams_max >= 1),
    ADD COLUMN tokens_per_minute_max bigint CHECK (tokens_per_minute_max >= 1);

-- What has been given out of the current minute. Processes take requests in lots, so that most calls ask nothing.
CREATE TABLE key_minutes (
    organization_id uuid        NOT NULL,
    key_id          uuid        NOT NULL,
    -- The minute in database time.
    minute          timestamptz NOT NULL,
    granted         integer     NOT NULL CHECK (granted >= 0),
    -- The lot that was given out last; what the statement that gives it answers.
    lot             integer     NOT NULL CHECK (lot >= 0),
    PRIMARY KEY (organization_id, key_id),
    FOREIGN KEY (organization_id, key_id) REFERENCES api_keys
) WITH (fillfactor = 50);

-- Open event streams by process. A process that dies leaves a row that counts no longer once it has expired.
CREATE TABLE key_streams (
    organization_id uuid        NOT NULL,
    key_id          uuid        NOT NULL,
    holder          uuid        NOT NULL,
    stream_count    integer     NOT NULL CHECK (stream_count >= 0),
    expires_at      timestamptz NOT NULL,
    PRIMARY KEY (organization_id, key_id, holder),
    FOREIGN KEY (organization_id, key_id) REFERENCES api_keys
) WITH (fillfactor = 50);
