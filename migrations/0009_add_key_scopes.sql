-- Keys get scopes, an end, a second secret while they are rotated, and a trace of their use. Rows of the release
-- before have every scope, as have those that it still writes.

ALTER TABLE api_keys
    ADD COLUMN scopes text[] NOT NULL
        DEFAULT '{sessions:read,sessions:write,approvals:decide,usage:read,admin}'
        CHECK (cardinality(scopes) >= 1
               AND scopes <@ '{sessions:read,sessions:write,approvals:decide,usage:read,admin}'::text[]),
    -- Refused from then on; null for a key without an end.
    ADD COLUMN expires_at timestamptz,
    -- Null for a key that was made before this was kept, or by the operator.
    ADD COLUMN created_by json,
    -- When the secret was last replaced.
    ADD COLUMN rotated_at timestamptz,
    -- The secret before that one, and until when it is still accepted.
    ADD COLUMN previous_sha256 bytea UNIQUE CHECK (octet_length(previous_sha256) = 32),
    ADD COLUMN previous_expires_at timestamptz,
    -- To the minute or so; null for a key that nobody has used since this is kept.
    ADD COLUMN last_used_at timestamptz,
    ADD CHECK ((previous_sha256 IS NULL) = (previous_expires_at IS NULL));

-- Keys of the installation: they belong to no organization and read none's sessions.
CREATE TABLE installation_keys (
    id                  uuid        PRIMARY KEY,
    name                text        NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
    key_sha256          bytea       NOT NULL UNIQUE CHECK (octet_length(key_sha256) = 32),
    prefix              text        NOT NULL,
    created_at          timestamptz NOT NULL,
    expires_at          timestamptz,
    revoked_at          timestamptz,
    rotated_at          timestamptz,
    previous_sha256     bytea       UNIQUE CHECK (octet_length(previous_sha256) = 32),
    previous_expires_at timestamptz,
    last_used_at        timestamptz,
    CHECK ((previous_sha256 IS NULL) = (previous_expires_at IS NULL))
);
