"""Mail in and out of the world: submission with DKIM through the queue to a sink, mail with SPF, DKIM and DMARC from
outside with a name server on loopback, and what a long queue and a dead destination cost.

    submitted       TLS, login, DKIM Ed25519, durably queued, delivered to a sink on loopback. "transit" is from before
                    MAIL at our port to the end of the text at the sink.
    long queue      the queue is filled before the start, all of it due; the clock runs while the first DRAINED leave.
    dead host       10,000 messages wait for a host that accepts connections and says nothing; others are submitted.

Part of `make bench`; alone: python -m tests.bench --only mail:
"""

from __future__ import annotations

import asyncio
import contextlib
import imaplib
import json
import os
import socket
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echomox.config.load import load_static
from echomox.config.paths import Paths
from echomox.config.snapshot import load_snapshot
from echomox.queue.model import Outgoing, QueueRecipient
from echomox.queue.routes import ways_of
from echomox.queue.spool import QueueSpool
from tests.bench import measure, receive
from tests.bench.load import bodies, mail
from tests.process.dnsserver import DnsServer

ACCOUNTS = 4
DRAINED = 900
LENGTHS = (1_000, 10_000, 100_000)
DEAD = 10_000
SMALL = 2048
START = 6.0  # seconds that a server has for its start

Figures = dict[str, Any]
Make = Callable[..., Any]


@dataclass(frozen=True)
class Row:
    """measure: makes its figures with the server's class, in so many seconds. repeat: worth a median of several."""

    name: str
    measure: Callable[[Make, float], Figures]
    repeat: bool = True


# -- servers and loads -----------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextlib.contextmanager
def serving(make: Make, *options: str, prepare: Callable[[Path], None] | None = None) -> Iterator[Any]:
    server = make(ACCOUNTS, ("--mode", "junk-only", *options), prepare)
    try:
        yield server
    finally:
        server.stop()


def load(server: Any, module: str, settings: Figures, seconds: float) -> Figures:
    """Runs it beside the server; its figures, and what the server spent."""
    before = measure.cpu_seconds(server.process.pid)
    command = [sys.executable, "-m", f"tests.bench.{module}", json.dumps(settings)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 300).stdout
    spent = measure.cpu_seconds(server.process.pid) - before
    found: Figures = json.loads(answer)
    found["cpu_ms"] = round(1000 * spent / max(found["count"], 1), 3)
    found["server_cores"] = round(spent / found["seconds"], 2)
    return found


def submit(server: Any, sink: int, seconds: float, **more: Any) -> Figures:
    settings = {
        "port": server.facts["ports"]["submissions"], "sink": sink, "password": server.password, "seconds": seconds,
        "users": ACCOUNTS, **more,
    }  # fmt: skip
    return load(server, "submit", settings, seconds)


IDLE = {"concurrency": 2, "pause": 0.08, "per_connection": 1000}

# -- rows ------------------------------------------------------------------------------


def submitted(make: Make, seconds: float, **more: Any) -> Figures:
    sink = free_port()
    with serving(make, "--next-hop", f"127.0.0.1:{sink}") as server:
        submit(server, sink, 1.0, **more)  # warms up
        return submit(server, sink, seconds, **more)


def submitted_slowly(make: Make, seconds: float) -> Figures:
    return submitted(make, seconds, **IDLE)


def received(make: Make, seconds: float, per_connection: int = 20) -> Figures:
    keys = receive.keys()
    with DnsServer() as dns:
        for (name, type), value in receive.zone(keys).items():
            dns.put(name, type, value)
        with serving(make, "--resolver", dns.address) as server:
            server.train(_Trained())
            ports = server.facts["ports"]
            settings = {
                "smtp": ports["smtp"], "imap": ports["imap"], "password": server.password, "accounts": ACCOUNTS,
                "per_connection": per_connection, "keys": keys,
            }  # fmt: skip
            load(server, "receive", {**settings, "seconds": 1.5}, seconds)  # fills the caches
            before = server.counters()
            found = load(server, "receive", {**settings, "seconds": seconds}, seconds)
            after = server.counters()
            found["passed"] = passed(server)
    for name in ("verdicts_full", "verdicts_fallback"):
        found[name] = after.get(name, 0) - before.get(name, 0)
    return found


class _Trained:
    accounts = ACCOUNTS


def passed(server: Any) -> float:
    """Which part of an account's new mail passed SPF, DKIM and DMARC."""
    account = server.facts["accounts"][0]
    found = []
    with imaplib.IMAP4("127.0.0.1", server.facts["ports"]["imap"]) as client:
        client.login(account["address"], account["password"])
        for box in ("INBOX", "Junk"):
            client.select(box, readonly=True)
            rows = client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (AUTHENTICATION-RESULTS)])")[1]
            found += [row[1] for row in rows if isinstance(row, tuple) and b"iprev" in row[1]]
    good = sum(all(word in one for word in (b"spf=pass", b"dkim=pass", b"dmarc=pass")) for one in found)
    return round(good / max(len(found), 1), 3)


async def _fill(directory: Path, number: int, recipient: Callable[[int], str], account: Callable[[int], str]) -> None:
    """Messages as submission would have queued them."""
    paths = Paths.home(directory)
    snapshot = load_snapshot(paths, load_static(paths.static), 1)
    spool = QueueSpool(paths, ways=ways_of(lambda: snapshot))
    pool = bodies(SMALL)

    async def add(serial: int) -> None:
        sender = f"{account(serial)}@example.test"
        text = mail(pool[serial % 64], sender, recipient(serial), serial)
        body = f"X-Bench-Time: {time.perf_counter():.6f}\r\n".encode() + text
        trace = b"Received: from client.example by mail.example.test with ESMTPSA\r\n"
        one = Outgoing(sender, (QueueRecipient(recipient(serial)),), body, account=account(serial), prefix=trace)
        await spool.add(one)

    for start in range(0, number, 500):
        await asyncio.gather(*(add(serial) for serial in range(start, min(start + 500, number))))
    await spool.close()


def fill(directory: Path, number: int, recipient: Callable[[int], str], account: Callable[[int], str]) -> None:
    asyncio.run(_fill(directory, number, recipient, account))


def account(serial: int) -> str:
    return f"u{serial % ACCOUNTS}"


def runner_pids(server: Any) -> list[int]:
    found = []
    for pid in measure.tree(server.process.pid):
        if b"queuerunner" in Path(f"/proc/{pid}/cmdline").read_bytes():
            found.append(pid)
    return found


def workers(number: int) -> Callable[[Path], None]:
    def prepare(directory: Path) -> None:
        with (directory / "config/echomox.toml").open("a") as file:
            file.write(f"\n[workers]\nqueuerunner = {number}\n")

    return prepare


def drained(make: Make, length: int, count: int, runners: int = 1) -> Figures:
    """The first `count` of a queue of that length."""
    port = free_port()

    def prepare(directory: Path) -> None:
        workers(runners)(directory)
        fill(directory, length, lambda serial: f"r@d{serial % 997}.example", account)
        put_off(directory, START)

    command = [sys.executable, "-m", "tests.bench.drain", str(port), str(count)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as sink:
        assert sink.stdout is not None
        assert sink.stdout.readline().strip() == "READY"
        try:
            with serving(make, "--next-hop", f"127.0.0.1:{port}", prepare=prepare) as server:
                pids = runner_pids(server)
                before = {pid: _seconds(pid) for pid in pids}
                found: Figures = json.loads(sink.stdout.readline())
                spent = sum(_seconds(pid) - before[pid] for pid in pids)
                found["cpu_ms"] = round(1000 * spent / count, 3)
                found["runner_mib"] = round(sum(_private_mib(pid) for pid in pids) / len(pids), 1)
        finally:
            sink.terminate()
    return found


def put_off(directory: Path, seconds: float) -> None:
    """All of the queue is due at one moment from now, when the server has started."""
    due = time.time() + seconds
    with contextlib.closing(sqlite3.connect(directory / "data/queue/index.db")) as connection, connection:
        connection.execute("UPDATE message SET next_attempt = ?", (due,))
        connection.execute("UPDATE flow SET turn = ?", (due,))


def _seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / measure.TICK


def _private_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def beside_a_dead_host(make: Make, seconds: float, dead: int = DEAD) -> Figures:
    """An idle server's transit, while `dead` messages wait for a host that says nothing."""
    sink = free_port()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(1024)
        port = silent.getsockname()[1]

        def prepare(directory: Path) -> None:
            path = directory / "config/domains.toml"
            text = path.read_text()
            route = '[[routes]]\nto_domains = [".dead.example"]\ntransport = "dead"\n\n'
            text = text.replace("[[routes]]", route + "[[routes]]", 1)
            path.write_text(f'{text}\n[transports.dead]\nkind = "smtp"\nhost = "127.0.0.1"\nport = {port}\n')
            fill(directory, dead, lambda serial: f"r@d{serial % 97}.dead.example", account)

        with serving(make, "--next-hop", f"127.0.0.1:{sink}", prepare=prepare) as server:
            time.sleep(1.0)
            found = submit(server, sink, seconds, **IDLE)
            found["runner_mib"] = round(sum(map(_private_mib, runner_pids(server))), 1)
            return found


def beside_no_dead_host(make: Make, seconds: float) -> Figures:
    return beside_a_dead_host(make, seconds, 0)


def drain_row(length: int, count: int = DRAINED, runners: int = 1) -> Row:
    workers = "" if runners == 1 else f", {runners} queue runners"
    what = f"mail: {count:,} of a queue of {length:,}{workers}"
    return Row(what, lambda make, seconds: drained(make, length, count, runners), repeat=length < 100_000)


ROWS = (
    Row("mail: submitted with DKIM, to a sink", submitted),
    Row("mail: the same, one at a time", submitted_slowly),
    Row("mail: received with SPF, DKIM, DMARC and filter", received),
    *(drain_row(length) for length in LENGTHS),
    drain_row(10_000, 8_000),
    drain_row(10_000, 8_000, runners=2),
    Row("mail: submitted, nothing else waits", beside_no_dead_host),
    Row(f"mail: submitted, {DEAD:,} for a dead host", beside_a_dead_host),
)


def line(found: Figures) -> str:
    rate = found.get("arrived_rate", found["rate"])
    notes = []
    if "arrived_rate" in found:
        notes.append(f"submitted {found['rate']:,.0f}/s")
        notes.append(f"transit p50 {found['transit_p50']} ms, p99 {found['transit_p99']} ms")
    if "p99" in found and "arrived_rate" not in found:
        notes.append(f"p99 {found['p99']} ms")
    if "visible" in found:
        notes.append(f"{found['visible']:.0f} visible of {found['count']:.0f}")
    if "verdicts_full" in found:
        notes.append(f"verdicts by all stages {found['verdicts_full']:.0f}, fallback {found['verdicts_fallback']:.0f}")
    if "passed" in found:
        notes.append(f"{100 * found['passed']:.1f} % passed SPF, DKIM and DMARC")
    if "runner_mib" in found:
        notes.append(f"a queue runner's own memory {found['runner_mib']} MiB")
    if "server_cores" in found:
        notes.append(f"server {found['server_cores']} of {os.cpu_count()} cores")
    if found.get("errors"):
        notes.append(f"ERRORS {found['errors']:.0f} {found['error_sample']}")
    return f"{found['row']:<48}{rate:>10,.0f}/s{found['cpu_ms']:>8.2f}  {'; '.join(notes)}"


def run(make: Make, words: Sequence[str], runs: int, seconds: float) -> list[Figures]:
    """Prints the rows whose names hold one of `words`, all if there are none; medians over the runs."""
    results: list[Figures] = []
    for row in ROWS:
        if words and not any(word in row.name.lower() for word in words):
            continue
        found = [row.measure(make, seconds) for _ in range(runs if row.repeat else 1)]
        merged: Figures = {"row": row.name}
        for key, value in found[0].items():
            number = isinstance(value, int | float)
            merged[key] = round(statistics.median([one[key] for one in found]), 3) if number else value
        results.append(merged)
        print(line(merged), flush=True)
    return results
