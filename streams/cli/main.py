"""The `tieout` command: finds a command's module by name, and imports nothing else, so that help is immediate."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from tieout.streams.cli.exits import MEANING, Exit

if TYPE_CHECKING:
    import typer


class Command(NamedTuple):
    """A command's module in `tieout.streams.cli`, with a Typer `app` or a function of its name, and a line of help."""

    module: str
    help: str


COMMANDS: dict[str, Command] = {
    "init": Command("init", "Write a commented tieout.toml and a folder for mappings."),
    "doctor": Command("doctor", "Look at everything a pipeline hangs on; say how to mend what is ill."),
    "demo": Command("demo", "Play four weeks of a firm with planted faults; show what was caught."),
    "up": Command("up", "Run all roles on this machine."),
    "run": Command("run", "Run one role: ingest, worker, sink, api or simulate."),
    "replay": Command("replay", "Apply captured files in one process, without a broker."),
    "config": Command("config", "Check the configuration, show it with its origins, print its schema."),
    "mappings": Command("mappings", "Mappings of sources: list, try on a payload, draft from a sample, schema."),
    "topics": Command("topics", "Compare the cluster's topics with what they must be, and bring them there."),
    "connectors": Command("connectors", "Kafka Connect: compare its connectors with the configuration, apply it."),
    "schemas": Command("schemas", "Check contracts of outputs and sources with the registry; register our schemas."),
    "status": Command("status", "Health of broker, topics, roles and snapshot; --wait for it."),
    "lag": Command("lag", "How far every reader is behind."),
    "kpi": Command("kpi", "KPIs: values, meaning and the rows behind them."),
    "findings": Command("findings", "Findings: what disagrees, since when, worth how much, whose turn."),
    "sql": Command("sql", "Query the published snapshot."),
    "dlq": Command("dlq", "Dead letters: list, show, replay."),
    "token": Command("token", "Tokens of the API and keys of its embeds: make one."),
}

_USAGE = "Usage: tieout COMMAND [OPTIONS] [ARGUMENTS]"
_ABOUT = "Ties out the change streams of ERP, PSA, HCM, CRM, scheduling and time systems while they move."
_COMPLETION = ("--install-completion", "--show-completion")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _dispatch(words)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:  # `tieout sql … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK


def _dispatch(words: list[str]) -> int:
    name = words[0] if words else "--help"
    if name in COMMANDS:
        return run(_app(name), f"tieout {name}", words[1:])
    if name in ("--help", "-h"):
        print(_help())
        return Exit.OK if words else Exit.USAGE
    if name == "help":
        return _explain(words[1:])
    if name in ("--version", "-V"):
        from importlib.metadata import version

        print(f"tieout {version('tieout')}")
        return Exit.OK
    if name.startswith(_COMPLETION) or "_TIEOUT_COMPLETE" in os.environ:
        return run(_everything(), "tieout", words)
    return _unknown(name)


def run(app: typer.Typer, name: str, words: Sequence[str]) -> int:
    """Run a Typer app and turn what it raises into an exit code and one message on standard error."""
    try:
        app(args=list(words), prog_name=name)
    except SystemExit as ended:
        return _code(ended.code)
    except Exception as error:
        code = _code_of(error)
        if code is None:
            raise  # a defect: the traceback is the message
        print(_message(error), file=sys.stderr)
        return code
    return Exit.OK


def _code(code: object) -> int:
    return code if isinstance(code, int) else Exit.OK if code is None else Exit.FAILED


def _code_of(error: Exception) -> Exit | None:
    """What an expected error means for the caller; by name, since importing its module costs time."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if "ConfigError" in names or "PolicyError" in names or "ConfigurationError" in names:
        return Exit.CONFIGURATION
    if names & {"KafkaException", "ConnectUnreachable", "SchemasUnreachable", "Refused"}:
        return Exit.UNREACHABLE
    if names & {"TopicsRefused", "ConnectRefused", "OSError"}:
        return Exit.FAILED
    return None


def _message(error: Exception) -> str:
    """librdkafka's own words where it has some: its exceptions print as a Python object."""
    kafka: Any = error.args[0] if error.args else None
    return f"Kafka: {kafka.str()} (tieout status tells more)" if hasattr(kafka, "retriable") else str(error)


def _app(name: str) -> typer.Typer:
    import typer

    module = import_module(f"tieout.streams.cli.{COMMANDS[name].module}")
    app: typer.Typer | None = getattr(module, "app", None)
    if app is None:
        app = typer.Typer()
        app.command(name)(getattr(module, name))
    app.pretty_exceptions_enable = False
    return app


def _everything() -> typer.Typer:
    """All commands in one app, for shell completion alone."""
    import typer

    whole = typer.Typer(name="tieout", help=_ABOUT)
    for name, command in COMMANDS.items():
        whole.add_typer(_app(name), name=name, help=command.help)
    return whole


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.help}" for name, command in COMMANDS.items()]
    options = [
        "  --version             Print the version.",
        "  --install-completion  Complete commands in this shell.",
        "  --help                This text; tieout COMMAND --help for one command.",
    ]
    codes = "Exit codes: tieout help exit-codes"
    return "\n".join([_USAGE, "", _ABOUT, "", "Commands:", *lines, "", "Options:", *options, "", codes])


def _explain(words: Sequence[str]) -> int:
    if words == ["exit-codes"]:
        print("\n".join(f"{code.value:>3}  {meaning}" for code, meaning in MEANING.items()))
        return Exit.OK
    if words and words[0] in COMMANDS:
        return _dispatch([words[0], *words[1:], "--help"])
    print(_help())
    return Exit.OK


def _unknown(name: str) -> int:
    from difflib import get_close_matches

    nearest = get_close_matches(name, COMMANDS, n=1)
    hint = f"did you mean {nearest[0]}?" if nearest else "tieout --help lists them."
    print(f"tieout: no command {name!r}: {hint}", file=sys.stderr)
    return Exit.USAGE


if __name__ == "__main__":
    sys.exit(main())
