-- K5 and K6: from the end of the day of work to the posted invoice, and from the first submission to the last approval.

-- Business seconds (Mon-Fri 09-17 in tz) between two instants.
CREATE MACRO business_s(a_us, b_us, tz) AS (
    SELECT coalesce(sum(greatest(0, least(b_us, midnight_us(day, tz) + 17 * 3600000000) - greatest(a_us, midnight_us(day, tz) + 9 * 3600000000))), 0) // 1000000
    FROM (SELECT unnest(generate_series(local_time(a_us, tz)::DATE, local_time(b_us, tz)::DATE, INTERVAL 1 DAY))::DATE AS day) WHERE is_business_day(day))::BIGINT;

CREATE TABLE lag_of AS
WITH invoiced AS ( -- the last posted invoice that still has something of the entry
    SELECT c.entry_key, c.project, max(o.posted_us) AS invoiced_us
    FROM charged c JOIN invoice_order o USING (invoice) JOIN value_of v ON v.entry_key = c.entry_key AND v.t = c.t AND v.next_t = infinity()
    WHERE c.kept_s > 0 AND c.posted GROUP BY ALL
), said AS (
    SELECT entry_key, min(coalesce(said_submitted_us, from_us)) FILTER (state = 'SUBMITTED') AS submitted_us
    FROM entry_s s WHERE system = 'TIME' GROUP BY entry_key
), agreed AS ( -- an approval that is repeated has its own instant: one said before the entry was last open again is the old one's
    SELECT entry_key, CASE WHEN said_approved_us > coalesce(opened_us, 0) THEN said_approved_us ELSE from_us END AS approved_us FROM (
        SELECT *, lag(state) OVER (PARTITION BY entry_key ORDER BY from_us) AS before,
               max(from_us) FILTER (state IS DISTINCT FROM 'APPROVED') OVER (PARTITION BY entry_key ORDER BY from_us) AS opened_us
        FROM entry_s WHERE system = 'TIME' AND NOT deleted)
    WHERE state = 'APPROVED' AND before IS DISTINCT FROM 'APPROVED'
    QUALIFY row_number() OVER (PARTITION BY entry_key ORDER BY from_us DESC) = 1
)
SELECT t.entry_key, t.project_code, t.approved_s, t.billed_s, t.status, coalesce(e.tz, 'UTC') AS tz,
       midnight_us(t.work_date + 1, coalesce(x.work_tz, e.tz, 'UTC')) AS worked_us, s.submitted_us, a.approved_us, i.invoiced_us
FROM time_entry t LEFT JOIN invoiced i ON i.entry_key = t.entry_key AND i.project = t.project_code
LEFT JOIN said s ON s.entry_key = t.entry_key LEFT JOIN agreed a ON a.entry_key = t.entry_key
LEFT JOIN entry_s x ON x.entry_key = t.entry_key AND x.system = 'TIME' AND x.to_us = infinity()
LEFT JOIN entity_g e ON e.le_code = t.le_code AND e.to_us = infinity();

INSERT INTO kpi
SELECT 'time_to_bill', NULL, sum(billed_s::HUGEINT * greatest(0, (invoiced_us - worked_us) // 1000000))::HUGEINT, sum(billed_s)::BIGINT
FROM lag_of WHERE billed_s > 0 AND invoiced_us IS NOT NULL
UNION ALL
SELECT 'approval_latency', NULL, sum(approved_s::HUGEINT * greatest(0, (approved_us - submitted_us) // 1000000))::HUGEINT, sum(approved_s)::BIGINT
FROM lag_of WHERE status = 'APPROVED' AND approved_s > 0 AND approved_us IS NOT NULL AND submitted_us IS NOT NULL
UNION ALL
SELECT 'approval_latency_business', NULL, sum(approved_s::HUGEINT * business_s(submitted_us, approved_us, tz))::HUGEINT, sum(approved_s)::BIGINT
FROM lag_of WHERE status = 'APPROVED' AND approved_s > 0 AND approved_us IS NOT NULL AND submitted_us IS NOT NULL;

-- The samples row by row.
CREATE TABLE lag AS
SELECT entry_key, project_code, CASE WHEN billed_s > 0 THEN worked_us END AS worked_us, CASE WHEN billed_s > 0 THEN invoiced_us END AS invoiced_us,
       CASE WHEN status = 'APPROVED' AND approved_s > 0 THEN submitted_us END AS submitted_us,
       CASE WHEN status = 'APPROVED' AND approved_s > 0 THEN approved_us END AS approved_us
FROM lag_of WHERE billed_s > 0 OR (status = 'APPROVED' AND approved_s > 0);
