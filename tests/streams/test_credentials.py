"""What protects a connection: refused settings, weak keys, and one block that configures every client alike."""

from __future__ import annotations

import ssl
from hashlib import sha256
from pathlib import Path
from typing import Any

import faust
import pytest
from secure import Authority

from tieout.streams.credentials import client_problems, complete, faust_credentials, is_weak, is_weak_digest
from tieout.streams.settings import ConfigError, load
from tieout.streams.worker import check_packages, faust_app

SECURE = {
    "bootstrap.servers": "a:1", "security.protocol": "SASL_SSL", "sasl.username": "u", "sasl.password": "canary-pw",
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"security.protocol": "SASL_PLAINTEXT"}, "sends the password in clear"),
        ({"security.protocol": "sasl_plaintext"}, "sends the password in clear"),
        ({"security.protocol": "PLAINTEXT"}, "not used with security.protocol PLAINTEXT"),
        ({"security.protocol": "SSL"}, "not used with security.protocol SSL"),
        ({"sasl.password": ""}, "needs sasl.username and sasl.password"),
        ({"sasl.mechanism": "GSSAPI"}, "GSSAPI is not known to every client"),
        ({"sasl.mechanisms": "OAUTHBEARER"}, "OAUTHBEARER is not known to every client"),
        ({"bootstrap.servers": "u:canary-pw@a:1"}, "holds no user or password"),
        ({"enable.ssl.certificate.verification": False}, "accepts any broker"),
        ({"enable.ssl.certificate.verification": "false"}, "accepts any broker"),
        ({"ssl.endpoint.identification.algorithm": "none"}, "must be https"),
        ({"ssl.keystore.location": "x.jks"}, "ssl.keystore.location is not known to every client"),
    ],
)
def test_what_would_not_protect_is_refused_for_every_client(
    change: dict[str, Any], said: str, tmp_path: Path
) -> None:
    """The configuration does not load, and the refusal never repeats the password."""
    client = SECURE | change
    assert any(said in problem for problem in client_problems(client))
    with pytest.raises(ValueError, match=said):
        faust_credentials(client)
    lines = "\n".join(f'"{name}" = "{value}"' for name, value in client.items())
    (tmp_path / "tieout.toml").write_text(f"[kafka.client]\n{lines}\n")
    with pytest.raises(ConfigError, match=said) as refused:
        load(tmp_path / "tieout.toml", {})
    assert "canary-pw" not in str(refused.value)


def test_plain_tls_and_scram_are_taken() -> None:
    """What is in order has no problem."""
    for client in ({"bootstrap.servers": "a:1"}, {"bootstrap.servers": "a:1", "security.protocol": "SSL"}, SECURE):
        assert client_problems(client) == []


def test_both_clients_log_in_alike(tmp_path: Path) -> None:
    """librdkafka would take Kerberos by default, Faust SCRAM: the mechanism is written out for both."""
    assert complete(SECURE)["sasl.mechanism"] == "SCRAM-SHA-512"
    assert complete({"bootstrap.servers": "a:1"}) == {"bootstrap.servers": "a:1"}
    authority = Authority(tmp_path)
    credentials = faust_credentials(SECURE | {"ssl.ca.location": str(authority.certificate)})
    assert credentials.mechanism.value == "SCRAM-SHA-512"
    assert credentials.protocol.value == "SASL_SSL"
    assert (credentials.ssl_context.verify_mode, credentials.ssl_context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert "canary-pw" not in repr(credentials)


@pytest.mark.parametrize("key", ["", "changeme", "x" * 64, "0123456789" * 2, "abababab" * 8])
def test_weak_signing_keys_are_refused(key: str, tmp_path: Path) -> None:
    """Short, default or without variety: an embed token would be anyone's to forge."""
    assert is_weak(key)
    (tmp_path / "tieout.toml").write_text(f'[api.embed_keys]\na = "{key}"\n')
    with pytest.raises(ConfigError, match="tieout token key"):
        load(tmp_path / "tieout.toml", {})


@pytest.mark.parametrize("digest", [
    "", "00", "Z" * 64, *(sha256(word.encode()).hexdigest() for word in ("", "changeme", "secret", "tieout", "admin")),
])  # fmt: skip
def test_hashes_of_nothing_and_of_first_guesses_are_refused(digest: str, tmp_path: Path) -> None:
    """An empty or default token does not start."""
    (tmp_path / "tieout.toml").write_text(f'[api.tokens.a]\nsha256 = "{digest}"\nscopes = ["ops"]\n')
    with pytest.raises(ConfigError, match="tieout token new"):
        load(tmp_path / "tieout.toml", {})
    assert is_weak_digest(digest) or len(digest) < 64 or digest.startswith("Z")


def test_faust_serves_no_web_page_and_unpickles_nothing(tmp_path: Path) -> None:
    """Its web server gives any table to anybody, and a pickled message would run code."""
    check_packages()
    for codec in ("pickle", "raw|pickle"):
        with pytest.raises(LookupError):
            faust.serializers.codecs.get_codec(codec).loads(b"")
    (tmp_path / "tieout.toml").write_text('[kafka.client]\nbootstrap.servers = "a:1,b:2"\n')
    app = faust_app(load(tmp_path / "tieout.toml", {}))
    assert (app.conf.web_enabled, app.boot_strategy.enable_web) == (False, False)
    assert [str(url) for url in app.conf.broker] == ["aiokafka://a:1", "aiokafka://b:2"]
