-- The findings, with their impact at the instant at which it is taken.

CREATE TABLE finding AS
WITH from_entries AS (
    SELECT e.check_no, e.facet, e.shown_bk, e.episode, sum(h.impact_s)::BIGINT AS impact_s, sum(h.impact_minor)::BIGINT AS impact_minor,
           min(h.ccy) AS ccy, bool_or(h.estimated) AS estimated, count(*)::INTEGER AS entries_count
    FROM episode e JOIN hit h ON h.check_no = e.check_no AND h.facet IS NOT DISTINCT FROM e.facet AND h.bk = e.bk
        AND h.t <= e.seen_us AND e.seen_us < h.next_t
    WHERE h.entry_key IS NOT NULL GROUP BY ALL
), from_plans AS (
    SELECT q.check_no, q.facet, q.shown_bk, q.episode, sum(q.qty_s)::BIGINT AS impact_s,
           sum(CASE WHEN a.missing IS NULL THEN amount(q.qty_s, a.num, a.den, a.rate_ccy, a.rounding)
                    WHEN a.list_num IS NOT NULL THEN amount(q.qty_s, a.list_num, a.list_den, a.list_ccy, a.rounding) ELSE 0 END)::BIGINT AS impact_minor,
           min(coalesce(a.rate_ccy, a.list_ccy, a.ccy)) AS ccy, bool_or(a.missing IS NOT NULL) AS estimated, NULL::INTEGER AS entries_count
    FROM impact_question q JOIN impact_question_answer a USING (qid) GROUP BY ALL
), from_deals AS ( -- a won opportunity that nobody plans yet: its amount, an estimate
    SELECT e.check_no, e.facet, e.shown_bk, e.episode, 0::BIGINT AS impact_s, coalesce(o.minor, 0) AS impact_minor, o.ccy, true AS estimated,
           NULL::INTEGER AS entries_count
    FROM episode e JOIN opportunity_g o ON o.opportunity_no = e.bk AND o.from_us <= e.seen_us AND e.seen_us < o.to_us
    WHERE e.check_no = '02' AND e.facet = 'ERP' AND NOT EXISTS (SELECT 1 FROM from_plans p WHERE p.check_no = '02' AND p.facet = 'ERP' AND p.shown_bk = e.bk)
), from_invoices AS ( -- 36 by key or content: the invoice as a whole
    SELECT e.check_no, e.facet, e.shown_bk, e.episode, h.impact_s, h.impact_minor, h.ccy, h.estimated, NULL::INTEGER AS entries_count
    FROM episode e JOIN hit h ON h.check_no = e.check_no AND h.facet IS NOT DISTINCT FROM e.facet AND h.bk = e.bk
        AND h.t <= e.seen_us AND e.seen_us < h.next_t
    WHERE e.check_no = '36' AND h.entry_key IS NULL
), impact AS (FROM from_entries UNION ALL FROM from_plans UNION ALL FROM from_deals UNION ALL FROM from_invoices)
SELECT e.check_no, CASE e.check_no
           WHEN '02' THEN 'PROJECT_NOT_SYNCED' WHEN '16' THEN 'ASSIGNMENT_NOT_REFLECTED' WHEN '17' THEN 'ASSIGNMENT_PLAN_DRIFT'
           WHEN '21' THEN 'RATE_MISSING' WHEN '22' THEN 'RATE_MISMATCH' WHEN '27' THEN 'TIME_LATE_TO_ERP'
           WHEN '28' THEN 'TIME_QTY_MISMATCH' WHEN '29' THEN 'TIME_WITHOUT_ASSIGNMENT'
           WHEN '23' THEN 'RATE_AMBIGUOUS' WHEN '30' THEN 'TIME_OUTSIDE_ASSIGNMENT' WHEN '31' THEN 'TIME_DUPLICATE'
           WHEN '36' THEN 'INVOICE_DUPLICATE' END AS code,
       e.facet, e.shown_bk AS business_key, e.bk AS root_key, e.episode, e.onset_us, e.deadline_us,
       CASE WHEN e.is_open THEN 'OPEN' ELSE 'RESOLVED_AUTO' END AS status, CASE WHEN NOT e.is_open THEN e.b END AS resolved_us,
       coalesce(i.impact_s, 0) AS impact_s, coalesce(i.impact_minor, 0) AS impact_minor,
       coalesce(i.ccy, (SELECT coalesce(p.ccy, l.base_ccy) FROM project_g p LEFT JOIN entity_g l ON l.le_code = p.le_code AND l.to_us = infinity()
                        WHERE e.check_no = '02' AND p.project = e.bk AND p.to_us = infinity()),
                (SELECT min(ccy) FROM card_row c WHERE c.bk = e.bk AND e.facet = 'CARD_DIVERGED')) AS currency,
       coalesce(i.estimated, false) AS estimated, i.entries_count, e.seen_us, e.occurrences
FROM episode e LEFT JOIN impact i
    ON i.check_no = e.check_no AND i.facet IS NOT DISTINCT FROM e.facet AND i.shown_bk = e.shown_bk AND i.episode = e.episode;
