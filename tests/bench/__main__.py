"""`make bench`: runs every load against a throwaway server and prints a table of medians with what the server spent.

    python -m tests.bench [--runs 3] [--seconds 6] [--only deliver,fetch] [--no-corpus] [--json FILE]

Each row runs on its own fresh server; those of the filter are in tests/bench/filter.py, those
of mail in and out of the world in tests/bench/mail.py, those of large mailboxes and
many clients in tests/bench/imap.py, of searching in tests/bench/search.py. "CPU ms" is the server's
processor time per operation: read it rather than the rate when the machine is busy. "bound" says which resource was
nearest to its limit: the cores (client and server share them), or the disk. Speed is never asserted here: figures are
printed, and compared by people.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench import filter as filter_bench
from tests.bench import imap as imap_bench
from tests.bench import mail as mail_bench
from tests.bench import measure
from tests.bench import memory as memory_bench
from tests.bench import search as search_bench
from tests.corpus import sample

COMMANDS = Path(sys.executable).parent


@dataclass(frozen=True)
class Row:
    """One line of the table. figures: the keys of the load's answer that are shown as operations per second."""

    name: str
    load: str
    accounts: int = 4
    concurrency: int = 20
    per_connection: int = 1
    trained: bool = False
    extra: tuple[tuple[str, Any], ...] = ()


ROWS = (
    Row("new SMTP connections", "smtp_connections"),
    Row("new IMAP connections, LOGIN SELECT LOGOUT", "imap_connections"),
    Row("delivered mail, 1 per connection, filter", "smtp_deliver", trained=True),
    Row("delivered mail, 100 per connection, filter", "smtp_deliver", per_connection=100, trained=True),
    Row("IMAP APPEND, 4 sessions", "imap_append", concurrency=4),
    Row("IMAP FETCH, one session", "imap_fetch", concurrency=1),
    Row("IMAP STORE one flag, 4 sessions", "imap_store", concurrency=4),
    Row("IDLE: memory and push", "imap_idle", extra=(("connections", 2000),)),
)


class Server:
    """A demo server in a scratch directory, without the limits on rates and connections. prepare: is given the
    directory before the start."""

    def __init__(
        self, accounts: int, options: tuple[str, ...] = (), prepare: Callable[[Path], None] | None = None
    ) -> None:
        self.scratch = tempfile.TemporaryDirectory(prefix="echomox-bench-")
        directory = Path(self.scratch.name) / "demo"
        command = [
            COMMANDS / "echomox",
            "quickstart",
            "--demo",
            "--dir",
            directory,
            "--base-port",
            str(free_base()),
            "--accounts",
            str(accounts),
            "--no-limits",
            "--json",
            *options,
        ]
        self.facts = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        if prepare:
            prepare(directory)
        program, *arguments = self.facts["start"]
        began = time.perf_counter()
        self.process = subprocess.Popen(
            [COMMANDS / program, *arguments], stdout=subprocess.PIPE, text=True, cwd=self.scratch.name
        )
        assert self.process.stdout is not None
        if self.process.stdout.readline().strip() != "READY":
            raise SystemExit("the server did not start; see its messages above")
        self.ready_seconds = time.perf_counter() - began
        self.password = self.facts["accounts"][0]["password"]
        self.config = arguments[arguments.index("--config") + 1]
        self.directory = directory

    def run(self, row: Row, seconds: float) -> dict[str, Any]:
        ports = self.facts["ports"]
        settings = {
            "smtp": ports["smtp"], "imap": ports["imap"], "password": self.password, "accounts": row.accounts,
            "concurrency": row.concurrency, "per_connection": row.per_connection, "seconds": seconds,
            "pid": self.process.pid, **dict(row.extra),
        }  # fmt: skip
        before, began = measure.cpu_seconds(self.process.pid), time.perf_counter()
        command = [sys.executable, "-m", "tests.bench.load", row.load, json.dumps(settings)]
        answer = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 300).stdout
        spent, elapsed = measure.cpu_seconds(self.process.pid) - before, time.perf_counter() - began
        result: dict[str, Any] = json.loads(answer)
        if result.get("count"):
            result["cpu_ms"] = round(1000 * spent / result["count"], 3)
        result["server_cores"] = round(spent / elapsed, 2)
        return result

    def counters(self) -> dict[str, int]:
        command = [COMMANDS / "echomox", "counters", "--config", self.config, "--json"]
        found: dict[str, int] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        return found.get("counters", found)  # type: ignore[return-value]

    def train(self, row: Row, count: int = 1000) -> None:
        """Trains every account on `count` mails, half of them spam, the way a user does: by APPEND to Junk and
        flags."""
        import imaplib

        for account in self.facts["accounts"][: row.accounts]:
            imap = imaplib.IMAP4("127.0.0.1", self.facts["ports"]["imap"])
            imap.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # it sends an APPEND in pieces
            imap.login(account["address"], account["password"])
            for serial in range(count // 2):
                imap.append("Junk", "($Junk)", None, sample.spam(serial))  # type: ignore[arg-type]
                imap.append("Archive", "($NotJunk)", None, sample.ham(serial))  # type: ignore[arg-type]
            imap.logout()
        deadline = time.monotonic() + 120
        wanted = count * row.accounts
        while (found := self.counters()).get("learned_spam", 0) + found.get("learned_ham", 0) < wanted:
            if time.monotonic() > deadline:
                raise SystemExit(f"training did not end: {found}")
            time.sleep(0.3)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)
        self.scratch.cleanup()


@contextlib.contextmanager
def serving(row: Row) -> Iterator[Server]:
    server = Server(row.accounts, ("--mode", "junk-only"))
    try:
        yield server
    finally:
        server.stop()


def free_base() -> int:
    """A base port such that base + 25, 143, 465, 587 and 993 are free just now."""
    for base in range(21000 + os.getpid() % 500 * 20, 60000, 1000):
        with contextlib.ExitStack() as stack:
            try:
                for offset in (25, 143, 465, 587, 993):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", base + offset))
            except OSError:
                continue
            return base
    raise SystemExit("no free ports")


def bound(result: dict[str, Any]) -> str:
    cores = os.cpu_count() or 1
    if result["server_cores"] > 0.75 * cores:
        return "server CPU"
    if result["server_cores"] > 0.4 * cores:
        return "CPU, shared with the client"
    return "disk or latency"


def run_row(row: Row, runs: int, seconds: float) -> dict[str, Any]:
    """Medians over the runs, each on the same server after its training."""
    with serving(row) as server:
        if row.trained:
            server.train(row)
        before = server.counters()
        results = [server.run(row, seconds) for _ in range(runs)]
        after = server.counters()
        idle = measure.pss_mib(server.process.pid)
        fsync = measure.fsync_ms(server.directory)
    merged: dict[str, Any] = {
        "row": row.name,
        "ready_s": round(server.ready_seconds, 2),
        "pss_mib": round(idle, 1),
        "fsync_ms": round(fsync, 2),
    }
    for key in results[0]:
        values = [result[key] for result in results]
        merged[key] = round(statistics.median(values), 3) if isinstance(values[0], (int, float)) else values[0]
    if row.trained:
        for share in ("verdicts_full", "verdicts_fallback"):
            merged[share] = after.get(share, 0) - before.get(share, 0)
    merged["bound"] = bound(merged)
    return merged


def lines(result: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """(what, rate, CPU ms, notes): FETCH gives three lines, IDLE its own figures."""
    name = result["row"]
    if "flags" in result:
        for key in ("envelopes", "flags", "bodies"):
            yield f"{name}: {key}", f"{result[key]:,.0f}/s", "", result["bound"]
    elif "push_p50" in result:
        push = f"push p50 {result['push_p50']} ms, max {result['push_max']} ms"
        yield name, "", "", f"objects of a session: {result['kib_per_connection']} KiB; CPU: {push}"
    else:
        notes = f"{result['bound']}; p99 {result['p99']} ms"
        if "visible" in result:
            notes += f"; {result['visible']:.0f} visible of {result['count']:.0f}"
        if "verdicts_full" in result:
            full, fallback = result["verdicts_full"], result["verdicts_fallback"]
            notes += f"; verdicts by all stages {100 * full / max(full + fallback, 1):.2f} %, fallback {fallback}"
        if result["errors"]:
            notes += f"; ERRORS {result['errors']:.0f} {result['error_sample']}"
        yield name, f"{result['rate']:,.0f}/s", f"{result['cpu_ms']:.2f}", notes


def idle_row() -> None:
    """Memory of a server that nobody has talked to, and how long it took to start."""
    server = Server(2)
    time.sleep(2)
    memory = measure.pss_mib(server.process.pid)
    start = f"start to READY {server.ready_seconds:.2f} s"
    print(f"{'server idle':<48}{memory:>9.1f} MiB PSS, pages that its processes write; {start}")
    server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=3, help="runs of each row; the median is shown (default 3)")
    parser.add_argument("--seconds", type=float, default=6.0, help="length of one run (default 6)")
    parser.add_argument("--only", default="", help="comma-separated words; rows whose name holds one of them")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument("--no-corpus", action="store_true", help="leave out the run over the real corpus")
    options = parser.parse_args()
    print(measure.machine())
    words = [word for word in options.only.split(",") if word]
    results = []
    if not words or any(word in "server idle" for word in words):
        idle_row()
    for row in ROWS:
        if words and not any(word in row.name.lower() for word in words):
            continue
        result = run_row(row, options.runs, options.seconds)
        results.append(result)
        for what, rate, cpu, notes in lines(result):
            print(f"{what:<48}{rate:>12}{cpu:>8}  {notes}", flush=True)
    results += imap_bench.run(words, lambda: Server(4))
    results += search_bench.run(words)
    results += filter_bench.run(words, options.runs, options.seconds)
    results += mail_bench.run(Server, words, options.runs, options.seconds)
    results += memory_bench.run(Server, words)
    if not options.no_corpus and not words:
        from tests.bench.corpus import run as run_corpus

        run_corpus(Server)
    if options.json:
        options.json.write_text(json.dumps({"machine": measure.machine(), "rows": results}, indent=1))


if __name__ == "__main__":
    main()
