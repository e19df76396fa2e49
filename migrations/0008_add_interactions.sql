-- The audit of model calls: one row for each, by which they are listed; the parts of prompts that no session
-- holds; and calls that were made elsewhere.

-- Where an interaction is found: written once, with the work that it describes, and never changed. What is
-- told of it lies in `steps`, `usage_entries` and `turns`, or in `captured_interactions`.
CREATE TABLE interactions (
    organization_id uuid        NOT NULL,
    -- The step's id, or that of the captured call: both UUIDv7, so that the newest are the highest.
    id              uuid        NOT NULL,
    -- Null only for a captured call that names no session.
    session_id      uuid,
    -- Null only for captured calls.
    agent_id        uuid,
    -- The API key that sent the turn (`key_...`), or what a captured call says; null when nobody is known.
    client          text,
    -- `project` of the session's metadata when the call was made, or what a captured call says.
    project         text        CHECK (char_length(project) BETWEEN 1 AND 200),
    at              timestamptz NOT NULL,
    is_captured     boolean     NOT NULL DEFAULT false,
    PRIMARY KEY (organization_id, id)
);

CREATE INDEX interactions_by_session ON interactions (organization_id, session_id, id)
    WHERE session_id IS NOT NULL;
CREATE INDEX interactions_by_agent ON interactions (organization_id, agent_id, id) WHERE agent_id IS NOT NULL;
CREATE INDEX interactions_by_client ON interactions (organization_id, client, id) WHERE client IS NOT NULL;
CREATE INDEX interactions_by_project ON interactions (organization_id, project, id) WHERE project IS NOT NULL;

-- By the database and not by the statement that starts a step: a process of the release before this one may
-- still be making calls, and none of them may be missing.
CREATE FUNCTION note_interaction() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO interactions (organization_id, id, session_id, agent_id, client, project, at)
    SELECT s.organization_id, NEW.id, s.id, s.agent_id, t.body -> 'created_by' ->> 'key_id',
           CASE WHEN json_typeof(s.metadata -> 'project') = 'string'
                 AND char_length(s.metadata ->> 'project') BETWEEN 1 AND 200
                THEN s.metadata ->> 'project' END,
           NEW.started_at
      FROM sessions s
      LEFT JOIN turns t ON t.organization_id = s.organization_id AND t.id = NEW.turn_id
     WHERE s.organization_id = NEW.organization_id AND s.id = NEW.session_id AND s.deleted_at IS NULL;
    RETURN NULL;
END $$;

-- Creating it locks out new steps until the rows of the old ones below are written: none falls between.
CREATE TRIGGER steps_note_interaction AFTER INSERT ON steps FOR EACH ROW
    WHEN (NEW.kind = 'model')
    EXECUTE FUNCTION note_interaction();

INSERT INTO interactions (organization_id, id, session_id, agent_id, client, project, at)
SELECT p.organization_id, p.id, s.id, s.agent_id, t.body -> 'created_by' ->> 'key_id',
       CASE WHEN json_typeof(s.metadata -> 'project') = 'string'
             AND char_length(s.metadata ->> 'project') BETWEEN 1 AND 200
            THEN s.metadata ->> 'project' END,
       p.started_at
  FROM steps p
  JOIN sessions s ON s.organization_id = p.organization_id AND s.id = p.session_id AND s.deleted_at IS NULL
  LEFT JOIN turns t ON t.organization_id = p.organization_id AND t.id = p.turn_id
 WHERE p.kind = 'model';

-- What prompts are made of beside the conversation and the definition: the tools as they were offered, which
-- change with the servers behind them. Kept once for each content, and referred to by digest.
CREATE TABLE prompt_parts (
    organization_id uuid        NOT NULL REFERENCES organizations,
    -- SHA-256 in hex of the content.
    sha256          text        NOT NULL CHECK (char_length(sha256) = 64),
    content         bytea       NOT NULL,
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (organization_id, sha256)
);

-- Model calls that were made elsewhere and told to us. They are in no ledger.
CREATE TABLE captured_interactions (
    organization_id uuid        NOT NULL,
    id              uuid        NOT NULL,
    prompt          text        NOT NULL,
    -- Null when none was given.
    response        text,
    model           text        NOT NULL,
    usage           json,
    latency_ms      integer     CHECK (latency_ms >= 0),
    metadata        json        NOT NULL,
    captured_by     json        NOT NULL,
    PRIMARY KEY (organization_id, id),
    FOREIGN KEY (organization_id, id) REFERENCES interactions ON DELETE CASCADE
);
