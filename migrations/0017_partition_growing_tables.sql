-- The tables that grow with every turn lie in partitions by time, so that what is old leaves by DROP: no row is
-- deleted one by one, and no page is left for VACUUM. The service makes partitions ahead and drops old ones
-- (`api/app/partitions.py`); what fits into none of them lies in the table's `_rest`, so nothing is ever refused
-- for want of a partition.
--
-- Ids are UUIDv7: a range of them is a range of time. So the keys of `deltas` (by turn) and `steps` (by step) are
-- what they were, and what belongs to one id lies in one partition. The ledger goes by the step of the call:
-- an original and its corrections share a partition, where one unique index still forbids a second bill. Events go
-- by their instant: a session may live for years, and its oldest events leave before it does.
--
-- What there is becomes the first partition of each table, as it stands; only rows of the future move. Readers and writers wait
-- until this is done, which is a check of every row and, for events and the ledger, the making of their new keys.

LOCK TABLE deltas, steps, events, usage_entries IN ACCESS EXCLUSIVE MODE;

CREATE TABLE partitions (
    name       text        PRIMARY KEY,
    parent     text        NOT NULL CHECK (parent IN ('deltas', 'steps', 'events', 'usage_entries')),
    -- Null for the first: it holds whatever is older.
    begins_at  timestamptz,
    -- The first instant that is not in it.
    ends_at    timestamptz NOT NULL CHECK (ends_at > begins_at),
    -- The row stays: it tells since when nothing older is to be expected.
    dropped_at timestamptz
);

-- Nothing of the installation is the application's business.
ALTER TABLE partitions ENABLE ROW LEVEL SECURITY;
CREATE POLICY no_organization ON partitions USING (current_user <> 'turnledger_application');

-- The lowest UUIDv7 of an instant: 48 bits of milliseconds, and nothing behind them.
CREATE FUNCTION lowest_uuid(at timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (lpad(to_hex(floor(extract(epoch FROM at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;

-- The column by whose ranges a table is divided.
CREATE FUNCTION partition_key(parent text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE parent WHEN 'deltas' THEN 'turn_id' WHEN 'steps' THEN 'id' WHEN 'events' THEN 'at'
                       WHEN 'usage_entries' THEN 'step_id' END
$$;

CREATE FUNCTION partition_bound(parent text, at timestamptz) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT quote_literal(CASE WHEN parent = 'events' THEN at::text ELSE lowest_uuid(at)::text END)
$$;

-- What a table of its own has that a partition does not get from its parent.
CREATE FUNCTION fit_partition(name text, parent text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wall_in(name::regclass);
    IF parent = 'steps' THEN
        EXECUTE format('ALTER TABLE %I SET (fillfactor = 70)', name);
    ELSIF parent = 'usage_entries' THEN
        EXECUTE format('CREATE TRIGGER usage_entries_never_truncated BEFORE TRUNCATE ON %I FOR EACH STATEMENT '
                       'EXECUTE FUNCTION refuse_change()', name);
    END IF;
END $$;

-- Makes the partition of a stretch of time. What had been written of that time before lies in `_rest`, and moves
-- along. False when there is one already, or when there is too much to be moved: it stays in `_rest`. Whoever waits
-- for a table stands in the way of those behind, so nobody waits for long: then `lock_not_available`, and nothing
-- has changed.
CREATE FUNCTION add_partition(of_table text, begins timestamptz, ends timestamptz) RETURNS boolean
    LANGUAGE plpgsql AS $$
DECLARE
    made text := of_table || to_char(begins AT TIME ZONE 'UTC', '"_"YYYYMMDD"_"HH24MISS');
    rest text := of_table || '_rest';
    -- What is moved at once, at most.
    moved_max constant bigint := 100000;
    found_count bigint;
    of_time text;
BEGIN
    PERFORM set_config('lock_timeout', '200ms', true);
    -- Shuts out other processes that make or drop partitions, and no reader or writer.
    EXECUTE format('LOCK TABLE %I IN SHARE UPDATE EXCLUSIVE MODE', of_table);
    IF EXISTS (SELECT FROM partitions p
                WHERE p.parent = of_table AND p.ends_at > begins AND p.dropped_at IS NULL) THEN
        RETURN false;
    END IF;
    of_time := format('%1$I >= %2$s AND %1$I < %3$s', partition_key(of_table),
                      partition_bound(of_table, begins), partition_bound(of_table, ends));
    EXECUTE format('SELECT count(*) FROM (SELECT FROM %I WHERE %s LIMIT %s) f', rest, of_time, moved_max + 1)
       INTO found_count;
    IF found_count > moved_max THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', made, of_table);
    EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', rest);
    -- Moved and not changed: nobody sees the entries in between.
    IF of_table = 'usage_entries' THEN
        EXECUTE format('ALTER TABLE %I DISABLE TRIGGER usage_entries_append_only', rest);
    END IF;
    EXECUTE format('WITH moved AS (DELETE FROM %I WHERE %s RETURNING *) INSERT INTO %I SELECT * FROM moved',
                   rest, of_time, made);
    IF of_table = 'usage_entries' THEN
        EXECUTE format('ALTER TABLE %I ENABLE TRIGGER usage_entries_append_only', rest);
    END IF;
    PERFORM fit_partition(made, of_table);
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)', of_table, made,
                   partition_bound(of_table, begins), partition_bound(of_table, ends));
    INSERT INTO partitions (name, parent, begins_at, ends_at) VALUES (made, of_table, begins, ends);
    RETURN true;
END $$;

-- Drops a partition of deltas, steps or events. What is still needed of it is carried over to `_rest` first: the
-- deltas of turns that are not final, or were not at `kept_since`; the steps of turns that are not final. Answers
-- how many rows that were; null when the partition is gone already.
CREATE FUNCTION drop_partition(dropped text, kept_since timestamptz) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    found_one partitions%ROWTYPE;
    needed_of uuid[];
    needed    uuid[];
    kept      bigint := 0;
BEGIN
    PERFORM set_config('lock_timeout', '200ms', true);
    SELECT * INTO found_one FROM partitions p WHERE p.name = dropped AND p.dropped_at IS NULL FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    -- Millions of rows are looked through while everybody still reads and writes. What is not needed then never
    -- will be: turns become final, and not the other way round.
    IF found_one.parent = 'deltas' THEN
        EXECUTE format('SELECT array_agg(d.organization_id), array_agg(d.turn_id)
                          FROM (SELECT DISTINCT organization_id, turn_id FROM %I) d
                         WHERE EXISTS (SELECT FROM turns t
                                        WHERE t.organization_id = d.organization_id AND t.id = d.turn_id
                                          AND t.state IN (''pending'', ''awaiting_approval''))
                            OR EXISTS (SELECT FROM runs r
                                        WHERE r.organization_id = d.organization_id AND r.turn_id = d.turn_id
                                          AND r.ended_at >= $1)', dropped)
           INTO needed_of, needed USING kept_since;
    ELSIF found_one.parent = 'steps' THEN
        EXECUTE format('SELECT array_agg(n.organization_id), array_agg(n.id)
                          FROM (SELECT s.organization_id, s.id FROM %1$I s WHERE s.state = ''started''
                             UNION
                                SELECT s.organization_id, s.id
                                  FROM turns t
                                  JOIN %1$I s ON s.organization_id = t.organization_id AND s.turn_id = t.id
                                 WHERE t.state IN (''pending'', ''awaiting_approval'')) n', dropped)
           INTO needed_of, needed;
    ELSIF found_one.parent = 'usage_entries' THEN
        RAISE EXCEPTION 'the ledger leaves by archive_partition alone' USING ERRCODE = 'restrict_violation';
    END IF;
    -- From here on they wait.
    EXECUTE format('ALTER TABLE %I DETACH PARTITION %I', found_one.parent, dropped);
    IF found_one.parent = 'deltas' THEN
        -- A turn that waited in a queue may have said its first words just now.
        EXECUTE format('INSERT INTO deltas
                        SELECT d.*
                          FROM (SELECT * FROM unnest($1, $2) AS n(organization_id, turn_id)
                             UNION
                                SELECT organization_id, id FROM turns WHERE state = ''pending'') n
                          JOIN turns t ON t.organization_id = n.organization_id AND t.id = n.turn_id
                          JOIN %I d ON d.organization_id = t.organization_id AND d.session_id = t.session_id
                                   AND d.turn_id = t.id', dropped) USING needed_of, needed;
        GET DIAGNOSTICS kept = ROW_COUNT;
    ELSIF found_one.parent = 'steps' THEN
        EXECUTE format('INSERT INTO steps
                        SELECT s.*
                          FROM unnest($1, $2) AS n(organization_id, id)
                          JOIN %I s ON s.organization_id = n.organization_id AND s.id = n.id', dropped)
          USING needed_of, needed;
        GET DIAGNOSTICS kept = ROW_COUNT;
    END IF;
    EXECUTE format('DROP TABLE %I', dropped);
    UPDATE partitions p SET dropped_at = now() WHERE p.name = dropped;
    RETURN kept;
END $$;

-- Holds those of some runs that still have their turns, until the transaction ends. In a function, so that the rows
-- are locked by a statement of their own: one that locks several rows and looks into partitions as well can bring
-- Postgres 18 down.
CREATE FUNCTION hold_runs(organization_ids uuid[], run_ids uuid[])
    RETURNS TABLE (organization_id uuid, session_id uuid, turn_id uuid, id uuid) LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY
    SELECT r.organization_id, r.session_id, r.turn_id, r.id
      FROM runs r
      JOIN (SELECT DISTINCT f.organization_id, f.run_id
              FROM unnest(organization_ids, run_ids) AS f(organization_id, run_id)) f
        ON f.organization_id = r.organization_id AND f.run_id = r.id
     WHERE r.state = 'running'
       FOR SHARE OF r;
END $$;

-- A step that is carried over has been noted before.
CREATE OR REPLACE FUNCTION note_interaction() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO interactions (organization_id, id, session_id, agent_id, client, project, at)
    SELECT s.organization_id, NEW.id, s.id, s.agent_id, t.body -> 'created_by' ->> 'key_id',
           CASE WHEN json_typeof(s.metadata -> 'project') = 'string'
                 AND char_length(s.metadata ->> 'project') BETWEEN 1 AND 200
                THEN s.metadata ->> 'project' END,
           NEW.started_at
      FROM sessions s
      LEFT JOIN turns t ON t.organization_id = s.organization_id AND t.id = NEW.turn_id
     WHERE s.organization_id = NEW.organization_id AND s.id = NEW.session_id AND s.deleted_at IS NULL
    ON CONFLICT (organization_id, id) DO NOTHING;
    RETURN NULL;
END $$;

-- Only the sweep of deltas used it, which drops partitions now.
DROP INDEX deltas_by_age;

-- A unique index of a partitioned table holds the partition's key as well. What it no longer says for all
-- partitions together is said by what writes the rows: the swap of the revision gives each to one event, the
-- organization's counter gives each number to one entry, ids are made once.
ALTER TABLE events DROP CONSTRAINT events_pkey;
ALTER TABLE events ADD PRIMARY KEY (organization_id, session_id, revision, at);
ALTER TABLE usage_entries DROP CONSTRAINT usage_entries_pkey;
ALTER TABLE usage_entries ADD PRIMARY KEY (organization_id, seq, step_id);
DROP INDEX usage_entries_by_id;
CREATE UNIQUE INDEX usage_entries_by_id ON usage_entries (organization_id, id, step_id);
DROP INDEX usage_entries_correction;
CREATE UNIQUE INDEX usage_entries_correction
    ON usage_entries (organization_id, corrects_id, correction_number, step_id) WHERE corrects_id IS NOT NULL;

-- Triggers belong to the whole table from now on.
DROP TRIGGER steps_note_interaction ON steps;
DROP TRIGGER usage_entries_append_only ON usage_entries;
DROP TRIGGER usage_entries_corrections_add_up ON usage_entries;

DO $$
DECLARE
    divided record;
    index record;
    first_part text;
    rest text;
BEGIN
    FOR divided IN
        SELECT * FROM (VALUES
            ('deltas', date_trunc('hour', now()) + interval '1 hour'),
            ('steps', date_trunc('day', now(), 'UTC') + interval '1 day'),
            ('events', date_trunc('day', now(), 'UTC') + interval '1 day'),
            ('usage_entries', date_trunc('day', now(), 'UTC') + interval '1 day')
        ) AS v(name, ends_at)
    LOOP
        first_part := divided.name || '_first';
        rest := divided.name || '_rest';
        EXECUTE format('ALTER TABLE %I RENAME TO %I', divided.name, first_part);
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL) PARTITION BY RANGE (%I)',
                       divided.name, first_part, partition_key(divided.name));
        PERFORM wall_in(divided.name::regclass);
        -- Ids of imported sessions are what they were elsewhere, and some clock may have been ahead.
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', rest, first_part);
        EXECUTE format('WITH later AS (DELETE FROM %1$I WHERE %2$I >= %3$s RETURNING *)
                        INSERT INTO %4$I SELECT * FROM later',
                       first_part, partition_key(divided.name),
                       partition_bound(divided.name, divided.ends_at), rest);
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (MINVALUE) TO (%s)',
                       divided.name, first_part, partition_bound(divided.name, divided.ends_at));
        -- The names of indexes stay with the table.
        FOR index IN
            SELECT part.relname AS of_part, whole.relname AS of_whole
              FROM pg_inherits i
              JOIN pg_class part ON part.oid = i.inhrelid
              JOIN pg_class whole ON whole.oid = i.inhparent
              JOIN pg_index x ON x.indexrelid = part.oid
             WHERE x.indrelid = first_part::regclass
        LOOP
            EXECUTE format('ALTER INDEX %I RENAME TO %I', index.of_part, index.of_part || '_first');
            EXECUTE format('ALTER INDEX %I RENAME TO %I', index.of_whole, index.of_part);
        END LOOP;
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I DEFAULT', divided.name, rest);
        PERFORM fit_partition(rest, divided.name);
        INSERT INTO partitions (name, parent, begins_at, ends_at)
        VALUES (first_part, divided.name, NULL, divided.ends_at);
        -- Processes that work under two walls go on while others are upgraded.
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'turnledger_application') THEN
            EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO turnledger_application', divided.name);
        END IF;
    END LOOP;
END $$;

CREATE TRIGGER steps_note_interaction AFTER INSERT ON steps FOR EACH ROW
    WHEN (NEW.kind = 'model')
    EXECUTE FUNCTION note_interaction();
CREATE TRIGGER usage_entries_append_only BEFORE UPDATE OR DELETE ON usage_entries FOR EACH ROW
    EXECUTE FUNCTION refuse_change();
CREATE TRIGGER usage_entries_never_truncated BEFORE TRUNCATE ON usage_entries FOR EACH STATEMENT
    EXECUTE FUNCTION refuse_change();
CREATE TRIGGER usage_entries_corrections_add_up BEFORE INSERT ON usage_entries FOR EACH ROW
    WHEN (NEW.corrects_id IS NOT NULL)
    EXECUTE FUNCTION check_correction();
