-- How old is what is not billed?
SELECT state AS bucket, measure, unit, sum(value) AS value
FROM v1.kpi
WHERE kpi = 'unbilled_ageing'
GROUP BY state, measure, unit
ORDER BY measure, unit, CASE state WHEN '90+' THEN 90 ELSE string_split(state, '-')[1]::INTEGER END;
