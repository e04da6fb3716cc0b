-- Checks on plans and masters: 02, 16, 17, 21/PLANNED, 22/CARD_DIVERGED.

-- Working seconds of each worker's day: the calendar's rows, or Mon-Fri 7.5 h where a calendar has none.
CREATE TABLE worker_calendar AS
SELECT bk AS worker, a ->> 'calendar_id' AS calendar_id FROM golden WHERE entity = 'resource' AND to_us = infinity();
CREATE TABLE calendar_day AS
SELECT a ->> 'calendar_id' AS calendar_id, (a ->> 'day')::DATE AS day, coalesce((a ->> 'work_s')::BIGINT, 0) AS work_s
FROM golden WHERE entity = 'calendar_day' AND to_us = infinity() AND live;

CREATE TABLE plan_day AS
WITH spread AS (
    SELECT version_id, worker, mode, coalesce(alloc_value, 10000) AS alloc,
           unnest(generate_series(from_d, least(to_d, from_d + 730) - 1, INTERVAL 1 DAY))::DATE AS day
    FROM assignment_s WHERE live AND from_d < to_d
), capacity AS (
    SELECT s.*, CASE WHEN w.calendar_id IN (SELECT calendar_id FROM calendar_day) THEN coalesce(d.work_s, 0)
                     WHEN is_business_day(s.day) THEN 27000 ELSE 0 END AS work_s
    FROM spread s LEFT JOIN worker_calendar w USING (worker)
    LEFT JOIN calendar_day d ON d.calendar_id = w.calendar_id AND d.day = s.day
)
SELECT version_id, day, CASE coalesce(mode, 'PCT')
    WHEN 'PCT' THEN rounded(work_s::HUGEINT * alloc, 10000, 'HALF_AWAY')
    WHEN 'PER_DAY' THEN CASE WHEN work_s > 0 THEN alloc ELSE 0 END
    WHEN 'TOTAL' THEN rounded(alloc::HUGEINT * work_s, greatest(1, sum(work_s) OVER (PARTITION BY version_id))::HUGEINT, 'HALF_AWAY')
    ELSE 0 END::BIGINT AS plan_s
FROM capacity;
CREATE TABLE plan_week AS
SELECT version_id, monday(day) AS week, sum(plan_s)::BIGINT AS plan_s FROM plan_day GROUP BY ALL;

-- Probes of a (project, worker): its records, the masters that price it, and every midnight of its legal entity.
CREATE TABLE pair AS
SELECT a.project, a.worker, coalesce(any_value(e.tz), 'UTC') AS tz, min(a.from_us) AS first_us
FROM assignment_s a LEFT JOIN project_g g ON g.project = a.project AND g.to_us = infinity()
LEFT JOIN entity_g e ON e.le_code = g.le_code AND e.to_us = infinity()
WHERE a.project IS NOT NULL AND a.worker IS NOT NULL GROUP BY a.project, a.worker;
CREATE TABLE pair_probe AS
WITH master AS (SELECT DISTINCT p.project, p.worker, g.contract_no, g.customer_no, g.le_code, g.practice
                FROM pair p JOIN project_g g USING (project)),
t AS (
    SELECT project, worker, from_us AS t FROM assignment_s
    UNION SELECT p.project, p.worker, g.from_us FROM pair p JOIN project_g g USING (project)
    UNION SELECT m.project, m.worker, unnest([l.from_us, l.to_us]) FROM master m JOIN line_g l USING (contract_no)
    UNION SELECT m.project, m.worker, c.from_us FROM master m JOIN contract_g c USING (contract_no)
    UNION SELECT m.project, m.worker, unnest([r.from_us, r.known_us, r.to_us]) FROM master m JOIN rate_s r
          ON r.scope IN (m.project, m.contract_no, m.customer_no, m.practice, m.worker, '*', m.le_code || '/' || m.practice,
                         m.contract_no || '/' || m.worker) OR (r.level = 2)
    UNION SELECT project, worker, midnight_us(day, tz) FROM (
          SELECT p.*, unnest(generate_series(utc_date(p.first_us), utc_date(c.live_us) + 1, INTERVAL 1 DAY))::DATE AS day FROM pair p, clock c)
    UNION SELECT project, worker, live_us FROM pair, clock
)
SELECT p.project, p.worker, p.tz, t.t, local_time(t.t, p.tz)::DATE AS today,
       row_number() OVER (PARTITION BY p.project, p.worker ORDER BY t.t) AS idx,
       coalesce(lead(t.t) OVER (PARTITION BY p.project, p.worker ORDER BY t.t), infinity()) AS next_t
FROM t JOIN pair p USING (project, worker), clock c WHERE t.t >= p.first_us AND t.t <= c.live_us;

CREATE TABLE pair_plan AS
SELECT p.project, p.worker, p.t, p.idx, p.next_t, p.today, a.system, a.version_id, a.from_d, a.to_d, a."commit", a.role, a.billable
FROM pair_probe p JOIN assignment_s a ON a.project = p.project AND a.worker = p.worker AND a.live AND a.from_us <= p.t AND p.t < a.to_us;

-- 16: what the PSA or the ERP does not reflect.
CREATE TABLE unreflected AS
SELECT s.*, f.facet FROM pair_plan s, (VALUES ('PSA'), ('ERP')) AS f(facet)
WHERE s.system = 'SCHED' AND s."commit" = 'HARD'
  AND NOT EXISTS (SELECT 1 FROM pair_plan o WHERE o.project = s.project AND o.worker = s.worker AND o.t = s.t AND o.system = f.facet
                  AND o.from_d < s.to_d AND s.from_d < o.to_d);
INSERT INTO hit
SELECT DISTINCT '16', facet, project || '|' || worker, NULL, t, idx, next_t, 0, 0, NULL, false, true FROM unreflected;

-- 17: weeks -2..+12 of what scheduling and the PSA plan.
CREATE TABLE week_gap AS
WITH both_say AS (
    SELECT project, worker, t FROM pair_plan WHERE system IN ('SCHED', 'PSA') GROUP BY ALL HAVING count(DISTINCT system) = 2
)
SELECT p.project, p.worker, p.t, p.idx, p.next_t, w.week,
       coalesce(sum(w.plan_s) FILTER (p.system = 'SCHED'), 0)::BIGINT AS sched_s,
       coalesce(sum(w.plan_s) FILTER (p.system = 'PSA'), 0)::BIGINT AS psa_s
FROM pair_plan p JOIN both_say USING (project, worker, t)
JOIN plan_week w ON w.version_id = p.version_id AND w.week BETWEEN monday(p.today) - 14 AND monday(p.today) + 84
WHERE p.system IN ('SCHED', 'PSA') GROUP BY ALL;
CREATE TABLE pair_shape AS
SELECT project, worker, t, idx, next_t, system, min(from_d) AS from_d, max(to_d) AS to_d,
       CASE WHEN bool_or("commit" = 'HARD') THEN 'HARD' WHEN bool_or("commit" = 'SOFT') THEN 'SOFT' ELSE 'PROPOSED' END AS firmness
FROM pair_plan WHERE system IN ('SCHED', 'PSA') GROUP BY ALL;

INSERT INTO hit
SELECT DISTINCT '17', 'HOURS', project || '|' || worker, NULL, t, idx, next_t, 0, 0, NULL, false, true
FROM week_gap WHERE abs(sched_s - psa_s) > 3600 AND abs(sched_s - psa_s) * 20 > sched_s;
INSERT INTO hit
SELECT '17', f.facet, s.project || '|' || s.worker, NULL, s.t, s.idx, s.next_t, 0, 0, NULL, false, true
FROM pair_shape s JOIN pair_shape o ON o.project = s.project AND o.worker = s.worker AND o.t = s.t AND o.system = 'PSA',
     (VALUES ('DATES'), ('COMMIT')) AS f(facet)
WHERE s.system = 'SCHED' AND CASE f.facet WHEN 'DATES' THEN (s.from_d, s.to_d) <> (o.from_d, o.to_d) ELSE s.firmness <> o.firmness END;

-- 21/PLANNED: firm work in the next ten days that has no rate.
CREATE TABLE planned AS
SELECT p.*, row_number() OVER (ORDER BY p.project, p.worker, p.t, p.version_id) AS qid
FROM pair_plan p LEFT JOIN project_g g ON g.project = p.project AND g.from_us <= p.t AND p.t < g.to_us
WHERE p.system = 'SCHED' AND p."commit" = 'HARD' AND p.billable AND p.from_d < p.today + 10 AND p.to_d > p.today
  AND coalesce(g.billable, true) AND coalesce(g.project_type, 'EXTERNAL') = 'EXTERNAL';
CREATE TABLE planned_question AS
SELECT qid, t, NULL::VARCHAR AS entry_key, project, worker, role, 'WORK' AS time_type, greatest(from_d, today) AS d,
       NULL::VARCHAR AS assignment_id
FROM planned;
