"""Coverage-guided fuzzing of the vendors' decoders: `python tests/fuzz_vendors.py TARGET [libFuzzer options]`.

Needs `pip install atheris`. Inputs worth keeping are in `codecs/corpus/<target>`; `codecs/test_fuzz_vendors.py` reads
them in every test run.
"""

from __future__ import annotations

from typing import Final

import orjson
from fuzzing import fuzz, refusals

from tieout.codecs.formats import Codec, codec
from tieout.codecs.records import RawRecord

TARGETS: Final[dict[str, tuple[Codec, ...]]] = {
    "salesforce-cdc": (codec("salesforce-cdc", {"source": "PSA/certinia", "mapping": "certinia"}),
                       codec("salesforce-cdc", {"source": "CRM/sf", "mapping": "salesforce"})),
    "dataverse": (codec("dataverse", {"source": "PSA/d365", "mapping": "d365"}),
                  codec("dataverse", {"source": "PSA/d365", "mapping": "d365_plan"})),
    "cloudevents": tuple(codec("cloudevents", {"source": "PSA/x", "mapping": name}) for name in (
        "netsuite", "harvest", "kantata", "float", "resource_guru", "workday", "bamboohr")),
}


def read(target: str, data: bytes) -> None:
    """Decode an input with each mapping; nothing but DecodeError is accepted, and what comes out can travel."""
    for decoder in TARGETS[target]:
        with refusals():
            for change in decoder.decode(RawRecord("raw", 0, 0, 0, None, data)).changes:
                orjson.dumps(change.to_record())


if __name__ == "__main__":
    fuzz(read)
