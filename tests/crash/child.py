"""The program that is recorded: does the work of world.py in the directory given, and says its promises on standard
output.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from echomox.config.paths import Paths
from echomox.store.sqlite import SqliteEngine
from tests.crash.world import work


def main(root: Path) -> None:
    engine = SqliteEngine(Paths.home(root))
    asyncio.run(work(engine, lambda line: os.write(1, f"{line}\n".encode()) and None))
    engine.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
