"""What a source's configuration says reaches the codec that reads it."""

from __future__ import annotations

import json
from pathlib import Path

from tieout.codecs.records import RawRecord
from tieout.streams.settings import load
from tieout.streams.sources import readings

CONFIG = """
[sources.opportunities]
system = "CRM"
instance = "org"
topic = "sf"
format = "salesforce-cdc"
mapping = "salesforce"
epoch = 2
margin_s = 5
"""
WON = {"StageName": "Closed Won", "ChangeEventHeader": {
    "entityName": "Opportunity", "recordIds": ["006"], "changeType": "UPDATE", "commitTimestamp": 1772206200000,
    "commitNumber": 7, "sequenceNumber": 1, "changedFields": ["StageName"]}}


def test_epoch_and_margin(tmp_path: Path) -> None:
    file = tmp_path / "tieout.toml"
    file.write_text(CONFIG)
    reading = readings(load(file))["sf"]
    decoded = reading.codec.decode(RawRecord("sf", 0, 0, 0, None, json.dumps(WON).encode()))
    assert (reading.source, reading.by_id) == ("CRM/org", True)
    assert decoded.changes[0].seq == "~0002:00000000000000000007:0000000001"
    assert decoded.watermark_us == (1_772_206_200 - 5) * 1_000_000
