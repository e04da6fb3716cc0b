-- Rate resolution with nine levels for the questions of table {question}; answers go to {question}_answer.
-- question: qid, t, entry_key, project, worker, role, time_type, d, assignment_id.

CREATE TABLE {question}_full AS
SELECT q.*, p.customer_no, p.le_code, p.practice, p.contract_no, l.line_no, coalesce(l.ccy, c.ccy, p.ccy, e.base_ccy) AS ccy,
       e.rounding, CASE l.rate_basis
           WHEN 'ASSIGNMENT_START' THEN coalesce((
               SELECT arg_min(a.from_d, CASE a.system WHEN 'PSA' THEN 0 ELSE 1000000 END + date_diff('day', DATE '1970-01-01', a.from_d))
               FROM assignment_s a
               WHERE a.project = q.project AND a.worker = q.worker AND a.system IN ('PSA', 'SCHED') AND a.live
                 AND a.from_us <= q.t AND q.t < a.to_us
                 AND (a.subject = q.assignment_id OR (q.assignment_id IS NULL AND a.from_d <= q.d AND q.d < a.to_d
                      AND (q.role IS NULL OR a.role IS NULL OR a.role = q.role)))), q.d)
           WHEN 'CONTRACT_SIGN' THEN coalesce(l.from_d, c.from_d, q.d)
           ELSE q.d END AS basis
FROM {question} q
LEFT JOIN project_g p ON p.project = q.project AND p.from_us <= q.t AND q.t < p.to_us
LEFT JOIN contract_g c ON c.contract_no = p.contract_no AND c.from_us <= q.t AND q.t < c.to_us
LEFT JOIN entity_g e ON e.le_code = p.le_code AND e.from_us <= q.t AND q.t < e.to_us
LEFT JOIN line_g l ON l.contract_no = p.contract_no AND l.from_us <= q.t AND q.t < l.to_us
    AND (l.from_d IS NULL OR l.from_d <= q.d) AND (l.to_d IS NULL OR q.d < l.to_d)
QUALIFY row_number() OVER (PARTITION BY q.qid
    ORDER BY coalesce(l.line_no = p.line_no OR l.service_class = p.service_class, false) DESC, l.line_no) = 1;

CREATE TABLE {question}_scope AS
SELECT qid, 1 AS level, entry_key AS scope FROM {question}_full WHERE entry_key IS NOT NULL
UNION SELECT q.qid, 2, a.subject FROM {question}_full q
      JOIN assignment_s a ON a.project = q.project AND a.worker = q.worker AND a.system IN ('PSA', 'SCHED') AND a.live
          AND a.from_us <= q.t AND q.t < a.to_us
          AND (a.subject = q.assignment_id OR (q.assignment_id IS NULL AND a.from_d <= q.d AND q.d < a.to_d
               AND (q.role IS NULL OR a.role IS NULL OR a.role = q.role)))
UNION SELECT qid, 2, unnest([contract_no || '/' || line_no, contract_no || ':' || line_no]) FROM {question}_full WHERE line_no IS NOT NULL
UNION SELECT qid, 3, contract_no || '/' || worker FROM {question}_full
UNION SELECT qid, 4, unnest([project, contract_no]) FROM {question}_full
UNION SELECT qid, 5, customer_no FROM {question}_full
UNION SELECT qid, 6, le_code || '/' || practice FROM {question}_full
UNION SELECT qid, 7, practice FROM {question}_full
UNION SELECT qid, 8, '*' FROM {question}_full
UNION SELECT qid, 9, worker FROM {question}_full;

-- Rows that match in scope, dimensions and knowledge, whatever their date and currency. An open-ended row
-- ends where the next row of its series (level, scope, dimensions, currency) begins.
CREATE TABLE {question}_match AS
SELECT q.qid, r.system, r.rate_id, r.level, r.scope, r.role, r.rate_e6, r.ccy, r.unit, r.day_s, r.num, r.den, r.from_d, r.to_d,
       (r.role IS NOT NULL)::INTEGER + (r.worker IS NOT NULL)::INTEGER + (r.time_type IS NOT NULL)::INTEGER AS spec,
       q.ccy IS NULL OR r.ccy = q.ccy AS in_ccy, q.basis < r.from_d AS later,
       r.from_d <= q.basis AND (r.to_d IS NULL OR q.basis < r.to_d) AS in_date,
       r.to_d IS NULL AND r.from_d < max(CASE WHEN r.from_d <= q.basis AND (r.to_d IS NULL OR q.basis < r.to_d) THEN r.from_d END)
           OVER (PARTITION BY q.qid, r.system, r.level, r.scope, r.role, r.worker, r.time_type, r.ccy) AS superseded
FROM {question}_full q JOIN {question}_scope s USING (qid)
JOIN rate_s r ON r.level = s.level AND r.scope = s.scope
WHERE r.state = 'PUBLISHED' AND r.known_us <= q.t AND r.from_us <= q.t AND q.t < r.to_us
  AND r.location IS NULL AND (r.role IS NULL OR r.role = q.role) AND (r.worker IS NULL OR r.worker = q.worker)
  AND (r.time_type IS NULL OR r.time_type = q.time_type);

CREATE TABLE {question}_answer AS
WITH live AS ( -- the owner's rows, or a replica's where the owner has none at that level
    SELECT * FROM {question}_match WHERE in_date AND in_ccy AND NOT superseded
    QUALIFY system = 'ERP' OR count(*) FILTER (system = 'ERP') OVER (PARTITION BY qid, level) = 0
),
best AS (
    SELECT * FROM live WHERE level <= 7
    QUALIFY rank() OVER (PARTITION BY qid ORDER BY level, spec DESC) = 1
), chosen AS (
    SELECT *, count(DISTINCT (num::DOUBLE / den)) OVER (PARTITION BY qid) > 1 AS ambiguous,
           first_value(num) OVER dearest AS top_num, first_value(den) OVER dearest AS top_den
    FROM best WINDOW dearest AS (PARTITION BY qid ORDER BY num::DOUBLE / den DESC) QUALIFY row_number() OVER (PARTITION BY qid ORDER BY num::DOUBLE / den, rate_id) = 1
), reference AS (
    SELECT qid, num, den, ccy FROM live WHERE level = 8
    QUALIFY row_number() OVER (PARTITION BY qid ORDER BY spec DESC, num::DOUBLE / den, rate_id) = 1
), reason AS (
    SELECT qid, bool_or(in_date AND NOT in_ccy AND NOT superseded) AS other_ccy, bool_or(in_ccy AND NOT in_date AND NOT later) AS expired
    FROM {question}_match WHERE level <= 7 GROUP BY qid
)
SELECT q.qid, q.basis, q.ccy, q.rounding, c.system AS rate_system, c.rate_id, c.level, c.scope, c.role, c.from_d, c.rate_e6, c.unit, c.day_s, c.num,
       c.den, c.ccy AS rate_ccy, coalesce(c.ambiguous, false) AS ambiguous,
       c.top_num, c.top_den,
       CASE WHEN c.num > 0 THEN NULL WHEN c.qid IS NOT NULL THEN 'ZERO' WHEN x.other_ccy THEN 'CURRENCY'
            WHEN x.expired THEN 'EXPIRED' ELSE 'NO_MATCH' END AS missing,
       l.num AS list_num, l.den AS list_den, l.ccy AS list_ccy
FROM {question}_full q LEFT JOIN chosen c USING (qid) LEFT JOIN reference l USING (qid) LEFT JOIN reason x USING (qid);
