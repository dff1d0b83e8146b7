"""The supervisor's small parts: sharing of sockets, PID file, systemd's variables, status table, commands'
arguments.
"""

from __future__ import annotations

import os
import socket

import pytest

from echomox.cli.supervisor import _reload_over, parser
from echomox.config.paths import Paths
from echomox.config.schema import Listeners as Addresses
from echomox.config.schema import Static, Workers
from echomox.supervisor.daemon import _judge
from echomox.supervisor.listen import ListenError, Listeners, Wanted, wanted
from echomox.supervisor.notify import Notifier
from echomox.supervisor.pidfile import AlreadyRunning, PidFile, running_pid
from echomox.supervisor.service import Service, User
from echomox.supervisor.status import status, table
from shm.scoreboard import Scoreboard, State
from workers.table import PRELOAD, SERVICES, server

ME = User(os.geteuid(), os.getegid(), "me")
SMTP = Service("smtp", "x:run", ("smtp",))
POOL = Service("classifier", "x:run", ("classify",), per_slot=True)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture
def listeners(tmp_path):
    paths = Paths.home(tmp_path)
    paths.run.mkdir(parents=True)
    listeners = Listeners(paths, ME, [])
    yield listeners
    listeners.close()


# the table


def test_rows_stand_in_the_order_of_start():
    names = [service.name for service in SERVICES]
    first = ["notifier", "control", "trainer", "housekeeper", "classifier", "queuerunner"]
    assert names == [*first, "smtp", "submission", "imap"]
    assert [service.name for service in SERVICES if service.publishes] == ["trainer"]
    assert all(service.body.partition(":")[0] in PRELOAD for service in SERVICES)


@pytest.mark.parametrize(
    "workers, cores, expected",
    [
        (Workers(), 2, {"smtp": 2, "submission": 1, "imap": 2, "classifier": 2, "notifier": 1}),
        (Workers(), 16, {"smtp": 4, "submission": 1, "imap": 16, "classifier": 16, "trainer": 1}),
        (
            Workers(smtp=7, imap=1, classifier=3, submission=2),
            2,
            {"smtp": 7, "submission": 2, "imap": 1, "classifier": 3},
        ),
    ],
)
def test_counts(workers, cores, expected):
    whole = server()
    whole = type(whole)(whole.services, whole.entry, cores=cores)
    counts = whole.counts(Static(workers=workers))
    assert {name: counts[name] for name in expected} == expected


# listeners


def test_wanted_names_every_socket():
    static = Static(listeners=Addresses(smtp=("127.0.0.1:2525", "[::1]:2525")))
    want = wanted(static, (SMTP, POOL), {"smtp": 2, "classifier": 2})
    assert want.tcp == {("smtp", "127.0.0.1:2525"): 2, ("smtp", "[::1]:2525"): 2}
    assert want.unix == {"classify.0", "classify.1"}


def test_sockets_are_shared_out_and_none_is_lost_when_there_are_fewer_processes(listeners):
    address = f"127.0.0.1:{free_port()}"
    static = Static(listeners=Addresses(smtp=(address,)))
    listeners.open(Wanted({("smtp", address): 3}))
    three = [listeners.share(SMTP, index, 3, static)["smtp"] for index in range(3)]
    assert [len(share) for share in three] == [1, 1, 1]
    two = [listeners.share(SMTP, index, 2, static)["smtp"] for index in range(2)]
    assert [len(share) for share in two] == [2, 1]
    assert {sock for share in two for sock in share} == {sock for share in three for sock in share}
    listeners.open(Wanted({("smtp", address): 4}))
    four = [listeners.share(SMTP, index, 4, static)["smtp"] for index in range(4)]
    assert [share[0] for share in four[:3]] == [share[0] for share in three]


def test_address_of_another_program_is_refused_and_nothing_stays_open(listeners):
    good, bad = f"127.0.0.1:{free_port()}", free_port()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", bad))
        other.listen()
        with pytest.raises(ListenError, match="another program listens there"):
            listeners.open(Wanted({("smtp", good): 1, ("imap", f"127.0.0.1:{bad}"): 1}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", int(good.rpartition(":")[2])))


def test_unix_sockets_are_private_replace_stale_ones_and_go(listeners, tmp_path):
    path = Paths.home(tmp_path).socket("classify.0")
    path.touch()
    listeners.open(Wanted(unix={"classify.0"}))
    assert path.is_socket()
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(listeners.share(POOL, 0, 1, Static())["classify"]) == 1
    listeners.retire(Wanted())
    assert not path.exists()


def test_socket_from_systemd_is_used_for_its_address(tmp_path):
    with socket.socket() as given:
        given.bind(("127.0.0.1", 0))
        given.listen()
        address = f"127.0.0.1:{given.getsockname()[1]}"
        listeners = Listeners(Paths.home(tmp_path), ME, [given])
        listeners.open(Wanted({("smtp", address): 2}))
        static = Static(listeners=Addresses(smtp=(address,)))
        shares = [listeners.share(SMTP, index, 2, static)["smtp"][0] for index in range(2)]
        assert [sock.getsockname() for sock in shares] == [given.getsockname()] * 2
        listeners.close()


# PID file


def test_pid_file_of_an_earlier_life_is_taken_over(tmp_path):
    path = tmp_path / "supervisor.pid"
    assert running_pid(path) == 0
    path.write_text("4711\nechomox-0123456789ab\n")
    assert running_pid(path) == 0
    file = PidFile(path)
    assert path.read_text() == f"{os.getpid()}\n"
    file.remove()
    assert not path.exists()


def test_pid_file_of_a_running_server_is_refused_by_another_process(tmp_path):
    path = tmp_path / "supervisor.pid"
    file = PidFile(path)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            PidFile(path)
        except AlreadyRunning as error:
            code = 0 if error.pid == os.getppid() and running_pid(path) == os.getppid() else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    file.remove()


def test_pid_file_is_never_a_link(tmp_path):
    (tmp_path / "elsewhere").write_text("keep me")
    (tmp_path / "supervisor.pid").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic link"):
        PidFile(tmp_path / "supervisor.pid")
    assert (tmp_path / "elsewhere").read_text() == "keep me"


# systemd


def test_watchdog_interval_is_half_and_only_for_us():
    assert Notifier({}).watchdog is None
    assert Notifier({"WATCHDOG_USEC": "10000000"}).watchdog == 5.0
    assert Notifier({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": str(os.getpid())}).watchdog == 5.0
    assert Notifier({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "1"}).watchdog is None
    assert Notifier({"WATCHDOG_USEC": "soon"}).watchdog is None


def test_notification_is_one_datagram_and_the_variables_are_gone(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1", "HOME": "/"}
        Notifier(environment).send("READY=1", "STATUS=good")
        assert sock.recv(100) == b"READY=1\nSTATUS=good"
        assert environment == {"HOME": "/"}
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).send("READY=1")


# status


def test_status_tells_of_every_live_slot():
    board = Scoreboard.private(4)
    board.set("supervisor_pid", 4711)
    for index in range(2):
        slot = board.take("smtp", index)
        slot.set("connections", 3)
        slot.set("restarts", index)
    board.slots[1].state = State.THROTTLED
    board.take("imap", 0).state = State.GONE
    state = status(board)
    assert [worker["name"] for worker in state["workers"]] == ["smtp.0", "smtp.1"]
    assert [worker["state"] for worker in state["workers"]] == ["STARTING", "THROTTLED"]
    assert (state["pid"], state["connections"], state["config_generation"]) == (4711, 6, 1)
    shown = table(state).splitlines()
    assert shown[0].split() == ["worker", "pid", "state", "age", "connections", "memory", "restarts"]
    assert shown[2].split()[:3] == ["smtp.1", "-", "THROTTLED"]


@pytest.mark.parametrize(
    "done, failed, seen, expected",
    [
        (0, 0, 1, False),
        (1, 0, 1, False),
        (1, 0, 2, True),
        (0, 1, 1, True),
    ],
)
def test_reload_is_over_when_it_failed_or_every_worker_has_the_new_generation(done, failed, seen, expected):
    before = {"reloads_done": 0, "reloads_failed": 0}
    now = {
        "reloads_done": done,
        "reloads_failed": failed,
        "config_generation": 2,
        "workers": [{"state": "READY", "config_generation": seen}, {"state": "DRAINING", "config_generation": 0}],
    }
    assert _reload_over(before, now) is expected


# commands


@pytest.mark.parametrize(
    "line, expected",
    [
        ("start", {"command": "start", "config": None, "daemon": False}),
        ("start --daemon --config /x", {"command": "start", "config": "/x", "daemon": True}),
        ("--config /x status --json", {"command": "status", "config": "/x", "json": True}),
        ("stop --now", {"command": "stop", "config": None, "now": True}),
    ],
)
def test_arguments(line, expected):
    assert vars(parser().read(line.split())) == expected


@pytest.mark.parametrize(
    "said, expected",
    [
        ("READY", (0, "READY")),
        ("4 already running", (4, "already running")),
        ("", (1, "the server ended without a word; see its log")),
    ],
)
def test_what_the_background_said(said, expected):
    assert _judge(said) == expected
