-- Time entries at each instant at which anything that they depend on changed ("probes"), and now.

CREATE TABLE entry AS
SELECT entry_key, min(from_us) AS first_us FROM (
    SELECT entry_key, from_us FROM entry_s
    UNION ALL SELECT entry_key, from_us FROM coverage_s
    UNION ALL SELECT entry_key, from_us FROM labour_s WHERE entry_key IN (SELECT entry_key FROM entry_s))
GROUP BY entry_key HAVING entry_key IN (SELECT entry_key FROM entry_s);

CREATE TABLE entry_project AS
SELECT DISTINCT s.entry_key, s.project, s.worker, p.customer_no, p.contract_no, p.le_code, p.practice
FROM entry_s s LEFT JOIN project_g p USING (project) WHERE s.project IS NOT NULL;

-- An entry for which a second project was named: its findings stand on their own from then on.
CREATE TABLE moved AS
SELECT entry_key, min(from_us) AS moved_us
FROM (SELECT entry_key, from_us, project, first_value(project) OVER (PARTITION BY entry_key ORDER BY from_us, system) AS first_project FROM entry_s WHERE project IS NOT NULL)
WHERE project <> first_project GROUP BY entry_key;

-- Scope keys of rates that may ever matter to an entry.
CREATE TABLE entry_scope AS
SELECT entry_key, 1 AS level, entry_key AS scope FROM entry
UNION SELECT e.entry_key, 2, a.subject FROM entry_project e JOIN assignment_s a USING (project, worker)
UNION SELECT e.entry_key, 2, unnest([l.contract_no || '/' || l.line_no, l.contract_no || ':' || l.line_no]) FROM entry_project e JOIN line_g l USING (contract_no)
UNION SELECT entry_key, 3, contract_no || '/' || worker FROM entry_project
UNION SELECT entry_key, 4, unnest([project, contract_no]) FROM entry_project
UNION SELECT entry_key, 5, customer_no FROM entry_project
UNION SELECT entry_key, 6, le_code || '/' || practice FROM entry_project
UNION SELECT entry_key, 7, practice FROM entry_project
UNION SELECT entry_key, 8, '*' FROM entry
UNION SELECT entry_key, 9, worker FROM entry_project;

-- The PSA claims that an entry is billed; two business days of its legal entity later that must be true.
CREATE TABLE claim AS
WITH said AS (
    SELECT entry_key, project, from_us, to_us, coalesce(billed, false) AND NOT deleted AS billed,
           coalesce(lag(billed) OVER (PARTITION BY entry_key ORDER BY from_us), false)
               AND NOT coalesce(lag(deleted) OVER (PARTITION BY entry_key ORDER BY from_us), false) AS before
    FROM entry_s WHERE system = 'PSA'
), starts AS (SELECT entry_key, project, from_us FROM said WHERE billed AND NOT before)
SELECT s.entry_key, s.from_us AS claimed_us, business_deadline(s.from_us, 16, coalesce(e.tz, 'UTC')) AS due_us,
       coalesce((SELECT min(x.from_us) FROM said x WHERE x.entry_key = s.entry_key AND x.from_us > s.from_us AND NOT x.billed), infinity()) AS until_us
FROM starts s LEFT JOIN project_g p ON p.project = s.project AND p.from_us <= s.from_us AND s.from_us < p.to_us
LEFT JOIN entity_g e ON e.le_code = p.le_code AND e.from_us <= s.from_us AND s.from_us < e.to_us;

CREATE TABLE probe AS
WITH t AS (
    SELECT entry_key, from_us AS t FROM entry_s
    UNION SELECT entry_key, from_us FROM labour_s
    UNION SELECT entry_key, from_us FROM coverage_s
    UNION SELECT c.entry_key, i.from_us FROM coverage_s c JOIN invoice_s i USING (invoice)
    UNION SELECT c.entry_key, i.to_us FROM coverage_s c JOIN invoice_s i USING (invoice)
    UNION SELECT entry_key, from_us FROM write_off_s
    UNION SELECT entry_key, due_us FROM claim
    UNION SELECT e.entry_key, p.from_us FROM entry_project e JOIN project_g p USING (project)
    UNION SELECT e.entry_key, c.from_us FROM entry_project e JOIN contract_g c USING (contract_no)
    UNION SELECT e.entry_key, l.from_us FROM entry_project e JOIN line_g l USING (contract_no)
    UNION SELECT e.entry_key, l.to_us FROM entry_project e JOIN line_g l USING (contract_no)
    UNION SELECT e.entry_key, l.from_us FROM entry_project e JOIN entity_g l USING (le_code)
    UNION SELECT e.entry_key, a.from_us FROM entry_project e JOIN assignment_s a USING (project, worker)
    UNION SELECT e.entry_key, unnest([r.from_us, r.known_us, r.to_us])
          FROM entry_scope e JOIN rate_s r ON r.level = e.level AND r.scope = e.scope
    UNION SELECT entry_key, live_us FROM entry, clock
)
SELECT e.entry_key, t.t, row_number() OVER (PARTITION BY e.entry_key ORDER BY t.t) AS idx,
       coalesce(lead(t.t) OVER (PARTITION BY e.entry_key ORDER BY t.t), infinity()) AS next_t
FROM t JOIN entry e USING (entry_key), clock c WHERE t.t >= e.first_us AND t.t <= c.live_us;

-- What the systems say of an entry at a probe. The time system owns the entry; a PSA that deleted it says nothing.
CREATE TABLE said AS
SELECT p.entry_key, p.t, p.idx, p.next_t, x.entry_key IS NOT NULL AS in_time, y.entry_key IS NOT NULL AS in_psa,
       coalesce(x.deleted, false) AS time_deleted, coalesce(y.deleted, false) AS psa_deleted,
       CASE WHEN x.deleted THEN 'DELETED' ELSE x.state END AS time_state,
       CASE WHEN y.deleted THEN 'DELETED' ELSE y.state END AS psa_state,
       coalesce(x.project, y.project) AS project, coalesce(x.worker, y.worker) AS worker,
       coalesce(x.work_date, y.work_date) AS work_date, coalesce(x.role, y.role) AS role,
       coalesce(x.wbs, y.wbs) AS wbs, coalesce(x.note, y.note) AS note, coalesce(x.time_type, y.time_type, 'WORK') AS time_type,
       coalesce(x.assignment_id, y.assignment_id) AS assignment_id, coalesce(x.qty_s, y.qty_s, 0) AS qty_s,
       coalesce(x.quantum_s, y.quantum_s, 60) AS quantum_s,
       coalesce(CASE WHEN NOT y.deleted THEN y.billable END, x.billable, true) AS flag_billable,
       CASE WHEN NOT y.deleted THEN y.billable_s END AS psa_billable_s,
       x.qty_s AS time_qty_s, y.qty_s AS psa_qty_s, x.quantum_s AS time_quantum_s, y.quantum_s AS psa_quantum_s,
       x.work_date AS time_date, y.work_date AS psa_date, x.project AS time_project, y.project AS psa_project,
       x.wbs AS time_wbs, y.wbs AS psa_wbs, x.billable AS time_billable, y.billable AS psa_billable,
       x.start_us, x.end_us, x.break_s, coalesce(y.billed, false) AND NOT coalesce(y.deleted, false) AS psa_billed,
       CASE WHEN y.rate_e6 IS NOT NULL AND NOT y.deleted THEN struct_pack(num := hour_num(y.rate_e6, y.rate_unit), den := hour_den(y.rate_unit, y.rate_day_s),
                                                        e6 := y.rate_e6, ccy := y.rate_ccy, unit := y.rate_unit, day_s := y.rate_day_s)
            WHEN x.rate_e6 IS NOT NULL THEN struct_pack(num := hour_num(x.rate_e6, x.rate_unit), den := hour_den(x.rate_unit, x.rate_day_s),
                                                        e6 := x.rate_e6, ccy := x.rate_ccy, unit := x.rate_unit, day_s := x.rate_day_s)
       END AS applied
FROM probe p
LEFT JOIN entry_s x ON x.system = 'TIME' AND x.entry_key = p.entry_key AND x.from_us <= p.t AND p.t < x.to_us
LEFT JOIN entry_s y ON y.system = 'PSA' AND y.entry_key = p.entry_key AND y.from_us <= p.t AND p.t < y.to_us;

-- A project's commercial terms at (project, work date, commit instant).
CREATE TABLE entry_terms AS
SELECT s.entry_key, s.t, p.project IS NOT NULL AS known, coalesce(p.project_type, 'EXTERNAL') AS project_type,
       coalesce(p.billable, true) AS project_billable, coalesce(p.free_time, false) AS free_time, p.customer_no, p.le_code,
       p.practice, p.region, p.contract_no, l.line_no, l.method, l.rate_basis, l.retro_policy,
       coalesce(l.from_d, c.from_d) AS sign_d, coalesce(l.ccy, c.ccy, p.ccy, e.base_ccy) AS ccy,
       coalesce(e.tz, 'UTC') AS tz, e.rounding, coalesce(p.calendar, c.calendar) AS calendar
FROM said s
LEFT JOIN project_g p ON p.project = s.project AND p.from_us <= s.t AND s.t < p.to_us
LEFT JOIN contract_g c ON c.contract_no = p.contract_no AND c.from_us <= s.t AND s.t < c.to_us
LEFT JOIN entity_g e ON e.le_code = p.le_code AND e.from_us <= s.t AND s.t < e.to_us
LEFT JOIN line_g l ON l.contract_no = p.contract_no AND l.from_us <= s.t AND s.t < l.to_us
    AND (l.from_d IS NULL OR l.from_d <= s.work_date) AND (l.to_d IS NULL OR s.work_date < l.to_d)
QUALIFY row_number() OVER (PARTITION BY s.entry_key, s.t
    ORDER BY coalesce(l.line_no = p.line_no OR l.service_class = p.service_class, false) DESC, l.line_no) = 1;

CREATE TABLE fact AS
SELECT row_number() OVER (ORDER BY s.entry_key, s.t) AS qid, s.*, m.* EXCLUDE (entry_key, t), coalesce(s.time_state, s.psa_state) AS status,
       s.flag_billable AND m.project_billable AND m.project_type = 'EXTERNAL' AND coalesce(m.method, '') <> 'NON_BILLABLE'
           AS billable
FROM said s JOIN entry_terms m USING (entry_key, t);
ALTER TABLE fact ADD COLUMN approved_s BIGINT;
UPDATE fact SET approved_s = CASE WHEN status = 'APPROVED' AND billable THEN coalesce(psa_billable_s, qty_s) ELSE 0 END;
