-- The one logical document of each session, for people with psql: the header, what lies beside it, all turns
-- on the line and the futures that can be restored. The service itself reads the rows.

CREATE VIEW session_documents AS
SELECT s.organization_id, s.id, s.revision,
       json_build_object(
           'id', s.document -> 'id',
           'revision', s.revision,
           'state', s.state,
           'format', s.document -> 'format',
           'agent', s.document -> 'agent',
           'name', s.name,
           'context', s.context,
           'metadata', s.metadata,
           'node', s.document -> 'node',
           'variables', s.document -> 'variables',
           'cursor', s.cursor,
           'turn_count', s.turn_count,
           'active_turn_id', s.document -> 'active_turn_id',
           'turns', (
               WITH RECURSIVE stretch AS (
                   SELECT b.number, b.parent, b.branch_point, s.turn_count AS until
                     FROM branches b
                    WHERE b.organization_id = s.organization_id AND b.session_id = s.id
                      AND b.number = s.branch
                UNION ALL
                   SELECT b.number, b.parent, b.branch_point, c.branch_point
                     FROM stretch c
                     JOIN branches b ON b.organization_id = s.organization_id AND b.session_id = s.id
                                    AND b.number = c.parent
               )
               SELECT COALESCE(json_agg(t.body ORDER BY t.position), '[]'::json)
                 FROM stretch c
                 JOIN turns t ON t.organization_id = s.organization_id AND t.session_id = s.id
                             AND t.branch = c.number AND t.position >= c.branch_point
                             AND t.position < c.until
           ),
           'discarded_futures', (
               SELECT COALESCE(json_agg(json_build_object(
                          'ordinal', f.ordinal,
                          'branch_point', f.branch_point,
                          'turn_count', f.line_count - f.branch_point,
                          'discarded_at', f.discarded_at,
                          'discarded_by', f.discarded_by
                      ) ORDER BY f.ordinal), '[]'::json)
                 FROM discarded_futures f
                WHERE f.organization_id = s.organization_id AND f.session_id = s.id
                  AND f.restored_revision IS NULL
           ),
           'simulator', json_build_object('enabled', s.document -> 'simulator_enabled'),
           'resolution', s.document -> 'resolution',
           'forked_from', s.document -> 'forked_from',
           'complete', true,
           'created_at', s.document -> 'created_at',
           'updated_at', s.document -> 'updated_at',
           'ended_at', s.document -> 'ended_at'
       ) AS document
  FROM sessions s
 WHERE s.deleted_at IS NULL;
