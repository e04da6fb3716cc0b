-- PostgreSQL, database erp, for the connector erp of tieout. Run it as the owner of the tables or a superuser; it may be run again.
DO $$ BEGIN
  IF current_setting('wal_level') <> 'logical' THEN
    RAISE EXCEPTION 'wal_level is %: ALTER SYSTEM SET wal_level = ''logical'', restart, run this again',
      current_setting('wal_level');
  END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'tieout') THEN
    CREATE ROLE "tieout" LOGIN REPLICATION;  -- then give it a password: \password tieout
  END IF;
END $$;
CREATE TABLE IF NOT EXISTS "public"."tieout_heartbeat" (connector text PRIMARY KEY, beat_at timestamptz NOT NULL);
CREATE TABLE IF NOT EXISTS "public"."tieout_signal" (id varchar(42) PRIMARY KEY, type varchar(32) NOT NULL, data varchar(2048));
ALTER TABLE "ledger"."project" REPLICA IDENTITY FULL;
ALTER TABLE "ledger"."posted_labour" REPLICA IDENTITY FULL;
DO $$ BEGIN
  IF EXISTS (SELECT FROM pg_publication WHERE pubname = 'tieout_erp') THEN
    ALTER PUBLICATION "tieout_erp" SET TABLE "ledger"."project", "ledger"."posted_labour", "public"."tieout_heartbeat", "public"."tieout_signal";
  ELSE
    CREATE PUBLICATION "tieout_erp" FOR TABLE "ledger"."project", "ledger"."posted_labour", "public"."tieout_heartbeat", "public"."tieout_signal";
  END IF;
END $$;
GRANT USAGE ON SCHEMA "ledger" TO "tieout";
GRANT USAGE ON SCHEMA "public" TO "tieout";
GRANT SELECT ON "ledger"."project" TO "tieout";
GRANT SELECT ON "ledger"."posted_labour" TO "tieout";
GRANT SELECT, INSERT, UPDATE ON "public"."tieout_heartbeat" TO "tieout";
GRANT SELECT, INSERT ON "public"."tieout_signal" TO "tieout";
-- Its host must be let in by pg_hba.conf. How far the slot holds back the log:
-- SELECT slot_name, active, pg_size_pretty(pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn))
--   FROM pg_replication_slots WHERE slot_name = 'tieout_erp';
