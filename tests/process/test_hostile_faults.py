"""What breaks under a server at work: workers killed or stopped, a full disk, configuration files that are no good.

Loads number their mails; what was answered 250 must be there exactly once, whatever happened meanwhile.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import smtplib
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.process.harness import ROOT, Server, command, wait_until
from tests.process.test_hostile import calm, login, prepare, rest, run, spooled, status, transmit, verify

HEARTBEAT = 15.0
CLASSIFY = 0.5
CONFIG = (
    f"\n[workers]\nsmtp = 1\nimap = 1\nsubmission = 1\nclassifier = 1\nheartbeat_timeout = {HEARTBEAT}\n"
    f"drain_time = 5.0\n"
)
KINDS = (
    "classifier.0", "notifier.0", "trainer.0", "housekeeper.0", "control.0", "smtp.0", "imap.0", "submission.0",
    "queuerunner.0",
)  # fmt: skip
DISK = 48  # MB


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    made = prepare(tmp_path_factory.mktemp("faults") / "demo", CONFIG)
    static = made.root / "config/echomox.toml"
    static.write_text(re.sub("classify_timeout = .*", f"classify_timeout = {CLASSIFY}", static.read_text()))
    with made as server:
        yield server
        verify(server)


class Load(threading.Thread):
    """Delivers numbered mails without a pause. accepted: those answered 250; codes: of the refusals; cut: how often
    the connection broke."""

    def __init__(self, server: Server, first: int) -> None:
        super().__init__(daemon=True)
        self.server = server
        self.number = first
        self.over = threading.Event()
        self.accepted: list[int] = []
        self.codes: Counter[int] = Counter()
        self.cut = 0

    def run(self) -> None:
        while not self.over.is_set():
            self.number += 1
            try:
                answer = transmit(self.server, b"Subject: mail %d\r\n\r\nhello" % self.number)
            except (OSError, AssertionError, IndexError):
                answer = b""
            if answer.startswith(b"250 "):
                self.accepted.append(self.number)
            elif answer[:3].isdigit():
                self.codes[int(answer[:3])] += 1
            else:
                self.cut += 1


@contextmanager
def load(server: Server, first: int) -> Iterator[list[Load]]:
    """Two loads at work; afterwards all that they were promised is there once."""
    loads = [Load(server, first + 1_000_000 * number) for number in range(2)]
    for one in loads:
        one.start()
    try:
        yield loads
    finally:
        for one in loads:
            one.over.set()
        for one in loads:
            one.join(60)
    there = Counter(number for number in numbers(server) if number >= first)
    promised = {number for one in loads for number in one.accepted}
    assert len(promised) > 20
    assert promised <= set(there)
    assert set(there.values()) == {1}
    assert not [code for one in loads for code in one.codes if code >= 500]


def numbers(server: Server) -> list[int]:
    """Of the mails in u0's INBOX."""
    with login(server) as peer:
        found = run(peer, b"x FETCH 1:* BODY.PEEK[HEADER.FIELDS (SUBJECT)]")
    return [int(number) for number in re.findall(rb"Subject: mail (\d+)", found)]


def accepted(loads: list[Load]) -> int:
    return sum(len(one.accepted) for one in loads)


def turned_away(loads: list[Load]) -> int:
    return sum(sum(one.codes.values()) for one in loads)


def test_killed_workers_are_replaced_and_no_promised_mail_is_lost(server):
    before = {name: restarts for name, (_, restarts) in restarts_of(server).items()}
    with load(server, 1_000_000) as loads:
        for name in KINDS:
            time.sleep(0.3)
            victim = server.workers()[name]
            os.kill(victim, signal.SIGKILL)
            wait_until(lambda name=name, victim=victim: server.workers().get(name) not in (None, victim), what=name)
        time.sleep(0.3)
    assert not [one.codes for one in loads if one.codes]
    assert sum(one.cut for one in loads) <= 20  # those that were under way when their acceptor was killed
    wait_until(lambda: {state for state, _ in restarts_of(server).values()} == {"READY"}, what="all are back")
    assert {name: restarts for name, (_, restarts) in restarts_of(server).items()} == {
        name: before[name] + 1 for name in KINDS
    }
    wait_until(lambda: not spooled(server), what="spool is empty")


def restarts_of(server: Server) -> dict[str, tuple[str, int]]:
    return {worker["name"]: (worker["state"], worker["restarts"]) for worker in status(server)["workers"]}


def test_mail_is_taken_while_the_classifier_stands_still(server):
    before = status(server)["counters"]
    victim = server.workers()["classifier.0"]
    with calm(server):
        os.kill(victim, signal.SIGSTOP)
        try:
            began = time.monotonic()
            assert transmit(server, b"Subject: mail 5\r\n\r\nx").startswith(b"250 ")
            assert time.monotonic() - began >= CLASSIFY
        finally:
            os.kill(victim, signal.SIGCONT)
    after = status(server)["counters"]
    for counter in ("classify_timeouts", "classify_fallbacks", "verdicts_fallback"):
        assert after[counter] > before[counter], counter


def test_an_acceptor_that_stands_still_is_replaced(server):
    with login(server) as peer:
        victim = server.workers()["imap.0"]
        os.kill(victim, signal.SIGSTOP)
        wait_until(lambda: server.workers().get("imap.0") not in (None, victim))
        assert rest(peer) == b""
    with login(server, 1) as peer:
        assert b"x OK" in run(peer, b"x NOOP")


def reload(server: Server) -> int:
    line = [*command("echomox-supervisor"), "reload", "--config", str(server.root)]
    return subprocess.run(line, capture_output=True, timeout=60, cwd=ROOT).returncode


def test_bad_files_are_refused_under_load_and_change_nothing(server):
    static, dynamic = server.root / "config/echomox.toml", server.root / "config/domains.toml"
    good = {path: path.read_text() for path in (static, dynamic)}
    bad = (
        (static, "[["),
        (static, "\0\x7f" * 1000),
        (static, ""),
        (static, good[static].replace("tls/demo.crt", "tls/none.crt")),
        (static, good[static] + "nonsense = 1\n"),
        (dynamic, ""),
        (dynamic, good[dynamic] + "\n[accounts.z]\nquota = -1\n"),
        (dynamic, "[a." * 5000),
    )
    with calm(server), load(server, 10_000_000) as loads:
        for path, text in bad:
            path.write_text(text)
            assert reload(server) != 0, text[:40]
            path.write_text(good[path])
    assert not any(one.codes or one.cut for one in loads)


@contextmanager
def small_disk(root: Path) -> Iterator[Server]:
    """A server whose data directory is a file system of DISK MB."""
    made = prepare(root, CONFIG)
    data, aside = root / "data", root / "data.made"
    data.rename(aside)
    data.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}m,mode=0700", "tmpfs", str(data)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount")
    try:
        shutil.copytree(aside, data, dirs_exist_ok=True)
        with made:
            yield made
            verify(made)
    finally:
        wait_until(lambda: not subprocess.run(["umount", str(data)], capture_output=True).returncode, what="umount")


@contextmanager
def full(data: Path) -> Iterator[None]:
    filler = data / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(65536)):
                pass
        except OSError:
            pass
        yield
    filler.unlink()


WRITES = (
    b"x APPEND INBOX {20+}\r\nSubject: full\r\n\r\nend",
    b"x APPEND INBOX {100000+}\r\n" + b"y" * 100_000,
    b"x CREATE new",
    b"x COPY 1 Trash",
)
READS = (b"x NOOP", b"x SEARCH ALL", b"x FETCH 1:* (FLAGS ENVELOPE BODY.PEEK[])", b"x STATUS INBOX (MESSAGES)")
LARGE = b"Subject: large\r\n\r\n" + (b"y" * 900 + b"\r\n") * 300


def test_a_full_disk_refuses_for_now_and_stores_nothing_half(tmp_path):
    with small_disk(tmp_path / "demo") as server, login(server) as peer:
        data = server.root / "data"
        for number in (1, 2):
            assert transmit(server, b"Subject: mail %d\r\n\r\nx" % number).startswith(b"250 ")
        with full(data):
            for body in (b"Subject: mail 3\r\n\r\nx", LARGE):
                assert transmit(server, body).startswith(b"452 4.3.1")
            for line in WRITES:
                assert b"x NO" in run(peer, line), line[:40]
            for line in READS:
                assert b"x OK" in run(peer, line), line
            assert not spooled(server)
        with load(server, 1000) as loads:
            for _ in range(3):
                taken, refused = accepted(loads), turned_away(loads)
                wait_until(lambda taken=taken: accepted(loads) > taken + 7, what="mail is taken")
                with full(data):
                    wait_until(lambda refused=refused: turned_away(loads) > refused + 3, what="mail is refused for now")
        assert {code for one in loads for code in one.codes} == {452}
        assert not any(one.cut for one in loads)
        assert sorted(number for number in numbers(server) if number < 1000) == [1, 2]
        for line in WRITES:
            assert b"x OK" in run(peer, line), line[:40]
        with smtplib.SMTP("127.0.0.1", server.ports["smtp"], timeout=60) as client:
            client.sendmail("a@x.test", ["u1@example.test"], LARGE)
