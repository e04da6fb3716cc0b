-- Checks 23, 30 and 31: doubtful rates, time outside its assignment, time that may be there twice.

-- 23 RATE_AMBIGUOUS: what the dearest of the candidates would cost more than the cheapest.
INSERT INTO hit
SELECT '23', NULL, entry_key, entry_key, t, idx, next_t, unbilled_s,
       amount(unbilled_s, top_num, top_den, rate_ccy, rounding) - amount(unbilled_s, num, den, rate_ccy, rounding), rate_ccy, false, true
FROM checked WHERE approved_s > 0 AND missing IS NULL AND ambiguous;

-- Approved billable time on projects that ask for assignments, with the live assignments of its worker.
CREATE TABLE planned_time AS
SELECT c.*, count(a.subject) > 0 AS assigned, count(a.subject) FILTER (a.from_d <= c.work_date AND c.work_date < a.to_d) > 0 AS inside,
       count(a.subject) FILTER (a.from_d - 2 <= c.work_date AND c.work_date < a.to_d + 2) > 0 AS near
FROM checked c LEFT JOIN assignment_s a ON a.project = c.project AND a.worker = c.worker AND a.system IN ('SCHED', 'PSA') AND a.live
    AND a.from_us <= c.t AND c.t < a.to_us
WHERE c.approved_s > 0 AND NOT c.free_time GROUP BY ALL;

-- 30 TIME_OUTSIDE_ASSIGNMENT.
INSERT INTO hit
SELECT '30', NULL, entry_key, entry_key, t, idx, next_t, unbilled_s, unbilled_minor, money_ccy, false, true
FROM planned_time WHERE assigned AND CASE time_type WHEN 'TRAVEL' THEN NOT near ELSE NOT inside END;

-- 30/EXCESS: what a worker logged on a project to date against what is planned until the last day logged.
CREATE TABLE excess_pair AS
SELECT project, worker, t, row_number() OVER (PARTITION BY project, worker ORDER BY t) AS idx,
       coalesce(lead(t) OVER (PARTITION BY project, worker ORDER BY t), infinity()) AS next_t
FROM (SELECT DISTINCT e.project, e.worker, p.t FROM entry_project e JOIN probe p USING (entry_key) WHERE e.worker IS NOT NULL);
CREATE TABLE excess_plan AS -- scheduling's live assignments, or the PSA's where scheduling has none
SELECT e.project, e.worker, e.t, a.version_id, a.from_d, a.to_d
FROM excess_pair e JOIN assignment_s a ON a.project = e.project AND a.worker = e.worker AND a.system IN ('SCHED', 'PSA') AND a.live
    AND a.from_us <= e.t AND e.t < a.to_us
QUALIFY a.system = 'SCHED' OR count(*) FILTER (a.system = 'SCHED') OVER (PARTITION BY e.project, e.worker, e.t) = 0;
CREATE TABLE excess_entry AS -- approved time on days of the plan, billable or not
SELECT e.project, e.worker, e.t, e.idx, e.next_t, c.entry_key, c.work_date, c.qty_s, c.billable, c.price_num, c.price_den, c.money_ccy, c.rounding
FROM excess_pair e JOIN checked c ON c.project = e.project AND c.worker = e.worker AND c.t <= e.t AND e.t < c.next_t
WHERE c.status = 'APPROVED' AND NOT c.free_time AND c.time_type NOT IN ('ABSENCE', 'BREAK')
  AND EXISTS (SELECT 1 FROM excess_plan p WHERE p.project = e.project AND p.worker = e.worker AND p.t = e.t AND p.from_d <= c.work_date AND c.work_date < p.to_d)
  AND NOT EXISTS (SELECT 1 FROM moved m WHERE m.entry_key = c.entry_key AND m.moved_us <= e.t);
CREATE TABLE excess AS
WITH logged AS (
    SELECT project, worker, t, max(work_date) AS last_d, sum(qty_s)::BIGINT AS logged_s FROM excess_entry GROUP BY ALL
), planned AS (
    SELECT l.project, l.worker, l.t, coalesce(sum(d.plan_s), 0)::BIGINT AS plan_s
    FROM logged l JOIN excess_plan p USING (project, worker, t) LEFT JOIN plan_day d ON d.version_id = p.version_id AND d.day <= l.last_d GROUP BY ALL
)
SELECT project, worker, t, logged_s, plan_s, logged_s - plan_s AS excess_s FROM logged JOIN planned USING (project, worker, t)
WHERE plan_s > 0 AND logged_s * 10 > plan_s * 11;
INSERT INTO hit
WITH walked AS (
    SELECT e.*, x.excess_s, coalesce(sum(e.qty_s) OVER (PARTITION BY e.project, e.worker, e.t ORDER BY e.work_date DESC, e.entry_key DESC
                                     ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS later_s
    FROM excess_entry e JOIN excess x USING (project, worker, t)
), shared AS (SELECT *, least(qty_s, excess_s - later_s)::BIGINT AS share_s FROM walked WHERE later_s < excess_s)
SELECT '30', 'EXCESS', project || '|' || worker, entry_key, t, idx, next_t, share_s,
       CASE WHEN billable THEN amount(share_s, price_num, price_den, money_ccy, rounding) ELSE 0 END, money_ccy, false, true
FROM shared;

-- 31: time that counts twice if nobody looks. Which of two entries is the later one, their first commits say.
CREATE TABLE made AS
SELECT entry_key, min(from_us) AS made_us FROM entry_s WHERE system = split_part(entry_key, ':', 1) GROUP BY entry_key;
CREATE TABLE countable AS
SELECT c.entry_key, c.t, c.idx, c.next_t, c.project, c.worker, c.work_date, c.wbs, c.time_type, c.qty_s, coalesce(c.psa_billable_s, c.qty_s) AS claimed_s, c.note, c.start_us, c.end_us,
       c.price_num, c.price_den, c.money_ccy, c.rounding, m.made_us
FROM checked c JOIN made m USING (entry_key) WHERE c.status IN ('SUBMITTED', 'APPROVED') AND c.billable AND coalesce(c.psa_billable_s, c.qty_s) > 0;

CREATE TABLE twin AS -- pairs that may ever meet: the later one first
SELECT DISTINCT x.entry_key, x.made_us, y.entry_key AS other
FROM (SELECT DISTINCT entry_key, made_us, worker, work_date FROM countable) x
JOIN (SELECT DISTINCT entry_key, made_us, worker, work_date FROM countable) y
    ON y.worker = x.worker AND abs(y.work_date - x.work_date) <= 1 AND (y.made_us, y.entry_key) < (x.made_us, x.entry_key);
CREATE TABLE twin_probe AS
SELECT entry_key, t, row_number() OVER (PARTITION BY entry_key ORDER BY t) AS idx,
       coalesce(lead(t) OVER (PARTITION BY entry_key ORDER BY t), infinity()) AS next_t
FROM (SELECT p.entry_key, p.t FROM probe p WHERE p.entry_key IN (SELECT entry_key FROM twin)
      UNION SELECT w.entry_key, p.t FROM twin w JOIN probe p ON p.entry_key = w.other);
CREATE TABLE meeting AS
SELECT p.entry_key, p.t, p.idx, p.next_t, y.entry_key AS other, x.claimed_s AS qty_s, x.price_num, x.price_den, x.money_ccy, x.rounding,
       y.claimed_s AS other_s, y.price_num AS other_num, y.price_den AS other_den, y.money_ccy AS other_ccy, y.rounding AS other_rounding, y.made_us,
       x.work_date = y.work_date AND x.project = y.project AND x.wbs IS NOT DISTINCT FROM y.wbs AND x.time_type = y.time_type
           AND x.qty_s = y.qty_s AND x.note IS NOT DISTINCT FROM y.note AND x.made_us - y.made_us <= 35 * 86400000000 AS same_key,
       coalesce(x.start_us < y.end_us AND y.start_us < x.end_us, false) AS meets
FROM twin_probe p JOIN countable x ON x.entry_key = p.entry_key AND x.t <= p.t AND p.t < x.next_t
JOIN twin w ON w.entry_key = p.entry_key
JOIN countable y ON y.entry_key = w.other AND y.worker = x.worker AND y.t <= p.t AND p.t < y.next_t;
INSERT INTO hit
SELECT DISTINCT '31', 'KEY', entry_key, entry_key, t, idx, next_t, qty_s, -amount(qty_s, price_num, price_den, money_ccy, rounding), money_ccy, false, true
FROM meeting WHERE same_key;
INSERT INTO hit
SELECT '31', 'OVERLAP', entry_key, entry_key, t, idx, next_t, least(qty_s, other_s),
       CASE WHEN other_s < qty_s THEN -amount(other_s, other_num, other_den, other_ccy, other_rounding)
            ELSE -amount(qty_s, price_num, price_den, money_ccy, rounding) END,
       CASE WHEN other_s < qty_s THEN other_ccy ELSE money_ccy END, false, true
FROM meeting WHERE meets AND NOT same_key
QUALIFY row_number() OVER (PARTITION BY entry_key, t ORDER BY least(qty_s, other_s) DESC, other DESC) = 1;

-- 31/DAY_LIMIT: a worker's day of more than sixteen hours; the entries made last go beyond it.
CREATE TABLE day_probe AS
SELECT worker, work_date, t, row_number() OVER (PARTITION BY worker, work_date ORDER BY t) AS idx,
       coalesce(lead(t) OVER (PARTITION BY worker, work_date ORDER BY t), infinity()) AS next_t
FROM (SELECT DISTINCT c.worker, c.work_date, p.t FROM (SELECT DISTINCT entry_key, worker, work_date FROM countable) c JOIN probe p USING (entry_key));
INSERT INTO hit
WITH day AS (
    SELECT d.worker, d.work_date, d.t, d.idx, d.next_t, c.* EXCLUDE (worker, work_date, t, idx, next_t),
           sum(c.claimed_s) OVER (PARTITION BY d.worker, d.work_date, d.t) - 57600 AS beyond_s,
           coalesce(sum(c.claimed_s) OVER (PARTITION BY d.worker, d.work_date, d.t ORDER BY c.made_us DESC, c.entry_key DESC
                                       ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS later_s
    FROM day_probe d JOIN countable c ON c.worker = d.worker AND c.work_date = d.work_date AND c.t <= d.t AND d.t < c.next_t
), shared AS (
    SELECT *, least(claimed_s, beyond_s - later_s)::BIGINT AS share_s,
           first_value(money_ccy) OVER (PARTITION BY worker, work_date, t ORDER BY made_us DESC, entry_key DESC) AS day_ccy -- money of other currencies is not added
    FROM day WHERE later_s < beyond_s
)
SELECT '31', 'DAY_LIMIT', worker || '|' || work_date, entry_key, t, idx, next_t, share_s,
       CASE WHEN money_ccy = day_ccy THEN -amount(share_s, price_num, price_den, money_ccy, rounding) ELSE 0 END, day_ccy, false, true
FROM shared;
