-- Whose turn is it, and how much waits for them?
SELECT queue, currency, count(*) AS findings, count(*) FILTER (severity IN ('CRITICAL', 'HIGH')) AS urgent,
       hours(sum(impact_s)) AS impact_hours, min(opened_at) AS oldest
FROM v1.finding
WHERE status IN ('OPEN', 'ACK')
GROUP BY queue, currency
ORDER BY findings DESC, queue, currency;
