"""A muted thread in a whole server: a client mutes it over IMAP, a reply comes over SMTP; a command takes it back."""

from __future__ import annotations

import imaplib
import json
import smtplib
import subprocess
from pathlib import Path

from tests.process.harness import ROOT, Server, command, wait_until

MESSAGE = (
    "From: friend@b.example\r\nTo: u0@example.test\r\nSubject: talk\r\nMessage-ID: <{0}@b.example>\r\n"
    "References: <0@b.example>\r\n\r\ntext {0}\r\n"
)


def deliver(server: Server, number: int) -> None:
    with smtplib.SMTP("127.0.0.1", server.ports["smtp"], timeout=60) as client:
        client.sendmail("friend@b.example", ["u0@example.test"], MESSAGE.format(number))


def flags(client: imaplib.IMAP4, number: int) -> str:
    wait_until(lambda: int(client.select("INBOX")[1][0] or 0) >= number, what=f"message {number}")
    return str(client.fetch(str(number), "(FLAGS)")[1][0])


def test_muted_over_imap_and_unmuted_by_a_command(tmp_path: Path) -> None:
    with Server.demo(tmp_path / "demo", "--accounts", "1", "--mode", "junk-only") as server:
        account = server.accounts[0]
        client = imaplib.IMAP4("127.0.0.1", server.ports["imap"], timeout=60)
        client.login(account["address"], account["password"])
        deliver(server, 1)
        assert "$Muted" not in flags(client, 1)
        assert client.store("1", "-FLAGS", "(\\Seen)")[0] == "OK"
        assert client.store("1", "+FLAGS", "($Muted)")[0] == "OK"
        deliver(server, 2)
        found = flags(client, 2)
        assert "\\Seen" in found and "$Muted" in found
        done = subprocess.run(
            [*command("echomox"), "--config", str(server.root / "config"), "--json", "message", "unmute", "u0", "1"],
            capture_output=True, timeout=60, check=False, cwd=ROOT,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()
        assert json.loads(done.stdout)["Muted"] is False
        deliver(server, 3)
        found = flags(client, 3)
        assert "\\Seen" not in found and "$Muted" not in found
        assert "$Muted" not in flags(client, 1) and "$Muted" in flags(client, 2)
        client.logout()
