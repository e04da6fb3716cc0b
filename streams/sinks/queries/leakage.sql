-- Where is revenue about to be lost, and where was too much billed?
SELECT code, currency,
       money(coalesce(sum(impact_minor) FILTER (impact_minor > 0), 0), any_value(currency)) AS leakage,
       money(coalesce(sum(impact_minor) FILTER (impact_minor < 0), 0), any_value(currency)) AS over_billed,
       count(*) AS findings, bool_or(estimated) AS partly_estimated
FROM v1.finding
WHERE status IN ('OPEN', 'ACK') AND impact_minor <> 0 AND code NOT IN ('SOURCE_STALE', 'SCHEMA_INCOMPATIBLE')
GROUP BY code, currency
ORDER BY code, currency;
