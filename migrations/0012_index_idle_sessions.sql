-- What ending by inactivity and the metrics look for. None of these columns changes with every commit, so updates
-- of sessions stay in place (HOT): `active_hour` once an hour, `state` once in a life.

-- Open sessions by their last hour; ended ones, most of them in the long run, are not in here.
CREATE INDEX sessions_open ON sessions (organization_id, agent_id, active_hour) WHERE state = 'open';
CREATE INDEX sessions_by_creation ON sessions (organization_id, created_at);

-- The few published versions whose sessions end by inactivity.
CREATE INDEX agent_versions_idle ON agent_versions (organization_id, agent_id, version)
    WHERE (definition #>> '{limits,idle_seconds}') IS NOT NULL;
