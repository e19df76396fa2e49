-- What an organization's tools need to be let in elsewhere. Only ciphertext is kept: AES-256-GCM with a key
-- from the settings, bound to the organization and the name.
CREATE TABLE secrets (
    organization_id uuid        NOT NULL REFERENCES organizations,
    name            text        NOT NULL CHECK (name ~ '^[A-Za-z][A-Za-z0-9_-]{0,63}$'),
    -- Nonce, ciphertext and tag, one behind the other.
    ciphertext      bytea       NOT NULL CHECK (octet_length(ciphertext) BETWEEN 29 AND 65536),
    -- Which of the installation's keys encrypted it: the beginning of a digest of that key.
    key_id          text        NOT NULL,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    updated_by      json        NOT NULL,
    PRIMARY KEY (organization_id, name)
);
