"""A demo with two accounts and no server."""

from __future__ import annotations

import pytest

from echomox.cli.quickstart import derived, make_accounts
from echomox.config.demo import BCRYPT_COST, Demo, write_demo
from echomox.store import open_engine


@pytest.fixture(scope="session")
def secrets():
    return derived("secret", BCRYPT_COST)


@pytest.fixture
def demo(tmp_path, secrets):
    made = write_demo(Demo(tmp_path / "demo", 20000))
    make_accounts(open_engine(made.paths), {"u0": secrets, "u1": secrets})
    return made
