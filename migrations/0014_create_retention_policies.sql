-- How long an organization wants the text of its sessions kept. Without a row: until somebody deletes it.

CREATE TABLE retention_policies (
    organization_id uuid        PRIMARY KEY REFERENCES organizations,
    -- Days since the last change of a session; 0: none after its turn. Null: kept.
    content_days    integer     CHECK (content_days BETWEEN 0 AND 36500),
    set_at          timestamptz NOT NULL,
    set_by          json        NOT NULL
);

-- Where the sweep finds what is due, however many sessions were deleted before.
CREATE INDEX sessions_kept_by_hour ON sessions (organization_id, active_hour) WHERE deleted_at IS NULL;
-- Captured calls that belong to no session have a time of their own.
CREATE INDEX interactions_captured ON interactions (organization_id, at) WHERE is_captured AND session_id IS NULL;
