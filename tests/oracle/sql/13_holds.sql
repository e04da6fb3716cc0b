-- What holds an entry, what is still pending, and the questions for projects that an entry was billed on before.

CREATE TABLE hold_rank AS
SELECT hold, rank FROM (SELECT unnest(['H14', 'H18', 'H17', 'H16', 'H22', 'H07', 'H15', 'H04', 'H05', 'H06', 'H01', 'H02', 'H03',
    'H09', 'H10', 'H12', 'H11', 'H13', 'H08', 'H20', 'H19', 'H21']) AS hold, generate_subscripts(range(22), 1) AS rank);

CREATE MACRO hold_of(check_no) AS CASE check_no WHEN '02' THEN 'H14' WHEN '21' THEN 'H01' WHEN '22' THEN 'H03' WHEN '27' THEN 'H22'
    WHEN '28' THEN 'H16' WHEN '29' THEN 'H04'
    WHEN '23' THEN 'H02' WHEN '30' THEN 'H05' WHEN '31' THEN 'H17' END;

CREATE TABLE held AS
SELECT DISTINCT h.entry_key, f.check_no, f.facet, f.root_key AS bk, hold_of(f.check_no) AS hold
FROM finding f JOIN hit h ON h.check_no = f.check_no AND h.facet IS NOT DISTINCT FROM f.facet AND h.bk = f.root_key
    AND h.t <= f.seen_us AND f.seen_us < h.next_t AND h.entry_key IS NOT NULL AND hold_of(h.check_no) IS NOT NULL
WHERE f.status = 'OPEN' AND (f.check_no <> '22' OR h.big OR abs(f.impact_minor) > 50 * power10(exponent(f.currency)))
UNION
SELECT v.entry_key, '02', f.facet, f.root_key, 'H14'
FROM finding f JOIN value_of v ON v.project = f.root_key AND v.next_t = infinity()
WHERE f.status = 'OPEN' AND f.check_no = '02' AND f.facet <> 'ERP';

-- True now and not proved yet: within its grace, or an input has not got there.
CREATE TABLE pending AS
WITH now_true AS (
    SELECT h.entry_key, h.check_no, h.facet, h.bk,
           h.check_no <> '22' OR h.big OR abs(sum(h.impact_minor) OVER (PARTITION BY h.check_no, h.facet, h.bk))
               > 50 * power10(exponent(h.ccy)) AS blocks
    FROM hit h WHERE h.next_t = infinity() AND h.entry_key IS NOT NULL AND h.check_no <> '36'
    UNION ALL
    SELECT v.entry_key, '02', h.facet, h.bk, true
    FROM hit h JOIN value_of v ON v.project = h.bk AND v.next_t = infinity()
    WHERE h.next_t = infinity() AND h.check_no = '02' AND h.facet <> 'ERP'
)
SELECT n.entry_key, n.check_no, n.facet, n.bk FROM now_true n
WHERE n.blocks AND NOT EXISTS (SELECT 1 FROM held x WHERE x.entry_key = n.entry_key AND x.check_no = n.check_no
                               AND x.facet IS NOT DISTINCT FROM n.facet AND x.bk = n.bk);

-- An input of the entry checks that stands still: nothing can be declared ready on its word.
CREATE TABLE blocked_input AS
SELECT DISTINCT s.source FROM stale_source s JOIN input i USING (system) WHERE i.check_no IN ('21', '22', '27', '28', '29', '30', '31') AND i.facet = '*';

CREATE TABLE other_project AS
SELECT row_number() OVER () AS qid, entry_key, project FROM (
    SELECT DISTINCT x.entry_key, x.project
    FROM (SELECT entry_key, t, project FROM covered UNION SELECT entry_key, t, project FROM written_off) x
    JOIN value_of v ON v.entry_key = x.entry_key AND v.t = x.t AND v.next_t = infinity() AND v.project <> x.project);
CREATE TABLE other_question AS
SELECT o.qid, v.t, o.entry_key, o.project, v.worker, v.role, v.time_type, v.work_date AS d, v.assignment_id
FROM other_project o JOIN value_of v ON v.entry_key = o.entry_key AND v.next_t = infinity();
