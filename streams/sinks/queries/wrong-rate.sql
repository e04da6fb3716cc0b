-- Where did the PSA apply another rate than the contract's?
SELECT project_code, worker_no, currency, rate_ref, rate_e6, hours(sum(unbilled_s)) AS unbilled_hours,
       money(sum(unbilled_minor), any_value(currency)) AS at_contract_rate,
       money(sum(applied_minor), any_value(currency)) AS as_applied,
       money(sum(unbilled_minor - applied_minor), any_value(currency)) AS too_little
FROM v1.time_entry
WHERE applied_minor IS NOT NULL AND applied_minor <> unbilled_minor
GROUP BY project_code, worker_no, currency, rate_ref, rate_e6
ORDER BY abs(sum(unbilled_minor - applied_minor)) DESC, project_code, worker_no;
