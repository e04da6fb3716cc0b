-- How long did it take to see and to heal a difference?
SELECT code, count(*) AS findings, median(opened_at - onset_at) AS detected_after,
       count(resolved_at) AS healed, median(resolved_at - opened_at) AS healed_after
FROM v1.finding
WHERE opened_at IS NOT NULL
GROUP BY code
ORDER BY code;
