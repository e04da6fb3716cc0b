-- Where did every received change go? (unaccounted is 0 once all is processed)
SELECT system, instance, object, received, applied, parked, duplicates, stale, dead_lettered, filtered,
       received - applied - parked - duplicates - stale - dead_lettered - filtered AS unaccounted
FROM v1.source
ORDER BY system, instance, object;
