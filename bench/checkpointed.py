"""Contender: the worker as it is. Prints its times and ends itself when everything is in a checkpoint."""

from __future__ import annotations

import os
import signal
import sys

from bench.stopwatch import Stopwatch
from tieout.streams import checkpoint, logging, settings, worker
from tieout.streams.shards import Snapshot


def main() -> None:
    expected = int(sys.argv[1])
    watch = Stopwatch()
    written = 0
    write = checkpoint.Writer.write

    def counted(self: checkpoint.Writer, snapshot: Snapshot) -> None:
        nonlocal written
        write(self, snapshot)
        written += snapshot.changes
        watch.stop()
        if written >= expected:
            print(watch.report(), flush=True)
            os.kill(os.getpid(), signal.SIGTERM)

    checkpoint.Writer.write = counted  # type: ignore[method-assign]
    configured = settings.load(env=os.environ)
    logging.configure(configured.log, "worker")
    sys.exit(worker.run(configured, watch.reconciler(), sink=False))


if __name__ == "__main__":
    main()
