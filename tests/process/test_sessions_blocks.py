"""Who may come in and who is in, on a running server: limits of logins, blocked addresses, live sessions, lists of
attempts, and that no account sees another's mail (A11, A12, A13, A14)."""

from __future__ import annotations

import imaplib
import json
import re
import smtplib
import socket
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.process.harness import Server, command, wait_until

LIMITS = "[limits]\nlogins_per_minute = 10\nlogins_per_day = 12\nblock_time = 3600.0\n"
ISO = r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    demo = Server.demo(tmp_path_factory.mktemp("sessions"))
    path = demo.root / "config/echomox.toml"
    text = path.read_text()
    assert text.count("[limits]\n") == 1
    path.write_text(text.replace("[auth]", '[auth]\npassword_hash = "argon2id"').replace("[limits]\n", LIMITS))
    with demo:
        yield demo


def echomox(server: Server, *argv: str, code: int = 0) -> str:
    line = [*command("echomox"), "--config", str(server.root / "config"), *argv]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def asked(server: Server, *argv: str) -> Any:
    return json.loads(echomox(server, "--json", *argv))


def counters(server: Server) -> dict[str, int]:
    return asked(server, "counters")["counters"]


class Imap:
    """A connection from an address of our choice; every reading ends within a minute."""

    def __init__(self, server: Server, ip: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.ports["imap"]), 60, (ip, 0))
        self.file = self.socket.makefile("rb")
        self.greeting = self.file.readline()

    def __enter__(self) -> Imap:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.socket.close()

    def command(self, line: str) -> tuple[list[bytes], bytes]:
        """(untagged lines, the tagged one without its tag)"""
        self.socket.sendall(f"t {line}\r\n".encode())
        told = []
        while (got := self.file.readline()) and not got.startswith(b"t "):
            told.append(got)
        return told, got[2:]

    def login(self, name: str, password: str) -> bytes:
        return self.command(f"LOGIN {name} {password}")[1]


def logged_in(server: Server, number: int = 0) -> Imap:
    client, account = Imap(server), server.accounts[number]
    assert client.login(account["address"], account["password"]).startswith(b"OK")
    return client


def sessions(server: Server, *argv: str) -> list[dict[str, Any]]:
    """Asked again while a worker is too busy to answer."""


    def answered() -> Any:
        found = asked(server, "sessions", "list", *argv)
        return None if found["silent"] else found

    return wait_until(answered)["sessions"]


def submission(server: Server, ip: str = "127.0.0.1") -> smtplib.SMTP:
    return smtplib.SMTP("127.0.0.1", server.ports["submission"], timeout=60, source_address=(ip, 0))


def early_in_the_minute() -> None:
    """Limits count in fixed minutes: none may end between two attempts that belong together."""
    left = 60 - time.monotonic() % 60
    if left < 40:
        time.sleep(left)


# -- sessions ---------------------------------------------------------------------------


def test_a_login_makes_a_row_with_its_facts(server):
    account = server.accounts[0]
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    assert sessions(server) == []
    with logged_in(server), submission(server) as smtp:
        tls = imaplib.IMAP4_SSL("127.0.0.1", server.ports["imaps"], ssl_context=context, timeout=60)
        tls.login_cram_md5(server.accounts[1]["address"], account["password"])
        smtp.login(account["address"], account["password"])
        rows = sessions(server)
        facts = {(row["protocol"], row["mechanism"], row["account"], row["login"]) for row in rows}
        assert facts == {
            ("imap", "imap_login", "u0", "u0@example.test"),
            ("imap", "CRAM-MD5", "u1", "u1@example.test"),
            ("submission", "CRAM-MD5", "u0", "u0@example.test"),
        }
        by = {(row["protocol"], row["account"]): row for row in rows}
        assert by["imap", "u1"]["tls"].startswith("TLSv1.") and by["imap", "u0"]["tls"] == ""
        assert all(row["remote_ip"] == "127.0.0.1" and re.fullmatch(ISO, row["since"]) for row in rows)
        assert all(0 <= row["idle"] < 300 and row["worker"].startswith(row["protocol"]) for row in rows)
        assert len({row["id"] for row in rows}) == 3
        assert [row["account"] for row in sessions(server, "u1")] == ["u1"]
        text = echomox(server, "sessions", "list")
        assert text.split("\n")[0].split()[:3] == ["id", "account", "login"] and text.count("\n") == 4
        tls.logout()
    wait_until(lambda: "nobody is logged in" in echomox(server, "sessions", "list"), what="all have gone")
    wait_until(lambda: not list((server.root / "data/run").glob("sessions.*")), what="answers removed")


def test_a_session_that_is_ended_is_told_so_and_gone(server):
    with logged_in(server) as ended, logged_in(server, 1) as other, submission(server) as smtp:
        smtp.login(server.accounts[1]["address"], server.accounts[1]["password"])
        ended.socket.sendall(b"i IDLE\r\n")
        rows = sessions(server)
        ids = {(row["protocol"], row["account"]): row["id"] for row in rows}
        assert "has ended" in echomox(server, "sessions", "end", ids["imap", "u0"])
        heard = ended.file.read()
        assert heard.endswith(b"* BYE [UNAVAILABLE] Your session was ended by the administrator\r\n")
        echomox(server, "sessions", "end", ids["submission", "u1"])
        assert smtp.sock.recv(200).startswith(b"421 4.3.2 ") and smtp.sock.recv(200) == b""
        smtp.close()
        wait_until(lambda: [row["id"] for row in sessions(server)] == [ids["imap", "u1"]], what="one is left")
        assert other.command("NOOP")[1].startswith(b"OK")
        assert "no session nope" in echomox(server, "sessions", "end", "nope", code=1)


FOREIGN = [
    "u1", "u1/INBOX", "/u1/INBOX", "../u1/INBOX", "..", "~u1", "~u1/INBOX", "#user/u1/INBOX", "user/u1",
    "user.u1.INBOX", "Other Users/u1/INBOX", "Shared/u1", "u1@example.test", "INBOX/../../u1/INBOX", "Plans",
    "u1/Plans",
]  # fmt: skip


def test_an_account_cannot_open_the_mailboxes_of_another(server):
    with logged_in(server) as one, logged_in(server, 1) as other:
        assert other.command("CREATE Plans")[1].startswith(b"OK")
        own = {line.rpartition(b" ")[2].strip(b'"\r\n') for line in one.command('LIST "" "*"')[0]}
        assert own == {b"INBOX", b"Drafts", b"Sent", b"Archive", b"Trash", b"Junk", b"Rejects"}
        for name in FOREIGN:
            for verb in ("SELECT", "EXAMINE"):
                assert one.command(f'{verb} "{name}"')[1].startswith(b"NO"), name
            assert one.command(f'STATUS "{name}" (MESSAGES)')[1].startswith(b"NO"), name
        for reference, pattern in (("u1", "*"), ("u1/", "%"), ("", "u1/*"), ("~u1", "*"), ("..", "*"), ("", "Plans")):
            told, done = one.command(f'LIST "{reference}" "{pattern}"')
            assert told == [] and done.startswith(b"OK"), (reference, pattern)
        assert other.command("SELECT Plans")[1].startswith(b"OK")
        assert other.command("CLOSE")[1].startswith(b"OK") and other.command("DELETE Plans")[1].startswith(b"OK")


# -- attempts ---------------------------------------------------------------------------


def test_the_11th_bad_login_of_a_minute_is_refused_and_counted(server):
    early_in_the_minute()
    before = counters(server)
    with Imap(server, "127.0.16.1") as client:
        answers = [client.login("u0@example.test", f"bad{n}") for n in range(11)]
        assert [b"[AUTHENTICATIONFAILED]" in answer for answer in answers] == [True] * 10 + [False]
        assert answers[10].startswith(b"NO [LIMIT]")
        right = client.login("u0@example.test", server.accounts[0]["password"])
        assert right.startswith(b"NO [LIMIT]")
    with logged_in(server):
        after = counters(server)
    grown = {name: after[name] - before[name] for name in after if name.startswith("logins_")}
    assert {name: n for name, n in grown.items() if n} == {
        "logins_failed_imap_login": 10, "logins_limited": 2, "logins_ok_imap_login": 1,
    }  # fmt: skip


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_attempts_count_by_mechanism_and_stand_in_the_list_of_the_account(server, mechanism):
    before = counters(server)
    word = mechanism.lower().replace("-", "_")
    good = server.accounts[1]["password"]
    for password in ("wrong", good):
        with submission(server, "127.0.24.1") as smtp:
            smtp.ehlo()
            smtp.user, smtp.password = "u1@example.test", password
            way = getattr(smtp, f"auth_{word}")
            if password == good:
                smtp.auth(mechanism, way)
            else:
                with pytest.raises(smtplib.SMTPAuthenticationError):
                    smtp.auth(mechanism, way)
    after = counters(server)
    assert [after[name] - before[name] for name in (f"logins_failed_{word}", f"logins_ok_{word}")] == [1, 1]

    def listed() -> list[dict[str, str]]:
        entries = asked(server, "logins", "list", "u1")["logins"]
        return [entry for entry in entries if entry["mechanism"] == mechanism and entry["remote_ip"] == "127.0.24.1"]

    entries = wait_until(lambda: found if len(found := listed()) == 2 else None)
    assert [entry["result"] for entry in entries] == ["ok", "credentials"]
    assert all(entry["protocol"] == "submission" and entry["address"] == "u1@example.test" for entry in entries)
    assert all(re.fullmatch(ISO, entry["time"]) for entry in entries)
    assert "127.0.24.1" in echomox(server, "logins", "list", "u1")


def test_a_new_password_is_hashed_with_argon2id_and_opens_the_account(server):
    echomox(server, "account", "add", "ann", "ann@example.test", "--password", "correct horse")
    with submission(server) as smtp:
        smtp.ehlo()
        smtp.user, smtp.password = "ann@example.test", "correct horse"
        smtp.auth("PLAIN", smtp.auth_plain)
    with Imap(server) as client:
        assert client.login("ann", '"correct horse"').startswith(b"OK")
        assert client.login("ann", '"wrong"').startswith(b"BAD")
    raw = b"".join(path.read_bytes() for path in (server.root / "data/accounts/ann").glob("index.db*"))
    assert b"$argon2id$v=19$" in raw and b"$2b$" not in raw and b"correct horse" not in raw
    echomox(server, "account", "remove", "ann", "--yes")


# -- blocks -----------------------------------------------------------------------------


def refused(server: Server, ip: str) -> bool:
    with Imap(server, ip) as client:
        return b"is blocked" in client.greeting


def test_a_block_by_hand_holds_at_once_and_ends_by_itself(server):
    before = counters(server)["connections_blocked"]
    text = echomox(server, "block", "add", "127.0.32.0/28", "--for", "1h", "--why", "guesses")
    assert re.fullmatch(rf"127\.0\.32\.0/28 is blocked until {ISO}\n", text)
    with Imap(server, "127.0.32.1") as client:
        assert client.greeting.startswith(b"* BYE [UNAVAILABLE] Your address is blocked")
        assert client.file.read() == b""
    with pytest.raises(smtplib.SMTPConnectError) as error:
        submission(server, "127.0.32.15")
    assert error.value.smtp_code == 421 and b"blocked" in error.value.smtp_error
    assert not refused(server, "127.0.32.16")
    with smtplib.SMTP("127.0.0.1", server.ports["smtp"], timeout=60, source_address=("127.0.32.1", 0)) as smtp:
        assert smtp.noop()[0] == 250  # port 25 stays open to them unless limits.block_smtp says otherwise
    assert counters(server)["connections_blocked"] == before + 2
    echomox(server, "block", "remove", "127.0.32.0/28")
    assert not refused(server, "127.0.32.1")
    echomox(server, "block", "add", "127.0.32.1", "--for", "10s")
    assert refused(server, "127.0.32.1")
    wait_until(lambda: not refused(server, "127.0.32.1"), what="the entry ends")
    assert asked(server, "block", "list")["blocks"] == []


def fail_until_limited(server: Server, ip: str) -> None:
    """Until the address is blocked, which takes the control worker a second."""
    deadline = time.monotonic() + 300
    while not refused(server, ip):
        assert time.monotonic() < deadline
        with Imap(server, ip) as client:
            while client.login("u0", "bad").startswith(b"NO [AUTH"):
                pass
        time.sleep(0.2)


@pytest.fixture(scope="module")
def strict(tmp_path_factory):
    """A server that has no limit per minute, so that the day's is reached without waiting."""
    demo = Server.demo(tmp_path_factory.mktemp("strict"))
    path = demo.root / "config/echomox.toml"
    limits = LIMITS.replace("logins_per_minute = 10", "logins_per_minute = 0").replace("block_time = 3600.0\n", "")
    path.write_text(path.read_text().replace("[limits]\n", limits))
    with demo:
        yield demo


def test_an_address_that_used_up_its_day_is_blocked_over_a_restart_until_it_is_removed(strict):
    fail_until_limited(strict, "127.0.40.1")
    with pytest.raises(smtplib.SMTPConnectError):
        submission(strict, "127.0.40.1")
    (entry,) = asked(strict, "block", "list")["blocks"]
    assert (entry["address"], entry["why"]) == ("127.0.40.1", "too many failed logins")
    assert entry["count"] >= 12 and re.fullmatch(ISO, entry["since"]) and entry["until"] > entry["since"]
    assert "127.0.40.1" in echomox(strict, "block", "list") and "address blocked" in strict.log
    assert not refused(strict, "127.0.40.2")
    strict.stop()
    assert [block["address"] for block in asked(strict, "block", "list")["blocks"]] == ["127.0.40.1"]
    strict.start()
    assert refused(strict, "127.0.40.1") and asked(strict, "block", "list")["blocks"] == [entry]


def test_an_address_that_is_let_in_again_may_log_in_again(strict):
    fail_until_limited(strict, "127.0.48.1")
    echomox(strict, "block", "remove", "127.0.48.1")
    account = strict.accounts[0]
    with Imap(strict, "127.0.48.1") as client:
        assert client.login(account["address"], account["password"]).startswith(b"OK")
    wait_until(lambda: not list(Path(strict.root / "data/run").glob("block.*")), what="requests taken")
    assert not refused(strict, "127.0.48.1")
