-- Which records could not be read, and why?
SELECT reason, source, topic, count(*) AS records, min(put_aside_at) AS first, max(put_aside_at) AS last,
       any_value(hint) AS hint
FROM v1.dead_letter
GROUP BY reason, source, topic
ORDER BY records DESC, reason, source, topic;
