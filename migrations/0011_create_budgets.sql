-- Prices get tiers, and say who added them. Budgets limit what an organization, or one of its keys, may spend.

ALTER TABLE prices
    -- [{above_input_tokens, input_per_million, ...}]: prices that apply in the place of the row's to calls with
    -- more input tokens; null for none.
    ADD COLUMN tiers    json,
    ADD COLUMN added_at timestamptz,
    ADD COLUMN added_by json;

CREATE TABLE budgets (
    organization_id  uuid        NOT NULL REFERENCES organizations,
    -- Of what was spent for the turns of one key; null for all of the organization.
    key_id           uuid,
    period           text        NOT NULL CHECK (period IN ('day', 'month', 'total')),
    -- Whose days and months these are.
    time_zone        text        NOT NULL,
    currency         text        NOT NULL DEFAULT 'USD' CHECK (currency = 'USD'),
    -- From here on no turn begins; null for a budget that only warns.
    hard_limit       numeric     CHECK (hard_limit >= 0),
    -- From here on calls are answered with a warning; null for none.
    warn_at          numeric     CHECK (warn_at >= 0),
    -- What a call of a model that nobody has called yet is taken to cost while it runs.
    reserve_per_call numeric     NOT NULL DEFAULT 0 CHECK (reserve_per_call >= 0),
    set_at           timestamptz NOT NULL,
    set_by           json        NOT NULL,
    -- What is remembered of the ledger, so that a check reads only the rows behind `counted_seq`: the sum of
    -- the rows up to there from `counted_from` on, the beginning of a period. Null while nothing is.
    counted_from     timestamptz,
    counted_seq      bigint      NOT NULL DEFAULT 0,
    counted_cost     numeric     NOT NULL DEFAULT 0,
    UNIQUE NULLS NOT DISTINCT (organization_id, key_id, period),
    FOREIGN KEY (organization_id, key_id) REFERENCES api_keys,
    CHECK (hard_limit IS NOT NULL OR warn_at IS NOT NULL)
);

-- What a call is taken to cost until it is settled; null in organizations without a budget. A call that is
-- settled is no longer `started`, so its reservation ends in the statement that writes what it did cost.
ALTER TABLE steps ADD COLUMN reserved numeric CHECK (reserved >= 0);
CREATE INDEX steps_reserved ON steps (organization_id) WHERE state = 'started' AND reserved IS NOT NULL;
