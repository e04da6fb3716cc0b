-- The interface for analysts: schema v1, views only. Comments on every view and column come from comments.py.
-- Instants are UTC, dates are civil dates, money and hours are exact: nothing here passes through a float.

-- Helpers ------------------------------------------------------------------------------------------------------

CREATE OR REPLACE MACRO internal.exponent(ccy) AS CASE
    WHEN ccy IN ('BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF', 'UGX', 'UYI', 'VND', 'VUV',
                 'XAF', 'XOF', 'XPF') THEN 0
    WHEN ccy IN ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') THEN 3
    WHEN ccy IN ('CLF', 'UYW') THEN 4
    ELSE 2 END;

-- n / d rounded half away from zero to a whole number
CREATE OR REPLACE MACRO internal.rounded(n, d) AS
    (sign(n)::HUGEINT * ((2 * abs(n::HUGEINT) + d::HUGEINT) // (2 * d::HUGEINT)));

-- ten-thousandths as DECIMAL(38,4); multiplied, since DuckDB divides decimals as floats
CREATE OR REPLACE MACRO internal.scaled(n) AS (n::DECIMAL(34, 0) * 0.0001::DECIMAL(4, 4))::DECIMAL(38, 4);

CREATE OR REPLACE MACRO internal.hours(s) AS internal.scaled(internal.rounded(s::HUGEINT * 10000, 3600));

CREATE OR REPLACE MACRO internal.major(minor, ccy) AS internal.scaled(minor::HUGEINT * CASE internal.exponent(ccy)
    WHEN 0 THEN 10000 WHEN 2 THEN 100 WHEN 3 THEN 10 ELSE 1 END);

CREATE OR REPLACE MACRO internal.percent(n, d) AS
    internal.scaled(internal.rounded(n::HUGEINT * 1000, nullif(d, 0)) * 1000);

CREATE OR REPLACE MACRO internal.seconds(us) AS internal.scaled(internal.rounded(us, 1000) * 10);

-- Where the buckets of a lag begin, in seconds: those of reconcilers/lags.py (a test compares them)
CREATE OR REPLACE MACRO internal.edges() AS [0,
    60, 75, 93, 117, 146, 183, 228, 286, 357, 447, 558, 698, 873, 1091, 1364, 1705, 2131, 2664, 3330, 4163,
    5204, 6505, 8131, 10164, 12705, 15881, 19852, 24815, 31019, 38774, 48467, 60584, 75730, 94663, 118329,
    147911, 184889, 231111, 288889, 361111, 451389, 564237, 705296, 881620, 1102025, 1377532, 1721915, 2152394,
    2690493, 3363116, 4203895, 5254869, 6568586, 8210733, 10263416, 12829270, 16036588, 20045735, 25057169];

CREATE OR REPLACE MACRO internal.bucket_of(lag_s) AS len(list_filter(internal.edges()[2:], lambda edge: edge <= lag_s));

-- The lag within a bucket at which `wanted` of its `weight` is reached; the last bucket ends a quarter later
CREATE OR REPLACE MACRO internal.within(bucket, wanted, weight) AS
    internal.edges()[bucket + 1] + internal.rounded(wanted * (coalesce(internal.edges()[bucket + 2],
        internal.edges()[bucket + 1] * 5 // 4) - internal.edges()[bucket + 1]), 100 * weight);

CREATE OR REPLACE MACRO internal.lag(n, d, unit) AS
    internal.scaled(internal.rounded(n::HUGEINT * 10000, CASE unit WHEN 'lag_d' THEN 86400 ELSE 3600 END * d));

CREATE OR REPLACE MACRO internal.kpi_value(unit, n, d, ccy) AS CASE
    WHEN unit IN ('lag_d', 'lag_h') THEN internal.lag(n, d, unit)
    WHEN d IS NOT NULL THEN internal.percent(n, d)
    WHEN unit = 's' THEN internal.hours(n)
    WHEN unit = 'minor' THEN internal.major(n, ccy)
    WHEN unit = 'us' THEN internal.seconds(n)
    ELSE n::DECIMAL(38, 4) END;

CREATE OR REPLACE MACRO internal.kpi_unit(unit, d, ccy) AS CASE
    WHEN unit = 'lag_d' THEN 'd' WHEN unit = 'lag_h' THEN 'h'
    WHEN d IS NOT NULL THEN '%' WHEN unit = 's' THEN 'h' WHEN unit = 'minor' THEN ccy WHEN unit = 'us' THEN 's'
    ELSE 'count' END;

CREATE OR REPLACE MACRO internal.age_bucket(work_date, on_date) AS CASE
    WHEN date_diff('day', work_date, on_date) <= 30 THEN '0-30'
    WHEN date_diff('day', work_date, on_date) <= 45 THEN '31-45'
    WHEN date_diff('day', work_date, on_date) <= 60 THEN '46-60'
    WHEN date_diff('day', work_date, on_date) <= 90 THEN '61-90'
    ELSE '90+' END;

CREATE OR REPLACE MACRO internal.parts(joined) AS
    CASE WHEN joined = '' THEN []::VARCHAR[] ELSE string_split(joined, '|') END;

-- For queries of one's own: hours(sum(unbilled_s)), money(sum(unbilled_minor), any_value(currency))
CREATE OR REPLACE MACRO main.hours(s) AS internal.hours(s);
CREATE OR REPLACE MACRO main.money(minor, ccy) AS internal.major(minor, ccy);

-- One row: how far everything is. A source that never said how far it is leaves complete_through open.
CREATE OR REPLACE VIEW internal.freshness AS
SELECT greatest((SELECT max(as_of) FROM internal.kpi_cell), (SELECT max(as_of) FROM internal.source),
                (SELECT max(updated_at) FROM internal.time_entry), (SELECT max(updated_at) FROM internal.finding)) AS as_of,
       CASE WHEN count(*) = count(watermark_at) THEN min(watermark_at) END AS complete_through,
       (SELECT max(last_event_at) FROM internal.source) AS last_event_at,
       CASE WHEN count(*) = 0 THEN 'UNKNOWN'
            WHEN bool_or(state = 'STALE') THEN 'STALE'
            WHEN bool_and(state = 'FRESH') THEN 'FRESH'
            ELSE 'UNKNOWN' END AS freshness,
       coalesce(string_agg(source, '|' ORDER BY source) FILTER (state <> 'FRESH'), '') AS stale_sources,
       max(limit_s) AS limit_s
FROM internal.source WHERE object = '*';

-- Rows ---------------------------------------------------------------------------------------------------------

CREATE OR REPLACE VIEW v1.time_entry AS
SELECT entry_key, worker_no, project_code, account_no, le_code, region, practice, billing_cycle_id, work_date, status,
       state, approved_s, billed_s, unbilled_s, overbilled_s, written_off_s, proposed_s, ready_s, held_s, rate_e6,
       currency, unbilled_minor, ready_minor, held_minor, applied_minor, billed_minor, adjustment_due_minor, top_hold,
       internal.parts(holds) AS holds, updated_at, unpriced_s, rate_ref, rate_level, worked_at, submitted_at,
       approved_at, posted_at, ready_at, invoiced_at, approval_business_s
FROM internal.time_entry;

-- A stale source costs what waits for it: cells of the project axis, whose money is shown when it is of one currency.
CREATE OR REPLACE VIEW internal.unevaluated AS
SELECT source, coalesce(sum(numerator) FILTER (measure = 'ENTRIES'), 0)::INTEGER AS entries_count,
       coalesce(sum(numerator) FILTER (measure = 'HOURS'), 0)::BIGINT AS impact_s,
       CASE WHEN count(DISTINCT currency) = 1 THEN coalesce(sum(numerator) FILTER (measure = 'VALUE'), 0) ELSE 0
       END::BIGINT AS impact_minor,
       CASE WHEN count(DISTINCT currency) = 1 THEN max(currency) END AS currency
FROM internal.kpi_cell WHERE kpi = 'unevaluated' GROUP BY source;

-- What cannot be read is worth, as an estimate, its number times a mean, since check 43 is decided where no rates are
-- known: the mean of the entries that letters name (cells of the project axis); where they name none, or of several
-- currencies, that of all entries that are not billed. No money where these are of several currencies as well.
CREATE OR REPLACE VIEW internal.unread AS
WITH named AS (
    SELECT source || '|' || object AS place, sum(numerator)::HUGEINT AS minor, sum(denominator)::HUGEINT AS entries,
           max(currency) AS currency
    FROM internal.kpi_cell WHERE kpi = 'unread' GROUP BY source, object HAVING count(DISTINCT currency) = 1),
every AS (
    SELECT sum(unbilled_minor)::HUGEINT AS minor, count(*)::HUGEINT AS entries, max(currency) AS currency
    FROM internal.time_entry WHERE unbilled_s > 0 AND unbilled_minor > 0 HAVING count(DISTINCT currency) = 1),
mean AS (
    SELECT f.finding_id, f.entries_count AS letters, coalesce(n.minor, e.minor) AS minor,
           coalesce(n.entries, e.entries) AS entries, coalesce(n.currency, e.currency) AS currency
    FROM internal.finding f LEFT JOIN named n ON n.place = f.business_key LEFT JOIN every e ON true
    WHERE f.code = 'SCHEMA_INCOMPATIBLE' AND f.facet IS NULL AND f.status IN ('OPEN', 'ACK') AND f.impact_s > 0)
SELECT finding_id, ((2 * letters * minor + entries) // (2 * entries))::BIGINT AS impact_minor, currency
FROM mean WHERE entries > 0;

CREATE OR REPLACE VIEW v1.finding AS
SELECT f.finding_id, code, facet, entity, business_key, attribute, systems, episode, status, severity, queue, region,
       le_code, practice, project_code, billing_cycle_id, coalesce(u.impact_s, f.impact_s) AS impact_s,
       coalesce(u.impact_minor, r.impact_minor, f.impact_minor) AS impact_minor,
       coalesce(u.currency, r.currency, f.currency) AS currency, estimated,
       left_system, left_value, right_system, right_value, owner_system, onset_at, deadline_at, opened_at, resolved_at,
       resolution, coalesce(u.entries_count, f.entries_count) AS entries_count, explanation, rule_version, check_no,
       occurrences, internal.parts(entries) AS entries, updated_at
FROM internal.finding f
LEFT JOIN internal.unevaluated u ON f.code = 'SOURCE_STALE' AND f.status IN ('OPEN', 'ACK') AND u.source = f.business_key
LEFT JOIN internal.unread r ON r.finding_id = f.finding_id;

CREATE OR REPLACE VIEW v1.finding_event AS
SELECT e.finding_id, e.code, e.facet, f.entity, e.business_key, f.attribute, f.systems, e.episode, e.step, e.status,
       e."at", e.actor, e.reason, e.impact_s, e.impact_minor, e.currency, e.queue, e.event_id
FROM internal.finding_event e LEFT JOIN internal.finding f ON f.key = md5(e.finding_id)::UUID;

CREATE OR REPLACE VIEW v1.billing_decision AS
SELECT entry_key, project_code, decision, previous, internal.parts(reasons) AS reasons, unbilled_s, unbilled_minor,
       currency, "at", event_id
FROM internal.billing_decision;

-- The row '*' of a source adds up its objects.
CREATE OR REPLACE VIEW v1.source AS
WITH events AS (
    SELECT source, CASE WHEN grouping(object) = 1 THEN '*' ELSE object END AS object,
           coalesce(sum(numerator) FILTER (measure = 'APPLIED'), 0)::BIGINT AS applied,
           coalesce(sum(numerator) FILTER (measure = 'DUPLICATE'), 0)::BIGINT AS duplicates,
           coalesce(sum(numerator) FILTER (measure = 'STALE'), 0)::BIGINT AS stale
    FROM internal.kpi_cell WHERE kpi = 'events'
    GROUP BY GROUPING SETS ((source, object), (source))),
counted AS (
    SELECT source, object, last_event_at, received, parked, filtered, dead_lettered
    FROM internal.source WHERE object <> '*'
    UNION ALL
    SELECT source, '*', max(last_event_at), sum(received)::BIGINT, sum(parked)::BIGINT, sum(filtered)::BIGINT,
           sum(dead_lettered)::BIGINT
    FROM internal.source WHERE object <> '*' GROUP BY source)
SELECT s.system, s.instance, s.object, s.watermark_at, coalesce(c.last_event_at, s.last_event_at) AS last_event_at,
       s.state, coalesce(c.received, s.received) AS received, coalesce(e.applied, 0) AS applied,
       coalesce(e.duplicates, 0) AS duplicates, coalesce(e.stale, 0) AS stale, coalesce(c.parked, s.parked) AS parked,
       coalesce(c.filtered, s.filtered) AS filtered, coalesce(c.dead_lettered, s.dead_lettered) AS dead_lettered
FROM internal.source s
LEFT JOIN counted c ON c.source = s.source AND c.object = s.object
LEFT JOIN events e ON e.source = s.source AND e.object = s.object;

CREATE OR REPLACE VIEW v1.dead_letter AS
SELECT topic, "partition" AS kafka_partition, "offset" AS kafka_offset, ts AS put_aside_at, source, object, reason,
       hint, payload
FROM internal.dead_letter;

CREATE OR REPLACE VIEW v1.parked AS
SELECT topic, "partition" AS kafka_partition, "offset" AS kafka_offset, ts AS put_aside_at, source, object, reason,
       hint, reference, payload
FROM internal.parked;

CREATE OR REPLACE VIEW v1.meta_freshness AS
SELECT '*' AS source, complete_through AS watermark_at, last_event_at, freshness AS state, limit_s, as_of,
       internal.parts(stale_sources) AS stale_sources
FROM internal.freshness
UNION ALL
SELECT source, watermark_at, (SELECT max(last_event_at) FROM internal.source o WHERE o.source = s.source), state,
       limit_s, as_of, CASE WHEN state = 'FRESH' THEN [] ELSE [source] END
FROM internal.source s WHERE object = '*';

-- KPIs as streamed ---------------------------------------------------------------------------------------------

-- Percentiles of lags: buckets added up, and in the one in which the share is reached, a straight line.
CREATE OR REPLACE VIEW internal.kpi_percentile AS
WITH bucket AS (
    SELECT kpi, le_code, region, practice, project_code, billing_cycle_id, unit, object::INTEGER AS bucket,
           sum(numerator)::HUGEINT AS weight
    FROM internal.kpi_cell WHERE measure = 'BUCKET' GROUP BY ALL HAVING sum(numerator) > 0),
ranked AS (
    SELECT *, sum(weight) OVER leaf AS upto, sum(weight) OVER whole AS total
    FROM bucket
    WINDOW whole AS (PARTITION BY kpi, le_code, region, practice, project_code, billing_cycle_id, unit),
           leaf AS (PARTITION BY kpi, le_code, region, practice, project_code, billing_cycle_id, unit ORDER BY bucket)),
reached AS (
    SELECT r.* EXCLUDE (upto), p.percent, (p.percent * total - 100 * (upto - weight)) AS wanted
    FROM ranked r, (VALUES (50), (90)) p(percent)
    WHERE 100 * upto >= p.percent * total
    QUALIFY row_number() OVER (PARTITION BY kpi, le_code, region, practice, project_code, billing_cycle_id, unit,
                                            p.percent ORDER BY bucket) = 1)
SELECT kpi, 'P' || percent AS measure, le_code, region, practice, project_code, billing_cycle_id, unit,
       (internal.within(bucket, wanted, weight) * total)::BIGINT AS numerator, total::BIGINT AS denominator
FROM reached;

-- A cell's key carries axis and partition; what people see is their sum.
CREATE OR REPLACE VIEW v1.kpi AS
WITH leaf AS (
    SELECT CASE kpi WHEN 'events' THEN 'duplicates_suppressed' ELSE kpi END AS kpi,
           CASE kpi WHEN 'events' THEN 'VALUE' ELSE measure END AS measure,
           le_code, region, practice, project_code, billing_cycle_id,
           CASE WHEN c.unit = 'minor' THEN currency END AS currency,
           CASE kpi WHEN 'unbilled_ageing' THEN internal.age_bucket(work_date, f.as_of::DATE)
                    WHEN 'sync_lag' THEN source ELSE state END AS state,
           hold_code, c.unit, numerator, denominator, f.as_of, f.complete_through, f.freshness
    FROM internal.kpi_cell c, internal.freshness f
    WHERE kpi NOT IN ('unevaluated', 'unread') AND (kpi <> 'events' OR measure = 'DUPLICATE') AND measure <> 'BUCKET'
    UNION ALL
    SELECT kpi, measure, le_code, region, practice, project_code, billing_cycle_id, NULL, NULL, NULL, unit, numerator,
           denominator, f.as_of, f.complete_through, f.freshness
    FROM internal.kpi_percentile, internal.freshness f),
summed AS (
    SELECT * EXCLUDE (numerator, denominator), sum(numerator) AS total, max(numerator) AS worst,
           sum(denominator)::BIGINT AS denominator
    FROM leaf GROUP BY ALL),
chosen AS (SELECT *, CASE kpi WHEN 'sync_lag' THEN worst ELSE total END::BIGINT AS numerator FROM summed)
SELECT kpi, measure, le_code, region, practice, project_code, billing_cycle_id, currency, state, hold_code,
       internal.kpi_value(unit, numerator, denominator, currency) AS value, numerator, denominator,
       internal.kpi_unit(unit, denominator, currency) AS unit, as_of, complete_through, freshness
FROM chosen
WHERE denominator <> 0 OR (denominator IS NULL AND numerator <> 0);

-- The same per change: each cell's steps added up per leaf. Ageing has no history of its own: it is a reading.
CREATE OR REPLACE VIEW v1.kpi_history AS
WITH step AS (
    SELECT CASE kpi WHEN 'events' THEN 'duplicates_suppressed' ELSE kpi END AS kpi,
           CASE kpi WHEN 'events' THEN 'VALUE' ELSE measure END AS measure,
           le_code, region, practice, project_code, billing_cycle_id,
           CASE WHEN unit = 'minor' THEN currency END AS currency,
           CASE kpi WHEN 'sync_lag' THEN source ELSE state END AS state, hold_code, unit, as_of, complete_through,
           numerator - lag(numerator, 1, 0) OVER cell AS numerator,
           denominator - coalesce(lag(denominator) OVER cell, 0) AS denominator
    FROM internal.kpi_history WHERE kpi NOT IN ('unevaluated', 'unread') AND measure <> 'BUCKET' WINDOW cell AS (PARTITION BY cell ORDER BY as_of)),
moved AS (
    SELECT * EXCLUDE (numerator, denominator, complete_through), min(complete_through) AS complete_through,
           sum(numerator) AS numerator, sum(denominator) AS denominator
    FROM step GROUP BY ALL),
level AS (
    SELECT * EXCLUDE (numerator, denominator), sum(numerator) OVER leaf::BIGINT AS numerator,
           sum(denominator) OVER leaf::BIGINT AS denominator
    FROM moved
    WINDOW leaf AS (PARTITION BY kpi, measure, le_code, region, practice, project_code, billing_cycle_id, currency,
                                 state, hold_code, unit ORDER BY as_of))
SELECT kpi, measure, le_code, region, practice, project_code, billing_cycle_id, currency, state, hold_code,
       internal.kpi_value(unit, numerator, denominator, currency) AS value, numerator, denominator,
       internal.kpi_unit(unit, denominator, currency) AS unit, level.as_of, level.complete_through,
       CASE WHEN level.complete_through IS NULL OR f.limit_s IS NULL THEN 'UNKNOWN'
            WHEN level.as_of <= level.complete_through + to_seconds(f.limit_s) THEN 'FRESH'
            ELSE 'STALE' END AS freshness
FROM level, internal.freshness f;

-- KPIs recomputed from rows: each must equal v1.kpi to the cent --------------------------------------------------

CREATE OR REPLACE VIEW v1.kpi_unbilled_hours AS
SELECT 'unbilled_hours' AS kpi, 'VALUE' AS measure, le_code, region, practice, project_code, billing_cycle_id,
       NULL::VARCHAR AS currency, state, NULL::VARCHAR AS hold_code,
       internal.hours(sum(unbilled_s)) AS value, sum(unbilled_s)::BIGINT AS numerator, NULL::BIGINT AS denominator,
       'h' AS unit, f.as_of, f.complete_through, f.freshness
FROM v1.time_entry, internal.freshness f
GROUP BY ALL HAVING sum(unbilled_s) <> 0;

CREATE OR REPLACE VIEW v1.kpi_unbilled_value AS
SELECT 'unbilled_value' AS kpi, 'VALUE' AS measure, le_code, region, practice, project_code, billing_cycle_id,
       currency, state, NULL::VARCHAR AS hold_code,
       internal.major(sum(unbilled_minor), any_value(currency)) AS value, sum(unbilled_minor)::BIGINT AS numerator,
       NULL::BIGINT AS denominator, currency AS unit, f.as_of, f.complete_through, f.freshness
FROM v1.time_entry, internal.freshness f
GROUP BY ALL HAVING sum(unbilled_minor) <> 0;

CREATE OR REPLACE VIEW v1.kpi_unpriced_hours AS
SELECT 'unpriced_hours' AS kpi, 'VALUE' AS measure, le_code, region, practice, project_code, billing_cycle_id,
       NULL::VARCHAR AS currency, state, NULL::VARCHAR AS hold_code,
       internal.hours(sum(unpriced_s)) AS value, sum(unpriced_s)::BIGINT AS numerator, NULL::BIGINT AS denominator,
       'h' AS unit, f.as_of, f.complete_through, f.freshness
FROM v1.time_entry, internal.freshness f
GROUP BY ALL HAVING sum(unpriced_s) <> 0;

CREATE OR REPLACE VIEW v1.kpi_held_hours AS
SELECT 'held_hours' AS kpi, 'VALUE' AS measure, le_code, region, practice, project_code, billing_cycle_id,
       NULL::VARCHAR AS currency, state, top_hold AS hold_code,
       internal.hours(sum(held_s)) AS value, sum(held_s)::BIGINT AS numerator, NULL::BIGINT AS denominator,
       'h' AS unit, f.as_of, f.complete_through, f.freshness
FROM v1.time_entry, internal.freshness f
GROUP BY ALL HAVING sum(held_s) <> 0;

CREATE OR REPLACE VIEW v1.kpi_held_value AS
SELECT 'held_value' AS kpi, 'VALUE' AS measure, le_code, region, practice, project_code, billing_cycle_id, currency,
       state, top_hold AS hold_code,
       internal.major(sum(held_minor), any_value(currency)) AS value, sum(held_minor)::BIGINT AS numerator,
       NULL::BIGINT AS denominator, currency AS unit, f.as_of, f.complete_through, f.freshness
FROM v1.time_entry, internal.freshness f
GROUP BY ALL HAVING sum(held_minor) <> 0;

CREATE OR REPLACE VIEW v1.kpi_unbilled_ageing AS
WITH aged AS (
    SELECT t.*, internal.age_bucket(work_date, f.as_of::DATE) AS bucket, f.as_of, f.complete_through, f.freshness
    FROM v1.time_entry t, internal.freshness f)
SELECT 'unbilled_ageing' AS kpi, 'HOURS' AS measure, le_code, region, practice, project_code, billing_cycle_id,
       NULL::VARCHAR AS currency, bucket AS state, NULL::VARCHAR AS hold_code,
       internal.hours(sum(unbilled_s)) AS value, sum(unbilled_s)::BIGINT AS numerator, NULL::BIGINT AS denominator,
       'h' AS unit, as_of, complete_through, freshness
FROM aged GROUP BY ALL HAVING sum(unbilled_s) <> 0
UNION ALL
SELECT 'unbilled_ageing', 'VALUE', le_code, region, practice, project_code, billing_cycle_id, currency, bucket,
       NULL, internal.major(sum(unbilled_minor), any_value(currency)), sum(unbilled_minor)::BIGINT, NULL::BIGINT, currency,
       as_of, complete_through, freshness
FROM aged GROUP BY ALL HAVING sum(unbilled_minor) <> 0;

CREATE OR REPLACE VIEW v1.kpi_open_findings AS
SELECT 'open_findings' AS kpi, 'VALUE' AS measure, le_code, region, practice, project_code, billing_cycle_id,
       NULL::VARCHAR AS currency, severity AS state, code AS hold_code,
       count(*)::DECIMAL(38, 4) AS value, count(*) AS numerator, NULL::BIGINT AS denominator,
       'count' AS unit, f.as_of, f.complete_through, f.freshness
FROM v1.finding, internal.freshness f
WHERE status IN ('OPEN', 'ACK')
GROUP BY ALL;

-- The union, not the sum: an entry that several findings name is exposed once, under its top hold or, where none of
-- them holds it, the first check by name. Findings that are not about entries add their own money, but not what is put
-- beside those of the platform (41, 43): that is money of entries.
CREATE OR REPLACE VIEW v1.kpi_exposure AS
WITH open AS (
    SELECT *, entity = 'time_entry' OR (code = 'RATE_MISMATCH' AND facet IS DISTINCT FROM 'CARD_DIVERGED') AS of_entries
    FROM v1.finding WHERE status IN ('OPEN', 'ACK')),
named AS (SELECT unnest(entries) AS entry_key, code FROM open WHERE of_entries),
exposed AS (SELECT entry_key, min(code) AS code FROM named GROUP BY entry_key),
money AS (
    SELECT le_code, region, practice, project_code, billing_cycle_id, currency, coalesce(top_hold, code) AS hold_code,
           unbilled_minor AS minor
    FROM v1.time_entry JOIN exposed USING (entry_key)
    UNION ALL
    SELECT o.le_code, o.region, o.practice, o.project_code, o.billing_cycle_id, f.currency, o.code, abs(f.impact_minor)
    FROM open o JOIN internal.finding f USING (finding_id) WHERE NOT of_entries AND f.currency IS NOT NULL)
SELECT 'exposure' AS kpi, 'VALUE' AS measure, le_code, region, practice, project_code, billing_cycle_id, currency,
       NULL::VARCHAR AS state, hold_code,
       internal.major(sum(minor), any_value(currency)) AS value, sum(minor)::BIGINT AS numerator,
       NULL::BIGINT AS denominator, currency AS unit, f.as_of, f.complete_through, f.freshness
FROM money, internal.freshness f
GROUP BY ALL HAVING sum(minor) <> 0;

CREATE OR REPLACE VIEW v1.kpi_sync_lag AS
WITH lag AS (
    SELECT source, epoch_us(as_of) - epoch_us(watermark_at) AS lag_us
    FROM internal.source WHERE object = '*' AND watermark_at < as_of)
SELECT 'sync_lag' AS kpi, 'VALUE' AS measure, NULL::VARCHAR AS le_code, NULL::VARCHAR AS region,
       NULL::VARCHAR AS practice, NULL::VARCHAR AS project_code, NULL::VARCHAR AS billing_cycle_id,
       NULL::VARCHAR AS currency, source AS state, NULL::VARCHAR AS hold_code,
       internal.seconds(lag_us) AS value, lag_us AS numerator, NULL::BIGINT AS denominator,
       's' AS unit, f.as_of, f.complete_through, f.freshness
FROM lag, internal.freshness f;

CREATE OR REPLACE VIEW v1.kpi_duplicates_suppressed AS
SELECT 'duplicates_suppressed' AS kpi, 'VALUE' AS measure, NULL::VARCHAR AS le_code, NULL::VARCHAR AS region,
       NULL::VARCHAR AS practice, NULL::VARCHAR AS project_code, NULL::VARCHAR AS billing_cycle_id,
       NULL::VARCHAR AS currency, NULL::VARCHAR AS state, NULL::VARCHAR AS hold_code,
       sum(duplicates)::DECIMAL(38, 4) AS value, sum(duplicates)::BIGINT AS numerator, NULL::BIGINT AS denominator,
       'count' AS unit, f.as_of, f.complete_through, f.freshness
FROM v1.source, internal.freshness f
WHERE object = '*'
GROUP BY ALL HAVING sum(duplicates) <> 0;

-- Lags from the rows of entries: one sample each, weighted by its billed or approved seconds.
CREATE OR REPLACE VIEW internal.lag_sample AS
WITH stage AS (
    SELECT t.*, unnest([{'kpi': 'time_to_bill', 'stage': NULL, 'start': worked_at, 'until': invoiced_at},
                        {'kpi': 'time_to_bill_stages', 'stage': 'SUBMIT', 'start': worked_at, 'until': submitted_at},
                        {'kpi': 'time_to_bill_stages', 'stage': 'APPROVE', 'start': submitted_at, 'until': approved_at},
                        {'kpi': 'time_to_bill_stages', 'stage': 'ERP', 'start': approved_at, 'until': posted_at},
                        {'kpi': 'time_to_bill_stages', 'stage': 'READY', 'start': posted_at, 'until': ready_at},
                        {'kpi': 'time_to_bill_stages', 'stage': 'INVOICE', 'start': ready_at, 'until': invoiced_at}
                       ]) AS s
    FROM v1.time_entry t WHERE billed_s > 0 AND invoiced_at IS NOT NULL)
SELECT s.kpi AS kpi, s.stage AS stage, le_code, region, practice, project_code, billing_cycle_id, 'lag_d' AS unit,
       greatest(0, epoch_us(s.until) - epoch_us(s.start)) // 1000000 AS lag_s, billed_s AS weight
FROM stage WHERE s.start IS NOT NULL AND s.until IS NOT NULL
UNION ALL
SELECT 'approval_latency', NULL, le_code, region, practice, project_code, billing_cycle_id, 'lag_h',
       greatest(0, epoch_us(approved_at) - epoch_us(submitted_at)) // 1000000, approved_s
FROM v1.time_entry WHERE approved_s > 0 AND submitted_at IS NOT NULL AND approved_at IS NOT NULL
UNION ALL
SELECT 'approval_latency_business', NULL, le_code, region, practice, project_code, billing_cycle_id, 'lag_h',
       approval_business_s, approved_s
FROM v1.time_entry WHERE approved_s > 0 AND approval_business_s IS NOT NULL;

-- The percentile anew: the first sample of the bucket in which the share is reached, and a straight line within it.
CREATE OR REPLACE VIEW internal.kpi_lag AS
WITH leaf AS (
    SELECT * EXCLUDE (lag_s, weight), internal.bucket_of(lag_s) AS bucket, sum(lag_s * weight) AS lagged,
           sum(weight)::HUGEINT AS weight
    FROM internal.lag_sample GROUP BY ALL),
mean AS (
    SELECT kpi, 'MEAN' AS measure, stage, le_code, region, practice, project_code, billing_cycle_id, unit,
           sum(lagged)::BIGINT AS numerator, sum(weight)::BIGINT AS denominator
    FROM leaf GROUP BY ALL),
listed AS (
    SELECT kpi, stage, le_code, region, practice, project_code, billing_cycle_id, unit, sum(weight) AS total,
           list({'bucket': bucket, 'weight': weight} ORDER BY bucket) AS buckets
    FROM leaf WHERE kpi <> 'time_to_bill_stages' GROUP BY ALL),
below AS (
    SELECT l.* EXCLUDE (buckets), p.percent, b.bucket, b.weight,
           (SELECT coalesce(sum(o.weight), 0) FROM (SELECT unnest(l.buckets) AS o) WHERE o.bucket < b.bucket) AS under
    FROM (SELECT *, unnest(buckets) AS b FROM listed) l, (VALUES (50), (90)) p(percent))
SELECT * FROM mean
UNION ALL
SELECT kpi, 'P' || percent, stage, le_code, region, practice, project_code, billing_cycle_id, unit,
       (internal.within(bucket, percent * total - 100 * under, weight) * total)::BIGINT, total::BIGINT
FROM below WHERE 100 * under < percent * total AND 100 * (under + weight) >= percent * total;

CREATE OR REPLACE MACRO internal.lag_kpi(id) AS TABLE
SELECT kpi, measure, le_code, region, practice, project_code, billing_cycle_id, NULL::VARCHAR AS currency,
       stage AS state, NULL::VARCHAR AS hold_code, internal.lag(numerator, denominator, l.unit) AS value, numerator,
       denominator, internal.kpi_unit(l.unit, denominator, NULL) AS unit, f.as_of, f.complete_through, f.freshness
FROM internal.kpi_lag l, internal.freshness f WHERE kpi = id;

CREATE OR REPLACE VIEW v1.kpi_time_to_bill AS SELECT * FROM internal.lag_kpi('time_to_bill');
CREATE OR REPLACE VIEW v1.kpi_time_to_bill_stages AS SELECT * FROM internal.lag_kpi('time_to_bill_stages');
CREATE OR REPLACE VIEW v1.kpi_approval_latency AS SELECT * FROM internal.lag_kpi('approval_latency');
CREATE OR REPLACE VIEW v1.kpi_approval_latency_business AS SELECT * FROM internal.lag_kpi('approval_latency_business');

-- The weeks that were compared, and what healed in time, leave no rows in this version: these add up the cells.
CREATE OR REPLACE VIEW v1.kpi_assignment_sync_rate AS SELECT * FROM v1.kpi WHERE kpi = 'assignment_sync_rate';
CREATE OR REPLACE VIEW v1.kpi_unsynchronised_assignments AS
SELECT * FROM v1.kpi WHERE kpi = 'unsynchronised_assignments';
CREATE OR REPLACE VIEW v1.kpi_inflight_mismatches AS SELECT * FROM v1.kpi WHERE kpi = 'inflight_mismatches';
