"""The small organisation: twenty accounts of two domains, an alias, a shared mailbox, a virtual one; and its server,
which is started, asked, and started again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import tomlkit

from tests.bench.mail import free_port
from tests.process.harness import START_LIMIT, children_of, command, free_base_port, wait_until

ACCOUNTS = 20
SECOND = "second.test"
ALIAS = "all@example.test"
MEMBERS = (1, 2, 11)
BLOCKED = "blocked.example"
"""All mail from there is refused."""
REJECTS = 10
START = 60.0
STOP = 60.0


class Down(Exception):
    """The server did not start; or a command of it failed where it must not."""


class Site:
    """directory: an empty one, or one that does not exist yet. sink: the port that mail to others goes to."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "server"
        self.sink = free_port()
        options = ["--base-port", str(free_base_port()), "--accounts", str(ACCOUNTS), "--no-limits", "--json"]
        hop = ["--next-hop", f"127.0.0.1:{self.sink}"]
        arguments = ["quickstart", "--demo", "--dir", str(self.root), *options, *hop]
        done = subprocess.run([*command("echomox"), *arguments], check=True, capture_output=True, text=True)
        facts = json.loads(done.stdout)
        self.ports: dict[str, int] = facts["ports"]
        self.password: str = facts["accounts"][0]["password"]
        self.config, self.log = self.root / "config", self.root / "logs/echomox.log"
        self.output = directory / "supervisor.out"
        self.pid = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._configure()

    def _configure(self) -> None:
        path = self.config / "echomox.toml"
        static = tomlkit.parse(path.read_text())
        static["workers"] = {"heartbeat_timeout": 8.0, "drain_time": 20.0, "queuerunner": 2, "submission": 2}
        static["queue"] = {
            "schedule": [0.0, 2.0, *[8.0] * 200], "dead_time": 2.0, "dead_time_most": 4.0, "delay_attempt": 0,
            "suppress": False, "min_free": 4 << 20,
        }  # fmt: skip
        static["outbound"] = {"command_timeout": 20.0, "end_timeout": 20.0, "connect_timeout": 5.0}
        path.write_text(tomlkit.dumps(static))
        path = self.config / "domains.toml"
        dynamic: Any = tomlkit.parse(path.read_text())
        dynamic["domains"][SECOND] = {"description": "The other one."}
        for number in range(ACCOUNTS // 2, ACCOUNTS):
            dynamic["accounts"][f"u{number}"]["addresses"] = [self.address(number)]
        for account in dynamic["accounts"].values():
            account["rejects_messages"] = REJECTS
        dynamic["senders"] = {"block": [f"@{BLOCKED}"]}
        dynamic["aliases"] = {ALIAS: {"members": [self.address(number) for number in MEMBERS]}}
        path.write_text(tomlkit.dumps(dynamic))

    @staticmethod
    def address(number: int) -> str:
        return f"u{number}@{'example.test' if number < ACCOUNTS // 2 else SECOND}"

    # -- its processes

    def start(self) -> None:
        """Returns when it serves. Raises Down."""
        self._age()
        with self.output.open("ab") as output:
            began = output.tell()
            start = [*command("echomox-supervisor"), "start", "--config", str(self.config)]
            self._process = subprocess.Popen(start, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        self.pid = self._process.pid
        end = time.monotonic() + max(START, START_LIMIT)
        while b"READY\n" not in self.output.read_bytes()[began:]:
            if self._process.poll() is not None or time.monotonic() > end:
                raise Down(self.output.read_text()[-2000:])
            time.sleep(0.05)

    def _age(self) -> None:
        """All that is done by the clock is due again soon after the start."""
        path = self.root / "data/scheduler.json"
        if path.exists():
            last = json.loads(path.read_text())
            path.write_text(json.dumps({name: {**one, "at": one["at"] - 90_000} for name, one in last.items()}))

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Its exit code; its workers are gone too."""
        assert self._process
        workers = children_of(self.pid)
        self._process.send_signal(number)
        code = self._process.wait(STOP)
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), STOP, "workers gone")
        self.pid = 0
        return code

    def tell(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def workers(self) -> dict[str, int]:
        """Process ids by title, as "smtp.0"."""
        found = {}
        for pid in children_of(self.pid) if self.pid else ():
            try:
                title = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode()
            except (OSError, UnicodeDecodeError):
                continue
            if title.startswith("echomox: "):
                found[title.removeprefix("echomox: ")] = pid
        return found

    # -- its commands

    async def ask(self, *arguments: str, limit: float = 120.0) -> tuple[int, str, str]:
        """Exit code, output, errors of `echomox …`."""
        words = [*command("echomox"), "--config", str(self.config), *arguments]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*words, stdout=pipe, stderr=pipe, stdin=subprocess.DEVNULL)
        try:
            out, err = await asyncio.wait_for(process.communicate(), limit)
        except TimeoutError:
            process.kill()
            await process.wait()
            return -1, "", f"no answer within {limit:g} s"
        return process.returncode or 0, out.decode(errors="replace"), err.decode(errors="replace")

    async def json(self, *arguments: str) -> Any:
        """What it prints. Raises Down."""
        code, out, err = await self.ask("--json", *arguments)
        if code:
            raise Down(f"echomox {' '.join(arguments)}: exit {code}: {err}")
        return json.loads(out)


assert sys.platform == "linux"
