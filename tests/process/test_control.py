"""The control socket of a running server, and the commands that ask it."""

from __future__ import annotations

import json
import os
import smtplib
import socket
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.process.harness import Server, command, wait_until

MESSAGE = (
    b"From: a@elsewhere.test\r\nTo: u0@example.test\r\nSubject: Pictures\r\nMessage-ID: <1@x.test>\r\n"
    b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n'
    b"--b\r\nContent-Type: image/png\r\nContent-Disposition: attachment; filename=x.png\r\n\r\nxx\r\n--b--\r\n"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server.demo(tmp_path_factory.mktemp("control")) as server:
        yield server


def config(server: Server) -> Path:
    return server.root / "config"


def echomox(server: Server, *argv: str, code: int = 0) -> str:
    done = subprocess.run(
        [*command("echomox"), "--config", str(config(server)), *argv], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def asked(server: Server, *argv: str) -> Any:
    return json.loads(echomox(server, "--json", *argv))


def connect(server: Server) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(60)
    peer.connect(str(config(server).parent / "data/run/control.sock"))
    return peer


def answer(peer: socket.socket) -> Any:
    with peer.makefile("rb") as lines:
        return json.loads(lines.readline())


def accepts(server: Server, address: str) -> bool:
    with smtplib.SMTP("127.0.0.1", server.ports["smtp"], timeout=60) as client:
        client.ehlo("client.test")
        client.mail("a@elsewhere.test")
        return client.rcpt(address)[0] == 250


def test_the_socket_is_for_its_owner_only(server):
    mode = os.stat(config(server).parent / "data/run/control.sock").st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600


GARBAGE = [
    (b"garbage\n", "not JSON"),
    (b"\xff\xfe\n", "not JSON"),
    (b"[" * 100_000 + b"\n", "not JSON"),
    (b"[]\n", 'an object with "op"'),
    (b'{"op": 5}\n', 'an object with "op"'),
    (b'{"op": "nope"}\n', "no operation"),
    (b'{"op": "account.show", "name": ["u0"]}\n', "of type str"),
    (b'{"op": "mailbox.list", "account": "../../../etc"}\n', "no mail of an account"),
]


@pytest.mark.parametrize(("data", "why"), GARBAGE)
def test_garbage_is_refused_and_the_connection_goes_on(server, data, why):
    with connect(server) as peer:
        peer.sendall(data)
        refusal = answer(peer)
        assert not refusal["ok"] and why in refusal["error"]
        peer.sendall(b'{"op": "version"}\n')
        assert answer(peer)["ok"]


def test_a_line_without_end_ends_its_own_connection_only(server):
    with connect(server) as other, connect(server) as peer:
        with pytest.raises(OSError):
            for _ in range(100):
                peer.sendall(b"x" * 1_000_000)
        other.sendall(b'{"op": "version"}\n')
        assert answer(other)["ok"]


def test_an_added_account_gets_mail_at_once(server):
    assert not accepts(server, "ann@example.test")
    echomox(server, "account", "add", "ann", "ann@example.test", "--set", "junk_filter.mode=junk-only")
    assert accepts(server, "ann@example.test")
    echomox(server, "account", "remove", "ann", "--yes")
    assert not accepts(server, "ann@example.test")


def test_a_change_by_hand_is_taken_over_and_a_slip_is_not(server):
    file = config(server) / "domains.toml"
    good = file.read_text()
    more = good + '\n[accounts.hand]\naddresses = ["hand@example.test"]\n'
    before = asked(server, "status")["config_generation"]
    file.write_text(more)
    wait_until(lambda: asked(server, "status")["config_generation"] > before, what="the change is taken over")
    assert accepts(server, "hand@example.test")
    refusals = server.log.count("domains.toml not taken over")
    file.write_text(more + "quota = -1\n")
    assert "domains.toml" in echomox(server, "config", "check", code=78)
    wait_until(lambda: server.log.count("domains.toml not taken over") > refusals, what="the slip is seen")
    assert all(accepts(server, address) for address in ("hand@example.test", "u0@example.test") * 4)
    refusal = echomox(server, "account", "add", "ann", "ann@example.test", code=1)
    assert "accounts.hand.quota: -1 is not allowed" in refusal
    file.write_text(good)
    wait_until(lambda: not accepts(server, "hand@example.test"), what="it is taken back")


def test_a_message_is_shown_with_the_fields_of_the_seed(server):
    with smtplib.SMTP("127.0.0.1", server.ports["smtp"], timeout=60) as client:
        client.sendmail("a@elsewhere.test", ["u1@example.test"], MESSAGE)
    newest = asked(server, "message", "list", "u1")["messages"][0]
    shown = asked(server, "message", "show", "u1", str(newest["ID"]))
    assert list(shown)[:16] == [
        "ID",
        "UID",
        "MailboxID",
        "MessageID",
        "Subject",
        "Size",
        "Received",
        "RemoteIP",
        "Junk",
        "Notjunk",
        "Seen",
        "Answered",
        "Flagged",
        "Forwarded",
        "Draft",
        "Deleted",
    ]
    assert (shown["Subject"], shown["Seen"], shown["Mailbox"]) == ("Pictures", False, "INBOX")
    raw = echomox(server, "message", "raw", "u1", str(newest["ID"])).replace("\n", "\r\n").encode()
    parts = asked(server, "message", "parts", "u1", str(newest["ID"]))["parts"]
    bodies = {part["ContentType"]: raw[part["BodyOffset"] :][: part["Size"]] for part in parts}
    assert bodies["text/plain"] == b"hello" and bodies["image/png"] == b"xx"
    assert asked(server, "mailbox", "show", "u1", "INBOX")["Total"] == 1
    explained = asked(server, "filter", "explain", str(newest["ID"]), "--account", "u1")
    assert explained["features"]["headers"]["subject"] == "Pictures" and explained["words"]["tokens"] > 5


def test_levels_change_at_once(server):
    log = config(server).parent / "logs/echomox.log"
    assert asked(server, "loglevels")["levels"] == {}
    echomox(server, "loglevels", "smtpd", "trace")
    assert asked(server, "loglevels")["levels"] == {"smtpd": "trace"}

    def traced() -> bool:
        accepts(server, "u0@example.test")
        return " debug smtpd[" in log.read_text() or " trace smtpd[" in log.read_text()

    wait_until(traced, what="commands are traced")
    assert "no level loud" in echomox(server, "loglevels", "smtpd", "loud", code=1)


def test_status_and_counters_come_from_all_workers(server):
    state = asked(server, "status")
    assert {worker["service"] for worker in state["workers"]} >= {"smtp", "imap", "control", "classifier"}
    before = asked(server, "counters")["counters"]["smtp_connections"]
    accepts(server, "u0@example.test")
    assert asked(server, "counters")["counters"]["smtp_connections"] == before + 1


def test_verifydata_is_clean_beside_a_running_server(server):
    assert asked(server, "verifydata") == {"faults": [], "left": 0}
