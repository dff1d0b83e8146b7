"""Many clients that do anything, each checking what it is told (tests.dialog.stress), on several worker processes.
I04, I05. HYPOTHESIS_PROFILE=long for minutes."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from tests.dialog.crowd import Socket, run, timed
from tests.dialog.stress import Wire
from tests.process.harness import Server

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
CLIENTS, SECONDS = (50, 300.0) if LONG else (20, 5.0)


def test_no_client_is_told_anything_wrong(tmp_path: Path) -> None:
    with Server.demo(tmp_path, "--no-limits", "--mode", "off") as server:
        account = server.accounts[0]

        async def connect() -> Wire:
            return Socket(*await asyncio.open_connection("127.0.0.1", server.ports["imap"], limit=1 << 22))

        async def play() -> None:
            login = f"LOGIN {account['address']} {account['password']}".encode()
            async with timed(SECONDS) as until:
                world = await run(connect, login, CLIENTS, until, 1, 10 * CLIENTS)
            assert world.counts["checkpoints"]

        asyncio.run(play())
