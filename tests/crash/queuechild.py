"""The program that is recorded for test_queue_power: does the work of queueworld in the directory given."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from tests.crash.queueworld import work

if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1]), lambda line: os.write(1, f"{line}\n".encode()) and None))
