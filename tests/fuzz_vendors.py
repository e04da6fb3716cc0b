"""Coverage-guided fuzzing of the vendors' decoders: `python tests/fuzz_vendors.py TARGET [libFuzzer options]`.

Needs `pip install atheris`. Inputs worth keeping are in `codecs/corpus/<target>`; `codecs/test_fuzz_vendors.py` reads
them in every test run.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import orjson

from tieout.codecs.errors import DecodeError
from tieout.codecs.formats import Codec, codec
from tieout.codecs.records import RawRecord

CORPUS: Final = Path(__file__).parent / "codecs" / "corpus"
TARGETS: Final[dict[str, tuple[Codec, ...]]] = {
    "salesforce-cdc": (codec("salesforce-cdc", {"source": "PSA/certinia", "mapping": "certinia"}),
                       codec("salesforce-cdc", {"source": "CRM/sf", "mapping": "salesforce"})),
    "dataverse": (codec("dataverse", {"source": "PSA/d365", "mapping": "d365"}),),
    "cloudevents": tuple(codec("cloudevents", {"source": "PSA/x", "mapping": name}) for name in (
        "netsuite", "harvest", "kantata", "float", "resource_guru", "workday", "bamboohr")),
}


def read(target: str, data: bytes) -> None:
    """Decode an input with each mapping; nothing but DecodeError is accepted, and what comes out can travel."""
    for decoder in TARGETS[target]:
        try:
            for change in decoder.decode(RawRecord("raw", 0, 0, 0, None, data)).changes:
                orjson.dumps(change.to_record())
        except DecodeError as error:
            if error.reason == "undecodable" or not error.hint:
                raise AssertionError(f"{error!r} has no reason of its own, or no hint") from error


def main() -> None:
    """Fuzz one target until libFuzzer ends."""
    import atheris  # type: ignore[import-untyped, import-not-found, unused-ignore]

    target = sys.argv.pop(1)
    atheris.instrument_all()
    atheris.Setup([sys.argv[0], *sys.argv[1:], str(CORPUS / target)], lambda data: read(target, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
