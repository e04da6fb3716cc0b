-- What can be billed today, by legal entity and billing cycle?
SELECT le_code, billing_cycle_id, currency, hours(sum(ready_s)) AS ready_hours,
       money(sum(ready_minor), any_value(currency)) AS ready_value, count(DISTINCT project_code) AS projects
FROM v1.time_entry
WHERE ready_s > 0
GROUP BY le_code, billing_cycle_id, currency
ORDER BY le_code, billing_cycle_id, currency;
