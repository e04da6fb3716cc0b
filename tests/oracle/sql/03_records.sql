-- The versions again, typed: golden masters (…_g) and one view per system (…_s). [from_us, to_us) is commit time.

CREATE TABLE project_g AS
SELECT bk AS project, from_us, to_us, a ->> 'customer_no' AS customer_no, a ->> 'contract_no' AS contract_no,
       a ->> 'le_code' AS le_code, a ->> 'practice' AS practice, a ->> 'region' AS region, a ->> 'ccy' AS ccy,
       coalesce(a ->> 'project_type', 'EXTERNAL') AS project_type, coalesce((a ->> 'billable')::BOOLEAN, true) AS billable,
       coalesce((a ->> 'allow_time_without_assignment')::BOOLEAN, false) AS free_time,
       a ->> 'billing_calendar_id' AS calendar, a ->> 'service_class' AS service_class, (a ->> 'line_no')::INTEGER AS line_no
FROM golden WHERE entity = 'project';

CREATE TABLE contract_g AS
SELECT bk AS contract_no, from_us, to_us, a ->> 'ccy' AS ccy, a ->> 'billing_calendar_id' AS calendar,
       (a ->> 'from')::DATE AS from_d
FROM golden WHERE entity = 'contract' AND live;

CREATE TABLE line_g AS
SELECT a ->> 'contract_no' AS contract_no, (a ->> 'line_no')::INTEGER AS line_no, from_us, to_us, a ->> 'ccy' AS ccy,
       (a ->> 'from')::DATE AS from_d, (a ->> 'to')::DATE AS to_d, a ->> 'method' AS method,
       coalesce(a ->> 'rate_basis', 'TRANSACTION_DATE') AS rate_basis, a ->> 'retro_policy' AS retro_policy,
       a ->> 'service_class' AS service_class
FROM golden WHERE entity = 'contract_line' AND live;

CREATE TABLE entity_g AS
SELECT bk AS le_code, from_us, to_us, coalesce(a ->> 'tz', 'UTC') AS tz, a ->> 'rounding' AS rounding,
       a ->> 'base_ccy' AS base_ccy
FROM golden WHERE entity = 'legal_entity';

CREATE TABLE cycle_g AS
SELECT a ->> 'billing_calendar_id' AS calendar, a ->> 'cycle_no' AS cycle_no, from_us, to_us, (a ->> 'from')::DATE AS from_d,
       (a ->> 'to')::DATE AS to_d, epoch_us((a ->> 'cutoff_at')::TIMESTAMPTZ) AS cutoff_us
FROM golden WHERE entity = 'billing_cycle' AND live;

CREATE TABLE project_s AS
SELECT system, bk AS project, from_us, to_us, deleted, a ->> 'state' AS state, a ->> 'opportunity_no' AS opportunity_no
FROM view_of WHERE entity = 'project';

CREATE TABLE entry_s AS
SELECT system, bk AS entry_key, from_us, to_us, is_change, deleted, a ->> 'worker_no' AS worker,
       canon(a ->> 'project_code') AS project, a ->> 'wbs_code' AS wbs, (a ->> 'work_date')::DATE AS work_date,
       epoch_us((a ->> 'start_at')::TIMESTAMPTZ) AS start_us, epoch_us((a ->> 'end_at')::TIMESTAMPTZ) AS end_us,
       coalesce((a ->> 'break_s')::BIGINT, 0) AS break_s, (a ->> 'qty_s')::BIGINT AS qty_s,
       coalesce((a ->> 'quantum_s')::BIGINT, 60) AS quantum_s, (a ->> 'billable_s')::BIGINT AS billable_s,
       a ->> 'time_type' AS time_type, a ->> 'role_code' AS role, a ->> 'assignment_id' AS assignment_id,
       (a ->> 'billable')::BOOLEAN AS billable, (a ->> 'billed')::BOOLEAN AS billed, a ->> 'state' AS state,
       a ->> 'note_hash' AS note, epoch_us((a ->> 'submitted_at')::TIMESTAMPTZ) AS said_submitted_us,
       epoch_us((a ->> 'approved_at')::TIMESTAMPTZ) AS said_approved_us, a ->> 'work_tz' AS work_tz,
       (a -> 'source_rate' ->> 'rate_e6')::BIGINT AS rate_e6, a -> 'source_rate' ->> 'ccy' AS rate_ccy,
       coalesce(a -> 'source_rate' ->> 'unit', 'HOUR') AS rate_unit, (a -> 'source_rate' ->> 'day_s')::BIGINT AS rate_day_s
FROM view_of WHERE entity = 'time_entry' AND system IN ('TIME', 'PSA');

CREATE TABLE labour_s AS
SELECT bk, from_us, to_us, is_change, deleted, a ->> 'origin_ref' AS entry_key, canon(a ->> 'project_code') AS project,
       a ->> 'wbs_code' AS wbs, (a ->> 'work_date')::DATE AS work_date, (a ->> 'qty_s')::BIGINT AS qty_s,
       a ->> 'voucher' IS NOT NULL AND a ->> 'accounting_date' IS NOT NULL AS posted
FROM view_of
WHERE entity = 'posted_labour' AND system = 'ERP' AND coalesce(a ->> 'txn_type', 'COST') = 'COST'
  AND a ->> 'origin_ref' IS NOT NULL;

CREATE TABLE invoice_s AS
SELECT bk AS invoice, from_us, to_us, a ->> 'type' AS type, a ->> 'state' AS state, a ->> 'corrects_invoice' AS corrects,
       (a -> 'net' ->> 'minor')::BIGINT AS net, coalesce((a -> 'tax' ->> 'minor')::BIGINT, 0) AS tax, a -> 'net' ->> 'ccy' AS ccy,
       a ->> 'le_code' AS le_code, a ->> 'invoice_no' AS invoice_no, a ->> 'customer_no' AS customer_no, a ->> 'billing_cycle_id' AS cycle,
       a ->> 'idempotency_key' AS idempotency_key, epoch_us((a ->> 'posted_at')::TIMESTAMPTZ) AS said_posted_us
FROM view_of WHERE entity = 'invoice' AND system = 'ERP' AND NOT deleted;

CREATE TABLE invoice_line_s AS
SELECT (a ->> 'le_code') || ':' || (a ->> 'invoice_no') AS invoice, (a ->> 'line_no')::INTEGER AS line_no, from_us, to_us,
       canon(a ->> 'project_code') AS project, abs(coalesce((a ->> 'qty_s')::BIGINT, 0)) AS qty_s,
       abs(coalesce((a -> 'net' ->> 'minor')::BIGINT, 0)) AS net
FROM view_of WHERE entity = 'invoice_line' AND system = 'ERP' AND NOT deleted;

CREATE TABLE coverage_s AS
SELECT bk, from_us, to_us, deleted, (a ->> 'le_code') || ':' || (a ->> 'invoice_no') AS invoice, a ->> 'target' AS entry_key,
       (a ->> 'sign')::INTEGER AS sign, abs(coalesce((a ->> 'qty_s')::BIGINT, 0)) AS qty_s,
       abs(coalesce((a -> 'amount' ->> 'minor')::BIGINT, 0)) AS minor, a -> 'amount' ->> 'ccy' AS ccy
FROM view_of WHERE entity = 'coverage' AND system = 'ERP' AND coalesce(a ->> 'kind', 'TIME_ENTRY') = 'TIME_ENTRY';

CREATE TABLE write_off_s AS
SELECT bk, from_us, to_us, deleted, a ->> 'target' AS entry_key, abs(coalesce((a ->> 'qty_s')::BIGINT, 0)) AS qty_s
FROM view_of WHERE entity = 'write_off';

CREATE TABLE assignment_s AS
SELECT row_number() OVER (ORDER BY system, bk, from_us) AS version_id, system, bk AS subject, from_us, to_us,
       canon(a ->> 'project_code') AS project, a ->> 'worker_no' AS worker, a ->> 'role_code' AS role,
       (a ->> 'from')::DATE AS from_d, (a ->> 'to')::DATE AS to_d, a ->> 'mode' AS mode,
       (a ->> 'alloc_value')::BIGINT AS alloc_value, a ->> 'commit' AS "commit",
       coalesce((a ->> 'billable')::BOOLEAN, true) AS billable,
       NOT deleted AND coalesce(a ->> 'commit', '') <> 'CANCELLED'
           AND coalesce(a ->> 'state', '') NOT IN ('CANCELLED', 'DELETED') AS live,
       (a -> 'bill_rate' ->> 'rate_e6')::BIGINT AS rate_e6, a -> 'bill_rate' ->> 'ccy' AS rate_ccy,
       coalesce(a -> 'bill_rate' ->> 'unit', 'HOUR') AS rate_unit, (a -> 'bill_rate' ->> 'day_s')::BIGINT AS rate_day_s
FROM view_of WHERE entity = 'assignment' AND system IN ('SCHED', 'PSA', 'ERP');

-- Bill rates of every system; the PSA's rate on an assignment is a level 2 rate of the owner.
CREATE TABLE rate_s AS
SELECT system, bk AS rate_id, from_us, to_us, (a ->> 'level')::INTEGER AS level,
       CASE WHEN (a ->> 'level')::INTEGER = 4 THEN canon(a ->> 'scope_key') ELSE a ->> 'scope_key' END AS scope,
       a ->> 'scope_key' AS said_scope, a ->> 'role_code' AS role, a ->> 'worker_no' AS worker, a ->> 'location' AS location,
       nullif(a ->> 'time_type', '*') AS time_type, (a -> 'rate' ->> 'rate_e6')::BIGINT AS rate_e6,
       a -> 'rate' ->> 'ccy' AS ccy, coalesce(a -> 'rate' ->> 'unit', 'HOUR') AS unit,
       (a -> 'rate' ->> 'day_s')::BIGINT AS day_s, (a ->> 'effective_from')::DATE AS from_d,
       (a ->> 'effective_to')::DATE AS to_d, a ->> 'state' AS state,
       greatest(from_us, coalesce(epoch_us((a ->> 'published_at')::TIMESTAMPTZ), from_us)) AS known_us
FROM view_of WHERE entity = 'rate' AND a ->> 'kind' = 'BILL' AND NOT deleted
UNION ALL
SELECT 'ERP', 'assignment:' || subject, from_us, to_us, 2, subject, subject, NULL, worker, NULL, NULL, rate_e6, rate_ccy, rate_unit,
       rate_day_s, DATE '1900-01-01', NULL, 'PUBLISHED', from_us
FROM assignment_s WHERE system = 'PSA' AND live AND rate_e6 IS NOT NULL;
ALTER TABLE rate_s ADD COLUMN num BIGINT;
ALTER TABLE rate_s ADD COLUMN den BIGINT;
UPDATE rate_s SET num = hour_num(rate_e6, unit), den = hour_den(unit, day_s);
