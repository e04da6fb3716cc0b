"""`tieout token`: a new API token or embed key. The secret goes to standard output, once, and is stored nowhere."""

from __future__ import annotations

import secrets
import sys
from hashlib import sha256
from typing import Annotated, Final, get_args

import typer

from tieout.streams.cli.exits import Exit
from tieout.streams.cli.snapshot import failure

app = typer.Typer(help="Tokens of the API and keys of its embeds.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Who it is for; the access log shows this name.")]
Scopes = Annotated[list[str], typer.Option("--scope", help="What it may do; may be repeated.")]

_PREFIX: Final = "tieout_"  # scanners for leaked secrets can find it
_BYTES: Final = 32


@app.command("new")
def new(name: Name, scope: Scopes = ["kpi:read"]) -> None:  # noqa: B006 - Typer copies it
    """Make an API token: the token on standard output, what to put into tieout.toml on standard error."""
    _check(name, scope)
    token = _PREFIX + secrets.token_urlsafe(_BYTES)
    scopes = ", ".join(f'"{each}"' for each in scope)
    digest = sha256(token.encode()).hexdigest()
    print(f"put this into tieout.toml; the token is shown once and stored nowhere:\n\n"
          f'[api.tokens.{name}]\nsha256 = "{digest}"\nscopes = [{scopes}]\n', file=sys.stderr)
    print(token)


@app.command("key")
def key(name: Name) -> None:
    """Make a key for embed tokens: the key on standard output, where to keep it on standard error."""
    _check(name, [])
    print(f"keep this as the secret TIEOUT_API__EMBED_KEYS__{name.upper()} (a file of that name in the secrets "
          f"directory); it signs when it is the only one, or when api.embed_key is {name.lower()!r}", file=sys.stderr)
    print(secrets.token_urlsafe(_BYTES))


def _check(name: str, scopes: list[str]) -> None:
    from tieout.streams.settings import TokenScope

    if not name.isidentifier():
        raise failure(f"{name!r}: expected letters, digits and underscores", Exit.USAGE)
    known = get_args(TokenScope)
    if unknown := [each for each in scopes if each not in known]:
        raise failure(f"no scope is called {unknown[0]!r}: there are {', '.join(known)}", Exit.USAGE)
