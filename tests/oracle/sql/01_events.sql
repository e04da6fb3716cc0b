-- The capture's lines as canonical events, each once.

CREATE TABLE envelope AS
SELECT topic, "partition" AS part, ts,
       CASE WHEN payload IS NOT NULL AND json_type(payload) = 'VARCHAR' THEN (payload ->> '$')::JSON
            WHEN payload IS NOT NULL AND json_type(payload) = 'OBJECT' THEN payload
            WHEN payload_b64 IS NOT NULL THEN decode(from_base64(payload_b64))::JSON END AS p
FROM line;

CREATE TABLE canonical AS
SELECT topic, part, ts, p ->> 'id' AS id, p ->> 'source' AS source, split_part(p ->> 'source', '/', 1) AS system,
       split_part(p ->> 'type', '.', 2) AS entity, split_part(p ->> 'type', '.', 3) AS op, p ->> 'subject' AS subject,
       epoch_us((p ->> 'time')::TIMESTAMPTZ) AS commit_us, coalesce(p ->> 'sequence', '') AS seq, p -> 'data' AS data
FROM envelope WHERE p ->> 'type' LIKE 'tieout.%' AND p ->> 'source' IS NOT NULL;

-- What makes a record's business key. Assignments have none: the source's subject is the key.
CREATE TABLE key_of (entity VARCHAR, attrs VARCHAR[]);
INSERT INTO key_of VALUES
    ('project', ['project_code']), ('resource', ['worker_no']), ('calendar_day', ['calendar_id', 'day']),
    ('assignment', []), ('rate', ['rate_id']), ('time_entry', ['origin_system', 'origin_id']),
    ('posted_labour', ['le_code', 'erp_txn_id']), ('contract', ['contract_no']),
    ('contract_line', ['contract_no', 'line_no']), ('invoice', ['le_code', 'invoice_no']),
    ('coverage', ['le_code', 'invoice_no', 'line_no', 'target']), ('write_off', ['write_off_no']),
    ('opportunity', ['opportunity_no']), ('legal_entity', ['le_code']),
    ('staffing_demand', ['project_code', 'demand_no']), ('billing_cycle', ['billing_calendar_id', 'cycle_no']),
    ('customer', ['customer_no']),
    ('invoice_line', ['le_code', 'invoice_no', 'line_no']);

-- Old and new codes of a project are one project, at all times: canon(code) is the last code of the chain.
CREATE TABLE renamed AS
WITH RECURSIVE step AS (
    SELECT data ->> 'old' AS code, data ->> 'new' AS next
    FROM canonical
    WHERE (entity = 'project' AND op = 'rekeyed')
       OR (entity = 'alias' AND op IN ('upserted', 'snapshot') AND data ->> 'entity' = 'project')
), chain AS (
    SELECT code, next, 1 AS n FROM step WHERE code <> next
    UNION
    SELECT c.code, s.next, c.n + 1 FROM chain c JOIN step s ON s.code = c.next WHERE c.n < 20 AND s.next <> c.code
)
SELECT code, arg_max(next, n) AS root FROM chain GROUP BY code;
SET VARIABLE roots = (SELECT map(coalesce(list(code), []::VARCHAR[]), coalesce(list(root), []::VARCHAR[])) FROM renamed);
CREATE MACRO canon(code) AS coalesce(getvariable('roots')[code], code);

-- What a project was called before, and until when.
CREATE TABLE former AS
SELECT canon(data ->> 'new') AS root, data ->> 'old' AS code, min(commit_us) AS until_us
FROM canonical WHERE entity = 'project' AND op = 'rekeyed' GROUP BY ALL;

CREATE TABLE ev AS
WITH once AS (
    SELECT *, row_number() OVER (PARTITION BY source, id ORDER BY seq DESC) AS copy FROM canonical
)
SELECT o.* EXCLUDE (copy),
       CASE WHEN k.attrs = [] THEN o.subject
            WHEN list_contains(list_transform(k.attrs, lambda a: (o.data ->> a) IS NULL), true) THEN NULL
            ELSE list_aggregate(list_transform(k.attrs, lambda a: CASE WHEN a = 'project_code' THEN canon(o.data ->> a)
                                                                       ELSE o.data ->> a END), 'string_agg', ':') END AS bk
FROM once o JOIN key_of k USING (entity)
WHERE copy = 1 AND op IN ('upserted', 'snapshot', 'deleted');
DELETE FROM ev WHERE bk IS NULL OR bk = '';
