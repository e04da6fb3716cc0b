-- From probes to findings: runs of truth, deadlines, frontiers, episodes, impact.

-- Runs [a, b) in which a predicate holds, entry by entry; then key by key (only 22 has several entries to a key).
CREATE TABLE whole_run AS
WITH numbered AS (
    SELECT *, idx - row_number() OVER (PARTITION BY check_no, facet, bk, entry_key ORDER BY idx) AS island FROM hit
), own AS (
    SELECT check_no, facet, bk, entry_key, min(t) AS a, max(next_t) AS b FROM numbered GROUP BY check_no, facet, bk, entry_key, island
), started AS (
    SELECT *, coalesce(a > max(b) OVER (PARTITION BY check_no, facet, bk ORDER BY a, b
                                        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), true) AS starts FROM own
), counted AS (
    SELECT *, sum(starts::INTEGER) OVER (PARTITION BY check_no, facet, bk ORDER BY a, b ROWS UNBOUNDED PRECEDING) AS n FROM started
)
SELECT check_no, facet, bk, arg_min(entry_key, a) AS entry_key, min(a) AS a, max(b) AS b FROM counted GROUP BY check_no, facet, bk, n;

-- A key carries the code that the project had: a run that a re-key interrupts ends under the old code and begins under the new.
CREATE TABLE run AS
SELECT r.check_no, r.facet, r.bk, r.bk AS shown_bk, r.entry_key, greatest(r.a, coalesce(f.until_us, r.a)) AS a, r.b
FROM whole_run r LEFT JOIN former f ON f.root = split_part(r.bk, '|', 1) AND r.bk <> coalesce(r.entry_key, '')
WHERE f.until_us IS NULL OR f.until_us < r.b
UNION ALL
SELECT r.check_no, r.facet, r.bk, f.code || substr(r.bk, length(f.root) + 1), r.entry_key, r.a, least(r.b, f.until_us)
FROM whole_run r JOIN former f ON f.root = split_part(r.bk, '|', 1) AND r.bk <> coalesce(r.entry_key, '') AND r.a < f.until_us;

-- Cutoff windows of the calendars in use: billing cycles where they are recorded, else calendar months.
CREATE TABLE calendar_use AS
SELECT DISTINCT p.le_code, coalesce(p.calendar, c.calendar) AS calendar, coalesce(e.tz, 'UTC') AS tz
FROM project_g p LEFT JOIN contract_g c USING (contract_no)
LEFT JOIN entity_g e ON e.le_code = p.le_code AND e.to_us = infinity()
UNION SELECT NULL, NULL, 'UTC';
CREATE TABLE cutoff_window AS
WITH cutoff AS (
    SELECT u.le_code, u.calendar, u.tz, local_time(c.cutoff_us, u.tz)::DATE AS day
    FROM calendar_use u JOIN cycle_g c ON c.calendar = u.calendar AND c.to_us = infinity()
    UNION ALL
    SELECT u.le_code, u.calendar, u.tz, unnest(generate_series(DATE '2024-02-01', DATE '2029-01-01', INTERVAL 1 MONTH))::DATE - 1
    FROM calendar_use u WHERE NOT EXISTS (SELECT 1 FROM cycle_g c WHERE c.calendar = u.calendar AND c.to_us = infinity())
)
SELECT le_code, calendar, midnight_us(second_business_day_back(day), tz) AS start_us,
       midnight_us(next_business_day(day) + 1, tz) AS end_us
FROM cutoff;

CREATE TABLE placed AS -- each run with what its grace depends on
SELECT r.*, f.le_code, f.calendar, coalesce(oe.tz, 'UTC') AS tz
FROM run r
LEFT JOIN fact f ON f.entry_key = r.entry_key AND f.t = r.a
LEFT JOIN opportunity_g o ON r.check_no = '02' AND r.facet = 'ERP' AND o.opportunity_no = r.bk AND o.from_us <= r.a AND r.a < o.to_us
LEFT JOIN entity_g oe ON oe.le_code = o.le_code AND oe.from_us <= r.a AND r.a < oe.to_us;

CREATE TABLE graced AS
SELECT *, EXISTS (SELECT 1 FROM cutoff_window w WHERE w.le_code IS NOT DISTINCT FROM p.le_code
                  AND w.calendar IS NOT DISTINCT FROM p.calendar AND w.start_us <= p.a AND p.a < w.end_us) AS in_cutoff
FROM placed p;

-- 28 starts its grace again at each change of the entry's records.
CREATE TABLE entry_change AS
SELECT entry_key, from_us AS c FROM entry_s WHERE is_change UNION SELECT entry_key, from_us FROM labour_s WHERE is_change;

CREATE TABLE clocked AS
WITH candidate AS (
    SELECT g.*, coalesce(c.c, g.a) AS onset FROM graced g
    LEFT JOIN (SELECT entry_key, c FROM entry_change) c ON g.check_no = '28'
         AND c.entry_key = g.entry_key AND c.c > g.a AND c.c < g.b
    UNION SELECT g.*, g.a FROM graced g
), followed AS (
    SELECT *, least(b, coalesce(lead(onset) OVER (PARTITION BY check_no, facet, shown_bk, a ORDER BY onset), b)) AS until_us FROM candidate
), due AS (
    SELECT *, CASE
        WHEN check_no = '02' AND facet = 'ERP' THEN business_deadline(onset, 4, tz)
        ELSE onset + 1000000::BIGINT * CASE
            WHEN check_no = '02' THEN 1800
            WHEN check_no = '16' AND facet = 'ERP' THEN 86400
            WHEN check_no IN ('16', '17') THEN 3600
            WHEN check_no = '21' THEN CASE WHEN in_cutoff AND facet <> 'PLANNED' THEN 3600 ELSE 14400 END
            WHEN check_no = '22' THEN 14400
            WHEN check_no = '27' AND facet = 'STAGED' THEN CASE WHEN in_cutoff THEN 3600 ELSE 14400 END
            WHEN check_no = '27' THEN CASE WHEN in_cutoff THEN 14400 ELSE 86400 END
            WHEN check_no = '28' THEN 14400
            WHEN check_no IN ('29', '30') THEN 86400
            WHEN check_no IN ('23', '31') THEN 14400
            WHEN check_no = '36' THEN 0 END END AS deadline
    FROM followed
)
SELECT check_no, facet, bk, shown_bk, entry_key, a, b, onset, deadline FROM due WHERE until_us > deadline
QUALIFY row_number() OVER (PARTITION BY check_no, facet, shown_bk, a ORDER BY onset) = 1;

CREATE TABLE opened AS
SELECT c.*, f.f_us, c.b > f.f_us AS is_open
FROM clocked c
JOIN frontier f ON f.check_no = c.check_no
    AND f.facet = CASE WHEN c.check_no = '02' OR c.check_no = '16' OR c.facet IN ('PLANNED', 'CARD_DIVERGED', 'IDEMPOTENCY_KEY', 'CONTENT') THEN c.facet ELSE '*' END,
     clock k
WHERE f.f_us >= c.deadline AND k.now_us >= c.deadline;

-- Back within seven days of closing: the same episode. A row shows where its episode began and how it stands.
CREATE TABLE episode AS
WITH gaps AS (
    SELECT *, coalesce(onset - lag(b) OVER (PARTITION BY check_no, facet, shown_bk ORDER BY a) > 604800000000, true) AS anew FROM opened
), counted AS (
    SELECT *, sum(anew::INTEGER) OVER (PARTITION BY check_no, facet, shown_bk ORDER BY a ROWS UNBOUNDED PRECEDING) AS episode FROM gaps
)
SELECT check_no, facet, bk, shown_bk, episode, min(onset) AS onset_us, min(deadline) AS deadline_us, max(onset) AS last_onset,
       bool_or(is_open) AS is_open, max(b) AS b, max(f_us) AS f_us, count(*) AS occurrences,
       CASE WHEN bool_or(is_open) THEN max(f_us) ELSE max(b) - 1 END AS seen_us -- the instant at which its impact is taken
FROM counted GROUP BY ALL;

-- Impact of plans: questions to the rate resolution as of `seen_us`.
CREATE TABLE plan_impact AS
WITH e AS (
    SELECT e.*, split_part(bk, '|', 1) AS project, split_part(bk, '|', 2) AS worker, local_time(last_onset, p.tz)::DATE AS onset_d
    FROM episode e JOIN pair p ON p.project = split_part(bk, '|', 1) AND p.worker = split_part(bk, '|', 2)
    WHERE check_no IN ('16', '17') OR facet = 'PLANNED'
), firm AS ( -- 16 and PLANNED: each assignment that is not reflected, or not priced
    SELECT e.check_no, e.facet, e.bk, e.shown_bk, e.episode, e.seen_us, e.project, e.worker, u.version_id, u.role, greatest(u.from_d, e.onset_d) AS d,
           greatest(u.from_d, e.onset_d) AS from_d, greatest(u.from_d, e.onset_d) + 28 AS to_d
    FROM e JOIN unreflected u ON e.check_no = '16' AND u.facet = e.facet AND u.project = e.project AND u.worker = e.worker
        AND u.t <= e.seen_us AND e.seen_us < u.next_t
    UNION ALL
    SELECT e.check_no, e.facet, e.bk, e.shown_bk, e.episode, e.seen_us, e.project, e.worker, p.version_id, p.role, greatest(p.from_d, e.onset_d),
           greatest(p.from_d, e.onset_d), e.onset_d + 10
    FROM e JOIN planned p ON e.facet = 'PLANNED' AND p.project = e.project AND p.worker = e.worker
        AND p.t <= e.seen_us AND e.seen_us < p.next_t
    JOIN planned_question_answer a ON a.qid = p.qid AND a.missing IS NOT NULL
)
SELECT f.check_no, f.facet, f.bk, f.shown_bk, f.episode, f.seen_us, f.project, f.worker, f.role, f.d,
       coalesce((SELECT sum(plan_s) FROM plan_day x WHERE x.version_id = f.version_id AND x.day >= f.from_d AND x.day < f.to_d), 0)::BIGINT AS qty_s
FROM firm f
UNION ALL
SELECT e.check_no, e.facet, e.bk, e.shown_bk, e.episode, e.seen_us, e.project, e.worker,
       (SELECT arg_min(p.role, (CASE p.system WHEN 'SCHED' THEN 0 ELSE 1 END, p.from_d)) FROM pair_plan p
        WHERE p.project = e.project AND p.worker = e.worker AND p.t <= e.seen_us AND e.seen_us < p.next_t
          AND p.system IN ('SCHED', 'PSA') AND p.role IS NOT NULL),
       (SELECT min(monday(p.today)) FROM pair_plan p
        WHERE p.project = e.project AND p.worker = e.worker AND p.t <= e.seen_us AND e.seen_us < p.next_t),
       coalesce((SELECT sum(CASE e.facet WHEN 'COMMIT' THEN w.sched_s ELSE abs(w.sched_s - w.psa_s) END) FROM week_gap w
                 WHERE w.project = e.project AND w.worker = e.worker AND w.t <= e.seen_us AND e.seen_us < w.next_t
                   AND (e.facet <> 'HOURS' OR (abs(w.sched_s - w.psa_s) > 3600 AND abs(w.sched_s - w.psa_s) * 20 > w.sched_s))), 0)::BIGINT
FROM e WHERE e.check_no = '17';

-- 02: open demand in the ten working days from the onset, at its role's rate.
INSERT INTO plan_impact
WITH demand AS (
    SELECT split_part(bk, ':', 1) AS project, from_us, to_us, a ->> 'role_code' AS role, (a ->> 'qty_s')::BIGINT AS qty_s,
           (a ->> 'from')::DATE AS from_d, (a ->> 'to')::DATE AS to_d, a ->> 'opportunity_no' AS opportunity_no
    FROM golden WHERE entity = 'staffing_demand' AND live AND a ->> 'state' = 'OPEN'
), horizon AS (
    SELECT check_no, facet, bk, shown_bk, episode, seen_us, last_onset, list(day) AS days FROM (
        SELECT e.*, d.day, row_number() OVER (PARTITION BY e.facet, e.shown_bk, e.episode ORDER BY d.day) AS n
        FROM episode e, (SELECT unnest(generate_series(DATE '2024-01-01', DATE '2029-12-31', INTERVAL 1 DAY))::DATE AS day) d
        WHERE e.check_no = '02' AND d.day >= utc_date(e.last_onset) AND d.day < utc_date(e.last_onset) + 20 AND is_business_day(d.day))
    WHERE n <= 10 GROUP BY ALL
), worked AS (
    SELECT h.*, d.project, d.role, d.qty_s, list_filter(list_transform(generate_series(d.from_d, d.to_d - 1, INTERVAL 1 DAY), lambda x: x::DATE),
                                                       lambda x: is_business_day(x)) AS all_days
    FROM horizon h JOIN demand d ON d.from_us <= h.seen_us AND h.seen_us < d.to_us
        AND CASE h.facet WHEN 'ERP' THEN d.opportunity_no = h.bk ELSE d.project = h.bk END
)
SELECT check_no, facet, bk, shown_bk, episode, seen_us, project, NULL, role, utc_date(last_onset),
       rounded(qty_s::HUGEINT * len(list_intersect(all_days, days)), greatest(1, len(all_days))::HUGEINT, 'HALF_AWAY')::BIGINT
FROM worked;

CREATE TABLE impact_question AS
SELECT row_number() OVER () AS qid, seen_us AS t, NULL::VARCHAR AS entry_key, project, worker, role, 'WORK' AS time_type, d,
       NULL::VARCHAR AS assignment_id, check_no, facet, bk, shown_bk, episode, qty_s
FROM plan_impact;
