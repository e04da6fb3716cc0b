-- Which differences are open, the worst first?
SELECT severity, code, facet, business_key, queue, hours(impact_s) AS impact_hours,
       money(impact_minor, currency) AS impact_value, currency, opened_at, explanation
FROM v1.finding
WHERE status IN ('OPEN', 'ACK')
ORDER BY list_position(['CRITICAL', 'HIGH', 'MEDIUM', 'LOW'], severity), abs(impact_minor) DESC, finding_id;
