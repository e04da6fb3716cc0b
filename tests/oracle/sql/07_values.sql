-- Quantities and values of an entry at a probe, and of projects that it was billed on before it was re-coded.

-- Coverage and write-offs belong to the project that the entry had when they were committed.
CREATE TABLE billed_on AS
WITH firsts AS (
    SELECT bk, entry_key, min(from_us) AS at_us FROM coverage_s GROUP BY ALL
    UNION ALL SELECT bk, entry_key, min(from_us) FROM write_off_s GROUP BY ALL
)
SELECT f.bk, coalesce(arg_max(s.project, s.from_us) FILTER (s.from_us <= f.at_us AND (s.system = 'TIME' OR t.entry_key IS NULL)),
                      arg_min(s.project, s.from_us)) AS project
FROM firsts f JOIN entry_s s USING (entry_key)
LEFT JOIN (SELECT entry_key, min(from_us) AS since FROM entry_s WHERE system = 'TIME' AND project IS NOT NULL GROUP BY ALL) t
    ON t.entry_key = f.entry_key AND t.since <= f.at_us
WHERE s.project IS NOT NULL GROUP BY f.bk;

CREATE TABLE covered AS
WITH signed AS (
    SELECT p.entry_key, p.t, b.project, coalesce(c.sign, CASE WHEN i.type = 'CREDIT_NOTE' THEN -1 ELSE 1 END) AS sign,
           c.qty_s, c.minor, i.state
    FROM probe p
    JOIN coverage_s c ON c.entry_key = p.entry_key AND c.from_us <= p.t AND p.t < c.to_us AND NOT c.deleted
    JOIN invoice_s i ON i.invoice = c.invoice AND i.from_us <= p.t AND p.t < i.to_us
    JOIN billed_on b ON b.bk = c.bk
    WHERE coalesce(i.type, 'INVOICE') <> 'PROFORMA'
)
SELECT entry_key, t, project,
       coalesce(sum(sign * qty_s) FILTER (state IN ('POSTED', 'SENT', 'PAID')), 0)::BIGINT AS billed_s,
       coalesce(sum(sign * minor) FILTER (state IN ('POSTED', 'SENT', 'PAID')), 0)::BIGINT AS billed_minor,
       coalesce(sum(sign * qty_s) FILTER (state IN ('DRAFT', 'APPROVED')), 0)::BIGINT AS proposed_s,
       bool_and(state = 'PAID') FILTER (sign > 0 AND state IN ('POSTED', 'SENT', 'PAID')) AS paid
FROM signed GROUP BY ALL;

CREATE TABLE written_off AS
SELECT p.entry_key, p.t, b.project, sum(w.qty_s)::BIGINT AS written_off_s
FROM probe p JOIN write_off_s w ON w.entry_key = p.entry_key AND w.from_us <= p.t AND p.t < w.to_us AND NOT w.deleted
JOIN billed_on b ON b.bk = w.bk GROUP BY ALL;

CREATE TABLE value_of AS
WITH q AS (
    SELECT f.*, r.rate_id, r.rate_system, r.level AS rate_level, r.scope AS rate_scope, r.role AS rate_role, r.from_d AS rate_from,
           r.num, r.den, r.rate_e6, r.unit, r.day_s, r.rate_ccy, r.missing, r.ambiguous, r.top_num, r.top_den, r.basis, r.list_num, r.list_den, r.list_ccy,
           coalesce(c.billed_s, 0) AS billed_s, coalesce(c.billed_minor, 0) AS billed_minor,
           coalesce(c.proposed_s, 0) AS proposed_s, coalesce(c.paid, false) AS paid,
           coalesce(w.written_off_s, 0) AS written_off_s
    FROM fact f JOIN entry_question_answer r USING (qid)
    LEFT JOIN covered c ON c.entry_key = f.entry_key AND c.t = f.t AND c.project = f.project
    LEFT JOIN written_off w ON w.entry_key = f.entry_key AND w.t = f.t AND w.project = f.project
)
SELECT *, greatest(0, approved_s - billed_s - written_off_s) AS unbilled_s,
       greatest(0, billed_s + written_off_s - approved_s) AS overbilled_s,
       CASE WHEN missing IS NULL
            THEN amount(greatest(0, approved_s - billed_s - written_off_s), num, den, rate_ccy, rounding) ELSE 0 END AS unbilled_minor
FROM q;
