"""The whole server under the supervisor: start, status, reload under load, deaths of workers, stop."""

from __future__ import annotations

import imaplib
import json
import os
import signal
import smtplib
import socket
import subprocess
import threading

import pytest

from tests.process.harness import ROOT, Server, alive, command, wait_until

WORKERS = {
    "notifier.0",
    "control.0",
    "trainer.0",
    "housekeeper.0",
    "queuerunner.0",
    "classifier.0",
    "smtp.0",
    "smtp.1",
    "submission.0",
    "imap.0",
    "imap.1",
}
MESSAGE = b"From: a@example.org\r\nTo: u0@example.test\r\nSubject: %d\r\n\r\nhello\r\n"


def run(server: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
    line = [*command("echomox-supervisor"), *arguments, "--config", str(server.root)]
    return subprocess.run(line, capture_output=True, text=True, timeout=90, cwd=ROOT, check=False)


def status(server: Server) -> dict:
    return json.loads(run(server, "status", "--json").stdout)


def configure(server: Server, old: str, new: str) -> None:
    path = server.root / "config/echomox.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.fixture
def server(tmp_path):
    demo = Server.demo(tmp_path / "demo", "--no-limits")
    path = demo.root / "config/echomox.toml"
    text = path.read_text()
    assert "[workers]" not in text
    path.write_text(text + "\n[workers]\nsmtp = 2\nimap = 2\nclassifier = 1\ndrain_time = 300.0\n")
    with demo:
        yield demo


def send(server: Server, number: int) -> None:
    account = server.accounts[0]["address"]
    with smtplib.SMTP("127.0.0.1", server.ports["smtp"], timeout=60) as client:
        client.sendmail("a@example.org", [account], MESSAGE % number)


def count(server: Server) -> int:
    account = server.accounts[0]
    client = imaplib.IMAP4("127.0.0.1", server.ports["imap"], timeout=60)
    try:
        client.login(account["address"], account["password"])
        total = 0
        for mailbox in ("INBOX", "Junk"):
            client.select(mailbox, readonly=True)
            total += len(client.search(None, "ALL")[1][0].split())
        return total
    finally:
        client.logout()


def test_all_services_are_ready_and_shown(server):
    state = status(server)
    assert {worker["name"] for worker in state["workers"]} == WORKERS
    assert {worker["state"] for worker in state["workers"]} == {"READY"}
    assert state["ready"] and state["pid"] == server.pid
    assert set(server.workers()) == WORKERS
    shown = run(server, "status").stdout
    assert all(name in shown for name in WORKERS)
    threads = os.listdir(f"/proc/{server.pid}/task")
    assert len(threads) == 1


class Deliveries(threading.Thread):
    """Delivers without a pause; what was not accepted is kept."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self.server = server
        self.over = threading.Event()
        self.accepted = 0
        self.trouble: list[str] = []

    def run(self) -> None:
        while not self.over.is_set():
            try:
                send(self.server, self.accepted)
                self.accepted += 1
            except (OSError, smtplib.SMTPException) as error:
                self.trouble.append(repr(error))


def test_reload_under_load_cuts_nothing_and_loses_no_mail(server):
    session = imaplib.IMAP4("127.0.0.1", server.ports["imap"], timeout=60)
    session.login(server.accounts[0]["address"], server.accounts[0]["password"])
    loads = [Deliveries(server) for _ in range(2)]
    for load in loads:
        load.start()
    try:
        for before, after in ((300, 301), (301, 302)):
            generation = status(server)["static_generation"]
            configure(server, f"drain_time = {before}", f"drain_time = {after}")
            done = run(server, "reload")
            assert done.returncode == 0, done.stderr
            assert status(server)["static_generation"] == generation + 1
    finally:
        for load in loads:
            load.over.set()
    for load in loads:
        load.join(60)
    assert [load.trouble for load in loads] == [[], []]
    accepted = sum(load.accepted for load in loads)
    assert accepted > 10
    assert session.noop()[0] == "OK"
    session.logout()
    assert count(server) == accepted


@pytest.mark.parametrize(
    "name", ["notifier.0", "control.0", "trainer.0", "housekeeper.0", "classifier.0", "smtp.0", "imap.1"]
)
def test_service_goes_on_when_a_worker_is_killed(server, name):
    victim = server.workers()[name]
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: server.workers().get(name) not in (None, victim))
    wait_until(lambda: len(ready(server)) == len(WORKERS))
    send(server, 1)
    assert count(server) == 1


def ready(server: Server) -> list[str]:
    done = run(server, "status", "--json")
    if done.returncode:
        return []
    return [worker["name"] for worker in json.loads(done.stdout)["workers"] if worker["state"] == "READY"]


def test_stop_ends_idle_sessions_within_stop_time_and_says_goodbye(server):
    imap = imaplib.IMAP4("127.0.0.1", server.ports["imap"], timeout=60)
    smtp = socket.create_connection(("127.0.0.1", server.ports["smtp"]), timeout=60)
    lines = smtp.makefile("rb")
    assert lines.readline().startswith(b"220 ")
    assert server.stop() == 0
    assert lines.readline().startswith(b"421")
    assert b"BYE" in imap.readline()
    imap.shutdown()
    smtp.close()


def test_kill_9_of_the_supervisor_leaves_nothing_and_mail_is_there_after_a_new_start(tmp_path):
    server = Server.demo(tmp_path / "demo")
    server.start()
    send(server, 1)
    server.look()
    os.kill(server.pid, signal.SIGKILL)
    server.kill()
    server.assert_clean()
    with server:
        assert count(server) == 1
        assert alive(server.pid)
