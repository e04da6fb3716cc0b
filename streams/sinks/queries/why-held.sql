-- Why can approved hours not be billed?
SELECT top_hold, currency, hours(sum(held_s)) AS held_hours,
       money(sum(held_minor), any_value(currency)) AS held_value, count(*) AS entries,
       count(*) FILTER (len(holds) > 1) AS with_other_holds
FROM v1.time_entry
WHERE held_s > 0
GROUP BY top_hold, currency
ORDER BY sum(held_s) DESC, top_hold, currency;
