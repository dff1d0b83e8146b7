"""The filter alone: classifier processes as the server runs them, real mail from bytes on disk to verdict.

An account learns the first TRAINED mails of the corpus (see tests/bench/corpus.py; without it, made-up mail). Those
after them are written to a spool directory before the clock starts. A classifier process is `workers.classifier` with
its judge on its Unix socket; the driver writes requests that were encoded before, WINDOW of them unanswered at a time,
and counts answers, which costs it a few percent of a core.

    rate        verdicts a second, and verdicts a second of the classifiers' own processor time
    times one   two processes together, by each alone just before and after: the median of the runs' ratios. of
                processor time: what it would be if nothing else ran, of what each verdict cost
    latency     of single messages that come at random times, at half of the rate that was measured: asked of one
                process, and of as many as the server starts, one a core, where each goes to the process that owes
                least, as `ClassifierPool` does; and at ASKED / 2 a process, whatever was measured. The driver is let
                onto a core before the classifiers where the system allows it, as if it were another machine; what it
                works is taken from them. late: how much after its time it sent, counted as latency too. no core: how
                long for each message a classifier that had work stood without a core, which others used

Run by `make bench`, or alone: python -m tests.bench --only filter:
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import select
import shutil
import socket
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

from echomox.config.schema import JunkFilter
from echomox.filter.judge import Judge
from echomox.filter.stages import STAGES, esn
from echomox.filter.tools.corpus import load
from echomox.filter.tools.trial import ACCOUNT, Trial
from echomox.filter.weights import SharedWeights, block
from echomox.ipc.frame import LENGTH, encode
from echomox.ipc.schema import Classify
from echomox.log import Log, Sink
from shm.weights import WeightBuffer, weights_size
from tests.bench import corpus, measure
from tests.bench.training import training
from tests.corpus import sample
from workers.classifier import Classifier, settle

TRAINED, CLASSIFIED = 2000, 1500
WINDOW = 64
"""Two full batches."""
ASKED = 800
"""Messages a second that a classifier is to judge with a core of its own."""
ACCOUNTS = 32
"""For the row of memory."""


CORES = os.cpu_count() or 1


class Row(NamedTuple):
    """rate: of requests to each process, 0 for half of what was measured. ratio: by how much all processes do more
    than one."""

    name: str
    stages: str
    processes: int = 1
    latency: bool = False
    rate: int = 0
    ratio: bool = False


ROWS = (
    Row("filter: Bayes only", "bayes"),
    Row("filter: everything", "all"),
    Row("filter: everything, 2 processes", "all", 2, ratio=True),
    Row("filter: everything, half load, all classifiers", "all", CORES, latency=True),
    Row("filter: everything, half load, one process", "all", 1, latency=True),
    Row(f"filter: everything, half load of {ASKED}/s a core", "all", CORES, latency=True, rate=ASKED // 2),
)
MEMORY = "filter: memory of an account in a classifier"
TRAINING = "filter: training"
NAMES = (*(row.name for row in ROWS), MEMORY, TRAINING)


# -- the classifier's process ------------------------------------------------------


def serve(path: str, accounts: str, spool: str, stages: str) -> None:
    """The process: answers on the socket until it is ended."""
    sink = Sink()
    sink.default = 100
    log = Log("bench", sink=sink)
    buffer = WeightBuffer(memoryview(bytearray(weights_size(1 << 20))))
    buffer.publish(block(esn.seed_weights(), None))
    network = esn.Network(SharedWeights(buffer, log))
    rows = tuple(network.stage() if stage.name == esn.NAME else stage for stage in STAGES)
    if stages != "all":
        rows = tuple(stage for stage in rows if stage.name == stages)

    async def run() -> None:
        judge = Judge(Path(accounts), lambda account: JunkFilter(), log, rows)
        classifier = Classifier((judge, Path(spool), 60.0), log)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()
        await classifier.server.serve([listener])
        settle()
        print("READY", flush=True)
        await asyncio.Event().wait()

    uvloop.run(run())


@contextlib.contextmanager
def serving(place: Place, stages: str, number: int) -> Iterator[list[Peer]]:
    processes: list[subprocess.Popen[str]] = []
    directory = Path(tempfile.mkdtemp(dir=place.directory))
    try:
        for index in range(number):
            arguments = [str(directory / f"classify.{index}.sock"), str(place.accounts), str(place.spool), stages]
            command = [sys.executable, "-m", "tests.bench.filter", *arguments]
            processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        peers = []
        for index, process in enumerate(processes):
            assert process.stdout is not None
            if process.stdout.readline().strip() != "READY":
                raise SystemExit("a classifier did not start")
            link = socket.socket(socket.AF_UNIX)
            link.connect(str(directory / f"classify.{index}.sock"))
            peers.append(Peer(process.pid, link))
        yield peers
    finally:
        for process in processes:
            process.terminate()
            process.wait(30)


# -- what is asked -----------------------------------------------------------------


class Place(NamedTuple):
    """requests: encoded, one for each spooled message."""

    directory: Path
    accounts: Path
    spool: Path
    requests: list[bytes]
    source: str
    lessons: list[tuple[bytes, str]]


class Peer:
    """A classifier's process, and the driver's end of a connection to it."""

    def __init__(self, pid: int, link: socket.socket) -> None:
        self.pid = pid
        self.link = link
        self._buffer = b""

    def answers(self) -> int:
        """How many have come; waits for the first."""
        data = self._buffer + self.link.recv(1 << 18)
        count = at = 0
        while len(data) - at >= LENGTH.size:
            end = at + LENGTH.size + LENGTH.unpack_from(data, at)[0]
            if end > len(data):
                break
            if b"Verdicts" not in data[at : at + 40]:
                raise SystemExit(f"no verdict: {data[at:end]!r}")
            count, at = count + 1, end
        self._buffer = data[at:]
        return count


def prepare(directory: Path) -> Place:
    """Trains the account and fills the spool."""
    accounts, spool = directory / "accounts", directory / "spool"
    accounts.mkdir()
    (spool / "bench").mkdir(parents=True)
    lessons, mails, source = _mails(directory)
    with Trial(accounts, JunkFilter()) as trial:
        for start in range(0, len(lessons), 50):
            trial.train(dict(enumerate(lessons[start : start + 50], start)))
    requests = []
    for number, data in enumerate(mails):
        (spool / "bench" / str(number)).write_bytes(data)
        request = Classify("bench", (ACCOUNT,), None, f"bench/{number}", "a@b.example", "192.0.2.1", "mx", True, ())
        requests.append(encode(request, number + 1))
    return Place(directory, accounts, spool, requests, source, lessons)


def _mails(directory: Path) -> tuple[list[tuple[bytes, str]], list[bytes], str]:
    archive = corpus.find()
    if archive is None:
        lessons = [(sample.spam(n), "spam") if n % 2 else (sample.ham(n), "ham") for n in range(TRAINED)]
        mails = [sample.spam(n) if n % 2 else sample.ham(n) for n in range(TRAINED, TRAINED + CLASSIFIED)]
        return lessons, mails, "made-up mail"
    root = archive
    if not archive.is_dir():
        with tarfile.open(archive) as tar:
            tar.extractall(directory / "corpus", filter="data")
        root = next((directory / "corpus").rglob("index.tsv")).parent
    known = load(root)[: TRAINED + 3 * CLASSIFIED]
    lessons = [(mail.read(), "spam" if mail.spam else "ham") for mail in known[:TRAINED]]
    return lessons, [mail.read() for mail in known[TRAINED::3][:CLASSIFIED]], "the corpus"


# -- measuring ---------------------------------------------------------------------


def throughput(place: Place, peers: Sequence[Peer], seconds: float) -> dict[str, float]:
    """All requests over and over, each to a process that has room."""
    before = [measure.cpu_seconds(peer.pid) for peer in peers]
    own, began = time.process_time(), time.perf_counter()
    sent = done = 0
    open_ = dict.fromkeys(peers, 0)
    links = {peer.link: peer for peer in peers}
    while (left := time.perf_counter() - began < seconds) or any(open_.values()):
        for peer in peers:
            if left and open_[peer] <= WINDOW // 2:
                more = range(sent, sent + WINDOW - open_[peer])
                peer.link.sendall(b"".join([place.requests[number % len(place.requests)] for number in more]))
                sent, open_[peer] = more.stop, WINDOW
        for link in select.select(list(links), [], [])[0]:
            count = links[link].answers()
            open_[links[link]] -= count
            done += count
    elapsed = time.perf_counter() - began
    spent = sum([measure.cpu_seconds(peer.pid) - start for peer, start in zip(peers, before)])
    return {
        "rate": done / elapsed,
        "rate_of_a_core": done / spent,
        "cpu_ms": 1000 * spent / done,
        "cores": spent / elapsed,
        "driver_cores": (time.process_time() - own) / elapsed,
    }


def times_one(place: Place, peers: Sequence[Peer], seconds: float) -> dict[str, float]:
    """All of them, and by how much they do more than each alone, measured before and after for as long."""
    first = throughput(place, peers[:1], seconds / 2)
    together = throughput(place, peers, seconds)
    last = throughput(place, peers[-1:], seconds / 2)
    alone = {key: (first[key] + last[key]) / 2.0 for key in first}
    ratio = together["rate"] / alone["rate"]
    return together | {"times_one": ratio, "times_of_cpu": len(peers) * alone["cpu_ms"] / together["cpu_ms"]}


def latency(place: Place, peers: Sequence[Peer], rate: float, seconds: float) -> dict[str, float]:
    """Milliseconds from request to answer; requests come as a Poisson process, each to the peer that owes least, of
    equals the next in turn."""
    waited = sum([_without_core(peer.pid) for peer in peers])
    with _first_in_line():
        times, late = _asked(place, peers, rate, seconds)
    waited = sum([_without_core(peer.pid) for peer in peers]) - waited
    quantile = statistics.quantiles(times, n=100)
    lateness = statistics.quantiles(late, n=100)[98]
    found = {"rate": rate, "p50": quantile[49], "p99": quantile[98], "max": max(times), "late_p99": lateness}
    return found | {"no_core_ms": 1000 * waited / len(times)}


def _asked(place: Place, peers: Sequence[Peer], rate: float, seconds: float) -> tuple[list[float], list[float]]:
    """(latencies, how late the driver was) of each request."""
    draw = random.Random(1)
    waiting: dict[Peer, list[float]] = {peer: [] for peer in peers}
    links = {peer.link: peer for peer in peers}
    times: list[float] = []
    late: list[float] = []
    due, number = time.perf_counter(), 0
    end = due + seconds
    while due < end or any(waiting.values()):
        now = time.perf_counter()
        if due < end and now >= due:
            turn = number % len(peers)
            peer = min([*peers[turn:], *peers[:turn]], key=lambda one: len(waiting[one]))
            peer.link.sendall(place.requests[number % len(place.requests)])
            waiting[peer].append(due)
            late.append(1000 * (now - due))
            number += 1
            due += draw.expovariate(rate)
        pause = max(0.0, due - time.perf_counter()) if due < end else None
        for link in select.select(list(links), [], [], pause)[0]:
            peer = links[link]
            count, now = peer.answers(), time.perf_counter()
            times += [1000 * (now - start) for start in waiting[peer][:count]]
            del waiting[peer][:count]
    return times, late


@contextlib.contextmanager
def _first_in_line() -> Iterator[None]:
    """This process before all of usual priority, where that is allowed."""
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        yield
        return
    try:
        yield
    finally:
        os.sched_setscheduler(0, *before)


def _without_core(pid: int) -> float:
    """Seconds for which its only thread was ready to run and did not; 0 where the kernel does not count them."""
    try:
        return int(Path("/proc", str(pid), "schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


def memory(place: Place) -> dict[str, float]:
    """KiB that ACCOUNTS - 1 more accounts of the same learning cost a classifier, for each. private: memory of its own;
    mapped: pages of files, shared with other classifiers and given back when memory is short."""
    names = [ACCOUNT]
    for number in range(1, ACCOUNTS):
        names.append(f"other{number}")
        shutil.copytree(place.accounts / ACCOUNT, place.accounts / names[-1])
    os.sync()  # pages that were not written yet would count as private
    with serving(place, "all", 1) as (peer,):
        sizes = []
        for accounts in (names[:1], names):
            for account in accounts:
                for number in range(8):
                    request = Classify("bench", (account,), None, f"bench/{number}", "", "", "", False, ())
                    peer.link.sendall(encode(request, 1))
                    while not peer.answers():
                        pass
            sizes.append((_kib(peer.pid, "Private_Dirty:"), _kib(peer.pid, "Rss:")))
    judge = Judge(place.accounts, lambda account: JunkFilter(), Log("bench", sink=Sink()))
    try:
        read_out = judge.context(ACCOUNT).models(esn.NAME)
    finally:
        judge.close()
    resident = sum([weights.nbytes for weights in read_out.weights.values()]) / 1024
    (dirty, rss), (more_dirty, more_rss) = sizes
    private, every = (more_dirty - dirty) / (ACCOUNTS - 1), (more_rss - rss) / (ACCOUNTS - 1)
    return {"private_kib": private, "mapped_kib": every - private, "reservoir_kib": resident}


def _kib(pid: int, kind: str) -> int:
    lines = Path("/proc", str(pid), "smaps_rollup").read_text().splitlines()
    return sum([int(line.split()[1]) for line in lines if line.startswith(kind)])


# -- the table ---------------------------------------------------------------------


def run(words: Sequence[str], runs: int, seconds: float) -> list[dict[str, Any]]:
    """Prints the rows whose names hold one of `words`, all if there are none; medians over the runs."""
    wanted = [name for name in NAMES if not words or any(word in name.lower() for word in words)]
    results: list[dict[str, Any]] = []
    if not wanted:
        return results
    with tempfile.TemporaryDirectory(prefix="echomox-bench-") as scratch:
        place = prepare(Path(scratch))
        for row in [row for row in ROWS if row.name in wanted]:
            found = {key: round(value, 3) for key, value in _measured(row, place, runs, seconds).items()}
            results.append({"row": row.name, "source": place.source} | found)
            print(line(results[-1]), flush=True)
        if MEMORY in wanted:
            results.append({"row": MEMORY} | {key: round(value, 1) for key, value in memory(place).items()})
            print(line(results[-1]), flush=True)
        if TRAINING in wanted:
            directory = Path(scratch, "training")
            directory.mkdir()
            rates = training(directory, place.lessons)
            results.append({"row": TRAINING, "source": place.source} | {k: round(v, 1) for k, v in rates.items()})
            print(line(results[-1]), flush=True)
    return results


def _measured(row: Row, place: Place, runs: int, seconds: float) -> dict[str, float]:
    """The medians over the runs."""
    with serving(place, row.stages, row.processes) as peers:
        throughput(place, peers, 1.0)  # warms up
        found = []
        for _ in range(runs):
            if row.rate:
                found.append(latency(place, peers, row.rate * len(peers), seconds))
                continue
            found.append((times_one if row.ratio else throughput)(place, peers, seconds))
            if row.latency:
                found[-1] |= latency(place, peers, found[-1]["rate"] / 2, seconds)
        merged = {key: statistics.median([one[key] for one in found]) for key in found[0]}
    return merged | {"processes": float(row.processes)}


def line(result: dict[str, Any]) -> str:
    name = f"{result['row']:<48}"
    if "private_kib" in result:
        sizes = f"{result['private_kib']} KiB, mapped files {result['mapped_kib']} KiB"
        return f"{name}{'':>18}  {sizes}; read-out of the reservoir {result['reservoir_kib']} KiB"
    if "outbox_rate" in result:
        notes = f"of a core: {result['outbox_rate_of_a_core']:,.0f}, anew {result['retrain_rate_of_a_core']:,.0f}/s"
        notes += f"; anew {result['retrain_rate']:,.0f}/s; one correction {result['correction_cpu_ms']} ms"
        return f"{name}{result['outbox_rate']:>10,.0f}/s{'':>8}  {notes}"
    if "p99" in result:
        notes = f"p50 {result['p50']} ms, p99 {result['p99']} ms; {result['processes']:.0f} processes"
        notes += f"; driver late by {result['late_p99']} ms (p99), no core for {result['no_core_ms']} ms a message"
        return f"{name}{result['rate']:>10,.0f}/s{'':>8}  {notes}"
    notes = f"{result['rate_of_a_core']:,.0f}/s of a core; {result['source']}; driver {result['driver_cores']} cores"
    if "times_one" in result:
        notes += f"; {result['times_one']} times one process, {result['times_of_cpu']} of processor time"
    return f"{name}{result['rate']:>10,.0f}/s{result['cpu_ms']:>8.2f}  {notes}"


if __name__ == "__main__":
    if len(sys.argv) == 5:
        serve(*sys.argv[1:])
    else:
        print(json.dumps(run([], 1, 3.0), indent=1))
