-- Versions of each source's record: per attribute the writer with the highest sequence among what was committed by then.

CREATE TABLE assertion AS
SELECT e.source, e.entity, e.subject, e.bk, e.commit_us, e.seq, e.id, j.key AS attr,
       coalesce(j.value::VARCHAR, 'null') AS value
FROM ev e, json_each(e.data) j WHERE e.op IN ('upserted', 'snapshot')
UNION ALL
SELECT source, entity, subject, bk, commit_us, seq, id, '_deleted', (op = 'deleted')::VARCHAR FROM ev;

-- An instant is a change of the record unless all that was committed then is older, by sequence, than what was known.
CREATE TABLE instant AS
SELECT *, coalesce(newest > max(newest) OVER (PARTITION BY source, entity, subject, bk ORDER BY commit_us
                                              ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), true) AS is_change
FROM (SELECT source, entity, subject, bk, commit_us, max(seq) AS newest FROM ev GROUP BY ALL);

CREATE TABLE record AS
WITH folded AS (
    SELECT source, entity, subject, bk, i.commit_us, i.is_change, a.attr,
           arg_max(a.value, a.seq || chr(1) || a.id) AS value
    FROM instant i JOIN assertion a USING (source, entity, subject, bk)
    WHERE a.commit_us <= i.commit_us
    GROUP BY ALL
)
SELECT split_part(source, '/', 1) AS system, source, entity, subject, bk, commit_us AS from_us,
       coalesce(lead(commit_us) OVER (PARTITION BY source, entity, subject, bk ORDER BY commit_us), infinity()) AS to_us,
       is_change, bool_or(attr = '_deleted' AND value = 'true') AS deleted, json_group_object(attr, value::JSON) AS a
FROM folded GROUP BY source, entity, subject, bk, commit_us, is_change;

-- One view per system and business key: where several records claim a key, a live one before a deleted one, then the
-- one that changed last.
CREATE TABLE view_of AS
WITH moment AS (SELECT DISTINCT system, entity, bk, from_us FROM record),
chosen AS (
    SELECT moment.system, moment.entity, moment.bk, moment.from_us, r.is_change AND r.from_us = moment.from_us AS is_change, r.deleted,
           r.subject, r.a
    FROM moment JOIN record r ON r.system = moment.system AND r.entity = moment.entity AND r.bk = moment.bk
                         AND r.from_us <= moment.from_us AND moment.from_us < r.to_us
    QUALIFY row_number() OVER (PARTITION BY moment.system, moment.entity, moment.bk, moment.from_us
                               ORDER BY r.deleted, r.from_us DESC, r.source, r.subject) = 1
)
SELECT *, coalesce(lead(from_us) OVER (PARTITION BY system, entity, bk ORDER BY from_us), infinity()) AS to_us
FROM chosen;

-- Golden rows of masters: attribute by attribute the first system in the order of ownership that asserts a value.
CREATE TABLE owner_order (entity VARCHAR, systems VARCHAR[]);
INSERT INTO owner_order VALUES
    ('project', ['ERP', 'PSA', 'SCHED', 'TIME', 'CRM', 'HCM']), ('contract', ['ERP', 'PSA', 'CRM']),
    ('contract_line', ['ERP', 'PSA', 'CRM']), ('legal_entity', ['ERP', 'PSA', 'HCM']),
    ('billing_cycle', ['ERP', 'PSA']), ('resource', ['HCM', 'PSA', 'SCHED', 'ERP', 'TIME']),
    ('calendar_day', ['HCM', 'SCHED', 'PSA', 'ERP']), ('opportunity', ['CRM']),
    ('staffing_demand', ['PSA', 'SCHED', 'CRM']);

CREATE TABLE golden AS
WITH moment AS (SELECT DISTINCT entity, bk, from_us FROM view_of WHERE entity IN (SELECT entity FROM owner_order)),
asserted AS (
    SELECT moment.entity, moment.bk, moment.from_us, j.key AS attr,
           arg_min(j.value::VARCHAR, list_position(o.systems, v.system) + CASE WHEN v.deleted THEN 100 ELSE 0 END) AS value,
           bool_or(NOT v.deleted) AS live
    FROM moment JOIN view_of v ON v.entity = moment.entity AND v.bk = moment.bk AND v.from_us <= moment.from_us AND moment.from_us < v.to_us
    JOIN owner_order o ON o.entity = moment.entity, json_each(v.a) j
    WHERE j.value IS NOT NULL AND j.value::VARCHAR <> 'null' AND list_contains(o.systems, v.system)
    GROUP BY ALL
)
SELECT entity, bk, from_us,
       coalesce(lead(from_us) OVER (PARTITION BY entity, bk ORDER BY from_us), infinity()) AS to_us,
       bool_or(live) AS live, json_group_object(attr, value::JSON) AS a
FROM asserted GROUP BY entity, bk, from_us;
