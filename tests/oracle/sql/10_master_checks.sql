-- 21/PLANNED (answers are in by now), 22/CARD_DIVERGED and 02.

INSERT INTO hit
SELECT DISTINCT '21', 'PLANNED', p.project || '|' || p.worker, NULL, p.t, p.idx, p.next_t, 0, 0, NULL, true, true
FROM planned p JOIN planned_question_answer a USING (qid) WHERE a.missing IS NOT NULL;

-- Two masters that publish different rates for one scope, role and date.
CREATE TABLE card AS
SELECT level, scope, coalesce(role, '*') AS role, level || '|' || min(said_scope) || '|' || coalesce(role, '*') AS bk
FROM rate_s WHERE rate_id NOT LIKE 'assignment:%' GROUP BY level, scope, coalesce(role, '*') HAVING count(DISTINCT system) > 1;
CREATE TABLE card_probe AS
SELECT bk, level, scope, role, t, row_number() OVER (PARTITION BY bk ORDER BY t) AS idx,
       coalesce(lead(t) OVER (PARTITION BY bk ORDER BY t), infinity()) AS next_t
FROM (SELECT DISTINCT c.*, unnest([r.from_us, r.known_us, r.to_us, k.live_us]) AS t
      FROM card c JOIN rate_s r ON r.level = c.level AND r.scope = c.scope AND coalesce(r.role, '*') = c.role, clock k), clock z
WHERE t <= z.live_us;
CREATE TABLE card_row AS
SELECT p.bk, p.t, p.idx, p.next_t, r.system, r.worker, r.location, r.time_type, r.num, r.den, r.ccy, r.from_d,
       coalesce(r.to_d, lead(r.from_d) OVER (PARTITION BY p.bk, p.t, r.system, r.worker, r.location, r.time_type, r.ccy
                                             ORDER BY r.from_d), DATE '9999-01-01') AS to_d
FROM card_probe p JOIN rate_s r ON r.level = p.level AND r.scope = p.scope AND coalesce(r.role, '*') = p.role
WHERE r.rate_id NOT LIKE 'assignment:%' AND r.state = 'PUBLISHED' AND r.known_us <= p.t AND r.from_us <= p.t AND p.t < r.to_us;
INSERT INTO hit
SELECT DISTINCT '22', 'CARD_DIVERGED', x.bk, NULL, x.t, x.idx, x.next_t, 0, 0, NULL, false, false
FROM card_row x JOIN card_row y ON y.bk = x.bk AND y.t = x.t AND y.system > x.system
    AND y.worker IS NOT DISTINCT FROM x.worker AND y.location IS NOT DISTINCT FROM x.location
    AND y.time_type IS NOT DISTINCT FROM x.time_type AND x.from_d < y.to_d AND y.from_d < x.to_d
WHERE x.ccy <> y.ccy OR x.num::HUGEINT * y.den <> y.num::HUGEINT * x.den;

-- 02: projects that a system which needs them does not have.
CREATE TABLE shell_probe AS
SELECT project, t, row_number() OVER (PARTITION BY project ORDER BY t) AS idx,
       coalesce(lead(t) OVER (PARTITION BY project ORDER BY t), infinity()) AS next_t
FROM (SELECT project, from_us AS t FROM project_s UNION SELECT project, from_us FROM project_g
      UNION SELECT project, live_us FROM project_s, clock);
INSERT INTO hit
SELECT '02', f.target, p.project, NULL, p.t, p.idx, p.next_t, 0, 0, NULL, false, true
FROM shell_probe p
JOIN project_s e ON e.system = 'ERP' AND e.project = p.project AND e.from_us <= p.t AND p.t < e.to_us AND NOT e.deleted
LEFT JOIN project_g g ON g.project = p.project AND g.from_us <= p.t AND p.t < g.to_us,
     (VALUES ('PSA'), ('SCHED'), ('TIME')) AS f(target)
WHERE e.state IN ('SHELL_CREATED', 'OPEN', 'SUSPENDED', 'CLOSED_FOR_TIME')
  AND CASE coalesce(g.project_type, 'EXTERNAL') WHEN 'EXTERNAL' THEN true WHEN 'PRESALES' THEN f.target IN ('PSA', 'TIME')
           ELSE f.target = 'TIME' END
  AND NOT EXISTS (SELECT 1 FROM project_s o WHERE o.system = f.target AND o.project = p.project AND NOT o.deleted
                  AND o.from_us <= p.t AND p.t < o.to_us);

-- 02/ERP: won opportunities without a project in the ERP.
CREATE TABLE opportunity_g AS
SELECT bk AS opportunity_no, from_us, to_us, live AND coalesce((a ->> 'is_won')::BOOLEAN, false)
           AND coalesce((a ->> 'approved')::BOOLEAN, true) AS won, a ->> 'contracting_le' AS le_code,
       (a -> 'amount' ->> 'minor')::BIGINT AS minor, a -> 'amount' ->> 'ccy' AS ccy
FROM golden WHERE entity = 'opportunity';
CREATE TABLE won_probe AS
SELECT opportunity_no, t, row_number() OVER (PARTITION BY opportunity_no ORDER BY t) AS idx,
       coalesce(lead(t) OVER (PARTITION BY opportunity_no ORDER BY t), infinity()) AS next_t
FROM (SELECT opportunity_no, from_us AS t FROM opportunity_g
      UNION SELECT o.opportunity_no, unnest([p.from_us, p.to_us]) FROM opportunity_g o JOIN project_s p USING (opportunity_no)
            WHERE p.system = 'ERP'
      UNION SELECT opportunity_no, live_us FROM opportunity_g, clock), clock z WHERE t <= z.live_us;
INSERT INTO hit
SELECT '02', 'ERP', w.opportunity_no, NULL, w.t, w.idx, w.next_t, 0, 0, NULL, false, false
FROM won_probe w JOIN opportunity_g o ON o.opportunity_no = w.opportunity_no AND o.from_us <= w.t AND w.t < o.to_us
WHERE o.won AND NOT EXISTS (SELECT 1 FROM project_s p WHERE p.system = 'ERP' AND p.opportunity_no = w.opportunity_no
                            AND NOT p.deleted AND p.from_us <= w.t AND w.t < p.to_us);
