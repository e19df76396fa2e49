-- Old stretches of the ledger may leave the database for a file (`turnledger partitions archive`). Totals and counters
-- stay what they were; what left is kept in sums, so that they can still be checked.

CREATE TABLE archived_usage (
    organization_id    uuid    NOT NULL,
    session_id         uuid    NOT NULL,
    -- Whose turns they were; null for those of our own processes.
    key_id             uuid,
    call_count         bigint  NOT NULL,
    input_tokens       bigint  NOT NULL,
    cached_tokens      bigint  NOT NULL,
    cache_write_tokens bigint  NOT NULL,
    output_tokens      bigint  NOT NULL,
    reasoning_tokens   bigint  NOT NULL,
    cost               numeric NOT NULL,
    unknown_count      bigint  NOT NULL,
    UNIQUE NULLS NOT DISTINCT (organization_id, session_id, key_id)
);
SELECT wall_in('archived_usage');

ALTER TABLE organization_ledgers
    -- The highest number that has left. Up to there numbers may be missing, behind it none is.
    ADD COLUMN archived_through bigint NOT NULL DEFAULT 0,
    ADD COLUMN archived_count   bigint NOT NULL DEFAULT 0;

-- What the ledger counts: its entries, and the sums of those that have left.
CREATE VIEW counted_usage WITH (security_invoker = true) AS
SELECT organization_id, session_id, key_id, CASE WHEN corrects_id IS NULL THEN 1 ELSE 0 END AS call_count,
       input_tokens, cached_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost,
       CASE WHEN cost IS NULL AND corrects_id IS NULL THEN 1
            WHEN cost IS NOT NULL AND corrects_id IS NOT NULL AND NOT corrects_known THEN -1
            ELSE 0 END AS unknown_count
  FROM usage_entries
UNION ALL
SELECT organization_id, session_id, key_id, call_count, input_tokens, cached_tokens, cache_write_tokens,
       output_tokens, reasoning_tokens, cost, unknown_count
  FROM archived_usage;

-- Drops a partition of the ledger and keeps its sums. Refused when it has another number of entries than have been
-- written to the file, since somebody has corrected one, and when it has entries of late: budgets still count them.
CREATE FUNCTION archive_partition(dropped text, written bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    found_count   bigint;
    youngest      timestamptz;
    organizations uuid[];
    counts        bigint[];
    last_seqs     bigint[];
    attempts_left integer := 20;
    has_more      boolean;
BEGIN
    PERFORM set_config('lock_timeout', '200ms', true);
    PERFORM FROM partitions p
      WHERE p.name = dropped AND p.parent = 'usage_entries' AND p.dropped_at IS NULL FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION '% is no partition of the ledger (any more)', dropped USING ERRCODE = 'no_data_found';
    END IF;
    -- Years of entries are summed while everybody still reads and writes.
    EXECUTE format('SELECT COALESCE(sum(s.count), 0), max(s.youngest), array_agg(s.organization_id),
                           array_agg(s.count), array_agg(s.last_seq)
                      FROM (SELECT organization_id, count(*), max(seq) AS last_seq, max(created_at) AS youngest
                              FROM %I GROUP BY organization_id) s', dropped)
       INTO found_count, youngest, organizations, counts, last_seqs;
    IF found_count <> written THEN
        RAISE EXCEPTION '% has % entries, and % were written', dropped, found_count, written
              USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    IF youngest > now() - interval '62 days' THEN
        RAISE EXCEPTION '% has an entry of the last 62 days: the call was corrected, or settled late', dropped
              USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    EXECUTE format('
        INSERT INTO archived_usage AS a
        SELECT organization_id, session_id, key_id, count(*) FILTER (WHERE corrects_id IS NULL),
               sum(input_tokens), sum(cached_tokens), sum(cache_write_tokens), sum(output_tokens),
               sum(reasoning_tokens), COALESCE(sum(cost), 0),
               count(*) FILTER (WHERE cost IS NULL AND corrects_id IS NULL)
                   - count(*) FILTER (WHERE cost IS NOT NULL AND corrects_id IS NOT NULL AND NOT corrects_known)
          FROM %I
         GROUP BY organization_id, session_id, key_id
        ON CONFLICT (organization_id, session_id, key_id) DO UPDATE
           SET call_count = a.call_count + EXCLUDED.call_count,
               input_tokens = a.input_tokens + EXCLUDED.input_tokens,
               cached_tokens = a.cached_tokens + EXCLUDED.cached_tokens,
               cache_write_tokens = a.cache_write_tokens + EXCLUDED.cache_write_tokens,
               output_tokens = a.output_tokens + EXCLUDED.output_tokens,
               reasoning_tokens = a.reasoning_tokens + EXCLUDED.reasoning_tokens,
               cost = a.cost + EXCLUDED.cost,
               unknown_count = a.unknown_count + EXCLUDED.unknown_count', dropped);
    -- From here on they wait, so it must not take long. Who is in the way goes first: locks are given back, and
    -- it is tried again.
    LOOP
        BEGIN
            EXECUTE format('ALTER TABLE usage_entries DETACH PARTITION %I', dropped);
            -- Numbers only rise: what was added since they were summed is behind the last of its organization.
            EXECUTE format('SELECT EXISTS (
                                SELECT FROM organizations o
                                  LEFT JOIN unnest($1, $2) AS s(organization_id, last_seq)
                                    ON s.organization_id = o.id
                                 WHERE EXISTS (SELECT FROM %I u WHERE u.organization_id = o.id
                                                  AND u.seq > COALESCE(s.last_seq, 0)))', dropped)
               INTO has_more USING organizations, last_seqs;
            IF has_more THEN
                RAISE EXCEPTION '% has more entries than were written', dropped
                      USING ERRCODE = 'object_not_in_prerequisite_state';
            END IF;
            -- What budgets remember may end before what leaves now: they count anew.
            UPDATE budgets SET counted_from = NULL, counted_seq = 0, counted_cost = 0
             WHERE organization_id = ANY (organizations);
            UPDATE organization_ledgers l
               SET archived_count = l.archived_count + s.count,
                   archived_through = GREATEST(l.archived_through, s.last_seq)
              FROM unnest(organizations, counts, last_seqs) AS s(organization_id, count, last_seq)
             WHERE l.organization_id = s.organization_id;
            EXECUTE format('DROP TABLE %I', dropped);
            EXIT;
        EXCEPTION WHEN lock_not_available THEN
            attempts_left := attempts_left - 1;
            IF attempts_left = 0 THEN
                RAISE;
            END IF;
            PERFORM pg_sleep(0.5 + random() / 2);
        END;
    END LOOP;
    UPDATE partitions p SET dropped_at = now() WHERE p.name = dropped;
END $$;
