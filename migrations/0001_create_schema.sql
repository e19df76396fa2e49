-- Turnledger's schema. `organization_id` leads every key: it is the boundary of every query, and what the
-- schema could be sharded by. Rules that the core states are mirrored here where SQL can say them.

CREATE TABLE organizations (
    id          uuid        PRIMARY KEY,
    name        text        NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
    created_at  timestamptz NOT NULL
);

-- A key is shown once, when it is made; afterwards only its digest is known.
CREATE TABLE api_keys (
    organization_id uuid        NOT NULL REFERENCES organizations,
    id              uuid        NOT NULL,
    name            text        NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
    key_sha256      bytea       NOT NULL UNIQUE CHECK (octet_length(key_sha256) = 32),
    -- The first characters of the key, so that people can tell keys apart.
    prefix          text        NOT NULL,
    created_at      timestamptz NOT NULL,
    revoked_at      timestamptz,
    PRIMARY KEY (organization_id, id)
);

CREATE TABLE agents (
    organization_id uuid        NOT NULL REFERENCES organizations,
    id              uuid        NOT NULL,
    name            text        NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
    latest_version  integer     NOT NULL CHECK (latest_version >= 1),
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (organization_id, id)
);

CREATE TABLE agent_versions (
    organization_id uuid        NOT NULL,
    agent_id        uuid        NOT NULL,
    version         integer     NOT NULL CHECK (version >= 1),
    definition      json        NOT NULL,
    published_at    timestamptz NOT NULL,
    published_by    json        NOT NULL,
    PRIMARY KEY (organization_id, agent_id, version),
    FOREIGN KEY (organization_id, agent_id) REFERENCES agents
);

-- The header of a session. Columns that never change come first and those that every commit changes come
-- last: an update in place then logs only the tail of the row. No column that every commit changes is
-- indexed and a third of each page is left free, so that such an update touches no index (HOT).
CREATE TABLE sessions (
    organization_id  uuid        NOT NULL REFERENCES organizations,
    id               uuid        NOT NULL,
    agent_id         uuid        NOT NULL,
    agent_version    integer     NOT NULL,
    created_at       timestamptz NOT NULL,
    -- Both may be large and lie beside the document, so that a commit which leaves them alone does not
    -- write them.
    context          json        NOT NULL,
    metadata         json        NOT NULL,
    name             text,
    -- The hour of the last commit; coarse, so that its index is touched once an hour.
    active_hour      timestamptz NOT NULL,
    state            text        NOT NULL CHECK (state IN ('open', 'ended')),
    -- Set by DELETE: the row stays as a tombstone without text.
    deleted_at       timestamptz,
    -- The fence of the session's runs: it rises with every claim and whenever a run loses its turn.
    epoch            integer     NOT NULL DEFAULT 0 CHECK (epoch >= 0),
    revision         integer     NOT NULL CHECK (revision >= 1),
    -- Copies of the document's fields that statements need; `document` is the truth.
    branch           integer     NOT NULL CHECK (branch >= 0),
    turn_count       integer     NOT NULL CHECK (turn_count >= 0),
    cursor           integer     NOT NULL CHECK (cursor BETWEEN 0 AND turn_count),
    unfinished_count integer     NOT NULL CHECK (unfinished_count BETWEEN 0 AND LEAST(9, turn_count)),
    active_turn_id   uuid        CHECK ((active_turn_id IS NULL) = (unfinished_count = 0)),
    updated_at       timestamptz NOT NULL,
    document         json        NOT NULL,
    PRIMARY KEY (organization_id, id),
    FOREIGN KEY (organization_id, agent_id, agent_version) REFERENCES agent_versions
) WITH (fillfactor = 70);

CREATE INDEX sessions_by_agent ON sessions (organization_id, agent_id, id);
CREATE INDEX sessions_by_hour ON sessions (organization_id, active_hour);
CREATE INDEX sessions_by_name ON sessions (organization_id, lower(name) text_pattern_ops);

-- The rows below hang on a session by (organization_id, session_id) without a foreign key: each is written
-- by the statement that has just swapped the session's revision, which is a stronger bond, and a check on
-- every insert would be paid by every turn.

CREATE TABLE branches (
    organization_id uuid    NOT NULL,
    session_id      uuid    NOT NULL,
    number          integer NOT NULL CHECK (number >= 0),
    parent          integer CHECK (parent < number),
    branch_point    integer NOT NULL CHECK (branch_point >= 0),
    PRIMARY KEY (organization_id, session_id, number),
    CHECK ((parent IS NULL) = (branch_point = 0))
);

-- A turn is written when it is appended and when it ends, and never again; its key never changes.
-- Its pages are filled whole: the index of pending turns keeps the second writing from staying in place (HOT).
CREATE TABLE turns (
    organization_id uuid        NOT NULL,
    session_id      uuid        NOT NULL,
    branch          integer     NOT NULL CHECK (branch >= 0),
    position        integer     NOT NULL CHECK (position >= 0),
    id              uuid        NOT NULL,
    created_at      timestamptz NOT NULL,
    state           text        NOT NULL
                    CHECK (state IN ('pending', 'awaiting_approval', 'completed', 'failed', 'cancelled')),
    revision        integer     NOT NULL CHECK (revision >= 1),
    body            json        NOT NULL,
    PRIMARY KEY (organization_id, session_id, branch, position),
    UNIQUE (organization_id, id)
);

-- What runners look for: the organizations that wait, and the oldest turns of each.
CREATE INDEX turns_pending ON turns (organization_id, created_at) WHERE state = 'pending';

CREATE FUNCTION refuse_change_of_final_turn() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'turn % is final and never changes again', OLD.id USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER turns_final_never_change BEFORE UPDATE ON turns FOR EACH ROW
    WHEN (OLD.state IN ('completed', 'failed', 'cancelled'))
    EXECUTE FUNCTION refuse_change_of_final_turn();

CREATE TABLE discarded_futures (
    organization_id uuid        NOT NULL,
    session_id      uuid        NOT NULL,
    ordinal         integer     NOT NULL CHECK (ordinal >= 1),
    branch          integer     NOT NULL,
    branch_point    integer     NOT NULL CHECK (branch_point >= 0),
    line_count      integer     NOT NULL CHECK (line_count > branch_point),
    discarded_at    timestamptz NOT NULL,
    discarded_by    json        NOT NULL,
    -- The revision that brought it back onto the line; null while it can be restored.
    restored_revision integer,
    PRIMARY KEY (organization_id, session_id, ordinal)
);

-- Exactly one row per revision: the primary key is the gapless stream.
CREATE TABLE events (
    organization_id uuid        NOT NULL,
    session_id      uuid        NOT NULL,
    revision        integer     NOT NULL CHECK (revision >= 1),
    type            text        NOT NULL,
    at              timestamptz NOT NULL,
    actor           json        NOT NULL,
    effects         json        NOT NULL,
    -- The lowest position whose occupant or content the revision changed; null when it changed none.
    line_from       integer,
    PRIMARY KEY (organization_id, session_id, revision)
);

CREATE TABLE idempotency_keys (
    organization_id uuid        NOT NULL,
    key             text        NOT NULL CHECK (octet_length(key) BETWEEN 1 AND 255),
    fingerprint     bytea       NOT NULL CHECK (octet_length(fingerprint) = 32),
    created_at      timestamptz NOT NULL,
    session_id      uuid,
    -- Message, regenerate and retry store the turn that they made instead of an answer: a replay joins it.
    turn_id         uuid,
    -- The revision that the first call found; a joined answer tells what changed since.
    base_revision   integer,
    status          smallint,
    headers         json,
    answer          bytea,
    PRIMARY KEY (organization_id, key)
);

CREATE INDEX idempotency_keys_by_age ON idempotency_keys USING brin (created_at);
-- Where DELETE finds the text that it must empty. Messages keep none, so that it costs them nothing.
CREATE INDEX idempotency_keys_answered ON idempotency_keys (organization_id, session_id)
    WHERE answer IS NOT NULL;

-- One execution of one turn by one runner.
CREATE TABLE runs (
    organization_id  uuid        NOT NULL,
    id               uuid        NOT NULL,
    session_id       uuid        NOT NULL,
    turn_id          uuid        NOT NULL,
    attempt          integer     NOT NULL CHECK (attempt >= 1),
    epoch            integer     NOT NULL CHECK (epoch >= 1),
    runner           text        NOT NULL,
    started_at       timestamptz NOT NULL,
    state            text        NOT NULL CHECK (state IN ('running', 'finished', 'revoked', 'lost')),
    -- In database time; heartbeats move it.
    lease_expires_at timestamptz NOT NULL,
    ended_at         timestamptz CHECK ((ended_at IS NULL) = (state = 'running')),
    PRIMARY KEY (organization_id, id)
) WITH (fillfactor = 85);

CREATE INDEX runs_by_turn ON runs (organization_id, turn_id);
-- Two runs of one turn at the same time cannot exist, whatever a claim believed.
CREATE UNIQUE INDEX runs_running ON runs (organization_id, turn_id) WHERE state = 'running';

-- One model or tool call: recorded before it starts and when it ends.
CREATE TABLE steps (
    organization_id uuid        NOT NULL,
    id              uuid        NOT NULL,
    session_id      uuid        NOT NULL,
    turn_id         uuid        NOT NULL,
    run_id          uuid        NOT NULL,
    attempt         integer     NOT NULL,
    kind            text        NOT NULL CHECK (kind IN ('model', 'tool')),
    purpose         text        NOT NULL,
    speaker         text        NOT NULL,
    provider        text,
    model           text,
    started_at      timestamptz NOT NULL,
    -- How the request was made, by reference: digest of the instructions, first and last turn, sha256.
    request         json        NOT NULL,
    state           text        NOT NULL CHECK (state IN ('started', 'completed', 'failed', 'cancelled')),
    ended_at        timestamptz CHECK ((ended_at IS NULL) = (state = 'started')),
    -- What came back; a take-over continues from it without calling again.
    result          json,
    -- The session was deleted: no text may be written any more, settlement alone is accepted.
    is_redacted     boolean     NOT NULL DEFAULT false,
    PRIMARY KEY (organization_id, id)
) WITH (fillfactor = 70);

CREATE INDEX steps_by_turn ON steps (organization_id, turn_id);
-- Calls under way, and those that a dead process left.
CREATE INDEX steps_started ON steps (started_at) WHERE state = 'started';

-- What a model has shown so far, stored before anybody sees it: a log per turn, which readers of the stream
-- follow by number.
CREATE TABLE deltas (
    organization_id uuid        NOT NULL,
    session_id      uuid        NOT NULL,
    turn_id         uuid        NOT NULL,
    -- 1-based and dense within the turn.
    number          integer     NOT NULL CHECK (number >= 1),
    step_id         uuid        NOT NULL,
    -- `restarted` takes the step's text back: another run has begun the reply anew.
    kind            text        NOT NULL CHECK (kind IN ('delta', 'restarted')),
    -- In Unicode code points within the step.
    text_offset     integer     NOT NULL CHECK (text_offset >= 0),
    text            text        NOT NULL,
    at              timestamptz NOT NULL,
    PRIMARY KEY (organization_id, session_id, turn_id, number)
);

CREATE INDEX deltas_by_age ON deltas USING brin (at);

-- Amounts per million tokens. A price is never edited, only followed by one with a later `valid_from`.
CREATE TABLE prices (
    organization_id         uuid        NOT NULL REFERENCES organizations,
    provider                text        NOT NULL,
    -- A model's name, `*` standing for any run of characters; the longest pattern that matches counts.
    model_pattern           text        NOT NULL,
    valid_from              timestamptz NOT NULL,
    currency                text        NOT NULL DEFAULT 'USD' CHECK (currency = 'USD'),
    input_per_million       numeric     NOT NULL CHECK (input_per_million >= 0),
    cached_per_million      numeric     CHECK (cached_per_million >= 0),
    cache_write_per_million numeric     CHECK (cache_write_per_million >= 0),
    output_per_million      numeric     NOT NULL CHECK (output_per_million >= 0),
    reasoning_per_million   numeric     CHECK (reasoning_per_million >= 0),
    per_call                numeric     NOT NULL DEFAULT 0 CHECK (per_call >= 0),
    PRIMARY KEY (organization_id, provider, model_pattern, valid_from)
);

-- The ledger: append-only, one original row per model call, corrections as further rows.
CREATE TABLE usage_entries (
    organization_id    uuid        NOT NULL,
    -- Dense and in commit order: taken from organization_ledgers in the same transaction.
    seq                bigint      NOT NULL CHECK (seq >= 1),
    id                 uuid        NOT NULL,
    session_id         uuid        NOT NULL,
    turn_id            uuid        NOT NULL,
    run_id             uuid        NOT NULL,
    step_id            uuid        NOT NULL,
    attempt            integer     NOT NULL,
    -- The row that this one corrects by signed differences; null for an original.
    corrects_id        uuid,
    speaker            text        NOT NULL,
    purpose            text        NOT NULL,
    provider           text        NOT NULL,
    model              text        NOT NULL,
    input_tokens       bigint      NOT NULL,
    cached_tokens      bigint      NOT NULL,
    cache_write_tokens bigint      NOT NULL,
    output_tokens      bigint      NOT NULL,
    reasoning_tokens   bigint      NOT NULL,
    -- The unit prices that applied, per million tokens by meter, and where they came from.
    unit_prices        json,
    price_source       text,
    -- Exact; null when no price is known, never 0 for unknown.
    cost               numeric,
    currency           text        NOT NULL CHECK (currency = 'USD'),
    source             text        NOT NULL CHECK (source IN ('provider', 'estimated', 'unknown')),
    outcome            text        NOT NULL CHECK (outcome IN ('completed', 'failed', 'cancelled')),
    billable           boolean     NOT NULL,
    billable_reason    text        NOT NULL,
    latency_ms         integer     CHECK (latency_ms >= 0),
    created_at         timestamptz NOT NULL,
    PRIMARY KEY (organization_id, seq),
    -- A call that the provider refused costs nothing at any price; every other known cost has its prices.
    CHECK (unit_prices IS NULL OR cost IS NOT NULL),
    CHECK (unit_prices IS NOT NULL OR cost IS NULL OR cost = 0),
    CHECK (corrects_id IS NOT NULL OR LEAST(input_tokens, cached_tokens, cache_write_tokens,
                                            output_tokens, reasoning_tokens) >= 0)
);

-- A zombie and its successor cannot both settle one call.
CREATE UNIQUE INDEX usage_entries_original ON usage_entries (organization_id, step_id) WHERE corrects_id IS NULL;
CREATE UNIQUE INDEX usage_entries_correction ON usage_entries (organization_id, corrects_id)
    WHERE corrects_id IS NOT NULL;
CREATE INDEX usage_entries_by_turn ON usage_entries (organization_id, session_id, turn_id);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: what follows or corrects a row is another row', TG_TABLE_NAME
          USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER usage_entries_append_only BEFORE UPDATE OR DELETE ON usage_entries FOR EACH ROW
    EXECUTE FUNCTION refuse_change();
CREATE TRIGGER usage_entries_never_truncated BEFORE TRUNCATE ON usage_entries FOR EACH STATEMENT
    EXECUTE FUNCTION refuse_change();
CREATE TRIGGER agent_versions_never_change BEFORE UPDATE OR DELETE ON agent_versions FOR EACH ROW
    EXECUTE FUNCTION refuse_change();

-- Sums of the ledger, changed by the transaction that adds to it, so that they are equal at all times.
CREATE TABLE session_totals (
    organization_id    uuid    NOT NULL,
    session_id         uuid    NOT NULL,
    call_count         bigint  NOT NULL,
    input_tokens       bigint  NOT NULL,
    cached_tokens      bigint  NOT NULL,
    cache_write_tokens bigint  NOT NULL,
    output_tokens      bigint  NOT NULL,
    reasoning_tokens   bigint  NOT NULL,
    cost               numeric NOT NULL,
    unknown_count      bigint  NOT NULL,
    PRIMARY KEY (organization_id, session_id)
) WITH (fillfactor = 70);

-- The organization's totals and the counter of its ledger; the last row that any transaction locks.
CREATE TABLE organization_ledgers (
    organization_id    uuid    PRIMARY KEY REFERENCES organizations,
    last_seq           bigint  NOT NULL DEFAULT 0,
    call_count         bigint  NOT NULL DEFAULT 0,
    input_tokens       bigint  NOT NULL DEFAULT 0,
    cached_tokens      bigint  NOT NULL DEFAULT 0,
    cache_write_tokens bigint  NOT NULL DEFAULT 0,
    output_tokens      bigint  NOT NULL DEFAULT 0,
    reasoning_tokens   bigint  NOT NULL DEFAULT 0,
    cost               numeric NOT NULL DEFAULT 0,
    unknown_count      bigint  NOT NULL DEFAULT 0
) WITH (fillfactor = 30);
