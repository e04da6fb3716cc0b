"""`tieout token`: what it prints is what the configuration takes, and the token is stored nowhere."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from tieout.streams.api.access import Access
from tieout.streams.cli.main import main
from tieout.streams.settings import load


def test_a_new_token_is_taken_with_the_lines_beside_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The token alone on standard output; its hash and scopes in a block that loads."""
    assert main(["token", "new", "grafana", "--scope", "kpi:read", "--scope", "ops"]) == 0
    out, err = capsys.readouterr()
    token = out.strip()
    assert len(token) >= 43
    assert token not in err
    (tmp_path / "tieout.toml").write_text(err[err.index("[api") :])
    settings = load(tmp_path / "tieout.toml", {})
    caller = Access.of(settings.api).caller(f"Bearer {token}")
    assert caller is not None
    assert (caller.name, sorted(caller.scopes)) == ("grafana", ["kpi:read", "ops"])
    assert settings.api.tokens["grafana"].sha256 == sha256(token.encode()).hexdigest()
    assert [file.name for file in tmp_path.iterdir()] == ["tieout.toml"]


def test_every_token_and_key_is_another_one(capsys: pytest.CaptureFixture[str]) -> None:
    """They come from the system's generator."""
    for words in (["token", "new", "a"], ["token", "key", "a"]):
        assert [main(words) for _ in range(20)] == [0] * 20
        assert len(set(capsys.readouterr().out.split())) == 20


def test_a_new_key_signs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As the secret that it names."""
    assert main(["token", "key", "k2026a"]) == 0
    out, err = capsys.readouterr()
    assert "TIEOUT_API__EMBED_KEYS__K2026A" in err
    (tmp_path / "tieout.toml").write_text("")
    settings = load(tmp_path / "tieout.toml", {"TIEOUT_API__EMBED_KEYS__K2026A": out.strip()})
    assert settings.api.embed_keys == {"k2026a": out.strip()}


@pytest.mark.parametrize(
    ("words", "said"),
    [(["new", "a", "--scope", "kpi:write"], "there are kpi:read"), (["new", "a b"], "expected letters"),
     (["key", 'a"]'], "expected letters")],
)  # fmt: skip
def test_what_cannot_be_configured_is_not_made(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 and no token."""
    assert main(["token", *words]) == 2
    out, err = capsys.readouterr()
    assert (out, said in err) == ("", True)


def test_hashes_scopes_and_keys_in_config_show(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scopes are shown, everything that helps a thief is not; an error does not repeat it either."""
    key, digest = "canary-0123456789abcdefghijklmnop", sha256(b"long enough").hexdigest()
    file = tmp_path / "tieout.toml"
    file.write_text(f'[api.tokens.a]\nsha256 = "{digest}"\nscopes = ["ops"]\n[api.embed_keys]\nk = "{key}"\n')
    assert main(["config", "show", "--config", str(file)]) == 0
    shown = capsys.readouterr().out
    assert '["ops"]' in shown
    assert not {key, digest} & set(shown.split())
    for broken in ('embed_key = "none"', 'requests_per_minute = "x"', "tokens = 1", f'embed_keys.j = "{key}"'):
        file.write_text(f'[api]\n{broken}\n[kafka.client]\nsasl.username = "u"\nsasl.password = "{key}"\n')
        assert main(["config", "check", "--config", str(file)]) == 3
        said = capsys.readouterr().err
        assert "sasl.password" in said
        assert key not in said
