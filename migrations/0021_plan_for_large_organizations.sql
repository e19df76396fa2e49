-- An organization may have one session or a million, and the planner has one figure for all. Where most have one,
-- it would look a session up by its organization alone, and read all of a large one's at every commit. Said to be
-- ten, organizations are each a tenth of the table to it, and the key is what it takes (tests/db/test_plans.py).
-- Holds from the next ANALYZE on, which is this one.
ALTER TABLE sessions ALTER COLUMN organization_id SET (n_distinct = 10);
ANALYZE sessions (organization_id);
