-- The ledger says whose key a call was made for, and takes corrections by people: any number, one after the
-- other, each with who and why. Rows of the release before get the defaults, which say what was true of them.

-- The API key that created the turn; null for turns of our own processes.
ALTER TABLE steps ADD COLUMN key_id uuid;

ALTER TABLE usage_entries
    ADD COLUMN key_id            uuid,
    -- 1, 2, 3, ... among the corrections of one original; of no meaning for an original.
    ADD COLUMN correction_number integer NOT NULL DEFAULT 1 CHECK (correction_number >= 1),
    -- The cost of what is corrected was known before, so that this row makes no unknown cost known.
    ADD COLUMN corrects_known    boolean NOT NULL DEFAULT false,
    -- Who corrected and why; null for originals, and for what a runner told late of its own call.
    ADD COLUMN corrected_by      json,
    ADD COLUMN correction_reason text CHECK (char_length(correction_reason) BETWEEN 1 AND 1000),
    ADD CONSTRAINT usage_entries_corrector CHECK ((corrected_by IS NULL) = (correction_reason IS NULL)),
    ADD CONSTRAINT usage_entries_corrected CHECK (corrected_by IS NULL OR corrects_id IS NOT NULL),
    -- What a person corrects has no unit prices.
    DROP CONSTRAINT usage_entries_check1,
    ADD CONSTRAINT usage_entries_priced CHECK (unit_prices IS NOT NULL OR cost IS NULL OR cost = 0
                                               OR corrected_by IS NOT NULL),
    DROP CONSTRAINT usage_entries_source_check,
    ADD CONSTRAINT usage_entries_source_check CHECK (source IN ('provider', 'estimated', 'unknown', 'manual'));

-- As before, two corrections cannot take the same place; now there is more than one place.
DROP INDEX usage_entries_correction;
CREATE UNIQUE INDEX usage_entries_correction ON usage_entries (organization_id, corrects_id, correction_number)
    WHERE corrects_id IS NOT NULL;
CREATE UNIQUE INDEX usage_entries_by_id ON usage_entries (organization_id, id);
-- Summaries and budgets read a stretch of time.
CREATE INDEX usage_entries_by_time ON usage_entries (organization_id, created_at);

CREATE FUNCTION check_correction() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    original usage_entries%ROWTYPE;
    net      record;
BEGIN
    SELECT * INTO original FROM usage_entries
     WHERE organization_id = NEW.organization_id AND id = NEW.corrects_id;
    IF NOT FOUND OR original.corrects_id IS NOT NULL OR original.seq >= NEW.seq
       OR (original.session_id, original.turn_id, original.step_id, original.currency)
          <> (NEW.session_id, NEW.turn_id, NEW.step_id, NEW.currency) THEN
        RAISE EXCEPTION 'a correction names an earlier original of the same call'
              USING ERRCODE = 'restrict_violation';
    END IF;
    SELECT count(*) AS correction_count, count(cost) AS known_count, COALESCE(sum(cost), 0) AS cost,
           COALESCE(sum(input_tokens), 0) AS input_tokens, COALESCE(sum(cached_tokens), 0) AS cached_tokens,
           COALESCE(sum(cache_write_tokens), 0) AS cache_write_tokens,
           COALESCE(sum(output_tokens), 0) AS output_tokens,
           COALESCE(sum(reasoning_tokens), 0) AS reasoning_tokens
      INTO net
      FROM usage_entries
     WHERE organization_id = NEW.organization_id AND corrects_id = NEW.corrects_id;
    IF NEW.correction_number <= net.correction_count THEN
        -- Somebody was first: the index says so, in the words that a second correction has always been told in.
        RETURN NEW;
    END IF;
    IF NEW.correction_number > net.correction_count + 1 THEN
        RAISE EXCEPTION 'correction % of % is not the next', NEW.correction_number, NEW.corrects_id
              USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.corrects_known <> (original.cost IS NOT NULL OR net.known_count > 0) THEN
        RAISE EXCEPTION 'correction of % errs on whether its cost was known', NEW.corrects_id
              USING ERRCODE = 'restrict_violation';
    END IF;
    IF LEAST(original.input_tokens + net.input_tokens + NEW.input_tokens,
             original.cached_tokens + net.cached_tokens + NEW.cached_tokens,
             original.cache_write_tokens + net.cache_write_tokens + NEW.cache_write_tokens,
             original.output_tokens + net.output_tokens + NEW.output_tokens,
             original.reasoning_tokens + net.reasoning_tokens + NEW.reasoning_tokens,
             COALESCE(original.cost, 0) + net.cost + COALESCE(NEW.cost, 0)) < 0 THEN
        RAISE EXCEPTION 'corrected to less than nothing: %', NEW.corrects_id
              USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER usage_entries_corrections_add_up BEFORE INSERT ON usage_entries FOR EACH ROW
    WHEN (NEW.corrects_id IS NOT NULL)
    EXECUTE FUNCTION check_correction();
