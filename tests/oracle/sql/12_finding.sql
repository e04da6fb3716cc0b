-- The findings, with their impact at the instant at which it is taken.

CREATE TABLE finding AS
WITH from_entries AS (
    SELECT e.check_no, e.facet, e.bk, e.episode, sum(h.impact_s)::BIGINT AS impact_s, sum(h.impact_minor)::BIGINT AS impact_minor,
           min(h.ccy) AS ccy, bool_or(h.estimated) AS estimated, count(*)::INTEGER AS entries_count
    FROM episode e JOIN hit h ON h.check_no = e.check_no AND h.facet IS NOT DISTINCT FROM e.facet AND h.bk = e.bk
        AND h.t <= e.seen_us AND e.seen_us < h.next_t
    WHERE h.entry_key IS NOT NULL GROUP BY ALL
), from_plans AS (
    SELECT q.check_no, q.facet, q.bk, q.episode, sum(q.qty_s)::BIGINT AS impact_s,
           sum(CASE WHEN q.facet = 'PLANNED' THEN coalesce(amount(q.qty_s, a.list_num, a.list_den, a.list_ccy, a.rounding), 0)
                    WHEN a.missing IS NULL THEN amount(q.qty_s, a.num, a.den, a.rate_ccy, a.rounding) ELSE 0 END)::BIGINT AS impact_minor,
           min(coalesce(a.rate_ccy, a.ccy)) AS ccy, bool_or(q.facet = 'PLANNED') AS estimated, NULL::INTEGER AS entries_count
    FROM impact_question q JOIN impact_question_answer a USING (qid) GROUP BY ALL
), impact AS (FROM from_entries UNION ALL FROM from_plans)
SELECT e.check_no, CASE e.check_no
           WHEN '02' THEN 'PROJECT_NOT_SYNCED' WHEN '16' THEN 'ASSIGNMENT_NOT_REFLECTED' WHEN '17' THEN 'ASSIGNMENT_PLAN_DRIFT'
           WHEN '21' THEN 'RATE_MISSING' WHEN '22' THEN 'RATE_MISMATCH' WHEN '27' THEN 'TIME_LATE_TO_ERP'
           WHEN '28' THEN 'TIME_QTY_MISMATCH' WHEN '29' THEN 'TIME_WITHOUT_ASSIGNMENT' END AS code,
       e.facet AS inner_facet, split_part(e.facet, '/', 1) AS facet, e.bk AS business_key, e.episode, e.onset_us, e.deadline_us,
       CASE WHEN e.is_open THEN 'OPEN' ELSE 'RESOLVED_AUTO' END AS status, CASE WHEN NOT e.is_open THEN e.b END AS resolved_us,
       coalesce(i.impact_s, 0) AS impact_s, coalesce(i.impact_minor, 0) AS impact_minor, i.ccy AS currency,
       coalesce(i.estimated, false) AS estimated, i.entries_count, e.seen_us, e.occurrences
FROM episode e LEFT JOIN impact i
    ON i.check_no = e.check_no AND i.facet IS NOT DISTINCT FROM e.facet AND i.bk = e.bk AND i.episode = e.episode;
