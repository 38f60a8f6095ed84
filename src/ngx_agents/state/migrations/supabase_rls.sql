-- Row-level security for clients that reach the database with Supabase's roles instead of through this server.
-- Every table is closed; `authenticated` may read (never write) the rows of the verified claims' own user: `sub`, and
-- `tenant` (from the claim or from app_metadata; "default" when absent), as the server reads them. Repeatable.
ALTER TABLE ngx.migration ENABLE ROW LEVEL SECURITY;
ALTER TABLE ngx.applied ENABLE ROW LEVEL SECURITY;
ALTER TABLE ngx.conversation ENABLE ROW LEVEL SECURITY;
ALTER TABLE ngx.turn ENABLE ROW LEVEL SECURITY;
ALTER TABLE ngx.message ENABLE ROW LEVEL SECURITY;
ALTER TABLE ngx.artifact ENABLE ROW LEVEL SECURITY;
ALTER TABLE ngx.idempotency ENABLE ROW LEVEL SECURITY;
ALTER TABLE ngx.checkpoint ENABLE ROW LEVEL SECURITY;
ALTER TABLE ngx.effect ENABLE ROW LEVEL SECURITY;
ALTER TABLE ngx.profile ENABLE ROW LEVEL SECURITY;
ALTER TABLE ngx.log ENABLE ROW LEVEL SECURITY;
ALTER TABLE ngx.api_key ENABLE ROW LEVEL SECURITY;
ALTER TABLE ngx.instance ENABLE ROW LEVEL SECURITY;
ALTER TABLE ngx.writer ENABLE ROW LEVEL SECURITY;
ALTER TABLE ngx.state ENABLE ROW LEVEL SECURITY;
ALTER TABLE ngx.blob ENABLE ROW LEVEL SECURITY;
ALTER TABLE ngx.consent ENABLE ROW LEVEL SECURITY;
ALTER TABLE ngx.election ENABLE ROW LEVEL SECURITY;
ALTER TABLE ngx.schedule ENABLE ROW LEVEL SECURITY;
ALTER TABLE ngx.batch ENABLE ROW LEVEL SECURITY;
ALTER TABLE ngx.batch_item ENABLE ROW LEVEL SECURITY;
ALTER TABLE ngx.shard_place ENABLE ROW LEVEL SECURITY;
ALTER TABLE ngx.shard_change ENABLE ROW LEVEL SECURITY;
ALTER TABLE ngx.control ENABLE ROW LEVEL SECURITY;
ALTER TABLE ngx.audit ENABLE ROW LEVEL SECURITY;
ALTER TABLE ngx.budget_meter ENABLE ROW LEVEL SECURITY;
ALTER TABLE ngx.webhook ENABLE ROW LEVEL SECURITY;
ALTER TABLE ngx.outbox ENABLE ROW LEVEL SECURITY;

REVOKE ALL ON ALL TABLES IN SCHEMA ngx FROM PUBLIC, authenticated;
REVOKE ALL ON SCHEMA ngx FROM PUBLIC;
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'anon') THEN
    REVOKE ALL ON ALL TABLES IN SCHEMA ngx FROM anon;
    REVOKE ALL ON SCHEMA ngx FROM anon;
  END IF;
END
$$;

-- Claims that are absent, empty or not JSON name nobody.
CREATE OR REPLACE FUNCTION ngx.claims() RETURNS jsonb LANGUAGE plpgsql STABLE SET search_path = pg_catalog AS $$
BEGIN
  RETURN coalesce(nullif(current_setting('request.jwt.claims', true), ''), '{}')::jsonb;
EXCEPTION WHEN invalid_text_representation THEN
  RETURN '{}'::jsonb;
END
$$;
CREATE OR REPLACE FUNCTION ngx.claimed_user() RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog
  AS $$ SELECT ngx.claims() ->> 'sub' $$;
CREATE OR REPLACE FUNCTION ngx.claimed_tenant() RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog
  AS $$ SELECT coalesce(ngx.claims() ->> 'tenant', ngx.claims() -> 'app_metadata' ->> 'tenant', 'default') $$;

GRANT USAGE ON SCHEMA ngx TO authenticated;
GRANT SELECT ON ngx.conversation, ngx.turn, ngx.message, ngx.artifact, ngx.profile, ngx.log TO authenticated;

DROP POLICY IF EXISTS own_conversations ON ngx.conversation;
CREATE POLICY own_conversations ON ngx.conversation FOR SELECT TO authenticated
  USING (user_id = (SELECT ngx.claimed_user()) AND tenant = (SELECT ngx.claimed_tenant()));
DROP POLICY IF EXISTS own_turns ON ngx.turn;
CREATE POLICY own_turns ON ngx.turn FOR SELECT TO authenticated
  USING (user_id = (SELECT ngx.claimed_user()) AND tenant = (SELECT ngx.claimed_tenant()));
DROP POLICY IF EXISTS own_messages ON ngx.message;
CREATE POLICY own_messages ON ngx.message FOR SELECT TO authenticated
  USING (EXISTS (SELECT FROM ngx.conversation v WHERE v.shard = message.shard AND v.id = message.conversation_id));
DROP POLICY IF EXISTS own_artifacts ON ngx.artifact;
CREATE POLICY own_artifacts ON ngx.artifact FOR SELECT TO authenticated
  USING (user_id = (SELECT ngx.claimed_user()) AND tenant = (SELECT ngx.claimed_tenant()));
DROP POLICY IF EXISTS own_profile ON ngx.profile;
CREATE POLICY own_profile ON ngx.profile FOR SELECT TO authenticated
  USING (user_id = (SELECT ngx.claimed_user()) AND tenant = (SELECT ngx.claimed_tenant()));
DROP POLICY IF EXISTS own_log ON ngx.log;
CREATE POLICY own_log ON ngx.log FOR SELECT TO authenticated
  USING (user_id = (SELECT ngx.claimed_user()) AND tenant = (SELECT ngx.claimed_tenant()));
