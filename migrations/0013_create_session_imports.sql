-- Sessions that were brought here from a file, and what they had cost where they came from: history that is
-- shown, and in no ledger.

CREATE TABLE session_imports (
    organization_id        uuid        NOT NULL,
    session_id             uuid        NOT NULL,
    imported_at            timestamptz NOT NULL,
    imported_by            json        NOT NULL,
    exported_at            timestamptz NOT NULL,
    -- As the file says it, perhaps of another installation.
    origin_organization_id text        NOT NULL CHECK (octet_length(origin_organization_id) BETWEEN 1 AND 64),
    -- The agent that the session was with there: id, version and name.
    origin_agent           json        NOT NULL,
    PRIMARY KEY (organization_id, session_id)
);

CREATE TABLE imported_usage_entries (
    organization_id    uuid    NOT NULL,
    session_id         uuid    NOT NULL,
    id                 uuid    NOT NULL,
    -- Where it stood in the ledger that it comes from; says nothing about ours.
    seq                bigint  NOT NULL CHECK (seq >= 1),
    turn_id            uuid    NOT NULL,
    step_id            uuid    NOT NULL,
    corrects_id        uuid,
    input_tokens       bigint  NOT NULL,
    cached_tokens      bigint  NOT NULL,
    cache_write_tokens bigint  NOT NULL,
    output_tokens      bigint  NOT NULL,
    reasoning_tokens   bigint  NOT NULL,
    cost               numeric,
    -- The whole entry as the file has it.
    entry              json    NOT NULL,
    PRIMARY KEY (organization_id, session_id, id)
);

CREATE INDEX imported_usage_entries_in_order ON imported_usage_entries (organization_id, session_id, seq, id);
