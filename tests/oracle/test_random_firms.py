"""Random firms: what the replay writes equals, row by row, what the oracle works out."""

from __future__ import annotations

from pathlib import Path

import pytest
from oracle import compare, oracle
from oracle.generate import end_of, generate
from oracle.replaying import replay


@pytest.mark.parametrize("seed", range(11, 19))
@pytest.mark.parametrize("fresh", [False, True], ids=["stated", "fresh"])
def test_replay_equals_the_oracle(seed: int, fresh: bool, tmp_path: Path) -> None:
    """Entries, findings and KPIs are equal."""
    firm = generate(seed, entries=60, days=21, stated_every_h=24)
    capture = firm.write(tmp_path / "capture.jsonl")
    replay(capture, tmp_path / "replayed.duckdb", until=end_of(firm), assume_fresh=fresh)
    told = oracle.run([capture], until=end_of(firm), assume_fresh=fresh)
    differences = compare.compare(told, tmp_path / "replayed.duckdb")
    assert not differences, "\n".join(differences)


def test_a_lie_is_noticed(tmp_path: Path) -> None:
    """The comparison is not blind: an hour more in one row is one difference in each column that it touches."""
    firm = generate(3, entries=20, days=10, stated_every_h=24)
    capture = firm.write(tmp_path / "capture.jsonl")
    con = oracle.run([capture], until=end_of(firm))
    database = tmp_path / "copy.duckdb"
    con.execute(f"ATTACH '{database}' AS copy")
    con.execute("CREATE SCHEMA copy.v1")
    con.execute("""CREATE TABLE copy.v1.time_entry AS SELECT t.*, make_timestamp(worked_us) AS worked_at,
                make_timestamp(invoiced_us) AS invoiced_at, make_timestamp(submitted_us) AS submitted_at,
                make_timestamp(approved_us) AS approved_at FROM time_entry t LEFT JOIN lag USING (entry_key, project_code)""")
    con.execute("""CREATE TABLE copy.v1.finding AS SELECT *, make_timestamp(onset_us) AS onset_at,
                make_timestamp(deadline_us) AS deadline_at, make_timestamp(resolved_us) AS resolved_at FROM finding""")
    con.execute("CREATE TABLE copy.v1.kpi AS SELECT *, 'VALUE' AS measure FROM kpi")
    con.execute("CHECKPOINT copy")
    con.execute("DETACH copy")
    assert compare.compare(con, database) == []
    con.execute(
        """UPDATE time_entry SET unbilled_s = unbilled_s + 3600
           WHERE entry_key = (SELECT min(entry_key) FROM time_entry WHERE unbilled_s > 0)"""
    )
    (line,) = compare.compare(con, database)
    assert "unbilled_s: oracle" in line
