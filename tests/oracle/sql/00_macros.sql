-- Exact arithmetic, civil time and money: integers only, HUGEINT where a product may not fit.

CREATE MACRO infinity() AS 9000000000000000000;

-- Decimal places of a currency's minor unit (ISO 4217 list of 2025-05-12).
CREATE MACRO exponent(ccy) AS CASE
    WHEN ccy IN ('BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF', 'UGX', 'UYI', 'VND', 'VUV', 'XAF',
                 'XOF', 'XPF') THEN 0
    WHEN ccy IN ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') THEN 3
    WHEN ccy IN ('CLF', 'UYW') THEN 4
    ELSE 2 END;
CREATE MACRO power10(n) AS [1::HUGEINT, 10, 100, 1000, 10000][n + 1];

-- n / d as an integer, d > 0, under the legal entity's rounding.
CREATE MACRO rounded(n, d, mode) AS sign(n)::HUGEINT * CASE
    WHEN mode = 'DOWN' THEN abs(n) // d
    WHEN mode = 'HALF_EVEN' AND 2 * (abs(n) % d) = d THEN (abs(n) // d) + (abs(n) // d) % 2
    ELSE (2 * abs(n) + d) // (2 * d) END;

-- Minor units for qty_s at num/den micro-units an hour.
CREATE MACRO amount(qty_s, num, den, ccy, mode) AS
    rounded(qty_s::HUGEINT * num::HUGEINT * power10(exponent(ccy)), 3600000000::HUGEINT * den::HUGEINT,
            coalesce(mode, 'HALF_AWAY'))::BIGINT;

-- A rate per hour as a fraction of micro-units: hour_num / hour_den.
CREATE MACRO hour_num(rate_e6, unit) AS CASE WHEN unit = 'DAY' THEN rate_e6::BIGINT * 3600 ELSE rate_e6::BIGINT END;
CREATE MACRO hour_den(unit, day_s) AS CASE WHEN unit = 'DAY' THEN coalesce(day_s, 28800)::BIGINT ELSE 1::BIGINT END;

-- Civil time.
CREATE MACRO utc_date(us) AS make_timestamp(us)::DATE;
CREATE MACRO local_time(us, tz) AS timezone(tz, make_timestamptz(us));
CREATE MACRO midnight_us(day, tz) AS epoch_us(timezone(tz, day::TIMESTAMP));
CREATE MACRO monday(day) AS (day - (isodow(day) - 1)::INTEGER);
CREATE MACRO is_business_day(day) AS isodow(day) <= 5;

-- The second business day counting back from `day`, `day` itself counted where it is one; the next one after `day`.
CREATE MACRO second_business_day_back(day) AS day - [3, 1, 1, 1, 1, 2, 3][isodow(day)]::INTEGER;
CREATE MACRO next_business_day(day) AS day + [1, 1, 1, 1, 3, 2, 1][isodow(day)]::INTEGER;

-- The instant at which `hours` business hours (Mon-Fri 09-17 in tz) have passed since us.
CREATE MACRO business_deadline(us, hours, tz) AS (
    SELECT min(epoch_us(timezone(tz, b.day::TIMESTAMP + INTERVAL 17 HOUR)) - b.left_us + hours::BIGINT * 3600000000 - b.before_us)
    FROM (SELECT day, left_us,
                 coalesce(sum(left_us) OVER (ORDER BY day ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)::BIGINT AS before_us
          FROM (SELECT day, greatest(0, least(28800000000, date_diff('microsecond', local_time(us, tz),
                                                                     day::TIMESTAMP + INTERVAL 17 HOUR))) AS left_us
                FROM (SELECT unnest(generate_series(local_time(us, tz)::DATE, local_time(us, tz)::DATE + 21,
                                                    INTERVAL 1 DAY))::DATE AS day)
                WHERE is_business_day(day))) b
    WHERE b.before_us < hours::BIGINT * 3600000000 AND b.before_us + b.left_us >= hours::BIGINT * 3600000000)::BIGINT;
