-- Which projects have approved hours that are not billed, and in which state are they?
SELECT project_code, le_code, practice, state, currency, hours(sum(unbilled_s)) AS unbilled_hours,
       money(sum(unbilled_minor), any_value(currency)) AS unbilled_value
FROM v1.time_entry
WHERE unbilled_s > 0
GROUP BY project_code, le_code, practice, state, currency
ORDER BY sum(unbilled_s) DESC, project_code, state, currency;
