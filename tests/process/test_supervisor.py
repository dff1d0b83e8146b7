"""The supervisor with small services (bodies.py): real processes, real signals, loopback, each test bounded
in time.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from echomox.config.paths import Paths
from echomox.supervisor.pidfile import running_pid
from tests.process.harness import HANG, ROOT, SHM, Server, alive, children_of, free_base_port, segments_of, wait_until

STATIC = """\
hostname = "mail.example.test"
{extra}
[listeners]
smtp = [{addresses}]
submission = []
submissions = []
imap = []
imaps = []
[workers]
smtp = {workers}
classifier = 1
heartbeat_timeout = {heartbeat}
drain_time = {drain}
stop_time = {stop}
"""
DYNAMIC = """\
[domains."example.test"]
[accounts.u0]
addresses = ["u0@example.test"]
"""
SERVE = [sys.executable, "-m", "tests.process.serve"]


class Small(Server):
    """The small services from a configuration of our own."""

    def __init__(self, root: Path, **options: object) -> None:
        self.options = {"workers": 2, "drain": 300, "stop": 1.0, "heartbeat": 30.0, "extra": "", **options}
        base = free_base_port()
        super().__init__(
            [*SERVE, "start", "--config", str(root)], root, {"ports": {"smtp": base + 25, "second": base + 143}}
        )
        (root / "config").mkdir(parents=True)
        (root / "data").mkdir()
        self.write()
        (root / "config/domains.toml").write_text(DYNAMIC)

    def write(self, listeners: tuple[str, ...] = ("smtp",), **changes: object) -> None:
        self.options.update(changes)
        addresses = ", ".join(f'"127.0.0.1:{self.ports[name]}"' for name in listeners)
        (self.root / "config/echomox.toml").write_text(STATIC.format(addresses=addresses, **self.options))

    def run(self, *arguments: str, limit: float = HANG) -> subprocess.CompletedProcess[str]:
        """Another command for the same configuration."""
        command = [*SERVE, *arguments, "--config", str(self.root)]
        return subprocess.run(command, capture_output=True, text=True, timeout=limit, cwd=ROOT, check=False)

    def status(self) -> dict:
        done = self.run("status", "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def worker(self, name: str) -> dict:
        return next(worker for worker in self.status()["workers"] if worker["name"] == name)


class Client:
    """One connection to the echo service."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.lines = self.sock.makefile("rb")
        assert self.lines.readline() == b"hello\n"

    def ask(self, line: str) -> str:
        self.sock.sendall(line.encode() + b"\n")
        return self.lines.readline().decode().strip()

    def ask_past_draining(self, line: str) -> str:
        answer = self.ask(line)
        return self.lines.readline().decode().strip() if answer == "draining" else answer

    def close(self) -> None:
        self.lines.close()
        self.sock.close()


@pytest.fixture
def small(tmp_path):
    with Small(tmp_path / "server") as server:
        yield server


def reaches(server: Server, name: str, line: str) -> Client:
    """A connection to one of the echo processes; the kernel spreads them."""
    end = time.monotonic() + HANG
    while time.monotonic() < end:
        client = Client(server.ports["smtp"])
        if client.ask("who").startswith(name + " "):
            if line:
                client.sock.sendall(line.encode() + b"\n")
            return client
        client.close()
    raise AssertionError(f"{name} never answered")


def test_start_serves_with_every_worker_and_stop_leaves_nothing(small):
    assert set(small.workers()) == {"control.0", "moody.0", "echo.0", "echo.1"}
    reaches(small, "echo.0", "").close()
    reaches(small, "echo.1", "").close()
    assert len(small.segments) == 3
    assert not small.leftovers()  # no name while it runs, so none is left however it ends
    assert (small.root / "tmp/prepared").read_text() == str(os.getuid())
    assert small.stop() == 0
    small.assert_clean()
    assert not (small.root / "data/run/supervisor.pid").exists()
    assert not list((small.root / "data/run").glob("*.sock"))


def test_supervisor_has_one_thread_and_workers_only_their_descriptors(small):
    client = reaches(small, "echo.0", "")
    assert client.ask("threads") == "1"
    names = {
        os.readlink(f"/proc/{small.workers()['echo.0']}/fd/{number}")
        for number in client.ask("fds").split()
        if os.path.exists(f"/proc/{small.workers()['echo.0']}/fd/{number}")
    }
    assert not [name for name in names if "shm" in name or "supervisor.pid" in name]
    client.close()


def test_second_start_refuses_and_says_what_to_do(small):
    done = small.run("start")
    assert done.returncode == 4
    assert f"already running with process id {small.pid}" in done.stderr
    assert "echomox-supervisor stop" in done.stderr


def test_killed_worker_is_replaced_and_totals_do_not_go_back(small):
    for _ in range(5):
        Client(small.ports["smtp"]).close()
    wait_until(lambda: small.status()["counters"]["smtp_connections"] >= 5)
    before = small.status()["counters"]["smtp_connections"]
    victim = small.workers()["echo.0"]
    other = reaches(small, "echo.1", "")
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: small.workers().get("echo.0") not in (None, victim))
    wait_until(lambda: small.worker("echo.0")["state"] == "READY")
    assert small.worker("echo.0")["restarts"] == 1
    assert small.status()["counters"]["smtp_connections"] >= before
    assert other.ask("still here") == "still here"
    reaches(small, "echo.0", "").close()
    other.close()


def test_connections_wait_while_the_worker_is_replaced(tmp_path):
    with Small(tmp_path / "server", workers=1) as server:
        for _ in range(2):
            os.kill(server.workers()["echo.0"], signal.SIGKILL)
            client = Client(server.ports["smtp"])
            assert client.ask("who").startswith("echo.0 ")
            client.close()


def test_worker_that_hangs_shows_where_and_is_replaced(tmp_path):
    with Small(tmp_path / "server", heartbeat=4.0) as small:
        client = reaches(small, "echo.1", "")
        victim = int(client.ask("who").split()[1])
        client.sock.sendall(b"hang\n")
        wait_until(lambda: not alive(victim), what="hung worker killed")
        wait_until(lambda: small.workers().get("echo.1") not in (None, victim))
        client.close()
        assert 'event="worker hangs" worker=echo.1' in small.log
        assert re.search(r"bodies\.py\", line \d+ in answer", small.log)


def test_failing_worker_is_throttled_with_doubling_delay(small):
    (small.root / "tmp/moody").touch()
    os.kill(small.workers()["moody.0"], signal.SIGKILL)
    wait_until(lambda: small.log.count('event="worker ended" worker=moody.0') >= 3)
    delays = [float(d) for d in re.findall(r"worker=moody\.0 .*restart_in=([\d.]+)", small.log)]
    assert delays[:3] in ([0, 2, 4], [0, 1, 2], [0, 2, 4])
    assert small.worker("moody.0")["state"] in ("THROTTLED", "STARTING")
    assert small.worker("echo.0")["state"] == "READY"
    (small.root / "tmp/moody").unlink()
    wait_until(lambda: small.worker("moody.0")["state"] == "READY")


def test_start_that_never_gets_ready_gives_up_and_names_the_worker(tmp_path):
    server = Small(tmp_path / "server")
    (server.root / "tmp").mkdir()
    (server.root / "tmp/moody").touch()
    done = server.run("start")
    assert done.returncode == 7
    assert "moody.0 ended 4 times before it was ready" in done.stderr
    assert "in a bad mood" in server.log
    assert running_pid(Paths.home(server.root).pidfile) == 0


def test_exception_in_the_body_is_logged_with_its_traceback(small):
    (small.root / "tmp/moody").touch()
    os.kill(small.workers()["moody.0"], signal.SIGTERM)
    wait_until(lambda: "RuntimeError: in a bad mood" in small.log)
    assert "bodies.py" in small.log
    (small.root / "tmp/moody").unlink()
    wait_until(lambda: small.worker("moody.0")["state"] == "READY")


def test_weights_are_read_only_for_other_services(small):
    victim = small.workers()["echo.0"]
    reaches(small, "echo.0", "write weights").close()
    wait_until(lambda: "status=SIGSEGV" in small.log)
    wait_until(lambda: small.workers().get("echo.0") not in (None, victim))


# reload


class Load(threading.Thread):
    """Connects, asks and closes without a pause; whatever goes wrong is kept."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.port = port
        self.over = threading.Event()
        self.good = 0
        self.trouble: list[str] = []

    def run(self) -> None:
        while not self.over.is_set():
            try:
                client = Client(self.port)
                answer = client.ask_past_draining("who")
                client.close()
                if answer.startswith("echo."):
                    self.good += 1
                else:
                    self.trouble.append(f"answer {answer!r}")
            except (OSError, AssertionError) as error:
                self.trouble.append(repr(error))

    def finish(self) -> None:
        self.over.set()
        self.join(60)
        assert not self.is_alive()
        assert self.trouble == []
        assert self.good > 20


def test_reload_under_load_refuses_and_cuts_nothing(small):
    load = [Load(small.ports["smtp"]) for _ in range(3)]
    session = reaches(small, "echo.0", "")
    old = session.ask("who").split()[1]
    for thread in load:
        thread.start()
    try:
        for workers in (3, 1, 2):
            small.write(workers=workers)
            done = small.run("reload")
            assert done.returncode == 0, done.stderr
            assert "all workers replaced" in done.stdout
            names = [worker["name"] for worker in small.status()["workers"] if worker["state"] == "READY"]
            assert [name for name in names if name.startswith("echo")] == [f"echo.{n}" for n in range(workers)]
    finally:
        for thread in load:
            thread.over.set()
    for thread in load:
        thread.finish()
    assert session.ask_past_draining("who").split()[1] == old
    session.close()
    wait_until(lambda: not any("draining" in title for title in small.workers()))


def test_session_is_ended_at_the_end_of_the_drain_time(tmp_path):
    with Small(tmp_path / "server", drain=1) as server:
        session = Client(server.ports["smtp"])
        server.write(workers=1)
        assert server.run("reload").returncode == 0
        assert session.lines.readline() == b"draining\n"
        assert session.lines.readline() == b""
        session.close()


def test_reload_of_domains_replaces_no_worker(small):
    session = reaches(small, "echo.0", "")
    before = small.workers()
    generation = small.status()["config_generation"]
    assert session.ask("accounts") == "1 u0"
    with (small.root / "config/domains.toml").open("a") as file:
        file.write('[accounts.u1]\naddresses = ["u1@example.test"]\n')
    done = small.run("reload")
    assert done.returncode == 0, done.stderr
    assert "domains.toml taken over" in done.stdout
    assert session.ask("accounts") == "2 u0 u1"
    assert small.workers() == before
    assert small.status()["config_generation"] == generation + 1
    session.close()


@pytest.mark.parametrize(
    "file, text, where",
    [
        ("echomox.toml", "hostname = 5\n", "echomox.toml:1"),
        ("domains.toml", "[accounts.u0\n", "domains.toml:1"),
    ],
)
def test_bad_file_changes_nothing_and_names_the_line(small, file, text, where):
    session = reaches(small, "echo.0", "")
    before = small.workers()
    (small.root / "config" / file).write_text(text)
    done = small.run("reload")
    assert done.returncode == 78
    assert where in done.stderr
    small.tell(signal.SIGHUP)
    wait_until(lambda: small.status()["reloads_failed"] == 1)
    assert where in small.status()["reload_message"]
    assert where in small.log
    assert small.workers() == before
    assert session.ask("accounts") == "1 u0"
    session.close()


def test_reload_opens_new_addresses_and_leaves_old_ones(small):
    small.write(("smtp", "second"))
    assert small.run("reload").returncode == 0
    client = Client(small.ports["second"])
    assert client.ask("who").split()[2] == "2"
    client.close()
    small.write(("second",))
    assert small.run("reload").returncode == 0
    Client(small.ports["second"]).close()
    wait_until(lambda: refused(small.ports["smtp"]))


def refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return True
    return False


def test_reload_to_an_address_in_use_changes_nothing(small):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", small.ports["second"]))
        taken.listen()
        before = small.workers()
        small.write(("smtp", "second"))
        done = small.run("reload")
        assert done.returncode == 78
        assert "another program listens there" in done.stderr
        assert small.workers() == before
    assert small.run("reload").returncode == 0
    Client(small.ports["second"]).close()


def test_reload_whose_new_workers_fail_keeps_the_old_ones_serving(small):
    session = reaches(small, "echo.0", "")
    moody = small.workers()["moody.0"]
    (small.root / "tmp/moody").touch()
    small.write(workers=1)
    small.tell(signal.SIGHUP)
    wait_until(lambda: "in a bad mood" in small.log)
    assert small.workers()["moody.0"] == moody or alive(moody)
    (small.root / "tmp/moody").unlink()
    wait_until(lambda: small.status()["reloads_done"] == 1)
    wait_until(lambda: not alive(moody))
    assert session.ask_past_draining("x") == "x"
    session.close()


# signals


def test_usr1_reopens_the_log_everywhere(small):
    log = small.root / "logs/echomox.log"
    log.rename(small.root / "logs/echomox.log.1")
    small.tell(signal.SIGUSR1)
    wait_until(log.exists)
    (small.root / "tmp/moody").touch()
    victim = small.workers()["echo.0"]
    client = reaches(small, "echo.0", "")
    wait_until(lambda: str(log) in opened(victim), what="the signal has travelled through the supervisor")
    os.kill(victim, signal.SIGTERM)
    wait_until(lambda: f"echo[echo.0/{victim}] event=draining" in log.read_text())
    client.close()


def opened(pid: int) -> set[str]:
    """The files that a process has open."""
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found.add(os.readlink(entry))
    return found


def test_usr2_writes_the_state_to_the_log(small):
    small.tell(signal.SIGUSR2)
    wait_until(lambda: 'event="state of all"' in small.log)
    wait_until(lambda: "event=state name=echo.1" in small.log)


def test_ttin_and_ttou_change_the_pool(small):
    small.tell(signal.SIGTTIN)
    wait_until(lambda: "moody.1" in small.workers())
    wait_until((small.root / "data/run/classify.1.sock").exists)
    wait_until(lambda: small.status()["classifiers"] == 2)
    small.tell(signal.SIGTTOU)
    wait_until(lambda: "moody.1" not in small.workers())
    small.tell(signal.SIGTTOU)
    small.tell(signal.SIGUSR2)
    wait_until(lambda: 'event="state of all"' in small.log)
    assert "moody.0" in small.workers()
    wait_until(lambda: not (small.root / "data/run/classify.1.sock").exists())


def test_term_lets_sessions_finish_for_stop_time(tmp_path):
    with Small(tmp_path / "server", stop=5.0) as server:
        session = Client(server.ports["smtp"])
        server.tell(signal.SIGTERM)
        assert session.lines.readline() == b"draining\n"
        assert session.ask("last words") == "last words"
        assert session.lines.readline() == b""
        session.close()
        assert server.stop() == 0


def test_int_gives_no_time(tmp_path):
    with Small(tmp_path / "server", drain=600) as server:
        session = Client(server.ports["smtp"])
        began = time.monotonic()
        assert server.stop(signal.SIGINT) == 0
        assert time.monotonic() - began < 300
        session.close()


def test_kill_9_of_the_supervisor_ends_all_and_a_new_start_works(tmp_path):
    server = Small(tmp_path / "server")
    server.start()
    server.look()
    first = list(server.segments)
    assert first
    os.kill(server.pid, signal.SIGKILL)
    server.kill()
    server.assert_clean()
    with server:
        assert server.segments != first
        Client(server.ports["smtp"]).close()


def test_every_child_is_a_worker(tmp_path):
    """Not Python's tracker of shared memory."""
    with Small(tmp_path / "server") as server:
        assert set(children_of(server.pid)) == set(server.workers().values())


# commands


def test_daemon_returns_when_ready_and_stop_ends_it(tmp_path):
    server = Small(tmp_path / "server")
    done = server.run("start", "--daemon")
    assert (done.returncode, done.stdout) == (0, "READY\n"), done.stderr
    pid = running_pid(Paths.home(server.root).pidfile)
    try:
        Client(server.ports["smtp"]).close()
        children = children_of(pid)
        segments = segments_of(pid)
        assert "echo.1" in server.run("status").stdout
        assert server.run("start", "--daemon").returncode == 4
        done = server.run("restart")
        assert (done.returncode, done.stdout) == (0, "READY\n"), done.stderr
        assert not alive(pid)
        pid = running_pid(Paths.home(server.root).pidfile)
        assert server.run("stop").returncode == 0
    finally:
        if alive(pid):
            os.kill(pid, signal.SIGKILL)
    assert not [child for child in children if alive(child)]
    assert not [name for name in segments if (SHM / name).exists()]


def test_commands_without_a_server_say_so(tmp_path):
    server = Small(tmp_path / "server")
    for command in ("stop", "reload", "status"):
        done = server.run(command)
        assert done.returncode == 5
        assert "no server runs" in done.stderr


def test_check_names_what_is_wrong(tmp_path):
    server = Small(tmp_path / "server")
    assert "good; 1 domain, 1 account, " in server.run("check").stdout
    (server.root / "config/echomox.toml").write_text('hostname = "mail.example.test"\n[workers]\nsmtp = -1\n')
    done = server.run("check")
    assert done.returncode == 78
    assert "echomox.toml:3: workers.smtp" in done.stderr


def test_address_in_use_is_named_at_the_start(tmp_path):
    server = Small(tmp_path / "server")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", server.ports["smtp"]))
        taken.listen()
        done = server.run("start")
    assert done.returncode == 6
    assert f"127.0.0.1:{server.ports['smtp']}" in done.stderr


def test_long_run_directory_works(tmp_path):
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    with Small(deep / "server") as server:
        assert server.status()["ready"]


def test_systemd_is_told(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        path = tmp_path / "notify"
        notify.bind(str(path))
        notify.settimeout(60)
        server = Small(tmp_path / "server")
        server.start_command = ["env", f"NOTIFY_SOCKET={path}", "WATCHDOG_USEC=400000", *server.start_command]
        said: list[str] = []
        with server:
            collect(notify, said, "READY=1")
            server.tell(signal.SIGHUP)
            collect(notify, said, "RELOADING=1")
            collect(notify, said, "WATCHDOG=1")
        collect(notify, said, "STOPPING=1")


def collect(notify: socket.socket, said: list[str], word: str) -> None:
    said.clear()
    while word not in said:
        said += notify.recv(4096).decode().split("\n")


@pytest.fixture
def open_path():
    """A directory that another user can reach; tmp_path is root's alone."""
    path = Path(tempfile.mkdtemp(prefix="echomox-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
def test_workers_of_root_become_the_owner_of_the_data_directory(open_path):
    server = Small(open_path / "server")
    for entry in [server.root, *server.root.rglob("*")]:
        os.chown(entry, 12345, 12345)
    with server:
        client = Client(server.ports["smtp"])
        assert client.ask("ids") == "(12345, 12345, 12345) (12345, 12345, 12345) [] refused"
        client.close()
        status = Path(f"/proc/{server.workers()['echo.0']}/status").read_text()
        assert re.search(r"CapEff:\s+0+\n", status)
        assert "NoNewPrivs:\t1" in status
        wait_until(lambda: all(worker["memory"] for worker in server.status()["workers"]))
        assert (server.root / "logs/echomox.log").stat().st_uid == 12345
        assert (server.root / "data/run/control.sock").stat().st_uid == 12345
        server.write(workers=1)
        assert server.run("reload").returncode == 0
