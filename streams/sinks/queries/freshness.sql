-- How far behind is each source?
SELECT source, state, watermark_at, as_of - watermark_at AS behind, last_event_at
FROM v1.meta_freshness
ORDER BY source;
