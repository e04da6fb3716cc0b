-- The source tables of a checkpoint as canonical events, one a row: written from the tables and the domain model, without
-- the mappings. Every value is text, as PostgreSQL wrote it. `event` (source, entity, op, subject, data).

CREATE MACRO code(written) AS upper(trim(written));
CREATE MACRO entry_of(ref) AS replace(ref, 'kimai:', 'TIME:');
CREATE MACRO seconds(hours) AS (hours::DECIMAL(38, 16) * 3600)::DECIMAL(38, 0)::BIGINT;
CREATE MACRO after(last_day) AS CASE WHEN last_day = 'infinity' THEN NULL ELSE last_day::DATE + 1 END;
CREATE MACRO rate_of(price, ccy) AS CASE WHEN price IS NOT NULL THEN
    {'rate_e6': (price::DECIMAL(38, 12) * 1000000)::BIGINT, 'ccy': trim(ccy), 'unit': 'HOUR'} END;
CREATE MACRO money_of(amount, ccy) AS CASE WHEN amount IS NOT NULL THEN
    {'minor': (amount::DECIMAL(38, 2) * 100)::BIGINT, 'ccy': trim(ccy)} END;

CREATE TABLE event AS
SELECT 'HCM/main' AS source, 'resource' AS entity, 'upserted' AS op, employee_id AS subject, to_json({
    'worker_no': employee_id, 'home_le': company, 'practice': practice, 'home_region': region, 'tz': time_zone,
    'calendar_id': work_schedule, 'fte_bp': (fte_percent::DECIMAL(18, 4) * 100)::BIGINT, 'role_code': job_profile}) AS data
FROM hcm.worker
UNION ALL SELECT 'HCM/main', 'calendar_day', 'upserted', work_schedule || ':' || day, to_json({
    'calendar_id': work_schedule, 'day': day, 'work_s': seconds(hours), 'holiday': holiday = 't'})
FROM hcm.work_schedule_day
UNION ALL SELECT 'CRM/main', 'opportunity', 'upserted', id, to_json({
    'opportunity_no': opportunity_number, 'account': account_number, 'stage': stage_name, 'is_won': won = 't',
    'won_at': replace(closed_at, ' ', 'T'), 'amount': money_of(amount, currency_iso_code), 'close_date': close_date,
    'contracting_le': contracting_company})
FROM crm.opportunity
UNION ALL SELECT 'SCHED/main', 'project', 'upserted', project_id, to_json({
    'project_code': code(project_code), 'state': CASE active WHEN 't' THEN 'OPEN' ELSE 'CLOSED' END})
FROM sched.project
UNION ALL SELECT 'SCHED/main', 'assignment', 'upserted', task_id, to_json({
    'project_code': code(p.project_code), 'worker_no': w.employee_number, 'role_code': t.role, 'from': t.start_date,
    'to': after(t.end_date), 'mode': 'PER_DAY', 'alloc_value': seconds(t.hours_pd),
    'commit': ['SOFT', 'HARD', 'HARD', 'CANCELLED'][t.status::INTEGER]})
FROM sched.task t JOIN sched.project p USING (project_id) JOIN sched.person w USING (people_id)
UNION ALL SELECT 'PSA/main', 'project', 'upserted', id, to_json({
    'project_code': code(project_code), 'billable': is_billable = 't',
    'state': CASE status WHEN 'Active' THEN 'OPEN' ELSE 'CLOSED' END})
FROM psa.project
UNION ALL SELECT 'PSA/main', 'assignment', 'upserted', id, to_json({
    'project_code': code(project_code), 'worker_no': resource, 'role_code': role, 'from': start_date, 'to': after(end_date),
    'mode': 'PER_DAY', 'alloc_value': seconds(planned_hours_per_day), 'bill_rate': rate_of(bill_rate, currency),
    'commit': CASE status WHEN 'Scheduled' THEN 'HARD' WHEN 'Tentative' THEN 'SOFT' ELSE 'CANCELLED' END})
FROM psa.assignment
UNION ALL SELECT 'PSA/main', 'time_entry', 'upserted', id, to_json({
    'origin_system': 'TIME', 'origin_id': external_id, 'worker_no': resource, 'project_code': code(project_code),
    'role_code': role, 'work_date': work_date, 'qty_s': seconds(hours), 'billable_s': seconds(billable_hours),
    'billable': billable = 't', 'billed': billed = 't',
    'state': CASE status WHEN 'Saved' THEN 'DRAFT' ELSE upper(status) END, 'source_rate': rate_of(bill_rate, currency)})
FROM psa.timecard
UNION ALL SELECT 'ERP/main', 'legal_entity', 'upserted', dataareaid, to_json({
    'le_code': dataareaid, 'base_ccy': currency, 'tz': time_zone, 'region': region, 'rounding': 'HALF_AWAY'})
FROM erp.legal_entity
UNION ALL SELECT 'ERP/main', 'billing_cycle', 'upserted', calendar_id || ':' || cycle_no, to_json({
    'billing_calendar_id': calendar_id, 'cycle_no': cycle_no, 'from': first_day, 'to': after(last_day),
    'cutoff_at': replace(cutoff_at, ' ', 'T'), 'tz': time_zone})
FROM erp.billing_cycle
UNION ALL SELECT 'ERP/main', 'contract_line', 'upserted', contract_no || ':' || line_no, to_json({
    'contract_no': contract_no, 'line_no': line_no::INTEGER, 'customer_no': customer_no, 'le_code': dataareaid,
    'ccy': currency, 'from': valid_from, 'to': after(valid_to), 'method': 'TM', 'rate_basis': 'TRANSACTION_DATE',
    'retro_policy': CASE retro_policy WHEN 'Delta' THEN 'BILL_DELTA' ELSE 'ABSORB' END})
FROM erp.contract_line
UNION ALL SELECT 'ERP/main', 'project', 'upserted', projid, to_json({
    'project_code': code(projid), 'customer_no': customer_no, 'contract_no': contract_no, 'opportunity_no': opportunity_no,
    'le_code': dataareaid, 'practice': practice, 'region': region, 'ccy': currency, 'start': start_date,
    'end': after(end_date), 'project_type': ['EXTERNAL', 'INTERNAL', 'LEAVE'][project_type::INTEGER + 1],
    'billable': billable = 't', 'state': ['REQUESTED', 'OPEN', 'CLOSED'][status::INTEGER + 1],
    'billing_calendar_id': billing_calendar_id})
FROM erp.project
UNION ALL SELECT 'ERP/main', 'project', 'rekeyed', new_projid, to_json({'old': code(old_projid), 'new': code(new_projid)})
FROM erp.project_rename
UNION ALL SELECT 'ERP/main', 'rate', 'upserted', recid, to_json({
    'rate_id': recid, 'kind': 'BILL', 'level': price_level::INTEGER, 'scope_key': scope_key, 'role_code': role,
    'worker_no': worker, 'rate': rate_of(price, currency), 'effective_from': valid_from, 'effective_to': after(valid_to),
    'state': ['DRAFT', 'PUBLISHED', 'WITHDRAWN'][status::INTEGER + 1], 'published_at': replace(published_at, ' ', 'T')})
FROM erp.sales_price
UNION ALL SELECT 'ERP/main', 'assignment', 'upserted', recid, to_json({
    'project_code': code(projid), 'worker_no': worker, 'role_code': role, 'from': start_date, 'to': after(end_date),
    'mode': 'PER_DAY', 'alloc_value': seconds(hours_per_day), 'commit': 'HARD'})
FROM erp.forecast
UNION ALL SELECT 'ERP/main', 'posted_labour', 'upserted', recid, to_json({
    'le_code': dataareaid, 'erp_txn_id': transid, 'origin_ref': entry_of(ext_origin_ref), 'project_code': code(projid),
    'worker_no': worker, 'work_date': trans_date, 'accounting_date': accounting_date, 'txn_type': 'COST',
    'qty_s': seconds(qty), 'voucher': nullif(voucher, '')})
FROM erp.empl_trans
UNION ALL SELECT 'ERP/main', 'invoice', 'upserted', dataareaid || ':' || invoice_id, to_json({
    'le_code': dataareaid, 'invoice_no': invoice_id, 'type': ['INVOICE', 'CREDIT_NOTE', 'PROFORMA'][document_type::INTEGER],
    'state': ['DRAFT', 'APPROVED', 'POSTED', 'PAID', 'VOID'][status::INTEGER + 1]})
FROM erp.invoice
UNION ALL SELECT 'ERP/main', 'coverage', 'upserted', concat_ws(':', dataareaid, invoice_id, line_no, ext_origin_ref), to_json({
    'le_code': dataareaid, 'invoice_no': invoice_id, 'line_no': line_no::INTEGER, 'target': entry_of(ext_origin_ref),
    'kind': 'TIME_ENTRY', 'sign': CASE credit WHEN 't' THEN -1 ELSE 1 END, 'qty_s': seconds(hours),
    'amount': money_of(amount, currency)})
FROM erp.invoice_hours
UNION ALL SELECT 'ERP/main', 'write_off', 'upserted', write_off_no, to_json({
    'write_off_no': write_off_no, 'target': entry_of(ext_origin_ref), 'qty_s': seconds(hours), 'reason': reason})
FROM erp.write_off
UNION ALL SELECT 'TIME/main', 'project', 'upserted', id, to_json({
    'project_code': code(number), 'billable': billable = 't',
    'state': CASE visible WHEN 't' THEN 'OPEN' ELSE 'CLOSED_FOR_TIME' END})
FROM "time".project
UNION ALL SELECT 'TIME/main', 'time_entry', 'upserted', t.id, to_json({
    'origin_system': 'TIME', 'origin_id': t.id, 'worker_no': a.employee_number, 'project_code': code(p.number),
    'work_date': t.worked_on, 'work_tz': t.time_zone, 'qty_s': t.minutes::BIGINT * 60, 'quantum_s': 60,
    'time_type': upper(t.activity), 'role_code': t.role, 'billable': t.billable = 't',
    'state': CASE t.status WHEN 'recalled' THEN 'RETURNED' ELSE upper(t.status) END,
    'submitted_at': replace(t.submitted_at, ' ', 'T'), 'approved_at': replace(t.approved_at, ' ', 'T')})
FROM "time".timesheet t JOIN "time".account a ON a.id = t.account_id JOIN "time".project p ON p.id = t.project_id;
