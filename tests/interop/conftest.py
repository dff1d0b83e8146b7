"""One demo server for all interop tests of a module run, with four accounts: whole_way has its own two."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.tools import run
from tests.process.harness import Server, command


class Demo:
    """What a test needs to know of the running server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.ports = server.ports
        self.accounts = server.accounts
        self.config = str(server.root / "config")
        self.certificate: Path = server.root / "config/tls/demo.crt"
        self.echomox = command("echomox")[0]

    def account_name(self, index: int) -> str:
        return self.accounts[index]["address"].partition("@")[0]

    def cli(self, *arguments: str) -> str:
        """Runs `echomox …` against the server; returns what it prints."""
        return run([self.echomox, *arguments, "--config", self.config])


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with Server.demo(tmp_path_factory.mktemp("interop") / "demo", "--accounts", "4", "--no-limits") as running:
        yield Demo(running)
