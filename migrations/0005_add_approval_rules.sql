-- What an organization has settled about its tools once, instead of from call to call. A rule is never edited:
-- it is revoked, and followed by another.
CREATE TABLE approval_rules (
    organization_id  uuid        NOT NULL REFERENCES organizations,
    id               uuid        NOT NULL,
    tool             text        NOT NULL CHECK (char_length(tool) BETWEEN 1 AND 200),
    -- A JSON Schema that the arguments must satisfy for the rule to apply; null: whatever the arguments.
    arguments_schema json,
    -- The rule applies to tools whose declared cost is known and at most this, in USD; null: whatever the cost.
    cost_max         numeric     CHECK (cost_max >= 0),
    action           text        NOT NULL CHECK (action IN ('allow', 'ask', 'deny')),
    -- The decision that made it ("always"); null for a rule that was written as one.
    approval_id      uuid,
    created_at       timestamptz NOT NULL,
    created_by       json        NOT NULL,
    revoked_at       timestamptz,
    revoked_by       json        CHECK ((revoked_by IS NULL) = (revoked_at IS NULL)),
    PRIMARY KEY (organization_id, id)
);

CREATE INDEX approval_rules_in_force ON approval_rules (organization_id, tool) WHERE revoked_at IS NULL;
-- A decision that holds for good settles a tool once, however often it is made again.
CREATE UNIQUE INDEX approval_rules_standing ON approval_rules (organization_id, tool, action)
    WHERE revoked_at IS NULL AND approval_id IS NOT NULL;
