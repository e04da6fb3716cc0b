-- v1.time_entry as it should be: one row an entry and project.

CREATE TABLE standing AS
SELECT entry_key, project, worker, work_date, coalesce(status, 'DRAFT') AS status, billable, approved_s, billed_s, billed_minor, proposed_s,
       paid, written_off_s, unbilled_s, overbilled_s, quantum_s, customer_no, le_code, region, practice, calendar, retro_policy,
       coalesce(rate_ccy, ccy) AS ccy, rounding, num, den, missing, applied, rate_ccy, true AS current
FROM value_of WHERE next_t = infinity() AND project IS NOT NULL
UNION ALL
SELECT v.entry_key, o.project, v.worker, v.work_date, coalesce(v.status, 'DRAFT'), true, 0, coalesce(c.billed_s, 0), coalesce(c.billed_minor, 0),
       coalesce(c.proposed_s, 0), coalesce(c.paid, false), coalesce(w.written_off_s, 0), greatest(0, -coalesce(c.billed_s, 0) - coalesce(w.written_off_s, 0)),
       greatest(0, coalesce(c.billed_s, 0) + coalesce(w.written_off_s, 0)), v.quantum_s, p.customer_no, p.le_code, p.region, p.practice,
       p.calendar, NULL, coalesce(a.rate_ccy, a.ccy), a.rounding, a.num, a.den, a.missing, NULL, a.rate_ccy, false
FROM other_project o JOIN value_of v ON v.entry_key = o.entry_key AND v.next_t = infinity()
JOIN other_question_answer a ON a.qid = o.qid
LEFT JOIN covered c ON c.entry_key = o.entry_key AND c.t = v.t AND c.project = o.project
LEFT JOIN written_off w ON w.entry_key = o.entry_key AND w.t = v.t AND w.project = o.project
LEFT JOIN project_g p ON p.project = o.project AND p.to_us = infinity();

CREATE TABLE time_entry AS
WITH dues AS (
    SELECT s.*, coalesce((SELECT list(hold ORDER BY rank) FROM (
               SELECT DISTINCT x.hold FROM held x WHERE x.entry_key = s.entry_key AND s.current) JOIN hold_rank USING (hold)), []) AS proved,
           s.current AND EXISTS (SELECT 1 FROM pending p WHERE p.entry_key = s.entry_key) AS pending,
           least(billed_s, greatest(0, approved_s - written_off_s)) AS kept_s
    FROM standing s
), priced AS (
    SELECT *, CASE WHEN billed_s = 0 AND billed_minor = 0 THEN 0
                   WHEN retro_policy = 'ABSORB' AND kept_s > 0
                        THEN -rounded(billed_minor::HUGEINT * overbilled_s, greatest(1, billed_s)::HUGEINT, rounding)::BIGINT
                   WHEN kept_s = 0 THEN -billed_minor
                   WHEN missing IS NULL THEN amount(kept_s, num, den, rate_ccy, rounding) - billed_minor
                   ELSE -rounded(billed_minor::HUGEINT * overbilled_s, greatest(1, billed_s)::HUGEINT, rounding)::BIGINT END AS due_minor
    FROM dues
), derived AS (
    SELECT *, CASE
        WHEN (status <> 'APPROVED' OR NOT current) AND billed_s = 0 THEN 'VOID'
        WHEN NOT billable THEN 'NON_BILLABLE'
        WHEN overbilled_s * 2 > quantum_s OR (billed_s > 0 AND abs(due_minor) > 1) THEN 'ADJUSTMENT_DUE'
        WHEN unbilled_s * 2 <= quantum_s AND written_off_s > 0 THEN 'WRITTEN_OFF'
        WHEN unbilled_s * 2 <= quantum_s AND paid THEN 'SETTLED'
        WHEN unbilled_s * 2 <= quantum_s THEN 'INVOICED'
        WHEN proposed_s >= unbilled_s AND proved <> [] THEN 'PROPOSED_HELD'
        WHEN proposed_s >= unbilled_s THEN 'PROPOSED'
        WHEN proved <> [] THEN 'HELD'
        WHEN pending THEN 'APPROVED_PENDING'
        ELSE 'READY' END AS unguarded,
        CASE WHEN missing IS NULL THEN amount(unbilled_s, num, den, rate_ccy, rounding) ELSE 0 END AS unbilled_minor
    FROM priced
), guarded AS ( -- READY needs fresh inputs (G14): else H19 holds it
    SELECT d.*, CASE WHEN g.stale_n = 0 OR d.pending THEN d.unguarded
                     WHEN d.unguarded = 'READY' THEN 'HELD' WHEN d.unguarded = 'PROPOSED' THEN 'PROPOSED_HELD' ELSE d.unguarded END AS state,
           CASE WHEN d.unbilled_s * 2 > d.quantum_s AND d.billable AND d.proved <> [] THEN d.proved
                WHEN d.unbilled_s * 2 > d.quantum_s AND d.billable AND g.stale_n > 0 AND NOT d.pending THEN ['H19'] ELSE [] END AS holds
    FROM derived d, (SELECT count(*) AS stale_n FROM blocked_input) g
)
SELECT entry_key, project AS project_code, worker AS worker_no, customer_no AS account_no, le_code, region, practice,
       cycle_of(calendar, work_date) AS billing_cycle_id, work_date, status, state, approved_s, billed_s, unbilled_s, overbilled_s,
       written_off_s, proposed_s, CASE WHEN state = 'READY' THEN unbilled_s ELSE 0 END AS ready_s,
       CASE WHEN state IN ('HELD', 'PROPOSED_HELD') THEN unbilled_s ELSE 0 END AS held_s,
       CASE WHEN missing IS NULL THEN 0 ELSE unbilled_s END AS unpriced_s,
       CASE WHEN missing IS NULL AND current THEN rounded(num::HUGEINT, den::HUGEINT, 'HALF_AWAY')::BIGINT END AS rate_e6, ccy AS currency,
       unbilled_minor, CASE WHEN state = 'READY' THEN unbilled_minor ELSE 0 END AS ready_minor,
       CASE WHEN state IN ('HELD', 'PROPOSED_HELD') THEN unbilled_minor ELSE 0 END AS held_minor,
       CASE WHEN applied IS NOT NULL THEN amount(unbilled_s, applied.num, applied.den, applied.ccy, rounding) END AS applied_minor,
       billed_minor, CASE WHEN abs(due_minor) <= 1 AND overbilled_s * 2 <= quantum_s THEN 0 ELSE due_minor END AS adjustment_due_minor,
       holds[1] AS top_hold, holds
FROM guarded;

-- 41 SOURCE_STALE.
INSERT INTO finding
SELECT '41', 'SOURCE_STALE', NULL, source, source, 1, w_us, deadline_us, 'OPEN', NULL, 0, 0, NULL, false, NULL, w_us, 1 FROM stale_source;
