"""Run one worker process that counts: `python counting_worker.py`; settings come from the environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from faults.counting import COUNTING

from tieout.streams import logging, settings, worker

if __name__ == "__main__":
    configured = settings.load(env=os.environ)
    logging.configure(configured.log, "worker")
    sys.exit(worker.run(configured, COUNTING, sink=False))
