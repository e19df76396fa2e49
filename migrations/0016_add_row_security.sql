-- The second wall: the application role sees the rows of one organization at a time, whatever a statement asks
-- for. It is made when the setting `row_level_security` is first on; until then, and for every other role,
-- nothing changes.

-- The organization that this connection works for; null for none.
CREATE FUNCTION current_organization() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT NULLIF(current_setting('turnledger.organization_id', true), '')::uuid $$;

-- Called by every later migration that makes a table with an organization_id; a test finds those that are not.
CREATE FUNCTION wall_in(bound regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', bound);
    EXECUTE format('CREATE POLICY own_organization ON %s USING '
                   '(organization_id = current_organization() OR current_user <> ''turnledger_application'')', bound);
END $$;

SELECT wall_in(c.oid::regclass)
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
 WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
   AND a.attname = 'organization_id' AND NOT a.attisdropped;

ALTER TABLE organizations ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_organization ON organizations
    USING (id = current_organization() OR current_user <> 'turnledger_application');

-- Nothing of the installation is the application's business.
ALTER TABLE installation_keys ENABLE ROW LEVEL SECURITY;
CREATE POLICY no_organization ON installation_keys USING (current_user <> 'turnledger_application');

-- A view would show what its owner sees.
ALTER VIEW session_documents SET (security_invoker = true);
