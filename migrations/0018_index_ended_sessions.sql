-- Where a list of ended sessions is read along, however few there are among a million open ones. A session enters
-- it once, when it ends.
CREATE INDEX sessions_ended ON sessions (organization_id, id) WHERE state = 'ended' AND deleted_at IS NULL;
