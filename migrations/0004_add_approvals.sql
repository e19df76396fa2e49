-- Turns that wait for people: the approvals, and how to find the node and the variables of a branch.

-- The turn's body says a node and variables: where a rewind looks for what stood then. No release before this
-- one has written any, so the default is true of every row there is.
ALTER TABLE turns ADD COLUMN stores_node boolean NOT NULL DEFAULT false;

CREATE INDEX turns_storing_node ON turns (organization_id, session_id, branch, position) WHERE stores_node;

-- Questions to people about tool calls. Each lies in its turn as well; these rows are what is listed, and what
-- is left of it for the audit when the session is deleted. Written by the transaction whose commit requests,
-- decides or closes them.
CREATE TABLE approvals (
    organization_id  uuid        NOT NULL,
    id               uuid        NOT NULL,
    session_id       uuid        NOT NULL,
    turn_id          uuid        NOT NULL,
    -- The step that the call will be once it is approved.
    step_id          uuid        NOT NULL,
    tool             text        NOT NULL,
    -- Null when the session was deleted.
    arguments        json,
    arguments_digest text        NOT NULL,
    effect           text        NOT NULL CHECK (effect IN ('read', 'idempotent', 'once')),
    reason           text        NOT NULL CHECK (reason IN ('required', 'policy', 'outcome_unknown')),
    requested_at     timestamptz NOT NULL,
    expires_at       timestamptz NOT NULL,
    decision         text        CHECK (decision IN ('approved', 'denied')),
    decided_at       timestamptz CHECK ((decided_at IS NULL) = (decision IS NULL)),
    decided_by       json        CHECK ((decided_by IS NULL) = (decision IS NULL)),
    note             text        CHECK (char_length(note) <= 2000),
    has_expired      boolean     NOT NULL DEFAULT false CHECK (NOT has_expired OR decision = 'denied'),
    -- The decision was also made a rule of the organization.
    is_standing      boolean     NOT NULL DEFAULT false,
    -- The turn ended before anybody decided.
    closed_at        timestamptz CHECK (closed_at IS NULL OR decision IS NULL),
    PRIMARY KEY (organization_id, id)
);

CREATE INDEX approvals_open ON approvals (organization_id, id) WHERE decision IS NULL AND closed_at IS NULL;
CREATE INDEX approvals_by_session ON approvals (organization_id, session_id, id);
-- What the sweep looks for.
CREATE INDEX approvals_expiring ON approvals (expires_at) WHERE decision IS NULL AND closed_at IS NULL;
