-- Processing time, watermarks and the frontier of each check.

CREATE TABLE source_w AS
WITH stated AS (
    SELECT source, topic, part, max(epoch_us((data ->> 'through')::TIMESTAMPTZ)) AS through_us
    FROM canonical WHERE entity = 'source' AND op = 'observed' GROUP BY ALL
), seen AS (
    SELECT DISTINCT source, system FROM canonical
    WHERE (entity = 'source' AND op = 'observed') OR entity IN (SELECT entity FROM key_of) OR op IN
          ('upserted', 'deleted', 'snapshot', 'rekeyed', 'gap')
), own AS (SELECT source, min(through_us) AS w_us FROM stated GROUP BY source)
SELECT s.source, s.system, o.w_us IS NOT NULL AS stated,
       CASE WHEN c.assume_fresh AND s.system NOT IN (SELECT system FROM stale)
            THEN greatest(coalesce(o.w_us, c.now_us), c.now_us) ELSE o.w_us END AS w_us
FROM seen s LEFT JOIN own o USING (source), clock c;

-- A source that never stated a watermark holds its system back for ever.
CREATE TABLE system_w AS
SELECT system, CASE WHEN bool_and(w_us IS NOT NULL) THEN min(w_us) END AS w_us FROM source_w GROUP BY system;

CREATE TABLE source_limit (system VARCHAR, limit_s BIGINT);
INSERT INTO source_limit VALUES ('ERP', 5400), ('PSA', 5400), ('TIME', 5400), ('CRM', 5400), ('SCHED', 900), ('HCM', 259200);

CREATE TABLE stale_source AS
SELECT s.source, s.system, s.w_us, s.w_us + l.limit_s * 1000000::BIGINT AS deadline_us
FROM source_w s JOIN source_limit l USING (system), clock c
WHERE s.w_us IS NOT NULL AND c.now_us - s.w_us > l.limit_s * 1000000::BIGINT;

-- Inputs of the checks; those that are not needed count only where they appear in the capture. Facet '*': all facets.
CREATE TABLE input (check_no VARCHAR, facet VARCHAR, system VARCHAR, needed BOOLEAN);
INSERT INTO input VALUES
    ('02', 'PSA', 'ERP', true), ('02', 'PSA', 'PSA', true), ('02', 'SCHED', 'ERP', true), ('02', 'SCHED', 'SCHED', true),
    ('02', 'TIME', 'ERP', true), ('02', 'TIME', 'TIME', true), ('02', 'ERP', 'CRM', true), ('02', 'ERP', 'ERP', true),
    ('16', 'PSA', 'SCHED', true), ('16', 'PSA', 'PSA', true), ('16', 'ERP', 'SCHED', true), ('16', 'ERP', 'ERP', true),
    ('17', '*', 'SCHED', true), ('17', '*', 'PSA', true),
    ('21', '*', 'TIME', true), ('21', '*', 'PSA', false), ('21', '*', 'ERP', true),
    ('21', 'PLANNED', 'SCHED', true), ('21', 'PLANNED', 'ERP', true),
    ('22', '*', 'TIME', true), ('22', '*', 'PSA', false), ('22', '*', 'ERP', true),
    ('22', 'CARD_DIVERGED', 'ERP', true), ('22', 'CARD_DIVERGED', 'PSA', true),
    ('27', '*', 'TIME', true), ('27', '*', 'ERP', true),
    ('28', '*', 'TIME', false), ('28', '*', 'PSA', false), ('28', '*', 'ERP', false),
    ('29', '*', 'TIME', true), ('29', '*', 'PSA', false), ('29', '*', 'SCHED', true),
    ('23', '*', 'TIME', true), ('23', '*', 'PSA', false), ('23', '*', 'ERP', true),
    ('30', '*', 'TIME', true), ('30', '*', 'PSA', false), ('30', '*', 'SCHED', true), ('30', '*', 'ERP', false),
    ('31', '*', 'TIME', true), ('31', '*', 'PSA', false), ('31', '*', 'ERP', false),
    ('36', '*', 'TIME', true), ('36', '*', 'PSA', false), ('36', '*', 'ERP', true),
    ('36', 'IDEMPOTENCY_KEY', 'ERP', true), ('36', 'CONTENT', 'ERP', true);

CREATE TABLE frontier AS
SELECT i.check_no, i.facet,
       CASE WHEN bool_and(w.w_us IS NOT NULL OR (w.system IS NULL AND NOT i.needed)) THEN min(w.w_us) END AS f_us
FROM input i LEFT JOIN system_w w USING (system) GROUP BY ALL;
