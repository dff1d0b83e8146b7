"""Every script of scripts/ against a real service."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.dialog.runner import Play
from tests.dialog.server import serving

SCRIPTS = sorted(Path(__file__).with_name("scripts").glob("*.txt"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_dialog(script: Path, tmp_path: Path) -> None:
    async def play() -> None:
        async with serving(tmp_path) as server:
            await Play(server, script).run()

    asyncio.run(play())
