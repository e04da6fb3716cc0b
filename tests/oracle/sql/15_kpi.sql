-- Sums of the KPIs: hours in seconds, money in minor units by currency, weeks as counts.

CREATE TABLE hard_week AS -- K13: firm (project, worker, week) cells of scheduling, weeks -2..+12 of today
WITH s AS (SELECT p.project, p.worker, w.week, p.system, p."commit", w.plan_s
           FROM pair_plan p JOIN plan_week w ON w.version_id = p.version_id
               AND w.week BETWEEN monday(p.today) - 14 AND monday(p.today) + 84
           WHERE p.next_t = infinity())
SELECT project, worker, week, sum(plan_s) FILTER (system = 'SCHED' AND "commit" = 'HARD') AS sched_s,
       coalesce(sum(plan_s) FILTER (system = 'PSA' AND "commit" = 'HARD'), 0) AS psa_s,
       coalesce(sum(plan_s) FILTER (system = 'ERP' AND "commit" = 'HARD'), 0) AS erp_s
FROM s GROUP BY ALL HAVING sum(plan_s) FILTER (system = 'SCHED' AND "commit" = 'HARD') > 0;
CREATE MACRO off_plan(mine, other) AS abs(mine - other) > 3600 AND abs(mine - other) * 20 > mine;

CREATE TABLE kpi AS
SELECT 'unbilled_hours' AS kpi, NULL AS currency, coalesce(sum(unbilled_s), 0)::BIGINT AS numerator, NULL::BIGINT AS denominator FROM time_entry
UNION ALL SELECT 'unbilled_value', currency, sum(unbilled_minor)::BIGINT, NULL FROM time_entry WHERE unbilled_s > 0 GROUP BY currency
UNION ALL SELECT 'unpriced_hours', NULL, coalesce(sum(unpriced_s), 0)::BIGINT, NULL FROM time_entry
UNION ALL SELECT 'held_hours', NULL, coalesce(sum(held_s), 0)::BIGINT, NULL FROM time_entry
UNION ALL SELECT 'held_value', currency, sum(held_minor)::BIGINT, NULL FROM time_entry WHERE held_s > 0 GROUP BY currency
UNION ALL SELECT 'assignment_sync_rate', NULL, count(*) FILTER (NOT (bad))::BIGINT, count(*)::BIGINT FROM (
    SELECT (off_plan(sched_s, psa_s) AND 'PSA' IN (SELECT system FROM system_w))
        OR (off_plan(sched_s, erp_s) AND 'ERP' IN (SELECT system FROM system_w)) AS bad FROM hard_week)
UNION ALL SELECT 'unsynchronised_assignments', NULL, count(*) FILTER (bad)::BIGINT, NULL FROM (
    SELECT (off_plan(sched_s, psa_s) AND 'PSA' IN (SELECT system FROM system_w))
        OR (off_plan(sched_s, erp_s) AND 'ERP' IN (SELECT system FROM system_w)) AS bad FROM hard_week);

-- K7: unbilled by age at the end of processing time, in the legal entity's day.
CREATE TABLE kpi_ageing AS
SELECT CASE WHEN age <= 30 THEN '0-30' WHEN age <= 45 THEN '31-45' WHEN age <= 60 THEN '46-60' WHEN age <= 90 THEN '61-90' ELSE '90+' END AS bucket,
       currency, sum(unbilled_s)::BIGINT AS unbilled_s, sum(unbilled_minor)::BIGINT AS unbilled_minor
FROM (SELECT t.*, date_diff('day', t.work_date, local_time(c.now_us, coalesce(e.tz, 'UTC'))::DATE) AS age
      FROM time_entry t LEFT JOIN entity_g e ON e.le_code = t.le_code AND e.to_us = infinity(), clock c WHERE t.unbilled_s > 0)
GROUP BY ALL;
