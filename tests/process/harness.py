"""A real server for tests: started from a throwaway configuration, waited for, stopped, and shown to leave
nothing behind.

    with Server.demo(tmp_path) as server:            # echomox quickstart --demo, then echomox-supervisor
    start
        server.ports["smtp"], server.accounts[0]     # {"address": …, "password": …}

`Server(command, root)` runs any other command that prints READY. Leaving the `with` stops the server and
asserts that its shared segments, its workers and its process are gone. Everything is bounded in time, all
traffic is loopback.
"""

from __future__ import annotations

import json
import os
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

HANG = 120.0
"""Seconds after which something hangs, however slow and busy the machine is; nothing is said to be fast by it."""
START_LIMIT = HANG
STOP_LIMIT = HANG
PORTS = {"smtp": 25, "submission": 587, "submissions": 465, "imap": 143, "imaps": 993}
SHM = Path("/dev/shm")
ROOT = Path(__file__).parents[2]


def free_base_port() -> int:
    """N such that N + 25, + 143, + 465, + 587 and + 993 are free on 127.0.0.1, and below those that the kernel gives to
    whoever connects: nobody takes one before the server does."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    top = min(first, 60_000) - max(PORTS.values()) if first > 22_000 else 60_000
    for _ in range(1000):
        base = random.randrange(10_000, top)
        if all(_free(base + offset) for offset in PORTS.values()):
            return base
    raise RuntimeError("no free ports")


def free_port() -> int:
    """Free for TCP and UDP on 127.0.0.1 and, as above, one that nobody is given."""
    for _ in range(1000):
        port = free_base_port() + PORTS["smtp"]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise RuntimeError("no free port")


def patient(static: Path) -> None:
    """Writes time limits into an echomox.toml after which mail is judged without what is slow: tests of verdicts are
    about verdicts, on a machine that is slow too."""
    text = static.read_text()
    assert text.count("[dns]\n") == 1 and "[filter]" not in text and "[mailauth]" not in text
    text = text.replace("[dns]\n", "[dns]\ntimeout = 60.0\n")
    static.write_text(f"{text}\n[filter]\nclassify_timeout = 50.0\n\n[mailauth]\ntimeout = 60.0\n")


def _free(port: int) -> bool:
    with socket.socket() as sock:
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def command(name: str) -> list[str]:
    """How to run a command of ours, as installed beside this Python, or else by module."""
    script = Path(sys.executable).with_name(name)
    if script.exists():
        return [str(script)]
    module = "echomox.cli.supervisor" if name == "echomox-supervisor" else "echomox.cli.main"
    return [sys.executable, "-c", f"import sys; from {module} import main; sys.exit(main())"]


def wait_until(condition: Callable[[], Any], limit: float = HANG, what: str = "") -> Any:
    """Asks every 10 ms until the answer is true; returns it."""
    end = time.monotonic() + limit
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"not within {limit} s: {what or condition}")
        time.sleep(0.01)


def children_of(pid: int) -> list[int]:
    """Process ids of the children."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in task.read_text().split()]
        except OSError:
            pass
    return found


def segments_of(pid: int) -> list[str]:
    """The names that the shared segments of a process have or had, of what it has mapped."""
    text = Path(f"/proc/{pid}/maps").read_text()
    return sorted(set(re.findall(r"/dev/shm/(echomox-[0-9a-f]{12})\b", text)))


def alive(pid: int) -> bool:
    """There is such a process, and it is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Server:
    """A server in the foreground. root: the directory above its config/."""

    def __init__(self, start: Sequence[str], root: Path, facts: dict[str, Any] | None = None) -> None:
        """start: a command that prints READY. facts: what `quickstart --json` printed."""
        self.start_command = list(start)
        self.root = root
        self.ports: dict[str, int] = (facts or {}).get("ports", {})
        self.accounts: list[dict[str, str]] = (facts or {}).get("accounts", [])
        self.output = b""
        self.segments: list[str] = []
        self.children: set[int] = set()
        self.start_seconds = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def demo(cls, root: Path, *options: str) -> Server:
        """A throwaway configuration with demo accounts; not started yet. options: of `echomox quickstart`."""
        base = free_base_port()
        arguments = ["quickstart", "--demo", "--dir", str(root), "--base-port", str(base), "--json", *options]
        done = subprocess.run([*command("echomox"), *arguments], capture_output=True, timeout=60, check=False, cwd=ROOT)
        assert done.returncode == 0, done.stderr.decode()
        facts = json.loads(done.stdout)
        patient(root / "config/echomox.toml")
        start = list(facts["start"])
        if not shutil.which(start[0]):
            start = [*command("echomox-supervisor"), *start[1:]]
        return cls(start, root, facts)

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self.stop()
                self.assert_clean()
        finally:
            self.kill()

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    @property
    def log(self) -> str:
        path = self.root / "logs/echomox.log"
        return path.read_text() if path.exists() else ""

    def start(self) -> None:
        """Returns when it has printed READY; AssertionError with its log when it does not."""
        wait_until(lambda: not [pid for pid in self.children if alive(pid)], what="those of an earlier start gone")
        self.children.clear()
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONUNBUFFERED": "1"}
        began = time.monotonic()
        self._process = subprocess.Popen(
            self.start_command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=ROOT,
            env=environment,
        )
        self.output = b""
        if not self._read_until(b"READY\n", START_LIMIT):
            text = self.output.decode(errors="replace")
            state = self._process.poll()
            self.kill()
            raise AssertionError(f"not READY (exit {state}): {text}\n{self.log[-6000:]}")
        self.start_seconds = time.monotonic() - began
        self.look()

    def look(self) -> None:
        """Notes the segments and children that are there now, for `assert_clean`."""
        self.segments = segments_of(self.pid)
        self.children |= set(children_of(self.pid))

    def _read_until(self, word: bytes, limit: float) -> bool:
        assert self._process and self._process.stdout
        stream = self._process.stdout.fileno()
        end = time.monotonic() + limit
        while word not in self.output:
            left = end - time.monotonic()
            if left <= 0 or not select.select([stream], [], [], left)[0]:
                return False
            piece = os.read(stream, 65536)
            if not piece:
                return False
            self.output += piece
        return True

    def tell(self, number: signal.Signals) -> None:
        self.look()
        os.kill(self.pid, number)

    def workers(self) -> dict[str, int]:
        """Process id by title, as "smtp.0"; draining ones have " (draining)" behind it."""
        found = {}
        for pid in children_of(self.pid):
            try:
                title = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode()
            except OSError:
                continue
            if title.startswith("echomox: "):
                found[title.removeprefix("echomox: ")] = pid
        return found

    def stop(self, number: signal.Signals = signal.SIGTERM, limit: float = STOP_LIMIT) -> int:
        """Tells it to stop and waits; returns its exit code."""
        assert self._process
        if self._process.poll() is None:
            self.tell(number)
        code = self._process.wait(limit)
        if self._process.stdout and not self._process.stdout.closed:
            self.output += self._process.stdout.read() or b""
            self._process.stdout.close()
        return code

    def kill(self) -> None:
        """kill -9, when it still runs."""
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait(HANG)
        if self._process and self._process.stdout:
            self._process.stdout.close()

    def assert_clean(self, limit: float = HANG) -> None:
        """After the end: no child is left, and none of its shared segments."""
        wait_until(lambda: not [pid for pid in self.children if alive(pid)], limit, "children gone")
        wait_until(lambda: not self.leftovers(), limit, "segments gone")

    def leftovers(self) -> list[str]:
        return [name for name in self.segments if (SHM / name).exists()]
