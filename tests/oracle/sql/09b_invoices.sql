-- Check 36 INVOICE_DUPLICATE: by coverage, and where coverage is unknown by key or content.

-- When an invoice was posted, and first seen.
CREATE TABLE invoice_order AS
SELECT invoice, min(from_us) AS made_us,
       coalesce(min(coalesce(said_posted_us, from_us)) FILTER (state IN ('POSTED', 'SENT', 'PAID')), infinity()) AS posted_us
FROM invoice_s GROUP BY invoice;

-- What each invoice has of an entry, by project, at a probe: a credit is taken from the invoice that it corrects.
CREATE TABLE charged AS
WITH rows_of AS (
    SELECT v.entry_key, v.t, b.project, c.invoice, i.state IN ('POSTED', 'SENT', 'PAID') AS posted, i.corrects, i.le_code, i.net, i.tax, i.ccy,
           coalesce(c.sign, CASE WHEN i.type = 'CREDIT_NOTE' THEN -1 ELSE 1 END) AS sign, c.qty_s, c.minor
    FROM value_of v
    JOIN coverage_s c ON c.entry_key = v.entry_key AND c.from_us <= v.t AND v.t < c.to_us AND NOT c.deleted
    JOIN invoice_s i ON i.invoice = c.invoice AND i.from_us <= v.t AND v.t < i.to_us AND i.state IN ('POSTED', 'SENT', 'PAID', 'DRAFT', 'APPROVED')
    JOIN billed_on b ON b.bk = c.bk
    WHERE coalesce(i.type, 'INVOICE') <> 'PROFORMA'
), billed AS (
    SELECT entry_key, t, project, invoice, bool_or(posted) AS posted, sum(qty_s)::BIGINT AS qty_s, sum(minor)::BIGINT AS minor, min(net) AS net,
           min(tax) AS tax, min(ccy) AS ccy
    FROM rows_of WHERE sign > 0 GROUP BY ALL
), ordered AS (
    SELECT b.*, row_number() OVER (PARTITION BY entry_key, t, project ORDER BY NOT posted DESC, CASE WHEN posted THEN o.posted_us ELSE o.made_us END DESC, invoice DESC) AS newest
    FROM billed b JOIN invoice_order o USING (invoice)
), credit AS (
    SELECT entry_key, t, project, CASE WHEN corrects IS NOT NULL THEN le_code || ':' || corrects END AS corrected, sum(qty_s)::BIGINT AS qty_s
    FROM rows_of WHERE sign < 0 AND posted GROUP BY ALL
), named AS (
    SELECT o.*, greatest(0, o.qty_s - coalesce(c.qty_s, 0)) AS left_s
    FROM ordered o LEFT JOIN credit c ON c.entry_key = o.entry_key AND c.t = o.t AND c.project = o.project AND c.corrected = o.invoice
), loose AS (
    SELECT c.entry_key, c.t, c.project, sum(c.qty_s)::BIGINT AS qty_s FROM credit c
    WHERE NOT EXISTS (SELECT 1 FROM ordered o WHERE o.entry_key = c.entry_key AND o.t = c.t AND o.project = c.project AND o.invoice = c.corrected) GROUP BY ALL
), walked AS (
    SELECT n.*, coalesce(l.qty_s, 0) AS loose_s,
           coalesce(sum(n.left_s) OVER (PARTITION BY n.entry_key, n.t, n.project ORDER BY n.newest ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before_s
    FROM named n LEFT JOIN loose l USING (entry_key, t, project)
)
SELECT entry_key, t, project, invoice, newest, posted, qty_s, minor, net, tax, ccy,
       (left_s - least(left_s, greatest(0, loose_s - before_s)))::BIGINT AS kept_s
FROM walked;

-- What is posted counts alone; drafts come on top where it is not too much by itself. The excess is that of the latest invoices.
CREATE TABLE overcharged AS
WITH told AS (
    SELECT c.*, d.drafts, v.approved_s, v.quantum_s, v.idx, v.next_t
    FROM charged c JOIN value_of v ON v.entry_key = c.entry_key AND v.t = c.t AND v.project = c.project, (VALUES (false), (true)) AS d(drafts)
    WHERE c.kept_s > 0 AND (c.posted OR d.drafts)
), summed AS (
    SELECT *, sum(kept_s) OVER (PARTITION BY entry_key, t, drafts) - approved_s AS over_s, count(*) OVER (PARTITION BY entry_key, t, drafts) AS n,
           first_value(invoice) OVER newest AS last_invoice, first_value(ccy) OVER newest AS last_ccy,
           coalesce(sum(kept_s) OVER (newest ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before_s
    FROM told WINDOW newest AS (PARTITION BY entry_key, t, drafts ORDER BY newest)
), doubled AS (
    SELECT * FROM summed WHERE n > 1 AND over_s * 2 > quantum_s QUALIFY rank() OVER (PARTITION BY entry_key, t ORDER BY drafts) = 1
)
SELECT entry_key, t, idx, next_t, any_value(project) AS project, any_value(last_invoice) AS invoice, any_value(last_ccy) AS ccy, any_value(over_s)::BIGINT AS over_s,
       sum(rounded(gross::HUGEINT * greatest(0, least(kept_s, over_s - before_s))::HUGEINT, greatest(1, kept_s)::HUGEINT, 'HALF_AWAY'))::BIGINT AS gross
FROM (SELECT *, rounded((minor + rounded(minor::HUGEINT * tax, greatest(1, net)::HUGEINT, 'HALF_AWAY'))::HUGEINT * kept_s, qty_s::HUGEINT, 'HALF_AWAY') AS gross FROM doubled)
GROUP BY ALL;
-- An invoice of one project is named by itself; its share of one of several by both.
INSERT INTO hit
SELECT '36', NULL, o.invoice || CASE WHEN EXISTS (SELECT 1 FROM moved m WHERE m.entry_key = o.entry_key AND m.moved_us <= o.t) THEN '|' || o.entry_key
                                     WHEN EXISTS (SELECT 1 FROM invoice_line_s l WHERE l.invoice = o.invoice AND l.from_us <= o.t AND o.t < l.to_us)
                                      AND NOT EXISTS (SELECT 1 FROM invoice_line_s l WHERE l.invoice = o.invoice AND l.project <> o.project AND l.from_us <= o.t AND o.t < l.to_us)
                                     THEN '' ELSE '|' || o.project END,
       o.entry_key, o.t, o.idx, o.next_t, o.over_s, -o.gross, o.ccy, false, true
FROM overcharged o;

-- Coverage of one of two invoices is unknown: the same idempotency key, or the same content.
CREATE TABLE invoice_probe AS
WITH kin AS (
    SELECT DISTINCT x.invoice, y.invoice AS other FROM invoice_s x JOIN invoice_s y ON y.invoice <> x.invoice AND
        (x.idempotency_key = y.idempotency_key OR (x.le_code = y.le_code AND x.customer_no = y.customer_no AND x.cycle = y.cycle AND x.net = y.net))
), t AS (
    SELECT invoice, from_us AS t FROM invoice_s UNION SELECT invoice, to_us FROM invoice_s
    UNION SELECT invoice, unnest([from_us, to_us]) FROM invoice_line_s UNION SELECT invoice, unnest([from_us, to_us]) FROM coverage_s
), both_t AS (SELECT k.invoice, t.t FROM kin k JOIN t ON t.invoice IN (k.invoice, k.other))
SELECT invoice, t, row_number() OVER (PARTITION BY invoice ORDER BY t) AS idx,
       coalesce(lead(t) OVER (PARTITION BY invoice ORDER BY t), infinity()) AS next_t
FROM (SELECT DISTINCT b.* FROM both_t b, clock c WHERE b.t <= c.live_us);
CREATE TABLE bill AS -- an invoice in force at a probe of any invoice
SELECT p.invoice AS probed, p.t, p.idx, p.next_t, i.invoice, i.le_code, i.customer_no, i.cycle, i.net, i.tax, i.ccy, i.idempotency_key, i.state NOT IN ('DRAFT', 'APPROVED') AS posted,
       CASE WHEN i.state IN ('DRAFT', 'APPROVED') THEN o.made_us ELSE o.posted_us END AS at_us,
       EXISTS (SELECT 1 FROM coverage_s c WHERE c.invoice = i.invoice AND c.from_us <= p.t) AS known,
       (SELECT list((l.project, l.qty_s, l.net) ORDER BY l.project, l.qty_s, l.net) FROM invoice_line_s l
        WHERE l.invoice = i.invoice AND l.from_us <= p.t AND p.t < l.to_us) AS content
FROM invoice_probe p JOIN invoice_s i ON i.from_us <= p.t AND p.t < i.to_us AND i.state IN ('POSTED', 'SENT', 'PAID', 'DRAFT', 'APPROVED')
    AND coalesce(i.type, 'INVOICE') = 'INVOICE' JOIN invoice_order o ON o.invoice = i.invoice;
INSERT INTO hit
WITH pair AS (
    SELECT x.*, CASE WHEN x.idempotency_key = y.idempotency_key THEN 'IDEMPOTENCY_KEY'
                     WHEN x.le_code = y.le_code AND x.customer_no = y.customer_no AND x.cycle = y.cycle AND x.net = y.net AND x.content = y.content
                          THEN 'CONTENT' END AS facet
    FROM bill x JOIN bill y ON y.probed = x.probed AND y.t = x.t AND (NOT y.posted, y.at_us, y.invoice) < (NOT x.posted, x.at_us, x.invoice)
    WHERE x.invoice = x.probed AND (NOT x.known OR NOT y.known)
)
SELECT DISTINCT '36', facet, invoice, NULL, t, idx, next_t, coalesce(list_sum(list_transform(content, lambda l: l[2])), 0)::BIGINT, -(net + tax), ccy, false, true
FROM pair WHERE facet IS NOT NULL QUALIFY row_number() OVER (PARTITION BY invoice, t ORDER BY facet DESC) = 1;
