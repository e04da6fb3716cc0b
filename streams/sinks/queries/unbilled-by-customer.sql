-- Which customers have approved hours that are not billed, and what are they worth?
SELECT account_no, currency, hours(sum(unbilled_s)) AS unbilled_hours,
       money(sum(unbilled_minor), any_value(currency)) AS unbilled_value, min(work_date) AS oldest_work,
       count(*) AS entries
FROM v1.time_entry
WHERE unbilled_s > 0
GROUP BY account_no, currency
ORDER BY sum(unbilled_s) DESC, account_no, currency;
