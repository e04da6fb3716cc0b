"""How a command ends: the exit codes of the public contract."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes; scripts rely on them."""

    OK = 0
    FAILED = 1  # it was tried and did not work
    USAGE = 2  # the command line is wrong
    CONFIGURATION = 3  # the configuration is wrong
    UNREACHABLE = 4  # a broker, registry or snapshot is not there
    UNHEALTHY = 10  # a check failed
    DRIFT = 11  # drift above the threshold that was asked for
    CONTRACT = 12  # an interface differs from what was promised
    INTERRUPTED = 130  # Ctrl-C


MEANING = {
    Exit.OK: "ok",
    Exit.FAILED: "failed",
    Exit.USAGE: "usage: the command line is wrong",
    Exit.CONFIGURATION: "configuration: tieout.toml, a secret or a variable is wrong",
    Exit.UNREACHABLE: "unreachable: a broker, a registry or the snapshot is not there",
    Exit.UNHEALTHY: "unhealthy: a check failed",
    Exit.DRIFT: "drift: above the threshold",
    Exit.CONTRACT: "contract: an interface differs from what was promised",
    Exit.INTERRUPTED: "interrupted",
}
