"""The clients of `stress` on two mailboxes in this process: no error, and at the end all have the same picture.
I05. Short by default; HYPOTHESIS_PROFILE=long for minutes. tests/process/test_imap_stress.py: on a real server."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.dialog.crowd import run
from tests.dialog.server import PASSWORD, USER, Connection, serving
from tests.dialog.stress import Wire

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
COMMANDS = 60_000 if LONG else 2_500
CLIENTS = 40 if LONG else 20


@pytest.mark.parametrize("seed", range(2))
def test_many_clients_do_anything_without_an_error(tmp_path: Path, seed: int) -> None:
    async def play() -> None:
        async with serving(tmp_path) as server:

            async def connect() -> Wire:
                return Connection(server.service)

            login = f"LOGIN {USER} {PASSWORD}".encode()
            world = await run(connect, login, CLIENTS, lambda: server.host.counts["imap_commands"] > COMMANDS, seed)
            assert world.counts["checkpoints"] > 1
            assert world.commands >= COMMANDS // 2

    asyncio.run(play())
