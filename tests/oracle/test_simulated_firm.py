"""The simulator's four weeks: what the replay writes equals, row by row, what the oracle works out."""

from __future__ import annotations

from pathlib import Path

from oracle import compare, oracle
from oracle.replaying import replay


def test_replay_of_the_simulated_firm_equals_the_oracle(tmp_path: Path) -> None:
    """Entries, findings and KPIs of some 25,000 lines are equal."""
    from tieout.streams.simulate.capture import write_capture
    from tieout.streams.simulate.story import tell

    capture = tmp_path / "capture.jsonl"
    assert write_capture(capture, tell().records) > 10_000
    replay(capture, tmp_path / "replayed.duckdb")
    differences = compare.compare(oracle.run([capture]), tmp_path / "replayed.duckdb")
    assert not differences, "\n".join(differences)
