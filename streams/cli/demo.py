"""`tieout demo`: four weeks of a firm in about a minute, with planted faults; says what was caught."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tieout.streams.crew import Crew
    from tieout.streams.demo import Demo, DemoFailed

app = typer.Typer(help="Four weeks of a 60-consultant firm in about a minute, with planted faults.")

_FAILED = 1
_FOLDER = Path(".tieout/demo")
_INTERRUPTED = 130


@app.command()
def demo(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the API; 0 takes any free one.")] = 8080,
    stay: Annotated[bool | None, typer.Option(help="Stay up until Ctrl-C; else only on a terminal.")] = None,
    hours_per_second: Annotated[float, typer.Option(min=0.5, help="Simulated hours a second.")] = 15.0,
    seed: Annotated[int, typer.Option(help="The same seed plays the same four weeks.")] = 24_017,
    folder: Annotated[Path, typer.Option(help="Where configuration, logs, database and truth go.")] = _FOLDER,
) -> None:
    """Start everything, play, judge. Exit 0 only if every planted fault was caught and none invented."""
    from tieout.streams.demo import Demo, DemoFailed

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C, also where a shell has that ignored
    port = _usable(port)
    show = Demo(folder, port, hours_per_second, seed, lambda state: None)
    if stay is None:
        stay = sys.stdin.isatty() and sys.stdout.isatty()
    try:
        raise typer.Exit(_perform(show, stay=stay))
    except DemoFailed as error:
        raise typer.Exit(_explain(show, error)) from None
    except KeyboardInterrupt:
        raise typer.Exit(_INTERRUPTED) from None


def _usable(port: int) -> int:
    from tieout.streams.crew import free_port, is_free
    from tieout.streams.demo import HOST

    if port and not is_free(HOST, port):
        print(f"Port {port} on {HOST} is taken. Go on with another one: `tieout demo --port {port + 1}`, or "
              f"`make demo ARGS=\"--port 0\"` for any free one.", file=sys.stderr)
        raise typer.Exit(_FAILED)
    return port or free_port(HOST)


def _perform(show: Demo, *, stay: bool) -> int:
    from tieout.streams.demo_report import Screen, print_result

    with Screen(show.url) as screen:
        show.show = screen.show
        screen.show(show.state)
        with show.running() as crew:
            result = show.play(crew)
            screen.close()
            print_result(result, show.url)
            if stay:
                _stay(crew)
    return 0 if result.good else _FAILED


def _stay(crew: Crew) -> None:
    """Until Ctrl-C, or until a role ends."""
    print("Everything stays up until Ctrl-C.", file=sys.stderr)
    try:
        while crew.ended() is None:
            sleep(0.5)
    except KeyboardInterrupt:
        print("stopping", file=sys.stderr)


def _explain(show: Demo, error: DemoFailed) -> int:
    from tieout.streams.crew import Crew

    logs = show.folder / "logs"
    print(f"The demo failed: {error}\nThe last lines of {logs / error.role}.log:", file=sys.stderr)
    print(Crew(logs).tail(error.role), file=sys.stderr)
    return _FAILED
