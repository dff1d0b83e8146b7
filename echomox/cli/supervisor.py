"""echomox-supervisor: starts and stops the server, reloads its configuration, shows its processes.

    exit codes   0  done                               5  no server runs
                 1  an error; the text says which      6  an address cannot be listened on
                 2  wrong arguments                    7  a service did not become ready
                 4  a server runs already             78  the configuration is wrong

`stop` finds the server by the lock on its PID file, `status` and `reload` ask the control socket: one JSON
object a line.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from echomox.cli.console import counted
from echomox.cli.parser import Parser
from echomox.config.load import find_config, load_all, load_static
from echomox.config.paths import Paths
from echomox.config.schema import Static
from echomox.errors import ConfigError
from echomox.ipc.unix import short_name
from echomox.log import logger
from echomox.supervisor.daemon import Report, await_start, daemonize
from echomox.supervisor.listen import ListenError
from echomox.supervisor.pidfile import AlreadyRunning, running_pid
from echomox.supervisor.service import Table
from echomox.supervisor.status import table as status_table
from echomox.supervisor.supervisor import (
    EXIT_CONFIG,
    EXIT_ERROR,
    EXIT_LISTEN,
    EXIT_OK,
    EXIT_RUNNING,
    EXIT_STOPPED,
    EXIT_USAGE,
    StartFailed,
    Supervisor,
)

CONTROL_TIMEOUT = 20.0  # seconds for an answer of the control worker
RELOAD_TIMEOUT = 60.0
STOP_MARGIN = 10.0  # seconds beyond stop_time
POLL = 0.05
LARGEST_ANSWER = 4 * 1024 * 1024

EPILOG = """\
examples:
  echomox-supervisor start                     in the foreground; prints READY when it serves
  echomox-supervisor start --daemon            in the background; returns when it serves
  echomox-supervisor --config DIR status       for the configuration in DIR
  echomox-supervisor status --json             for programs
  echomox-supervisor reload                    take over changed files; nothing is cut

signals to the supervisor: HUP reload, TERM stop, INT stop at once, USR1 reopen the log,
USR2 write the state to the log, TTIN/TTOU one classifier more/less

exit codes:
  0 done   1 an error   2 wrong arguments   4 a server runs already   5 no server runs
  6 an address cannot be listened on   7 a service did not become ready   78 the configuration is wrong
"""


def parser() -> Parser:
    top = Parser(
        prog="echomox-supervisor", description="Start, stop and watch the EchoMox mail server.", epilog=EPILOG
    )
    place = Parser(add_help=False)
    place.add_argument(
        "--config",
        metavar="DIR",
        default=argparse.SUPPRESS,
        help="echomox.toml or its directory (default: $ECHOMOX_CONFIG, ./config, /etc/echomox)",
    )
    top.add_argument("--config", metavar="DIR", default=None, help=argparse.SUPPRESS)
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)

    def add(name: str, text: str) -> Parser:
        return commands.add_parser(name, help=text, description=text, parents=[place])

    add("start", "Start the server and serve until it is stopped.").add_argument(
        "--daemon", action="store_true", help="go into the background, and return when all services are ready"
    )
    stop = add("stop", "Stop the server: sessions get `workers.stop_time` to finish.")
    stop.add_argument("--now", action="store_true", help="give sessions no time")
    add("reload", "Take over changed configuration files without cutting a connection.")
    restart = add("restart", "Stop the server if it runs, and start it again; needed after an upgrade.")
    restart.add_argument("--foreground", action="store_true", help="do not go into the background")
    status = add("status", "Show every worker: role, process, state, age, connections, memory, restarts.")
    status.add_argument("--json", action="store_true", help="print one JSON object")
    add("check", "Check the configuration files and say what is wrong with them.")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    from workers.table import server

    return run(server(), arguments)


def run(table: Table, arguments: Sequence[str] | None = None) -> int:
    """The command for another table of services; tests use it."""
    options = parser().read(sys.argv[1:] if arguments is None else arguments)
    try:
        paths = find_config(options.config)
        code = COMMANDS[options.command](table, paths, options)
        if sys.stdout is not None:  # as with `>&-`
            sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader has had enough, as `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return EXIT_OK
    except ConfigError as error:
        return _fail(EXIT_CONFIG, str(error))
    except PermissionError as error:
        return _fail(EXIT_ERROR, f"{error.filename}: {error.strerror}; run this as root or as the server's user")
    except KeyboardInterrupt:
        return EXIT_ERROR


def _fail(code: int, text: str) -> int:
    print(f"echomox-supervisor: {text}", file=sys.stderr)
    return code


# start


def _start(table: Table, paths: Paths, options: argparse.Namespace) -> int:
    return _start_background(table, paths) if options.daemon else _serve(table, paths, _print_ready)


def _print_ready() -> None:
    print("READY", flush=True)


def _start_background(table: Table, paths: Paths) -> int:
    static, _ = load_all(paths)
    if not static.logs.to_file:
        return _fail(EXIT_USAGE, "logs.to_file is false: a server in the background would log nowhere; set it true")
    report = daemonize()
    if isinstance(report, Report):
        os._exit(_serve(table, paths, report.ready, report.failed))
    code, text = await_start(report)
    if code:
        return _fail(code, text)
    print(text, flush=True)
    return EXIT_OK


def _serve(table: Table, paths: Paths, ready: Callable[[], None], failed: Callable[[int, str], object] = _fail) -> int:
    """The server's life in this process; `failed` is told why it did not start."""
    code, text = EXIT_ERROR, ""
    try:
        return Supervisor(table, paths).run(ready)
    except ConfigError as error:
        code, text = EXIT_CONFIG, str(error)
    except StartFailed as error:
        code, text = error.code, str(error)
    except AlreadyRunning as error:
        code, text = EXIT_RUNNING, str(error)
    except ListenError as error:
        code, text = EXIT_LISTEN, str(error)
    except OSError as error:
        text = f"{error.filename or 'system'}: {error.strerror or error}"
    except Exception as error:
        logger("supervisor").exception("supervisor failed")
        text = f"{type(error).__name__}: {error}"
    failed(code, text)
    return code


# stop, restart


def _stop(table: Table, paths: Paths, options: argparse.Namespace) -> int:
    pid = running_pid(paths.pidfile)
    if not pid:
        return _fail(EXIT_STOPPED, f"no server runs (nobody holds {paths.pidfile})")
    return _stop_and_wait(paths, pid, options.now)


def _stop_and_wait(paths: Paths, pid: int, now: bool) -> int:
    os.kill(pid, signal.SIGINT if now else signal.SIGTERM)
    limit = STOP_MARGIN + (0 if now else _stop_time(paths))
    if not _poll(limit, lambda: running_pid(paths.pidfile) != pid):
        advice = "; `kill -9` of it ends everything" if now else "; `echomox-supervisor stop --now` gives it no time"
        return _fail(EXIT_ERROR, f"process {pid} still runs after {limit:.0f} s{advice}")
    return EXIT_OK


def _stop_time(paths: Paths) -> float:
    try:
        return load_static(paths.static).workers.stop_time
    except ConfigError:
        return Static().workers.stop_time  # a broken file must not keep us from stopping


def _poll(limit: float, done: Callable[[], bool]) -> bool:
    end = time.monotonic() + limit
    while not done():
        if time.monotonic() > end:
            return False
        time.sleep(POLL)
    return True


def _restart(table: Table, paths: Paths, options: argparse.Namespace) -> int:
    load_all(paths)  # with a broken configuration the old server serves on
    pid = running_pid(paths.pidfile)
    if pid:
        code = _stop_and_wait(paths, pid, now=False)
        if code:
            return code
    return _serve(table, paths, _print_ready) if options.foreground else _start_background(table, paths)


# reload, status, check


def _check(table: Table, paths: Paths, options: argparse.Namespace) -> int:
    static, dynamic = load_all(paths)
    workers = range(sum(table.counts(static).values()))
    found = ((dynamic.domains, "domain"), (dynamic.accounts, "account"), (workers, "worker"))
    served = ", ".join(counted(things, noun) for things, noun in found)
    print(f"{paths.config}: good; {served}")
    return EXIT_OK


def _reload(table: Table, paths: Paths, options: argparse.Namespace) -> int:
    load_all(paths)
    pid = running_pid(paths.pidfile)
    if not pid:
        return _fail(EXIT_STOPPED, "no server runs; `echomox-supervisor start` takes the files as they are")
    before = ask(paths, {"op": "status"})
    if before is None:
        os.kill(pid, signal.SIGHUP)
        return _fail(EXIT_ERROR, "reload sent, but the control worker does not answer: see the log for the result")
    os.kill(pid, signal.SIGHUP)
    latest = before

    def over() -> bool:
        nonlocal latest
        latest = ask(paths, {"op": "status"}) or latest
        return _reload_over(before, latest)

    if not _poll(RELOAD_TIMEOUT, over):
        unready = [worker["name"] for worker in latest["workers"] if worker["state"] in ("STARTING", "THROTTLED")]
        missing = f"not ready: {', '.join(unready)}" if unready else "see the log"
        return _fail(EXIT_ERROR, f"not taken over within {RELOAD_TIMEOUT:.0f} s; {missing}")
    if latest["reloads_failed"] > before["reloads_failed"]:
        return _fail(EXIT_CONFIG, f"reload failed: {latest['reload_message']}")
    print(latest["reload_message"])
    return EXIT_OK


def _reload_over(before: dict[str, Any], now: dict[str, Any]) -> bool:
    """Failed; or done, and every serving worker has read the new generation."""
    if now["reloads_failed"] > before["reloads_failed"]:
        return True
    if now["reloads_done"] == before["reloads_done"]:
        return False
    serving = [worker for worker in now["workers"] if worker["state"] == "READY"]
    return all(worker["config_generation"] >= now["config_generation"] for worker in serving)


def _status(table: Table, paths: Paths, options: argparse.Namespace) -> int:
    pid = running_pid(paths.pidfile)
    if not pid:
        if options.json:
            print(json.dumps({"running": False}))
            return EXIT_STOPPED
        return _fail(EXIT_STOPPED, "no server runs; `echomox-supervisor start` starts it")
    state = ask(paths, {"op": "status"})
    if state is None:
        return _fail(EXIT_ERROR, f"a server runs (process {pid}), but its control worker does not answer; see its log")
    print(json.dumps({"running": True, **state}) if options.json else status_table(state))
    return EXIT_OK


def ask(paths: Paths, question: dict[str, Any]) -> dict[str, Any] | None:
    """One question to the control worker, its answer; None when there is none."""
    try:
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock,
            short_name(paths.socket("control")) as name,
        ):
            sock.settimeout(CONTROL_TIMEOUT)
            sock.connect(name)
            sock.sendall(json.dumps(question).encode() + b"\n")
            line = sock.makefile("rb").readline(LARGEST_ANSWER)
        answer = json.loads(line)
    except (OSError, ValueError):
        return None
    if not isinstance(answer, dict) or "error" in answer:
        return None
    answer.pop("ok", None)
    return answer


COMMANDS: dict[str, Callable[[Table, Paths, argparse.Namespace], int]] = {
    "start": _start,
    "stop": _stop,
    "reload": _reload,
    "restart": _restart,
    "status": _status,
    "check": _check,
}

if __name__ == "__main__":
    sys.exit(main())
