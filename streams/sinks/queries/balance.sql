-- Is there an entry that does not balance? (approved = billed + unbilled - overbilled + written off; no row is right)
SELECT entry_key, project_code, approved_s, billed_s, unbilled_s, overbilled_s, written_off_s,
       approved_s - billed_s - unbilled_s + overbilled_s - written_off_s AS difference_s
FROM v1.time_entry
WHERE difference_s <> 0
ORDER BY entry_key, project_code;
