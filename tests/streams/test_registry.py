"""The schema registry: over HTTP with authentication, TLS, retries and failures; in process; in a folder."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from shutil import which
from typing import Any

import pytest
from pydantic import ValidationError
from registries import Served

from tieout.codecs.errors import SchemasUnreachable, SchemaUnknown, UnknownFormat
from tieout.streams.registry import Answer, Incompatible, Registry, SchemaFolder, open_schemas
from tieout.streams.registry_http import HttpTransport
from tieout.streams.settings import Registry as Section
from tieout.streams.settings import Settings

BASIC = "Basic dXNlcjpwYXNz"  # user:pass
V1 = {"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}]}
V2 = {"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"},
                                                {"name": "b", "type": ["null", "string"], "default": None}]}
WORSE = {"type": "record", "name": "R", "fields": [{"name": "a", "type": "string"}]}


@pytest.fixture
def served() -> Iterator[Served]:
    server = Served()
    yield server
    server.close()


def client(url: str, **section: Any) -> Registry:
    """A client that does not wait between tries."""
    return Registry(HttpTransport(Section(url=url, timeout_ms=2_000, **section), pause=lambda seconds: None))


def text(schema: Any) -> str:
    return json.dumps(schema)


def test_a_schema_comes_with_its_earlier_versions(served: Served) -> None:
    registry = client(served.url)
    first, second = (registry.register("raw-value", text(schema)) for schema in (V1, V2))
    assert registry.schema(first).earlier == ()
    assert registry.schema(second) == (text(V2), (), (text(V1),))
    assert [version.version for version in registry.versions("raw-value")] == [1, 2]
    assert registry.versions("nobody") == []
    assert registry.subjects() == ["raw-value"]


def test_equal_schemas_share_an_id_and_incompatible_ones_are_refused(served: Served) -> None:
    registry = client(served.url)
    first = registry.register("a/b-value", text(V1))
    assert registry.register("other-value", text(V1)) == first
    with pytest.raises(Incompatible, match="promotion"):
        registry.register("a/b-value", text(WORSE))
    registry.require("a/b-value", "NONE")
    assert registry.register("a/b-value", text(WORSE)) > first


def test_an_unknown_id_is_the_records_fault_and_asked_for_once(served: Served) -> None:
    registry = client(served.url)
    for _ in range(3):
        with pytest.raises(SchemaUnknown, match="schema id 7"):
            registry.schema(7)
    assert served.paths == ["/schemas/ids/7"]


def test_references_come_before_what_uses_them(served: Served) -> None:
    inner, outer = {"type": "enum", "name": "E", "symbols": ["X"]}, {"type": "record", "name": "R", "fields": [
        {"name": "e", "type": "E"}]}
    registry = client(served.url)
    registry.register("E", text(inner))
    body = {"schema": text(outer), "references": [{"name": "E", "subject": "E", "version": 1}]}
    served.registry.call("POST", "/subjects/raw-value/versions", body)
    assert registry.schema(2).references == (text(inner),)


def test_other_kinds_of_schema_are_refused(served: Served) -> None:
    served.registry.call("POST", "/subjects/p/versions", {"schema": '"string"', "schemaType": "PROTOBUF"})
    registry = client(served.url)
    for _ in range(3):
        with pytest.raises(SchemaUnknown, match="PROTOBUF"):
            registry.schema(1)
    assert len(served.paths) == 1


@pytest.mark.parametrize("section", [{"user": "user", "password": "pass"}, {"token": "t0k"}])
def test_credentials_are_sent(served: Served, section: dict[str, str]) -> None:
    served.demands = BASIC if "user" in section else "Bearer t0k"
    assert client(served.url, **section).versions("x") == []
    with pytest.raises(SchemasUnreachable, match=r"status 401 \(Unauthorized\), expected 200: check url, user"):
        client(served.url).versions("x")


def test_a_busy_registry_is_asked_again(served: Served) -> None:
    served.failures = [503, 500]
    assert client(served.url).versions("x") == []
    assert len(served.paths) == 3


@pytest.mark.parametrize("failures", [[503] * 3, [502, 429, 500]])
def test_a_registry_that_stays_away_is_unreachable(served: Served, failures: list[int]) -> None:
    served.failures = list(failures)
    with pytest.raises(SchemasUnreachable, match=f"status {failures[-1]}"):
        client(served.url).schema(1)


def test_a_page_that_is_no_registry_is_unreachable_not_an_unknown_schema(served: Served) -> None:
    """A wrong path behind a proxy answers 404 too: dead-lettering for that would lose what is sound."""
    with pytest.raises(SchemasUnreachable, match="status 404"):
        client(f"{served.url}/wrong").schema(1)


@pytest.mark.parametrize("body", [[], [{"subject": "x"}], ["x"], [None]])
def test_answers_that_no_registry_gives_are_not_the_records_fault(body: Any) -> None:
    class Odd:
        def call(self, method: str, path: str, _: Any = None) -> Answer:
            known = {"/schemas/ids/1": {"schema": '"string"', "references": [{}]},
                     "/schemas/ids/2": {"schema": '"string"'}}
            return Answer(200, known.get(path, body))

    with pytest.raises(SchemasUnreachable):
        Registry(Odd()).schema(1)
    if body:
        with pytest.raises(SchemasUnreachable):
            Registry(Odd()).schema(2)


def test_the_second_address_answers_when_the_first_does_not(served: Served) -> None:
    assert client(f"http://127.0.0.1:1, {served.url}").versions("x") == []
    with pytest.raises(SchemasUnreachable, match=r"127\.0\.0\.1:1: "):
        client("http://127.0.0.1:1").versions("x")


@pytest.mark.skipif(which("openssl") is None, reason="makes its certificate with openssl")
def test_tls_trusts_the_named_authority_alone(served: Served, tmp_path: Path) -> None:
    certificate, key = tmp_path / "ca.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    url = served.secure(certificate, key)
    assert client(url, ca_file=certificate).versions("x") == []
    with pytest.raises(SchemasUnreachable, match="CERTIFICATE_VERIFY_FAILED"):
        client(url).versions("x")


def test_mock_addresses_are_registries_in_process() -> None:
    def opened(url: str) -> Registry:
        registry = open_schemas(Settings(registry=Section(url=url)))
        assert isinstance(registry, Registry)
        return registry

    schema_id = opened("mock://test-mock").register("raw-value", text(V1))
    assert opened("mock://test-mock").schema(schema_id).text == text(V1)
    with pytest.raises(SchemaUnknown):
        opened("mock://another").schema(schema_id)


def test_a_folder_of_files_named_by_id(tmp_path: Path) -> None:
    for name, schema in (("raw-value.3", V1), ("raw-value.17", V2), ("raw.public.x-key.5", V1), ("9", WORSE)):
        (tmp_path / f"{name}.avsc").write_text(text(schema))
    (tmp_path / "notes.avsc").write_text("no number, not ours")
    folder = SchemaFolder(tmp_path)
    assert folder.schema(17) == (text(V2), (), (text(V1),))
    assert folder.schema(9) == (text(WORSE), (), ())
    assert [version.schema_id for version in folder.versions("raw-value")] == [3, 17]
    with pytest.raises(SchemaUnknown, match="schema id 4"):
        folder.schema(4)
    with pytest.raises(UnknownFormat, match=r"subject\.17\.avsc"):
        SchemaFolder(tmp_path / "nowhere")


@pytest.mark.parametrize(("section", "words"), [
    ({"url": "registry:8081"}, "addresses like"),
    ({"url": "http://user:pass@registry"}, "without credentials"),
    ({"url": "http://registry", "folder": "schemas"}, "one of url and folder"),
])
def test_settings_that_cannot_be(section: dict[str, str], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Section.model_validate(section)


def test_nothing_configured_is_no_source_of_schemas() -> None:
    assert open_schemas(Settings()) is None

