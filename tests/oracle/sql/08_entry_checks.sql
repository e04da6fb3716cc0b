-- Checks 21, 22, 27, 28, 29: at which probes is each predicate true, and what would it cost.

CREATE MACRO cycle_of(cal, d) AS coalesce(
    (SELECT min(c.cycle_no) FROM cycle_g c WHERE c.to_us = infinity() AND c.calendar = cal AND c.from_d <= d AND d < c.to_d),
    strftime(d, '%Y-%m'));

-- What the ERP posted, less what nets to zero on a project and day.
CREATE TABLE posted AS
WITH nets AS (
    SELECT p.entry_key, p.t, l.project, l.work_date, sum(l.qty_s) AS qty_s, bool_or(l.posted) AS posted,
           min(l.wbs) AS wbs_min, max(l.wbs) AS wbs_max
    FROM probe p JOIN labour_s l ON l.entry_key = p.entry_key AND l.from_us <= p.t AND p.t < l.to_us AND NOT l.deleted
    GROUP BY ALL HAVING sum(l.qty_s) <> 0
)
SELECT entry_key, t, sum(qty_s)::BIGINT AS erp_qty_s, bool_or(posted) AS erp_posted, min(project) AS project_min,
       max(project) AS project_max, min(work_date) AS date_min, max(work_date) AS date_max, min(wbs_min) AS wbs_min,
       max(wbs_max) AS wbs_max
FROM nets GROUP BY ALL;

-- The first instant at which a posted invoice covered the entry.
CREATE TABLE first_billed AS
SELECT c.entry_key, min(greatest(c.from_us, i.from_us)) AS billed_us
FROM coverage_s c JOIN invoice_s i ON i.invoice = c.invoice AND i.from_us < c.to_us AND c.from_us < i.to_us
WHERE NOT c.deleted AND i.state IN ('POSTED', 'SENT', 'PAID') AND coalesce(i.type, 'INVOICE') = 'INVOICE'
GROUP BY ALL;

CREATE TABLE checked AS
SELECT v.*, x.entry_key IS NOT NULL AS in_erp, coalesce(x.erp_qty_s, 0) AS erp_qty_s, coalesce(x.erp_posted, false) AS erp_posted,
       x.project_min, x.project_max, x.date_min, x.date_max, x.wbs_min, x.wbs_max, b.billed_us,
       v.in_psa AND NOT v.psa_deleted AS psa_live, coalesce(CASE WHEN v.missing IS NULL THEN v.rate_ccy END, v.ccy) AS money_ccy,
       CASE WHEN v.missing IS NULL THEN v.num ELSE 0 END AS price_num, coalesce(v.den, 1) AS price_den,
       NOT (coalesce(v.time_state, 'DRAFT') = 'DRAFT' AND coalesce(v.psa_state, 'DRAFT') = 'DRAFT' AND v.status IS NOT NULL)
           AND coalesce(v.status, '') <> 'DELETED' AS compared
FROM value_of v LEFT JOIN posted x USING (entry_key, t) LEFT JOIN first_billed b USING (entry_key);

CREATE TABLE hit (check_no VARCHAR, facet VARCHAR, bk VARCHAR, entry_key VARCHAR, t BIGINT, idx BIGINT, next_t BIGINT,
                  impact_s BIGINT, impact_minor BIGINT, ccy VARCHAR, estimated BOOLEAN, big BOOLEAN);

-- 21 RATE_MISSING, estimated at the list rate.
INSERT INTO hit
SELECT '21', missing, entry_key, entry_key, t, idx, next_t, unbilled_s,
       CASE WHEN list_num IS NOT NULL THEN amount(unbilled_s, list_num, list_den, list_ccy, rounding) ELSE 0 END, money_ccy, true, true
FROM checked WHERE approved_s > 0 AND missing IS NOT NULL;

-- 22 RATE_MISMATCH. `big` says that the rate alone blocks: it differs by more than 1 %.
INSERT INTO hit
WITH wrong AS (
    SELECT *, applied.num::HUGEINT * den AS said, num::HUGEINT * applied.den AS meant
    FROM checked WHERE approved_s > 0 AND missing IS NULL AND NOT ambiguous AND applied IS NOT NULL AND applied.ccy = rate_ccy
), facets AS (
    SELECT w.*, CASE
        WHEN (applied.unit <> unit AND applied.e6 = rate_e6)
          OR list_contains(list_transform([27000, 28800, day_s, applied.day_s], lambda h: said * 3600 = meant * h OR said * h = meant * 3600), true)
            THEN 'DAY_HOUR_UNIT'
        WHEN EXISTS (SELECT 1 FROM rate_s r
                     WHERE r.system = w.rate_system AND r.level = w.rate_level AND r.scope = w.rate_scope AND r.role IS NOT DISTINCT FROM w.rate_role
                       AND r.state IN ('PUBLISHED', 'SUPERSEDED') AND r.known_us <= w.t AND r.from_us <= w.t AND w.t < r.to_us
                       AND r.from_d < w.rate_from AND r.ccy = w.rate_ccy
                       AND r.num::HUGEINT * w.applied.den = w.applied.num::HUGEINT * r.den) THEN 'UPLIFT_NOT_APPLIED'
        WHEN EXISTS (SELECT 1 FROM entry_question_match m
                     WHERE m.qid = w.qid AND m.level <> w.rate_level AND m.in_date AND NOT m.superseded AND m.in_ccy
                       AND m.num::HUGEINT * w.applied.den = w.applied.num::HUGEINT * m.den) THEN 'WRONG_LEVEL'
        ELSE 'OVERRIDE' END AS facet
    FROM wrong w WHERE said <> meant
)
SELECT '22', facet, project || '|' || rate_id || CASE WHEN entry_key IN (SELECT m.entry_key FROM moved m WHERE m.moved_us <= t) THEN '|' || entry_key ELSE '' END, entry_key, t, idx, next_t, approved_s,
       amount(approved_s, num, den, rate_ccy, rounding) - amount(approved_s, applied.num, applied.den, rate_ccy, rounding),
       rate_ccy, false, abs(said - meant) * 100 > meant
FROM facets;

-- 27 TIME_LATE_TO_ERP.
INSERT INTO hit
SELECT '27', facet, entry_key, entry_key, t, idx, next_t, unbilled_s, unbilled_minor, money_ccy, false, true
FROM checked, (VALUES ('STAGED'), ('POSTED')) AS f(facet)
WHERE approved_s > 0 AND CASE facet WHEN 'STAGED' THEN NOT in_erp ELSE NOT erp_posted END;

-- 28 TIME_QTY_MISMATCH, facet by facet.
INSERT INTO hit
WITH d AS (
    SELECT *, CASE WHEN in_time AND psa_live AND abs(time_qty_s - psa_qty_s) * 2 > greatest(time_quantum_s, psa_quantum_s)
                   THEN time_qty_s - psa_qty_s ELSE 0 END AS psa_gap,
           CASE WHEN in_erp AND abs(qty_s - erp_qty_s) * 2 > greatest(quantum_s, 60) THEN qty_s - erp_qty_s ELSE 0 END AS erp_gap
    FROM checked WHERE compared
), gap AS (SELECT *, CASE WHEN abs(psa_gap) > abs(erp_gap) THEN psa_gap ELSE erp_gap END AS delta_s FROM d)
SELECT '28', 'QTY', entry_key, entry_key, t, idx, next_t, abs(delta_s), amount(delta_s, price_num, price_den, money_ccy, rounding),
       money_ccy, false, true
FROM gap WHERE delta_s <> 0;

INSERT INTO hit
SELECT '28', 'DATE_SHIFT', entry_key, entry_key, t, idx, next_t, qty_s,
       CASE WHEN coalesce(psa_live AND cycle_of(calendar, psa_date) <> cycle_of(calendar, work_date), false)
              OR coalesce(in_erp AND (cycle_of(calendar, date_min) <> cycle_of(calendar, work_date)
                                      OR cycle_of(calendar, date_max) <> cycle_of(calendar, work_date)), false)
            THEN amount(qty_s, price_num, price_den, money_ccy, rounding) ELSE 0 END, money_ccy, false, true
FROM checked WHERE compared AND (coalesce(psa_live AND psa_date <> work_date, false)
                                 OR coalesce(date_min <> work_date, false) OR coalesce(date_max <> work_date, false));

INSERT INTO hit
SELECT '28', 'CODING', entry_key, entry_key, t, idx, next_t, qty_s, amount(qty_s, price_num, price_den, money_ccy, rounding),
       money_ccy, false, true
FROM checked WHERE compared AND (coalesce(psa_live AND (psa_project <> project OR psa_wbs <> wbs), false)
                                 OR coalesce(project_min <> project OR project_max <> project, false)
                                 OR coalesce(wbs_min <> wbs OR wbs_max <> wbs, false));

INSERT INTO hit
SELECT '28', 'INTERVAL', entry_key, entry_key, t, idx, next_t, abs(gap_s), amount(gap_s, price_num, price_den, money_ccy, rounding),
       money_ccy, false, true
FROM (SELECT *, (end_us - start_us) // 1000000 - break_s - time_qty_s AS gap_s FROM checked WHERE compared AND NOT time_deleted)
WHERE abs(gap_s) * 2 > time_quantum_s;

INSERT INTO hit
SELECT '28', 'BILLABLE', entry_key, entry_key, t, idx, next_t, qty_s, amount(qty_s, price_num, price_den, money_ccy, rounding),
       money_ccy, false, true
FROM checked WHERE compared AND in_time AND psa_live AND time_billable <> psa_billable;

INSERT INTO hit
WITH causes AS (
    SELECT *, erp_posted AND erp_qty_s <> 0 AND coalesce(status, '') <> 'APPROVED' AS ahead,
           coalesce(compared AND in_time AND psa_live AND (time_state = 'APPROVED') <> (psa_state = 'APPROVED'), false) AS apart,
           (billed_us IS NULL OR t < billed_us) AND proposed_s <= 0
               AND EXISTS (SELECT 1 FROM claim k WHERE k.entry_key = c.entry_key AND k.due_us <= c.t AND c.t < k.until_us) AS claimed
    FROM checked c WHERE compared OR coalesce(status, '') = 'DELETED'
)
SELECT '28', 'STATUS', entry_key, entry_key, t, idx, next_t,
       CASE WHEN ahead THEN abs(erp_qty_s) WHEN apart THEN qty_s ELSE CASE WHEN approved_s > 0 THEN approved_s ELSE qty_s END END,
       CASE WHEN ahead THEN -amount(erp_qty_s, price_num, price_den, money_ccy, rounding)
            WHEN apart AND status <> 'APPROVED' THEN -amount(qty_s, price_num, price_den, money_ccy, rounding)
            WHEN apart THEN amount(qty_s, price_num, price_den, money_ccy, rounding)
            ELSE amount(CASE WHEN approved_s > 0 THEN approved_s ELSE qty_s END, price_num, price_den, money_ccy, rounding) END, money_ccy, false, true
FROM causes WHERE ahead OR apart OR claimed;

-- 29 TIME_WITHOUT_ASSIGNMENT.
INSERT INTO hit
WITH bare AS (
    SELECT * FROM checked c
    WHERE approved_s > 0 AND time_type = 'WORK' AND NOT free_time
      AND NOT EXISTS (SELECT 1 FROM assignment_s a
                      WHERE a.project = c.project AND a.worker = c.worker AND a.system IN ('SCHED', 'PSA') AND a.live
                        AND a.from_us <= c.t AND c.t < a.to_us)
)
SELECT '29', CASE WHEN EXISTS (SELECT 1 FROM assignment_s a
                               WHERE a.project = b.project AND a.worker = b.worker AND a.system IN ('SCHED', 'PSA') AND NOT a.live
                                 AND a.from_us <= b.t AND b.t < a.to_us AND a.from_d <= b.work_date AND b.work_date < a.to_d)
                  THEN 'DELETED' END,
       entry_key, entry_key, t, idx, next_t, unbilled_s, unbilled_minor, money_ccy, false, true
FROM bare b;
