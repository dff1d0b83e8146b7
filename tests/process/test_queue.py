"""The queue runner in a real server: bells, a sink that delivers, refuses, puts off, vanishes; kill -9 and restart."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import socketserver
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from echomox.config.load import find_config
from echomox.config.paths import Paths
from echomox.ipc.queuebell import ring_once
from echomox.queue.model import Outgoing, QueueRecipient
from echomox.queue.spool import QueueSpool
from tests.process.harness import Server, command, wait_until


class Sink(socketserver.ThreadingTCPServer):
    """A host that takes mail. replies: by local part, the reply to RCPT; slow: seconds before the answer to the end of
    data; pace: gives leave for an answer; got: (recipients, bytes)."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Conversation)
        self.replies: dict[str, str] = {}
        self.slow = 0.0
        self.pace: threading.Semaphore | None = None
        self.got: list[tuple[list[str], bytes, float]] = []
        self.logins: list[str] = []
        self.connections = 0
        self.transactions = 0
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def port(self) -> int:
        return self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who is killed hangs up."""

    def subjects(self) -> list[str]:
        return [line for _, data, _ in self.got for line in data.decode().splitlines() if line.startswith("Subject:")]


class Conversation(socketserver.StreamRequestHandler):
    server: Sink
    disable_nagle_algorithm = True

    def handle(self) -> None:
        self.server.connections += 1
        self.say("220 sink.test ESMTP")
        recipients: list[str] = []
        for line in self.rfile:
            verb = line[:4].upper()
            if verb == b"EHLO":
                self.say("250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-AUTH PLAIN\r\n250 ENHANCEDSTATUSCODES")
            elif verb == b"AUTH":
                self.server.logins.append(base64.b64decode(line.split()[2]).decode())
                self.say("235 2.7.0 welcome")
            elif verb == b"RCPT":
                address = line.partition(b"<")[2].partition(b">")[0].decode()
                reply = self.server.replies.get(address.partition("@")[0], "250 2.1.5 ok")
                if reply.startswith("250"):
                    recipients.append(address)
                self.say(reply)
            elif verb == b"DATA":
                if not recipients:
                    self.say("554 5.5.1 no recipients")
                    continue
                self.data(recipients)
                recipients = []
            elif verb == b"QUIT":
                self.say("221 bye")
                return
            else:
                if verb in (b"MAIL", b"RSET"):
                    recipients = []
                self.say("250 2.0.0 ok")

    def data(self, recipients: list[str]) -> None:
        self.say("354 go on")
        lines = []
        for line in self.rfile:
            if line == b".\r\n":
                break
            lines.append(line)
        self.server.transactions += 1
        time.sleep(self.server.slow)
        if self.server.pace:
            self.server.pace.acquire()
        self.server.got.append((recipients, b"".join(lines), time.time()))
        self.say("250 2.0.0 taken")

    def say(self, text: str) -> None:
        self.wfile.write(text.encode() + b"\r\n")


@pytest.fixture
def sink():
    with Sink() as one:
        yield one
        one.shutdown()


def prepare(root: Path, sink: Sink, queue: str = "", limit: str = "") -> Server:
    server = Server.demo(root)
    config = root / "config"
    static = config / "echomox.toml"
    static.write_text(static.read_text() + f"\n[queue]\njitter = 0.0\n{queue}\n")
    dynamic = config / "domains.toml"
    dynamic.write_text(
        dynamic.read_text()
        + f'\n[[routes]]\nto_domains = ["outside.test", ".outside.test"]\ntransport = "sink"\n{limit}'
        + f'\n[transports.sink]\nkind = "smtp"\nhost = "127.0.0.1"\nport = {sink.port}\ntls = "none"\n'
    )
    return server


@pytest.fixture
def server(tmp_path, sink):
    with prepare(tmp_path, sink) as one:
        yield one


def echomox(server: Server, *argv: str) -> Any:
    return json.loads(echomox_text(server, "--json", *argv))


def echomox_text(server: Server, *argv: str) -> str:
    done = subprocess.run(
        [*command("echomox"), "--config", str(server.root / "config"), *argv],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def paths_of(server: Server) -> Paths:
    return find_config(str(server.root / "config"))


def add(server: Server, *mails: Outgoing) -> list[list[int]]:
    async def work() -> list[list[int]]:
        spool = QueueSpool(paths_of(server))
        try:
            return list(await asyncio.gather(*map(spool.add, mails)))
        finally:
            await spool.close()

    ids = asyncio.run(work())
    ring_once(paths_of(server).socket("queue"))
    return ids


def mail(server: Server, name: str, *to: str, **more: Any) -> Outgoing:
    account = server.accounts[0]["address"]
    recipients = tuple(QueueRecipient(address) for address in to)
    body = f"From: <{account}>\r\nSubject: {name}\r\nMessage-ID: <{name}@x.test>\r\n\r\nhello\r\n.dot\r\n".encode()
    return Outgoing(
        account, recipients, body=body, account=account.partition("@")[0], message_id=f"<{name}@x.test>", subject=name,
        **more,
    )  # fmt: skip


def inbox(server: Server) -> list[dict[str, Any]]:
    account = server.accounts[0]["address"].partition("@")[0]
    return echomox(server, "message", "list", account)["messages"]


def waiting(server: Server) -> list[dict[str, Any]]:
    return echomox(server, "queue", "list")["messages"]


def test_a_message_leaves_at_once_and_what_became_of_it_is_kept(server, sink):
    ((one, two),) = add(server, mail(server, "first", "a@outside.test", "b@sub.outside.test", prefix=b"X-Sign: 1\r\n"))
    wait_until(lambda: sink.got)
    recipients, data, _ = sink.got[0]
    assert sorted(recipients) == ["a@outside.test", "b@sub.outside.test"]  # one transaction for one next hop
    assert data.startswith(b"X-Sign: 1\r\nFrom:")
    assert data.endswith(b"hello\r\n..dot\r\n")
    wait_until(lambda: not waiting(server))
    retired = echomox(server, "queue", "retired", "print", str(one))
    assert retired["Status"] in ("delivered", "relayed")
    assert retired["Results"][0]["code"] == 250
    assert retired["Results"][0]["remote_ip"] == "127.0.0.1"
    assert {entry["ID"] for entry in echomox(server, "queue", "retired", "list")["messages"]} == {one, two}


def test_a_refusal_comes_back_as_a_report_once_and_suppresses(server, sink):
    sink.replies["nobody"] = "550 5.1.1 no such user"
    add(server, mail(server, "lost", "nobody@outside.test", "a@outside.test"))
    wait_until(lambda: inbox(server))
    wait_until(lambda: not waiting(server))
    (report,) = inbox(server)
    assert report["Subject"] == "Message not delivered"
    account = server.accounts[0]["address"].partition("@")[0]
    raw = subprocess.run(
        [*command("echomox"), "--config", str(server.root / "config"), "message", "raw", account, str(report["ID"])],
        capture_output=True, timeout=60, check=True,
    ).stdout.decode()  # fmt: skip
    assert "Return-Path: <>" in raw
    assert "Final-Recipient: rfc822; nobody@outside.test" in raw
    assert "Status: 5.1.1" in raw
    assert "Message-ID: <lost@x.test>" in raw
    assert "a@outside.test" not in raw.partition("Status: 5.1.1")[0]
    assert echomox(server, "queue", "suppression", "lookup", account, "Nobody+x@outside.test")["found"]
    before = sink.connections, sink.transactions
    add(server, mail(server, "again", "nobody@outside.test"))
    wait_until(lambda: len(inbox(server)) == 2)
    assert (sink.connections, sink.transactions) == before


def test_a_4xx_waits_for_its_time_and_every_verb_works(server, sink):
    sink.replies["later"] = "451 4.7.1 greylisted"
    ((one,),) = add(server, mail(server, "later", "later@outside.test", tls=True))
    wait_until(lambda: any(entry["Attempts"] == 1 and entry["Status"] == "queued" for entry in waiting(server)))
    (entry,) = waiting(server)
    assert entry["MaxAttempts"] == 9
    assert entry["LastError"].startswith("451 4.7.1")
    expected = {"MessageID": "<later@x.test>", "RcptTo": "later@outside.test", "IsTLS": True, "RequireTLS": None}
    assert {name: entry[name] for name in expected} == expected
    assert {"ID", "Sender", "Queued", "Size", "Transport", "NextAttempt"} <= set(entry)
    assert echomox(server, "queue", "hold", str(one))["changed"] == 1
    assert waiting(server)[0]["Status"] == "held"
    assert echomox(server, "queue", "unhold", str(one))["changed"] == 1
    assert echomox(server, "queue", "requiretls", "no", str(one))["changed"] == 1
    assert waiting(server)[0]["RequireTLS"] is False
    assert echomox(server, "queue", "transport", "sink", "--to-domain", "outside.test")["changed"] == 1
    sink.replies.clear()
    assert echomox(server, "queue", "schedule", "now", "--all")["changed"] == 1
    wait_until(lambda: sink.got)
    wait_until(lambda: not waiting(server))
    results = echomox(server, "queue", "print", str(one))["Results"]
    assert [result["code"] for result in results] == [451, 250]


def test_held_by_rule_failed_and_dropped(server, sink):
    rule = echomox(server, "queue", "holdrules", "add", "--to-domain", "outside.test")["id"]
    ((one,), (two,)) = add(server, mail(server, "x", "a@outside.test"), mail(server, "y", "b@outside.test"))
    assert [entry["Hold"] for entry in waiting(server)] == [f"hold rule {rule}"] * 2
    echomox(server, "queue", "fail", str(one), "--reason", "not today")
    wait_until(lambda: inbox(server))
    assert echomox(server, "queue", "drop", str(two))["changed"] == 1
    echomox(server, "queue", "holdrules", "remove", str(rule))
    wait_until(lambda: not waiting(server))
    assert not sink.got
    statuses = {entry["ID"]: entry["Status"] for entry in echomox(server, "queue", "retired", "list")["messages"]}
    assert statuses[one] == "failed"
    assert statuses[two] == "dropped"


def runner_pid(server: Server) -> int:
    """0: there is none just now."""
    return server.workers().get("queuerunner.0", 0)


def test_a_killed_runner_loses_nothing(server, sink):
    sink.pace = threading.Semaphore(0)  # so that there is something left to do at each kill
    names = [f"n{number}" for number in range(60)]
    add(server, *(mail(server, name, f"{name}@outside.test") for name in names))
    before = 0
    for _ in range(3):
        wait_until(lambda before=before: sink.transactions > before, what="mails are under way")
        sink.pace.release(5)
        wait_until(lambda: not sink.pace._value, what="some are answered")
        before, killed = sink.transactions, wait_until(lambda: runner_pid(server), what="a runner")
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda killed=killed: runner_pid(server) not in (0, killed))
    sink.pace.release(1000)
    wait_until(lambda: not waiting(server))
    got = sink.subjects()
    assert set(got) == {f"Subject: {name}" for name in names}
    # SMTP cannot tell a lost answer from a lost message: at most what was under way at each kill came twice.
    assert len(got) <= 60 + 3 * 20
    assert not inbox(server)


def test_a_reload_finishes_what_is_under_way(server, sink):
    sink.slow = 1.0
    add(server, mail(server, "slow", "a@outside.test"))
    wait_until(lambda: sink.connections)
    server.tell(signal.SIGHUP)
    wait_until(lambda: sink.got)
    wait_until(lambda: not waiting(server))
    assert len(sink.got) == 1


def test_a_relay_with_a_login_gets_user_and_password(tmp_path, sink):
    """Q20. The route takes effect on the live server."""
    with prepare(tmp_path, sink) as server:
        config = server.root / "config"
        (config / "relay.password").write_text("s3cret\n")
        domains = config / "domains.toml"
        login = 'tls = "none"\nuser = "me"\npassword_file = "relay.password"\n'
        domains.write_text(domains.read_text().replace('tls = "none"\n', login))
        wait_until(lambda: "domains.toml taken over" in server.log)
        add(server, mail(server, "login", "a@outside.test"))
        wait_until(lambda: sink.got or any(entry["LastError"] for entry in waiting(server)))
        assert sink.logins == ["\0me\0s3cret"], waiting(server)
        wait_until(lambda: not waiting(server))


def test_two_runners_share_the_queue(tmp_path, sink):
    server = prepare(tmp_path, sink)
    static = tmp_path / "config" / "echomox.toml"
    text = static.read_text()
    two = "[workers]\nqueuerunner = 2\n"
    static.write_text(text.replace("[workers]\n", two, 1) if "[workers]" in text else f"{text}\n{two}")
    with server:
        assert {"queuerunner.0", "queuerunner.1"} <= set(server.workers())
        sink.slow = 0.01
        names = [f"n{number}" for number in range(100)]
        add(server, *(mail(server, name, f"{name}@outside.test") for name in names))
        wait_until(lambda: not waiting(server))
        assert sorted(sink.subjects()) == sorted(f"Subject: {name}" for name in names)

        def told() -> list[str]:
            return [line for line in server.log.splitlines() if "event=delivery" in line]

        wait_until(lambda: len(told()) >= 100, what="all deliveries are in the log")
        lines = told()
        assert {name for name in ("queuerunner.0", "queuerunner.1") if any(name in line for line in lines)}
        assert len(lines) == 100


def test_a_damaged_queue_stops_nothing_but_itself(tmp_path, sink):
    server = prepare(tmp_path, sink)
    directory = paths_of(server).data / "queue"
    directory.mkdir(exist_ok=True)
    (directory / "index.db").write_bytes(b"garbage" * 1000)
    with server:
        assert {"queuerunner.0", "smtp.0", "submission.0", "imap.0"} <= set(server.workers())
        wait_until(lambda: "the queue cannot be opened" in server.log)
        os.rename(directory / "index.db", directory / "index.bad")
        wait_until(lambda: (directory / "index.db").exists())
        add(server, mail(server, "after", "a@outside.test"))
        wait_until(lambda: sink.got)
