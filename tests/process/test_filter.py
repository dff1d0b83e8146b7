"""The filter's tools against a running server: what users flag is learnt, `stats`, `word`, `retrain`, `replay` and
`serve-json` beside it, and a trainer that is killed."""

from __future__ import annotations

import contextlib
import imaplib
import json
import os
import re
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from echomox.filter.learning.ahead import helpers
from tests.process.harness import Server, alive, children_of, command, wait_until

NUMBER = 160
"""More than ahead.WORTH."""


def mail(number: int, spam: bool) -> bytes:
    kind = "cheap offer, buy now" if spam else "minutes of the meeting"
    who = f"shop{number % 3}@bad.example" if spam else f"friend{number % 4}@good.example"
    return (
        f"From: {who}\r\nTo: u0@example.test\r\nSubject: {kind} {number}\r\nMessage-ID: <{number}@x.example>\r\n"
        f"Date: Mon, 1 Jan 2024 10:00:00 +0000\r\n\r\n{kind} number {number}\r\n"
    ).encode()


def echomox(server: Server, *argv: str, code: int = 0) -> str:
    config = str(server.root / "config")
    done = subprocess.run(
        [*command("echomox"), "--config", config, *argv], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def asked(server: Server, *argv: str) -> Any:
    return json.loads(echomox(server, "--json", *argv))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with Server.demo(tmp_path_factory.mktemp("filter")) as server:
        account = server.accounts[0]
        client = imaplib.IMAP4("127.0.0.1", server.ports["imap"])
        client.login(account["address"], account["password"])
        for number in range(NUMBER):
            flag = "$Junk" if number % 2 else "$NotJunk"
            client.append("INBOX", f"({flag})", None, mail(number, number % 2 == 1))
        client.logout()
        wait_until(lambda: stats(server)["MessageTotal"] == NUMBER, what="everything learnt")
        yield server


def name_of(server: Server) -> str:
    return str(asked(server, "account", "list")["accounts"][0]["name"])


def stats(server: Server) -> Any:
    return asked(server, "filter", "stats", name_of(server))


def junk(server: Server) -> Path:
    return next(server.root.rglob(f"accounts/{name_of(server)}/junk.db"))


def test_a_word_is_counted_and_is_in_the_table(server: Server) -> None:
    found = asked(server, "filter", "word", name_of(server), "cheap")
    assert (found["Ham"], found["Spam"]) == (0, NUMBER // 2) and found["probability"] > 0.9

    def settled() -> bool:
        with sqlite3.connect(f"file:{junk(server)}?mode=ro", uri=True) as connection:
            query = "SELECT Word, Ham, Spam FROM WORD WHERE Word = 'cheap'"
            return connection.execute(query).fetchall() == [("cheap", 0, NUMBER // 2)]

    wait_until(settled, what="WORD up to date")
    assert junk(server).with_name("words.map").exists()


def test_retraining_beside_the_server_gives_the_same(server: Server) -> None:
    before = stats(server)
    found = asked(server, "filter", "retrain", name_of(server))
    assert (found["messages"], found["ham"], found["spam"]) == (NUMBER, NUMBER // 2, NUMBER // 2)
    after = stats(server)
    same = ("MessageTotal", "MessageHam", "MessageSpam", "words", "ready")
    assert [after[name] for name in same] == [before[name] for name in same]
    echomox(server, "filter", "retrain", "nobody", code=1)


def test_a_retraining_shows_on_a_terminal_how_far_it_is(server: Server) -> None:
    config = str(server.root / "config")
    line = [*command("echomox"), "--config", config, "--json", "filter", "retrain", name_of(server)]
    ours, theirs = os.openpty()
    done = subprocess.run(line, stdout=subprocess.PIPE, stderr=theirs, timeout=120, check=True)
    os.close(theirs)
    with open(ours, "rb", buffering=0) as terminal:
        shown = terminal.read(65536)
    assert json.loads(done.stdout)["messages"] == NUMBER
    steps = [int(step) for step in re.findall(rb"\] (\d+)/%d" % NUMBER, shown)]
    assert len(steps) > 3 and steps == sorted(steps) and steps[-1] == NUMBER


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def helpers_while(server: Server, argv: list[str], seen: Callable[[int], None]) -> tuple[set[int], int]:
    """(processes that the trainer forked, exit code) while a command runs. seen: called with the first of them."""
    trainer, found = server.workers()["trainer.0"], set[int]()
    line = [*command("echomox"), "--config", str(server.root / "config"), *argv]
    running = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    while running.poll() is None:
        new = set(children_of(trainer)) - found
        if new and not found:
            seen(min(new))
        found |= new
        time.sleep(0.005)
    running.communicate()
    return found, running.returncode


@pytest.mark.skipif(helpers() < 1, reason="one core only")
def test_a_retraining_is_helped_by_processes_that_end_with_it(server: Server) -> None:
    before = stats(server)
    trainer = server.workers()["trainer.0"]
    line = ["filter", "retrain", name_of(server)]

    def helped(seen: Callable[[int], None]) -> int:
        """The exit code of a retraining of which the helpers were met, which live for moments."""
        for _ in range(50):
            found, code = helpers_while(server, line, seen)
            assert len(found) <= helpers()
            wait_until(lambda found=found: not any(alive(pid) for pid in found), what="helpers gone")
            if found:
                return code
        raise AssertionError("no helper was ever seen")

    assert helped(lambda pid: None) == 0
    assert helped(lambda pid: _kill(pid)) == 0
    assert helped(lambda pid: _kill(trainer)) != 0
    wait_until(lambda: server.workers().get("trainer.0") not in (None, trainer), what="a new trainer")
    same = ("MessageTotal", "MessageHam", "MessageSpam", "words")
    assert [stats(server)[name] for name in same] == [before[name] for name in same]
    assert asked(server, "filter", "retrain", name_of(server))["messages"] == NUMBER


def test_the_memory_of_the_reservoir_is_told(server: Server) -> None:
    found = asked(server, "stats", "memory")["reservoir"]
    assert 10_000 < found["weights"] < 10 << 20 and 1000 < found["account"] < 50_000
    assert "of it the reservoir: " in echomox(server, "stats", "memory")


def test_replay_beside_the_server_changes_nothing(server: Server) -> None:
    before = stats(server)
    found = asked(server, "filter", "replay", name_of(server), "--set", "junk=0.05")
    assert found["messages"] == NUMBER
    assert sum(found["then"]["confusion"]["spam"].values()) == NUMBER // 2
    assert stats(server) == before
    echomox(server, "filter", "replay", name_of(server), "--set", "none=1", code=2)
    echomox(server, "filter", "replay", name_of(server), "--rules", "/none", code=1)
    rules = server.root / "small.rules"
    rules.write_text("membrane skin\nrule small in skin priority 1: plain_only -> ham(1)\n")
    other = asked(server, "filter", "replay", name_of(server), "--rules", str(rules))
    assert other["now"]["figures"]["log_loss"] == found["now"]["figures"]["log_loss"]
    assert other["then"]["figures"]["log_loss"] != other["now"]["figures"]["log_loss"]


def test_a_killed_trainer_comes_back_with_the_same_counts(server: Server) -> None:
    before = stats(server)
    map_file = junk(server).with_name("words.map")
    os.kill(server.workers()["trainer.0"], signal.SIGKILL)
    garbage = map_file.with_name("garbage")
    garbage.write_bytes(b"garbage")
    garbage.replace(map_file)
    assert asked(server, "filter", "word", name_of(server), "cheap")["Spam"] == NUMBER // 2
    wait_until(lambda: map_file.exists() and map_file.stat().st_size > 1000, what="words.map made again")
    account = server.accounts[0]
    client = imaplib.IMAP4("127.0.0.1", server.ports["imap"])
    client.login(account["address"], account["password"])
    client.append("INBOX", "($Junk)", None, mail(NUMBER + 1, True))
    wait_until(lambda: stats(server)["MessageSpam"] == before["MessageSpam"] + 1, what="learnt again")
    client.select("INBOX")
    client.store(str(NUMBER + 1), "-FLAGS.SILENT", "($Junk)")
    wait_until(lambda: stats(server)["MessageSpam"] == before["MessageSpam"], what="taken back")
    client.logout()
    assert stats(server)["words"] == before["words"]


def test_a_message_is_explained_with_plots(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "mail"
    file.write_bytes(mail(99, True))
    found = asked(server, "filter", "explain", str(file), "--plot", str(tmp_path / "plots"))
    assert found["probability"] > 0.5
    assert {"inputs.svg", "states.svg"} <= {path.name for path in (tmp_path / "plots").iterdir()}


def test_serve_json_answers_each_line_whatever_it_is(tmp_path: Path) -> None:
    lines: list[bytes] = []
    for number in range(30):
        path = tmp_path / str(number)
        path.write_bytes(mail(number, number % 2 == 1))
        lines.append(json.dumps({"op": "train", "path": str(path), "spam": number % 2 == 1}).encode())
    bad = [b"", b"no json", b"\xff\xfe", b"[" * 70_000, b"[" * 60_000, b"null", b"1" * 50_000]
    bad += [b"{}", b'{"op": "classify", "path": "/none"}', b'{"op":"x"}']
    bad += [json.dumps({"op": "classify", "path": str(tmp_path)}).encode(), b'{"op":"classify","path":"a\\u0000b"}']
    good = [json.dumps({"op": "classify", "path": str(tmp_path / str(n))}).encode() for n in (28, 29)]
    done = subprocess.run(
        [*command("echomox"), "filter", "serve-json"],
        input=b"\n".join([*lines, *bad, *good]),
        capture_output=True,
        timeout=120,
        check=True,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert answers[:30] == [{}] * 30
    assert len(answers) == 30 + len(bad) - 1 + 2 and all("error" in found for found in answers[30:-2])
    assert answers[-2]["p"] < 0.3 < answers[-1]["p"]
