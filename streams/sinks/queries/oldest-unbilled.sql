-- Which unbilled entries are the oldest?
SELECT work_date, entry_key, worker_no, project_code, state, top_hold, hours(unbilled_s) AS unbilled_hours,
       money(unbilled_minor, currency) AS unbilled_value, currency
FROM v1.time_entry
WHERE unbilled_s > 0
ORDER BY work_date, entry_key, project_code
LIMIT 50;
