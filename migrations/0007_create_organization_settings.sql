-- What the operator of the installation has set for one organization; no row means that nothing is set.
CREATE TABLE organization_settings (
    organization_id    uuid        PRIMARY KEY REFERENCES organizations,
    -- Hosts, `host:port`, addresses and networks that its tools may call although they are not public.
    tool_hosts_allowed text[]      NOT NULL DEFAULT '{}',
    updated_at         timestamptz NOT NULL
);
