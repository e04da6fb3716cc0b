-- Which approved hours have no rate?
SELECT project_code, worker_no, min(work_date) AS first_work, max(work_date) AS last_work,
       hours(sum(unpriced_s)) AS unpriced_hours
FROM v1.time_entry
WHERE unpriced_s > 0
GROUP BY project_code, worker_no
ORDER BY sum(unpriced_s) DESC, project_code, worker_no;
