-- The draft of an agent: what will be its next version once somebody publishes it.

CREATE TABLE agent_drafts (
    organization_id uuid        NOT NULL,
    agent_id        uuid        NOT NULL,
    -- Rises with every change and never starts again: an editor who has seen an older draft is found out
    -- also when that one has been published or discarded since.
    revision        integer     NOT NULL CHECK (revision >= 1),
    -- The newest version when the draft was begun.
    base_version    integer     NOT NULL CHECK (base_version >= 1),
    updated_at      timestamptz NOT NULL,
    updated_by      json        NOT NULL,
    -- It may have faults still; NULL while there is no draft.
    definition      json,
    PRIMARY KEY (organization_id, agent_id),
    FOREIGN KEY (organization_id, agent_id) REFERENCES agents
);
