"""Fixtures of the contract tests of the store: `engine` is each row of ENGINES, and the fake, with two accounts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from echomox.config.paths import Paths
from echomox.store import ENGINES
from echomox.store.engine import Engine
from echomox.store.memory.engine import FakeEngine
from tests.contract.stores import ALICE, BOB

MAKERS = {**{row.name: row.make for row in ENGINES}, "fake": lambda paths: FakeEngine()}


@pytest.fixture(params=sorted(MAKERS))
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    made = MAKERS[request.param](Paths.home(tmp_path))
    made.recover()
    made.create(ALICE)
    made.create(BOB)
    yield made
    made.close()
