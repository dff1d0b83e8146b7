"""curl, mutt and imaplib as users have them."""

from __future__ import annotations

import imaplib
import json
import os
import pty
import select
import smtplib
import socket
import ssl
import subprocess
import time
from pathlib import Path

import pytest

from tests.corpus import sample
from tests.interop.tools import need, run


def send(server, to: str, data: bytes) -> None:
    with smtplib.SMTP("127.0.0.1", server.ports["smtp"], local_hostname="peer.example") as client:
        client.sendmail("someone@peers.example", [to], data)


def imap(server, index: int = 1) -> imaplib.IMAP4:
    user = server.accounts[index]
    client = imaplib.IMAP4("127.0.0.1", server.ports["imap"])
    client.login(user["address"], user["password"])
    return client


def test_curl_sends_and_reads(server, tmp_path: Path):
    curl = need("curl")
    user = server.accounts[1]
    (tmp_path / "mail").write_bytes(sample.ham(4711))
    run([curl, "-sS", f"smtp://127.0.0.1:{server.ports['smtp']}/peer.example", "--mail-from", "a@peers.example",
         "--mail-rcpt", user["address"], "-T", tmp_path / "mail"])  # fmt: skip
    login = f"{user['address']}:{user['password']}"
    base = f"imaps://127.0.0.1:{server.ports['imaps']}"
    found = run([curl, "-sS", "-k", "-u", login, f"{base}/INBOX", "-X", 'SEARCH HEADER Message-ID "sample-4711"'])
    number = found.split()[-1]
    assert (
        b"sample-4711@peers.example"
        in run([curl, "-sS", "-k", "-u", login, f"{base}/INBOX;MAILINDEX={number}"]).encode()
    )
    assert "\\Junk" in run([curl, "-sS", "-k", "-u", login, f"{base}/"])


def test_imaplib_logs_in_with_cram_md5(server):
    user = server.accounts[1]
    client = imaplib.IMAP4("127.0.0.1", server.ports["imap"])
    client.starttls(insecure())
    assert client.login_cram_md5(user["address"], user["password"])[0] == "OK"
    client.logout()


def insecure() -> ssl.SSLContext:
    """The demo's certificate is self-signed."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def test_idle_hears_of_a_delivery(server):
    user = server.accounts[1]
    with socket.create_connection(("127.0.0.1", server.ports["imap"]), timeout=60) as wire:
        lines = wire.makefile("rb")
        lines.readline()
        wire.sendall(b'a LOGIN "%b" "%b"\r\nb SELECT INBOX\r\n' % (user["address"].encode(), user["password"].encode()))
        while not lines.readline().startswith(b"b OK"):
            pass
        wire.sendall(b"c IDLE\r\n")
        assert lines.readline().startswith(b"+")
        send(server, user["address"], sample.ham(1))
        assert lines.readline().endswith(b" EXISTS\r\n")
        wire.sendall(b"DONE\r\n")


def test_mutt_opens_the_mailbox_and_saves_a_mail(server, tmp_path: Path):
    mutt = need("mutt")
    user = server.accounts[1]
    send(server, user["address"], sample.ham(99))
    out = tmp_path / "saved"
    (tmp_path / "rc").write_text(
        f'set folder="imap://127.0.0.1:{server.ports["imap"]}/"\nset imap_user="{user["address"]}"\n'
        f'set imap_pass="{user["password"]}"\nset ssl_starttls=no\nset ssl_force_tls=no\nset spoolfile="+INBOX"\n'
        f'set header_cache=""\nset record=""\nset confirmappend=no\nset confirmcreate=no\n'
        f"set move=no\nset quit=yes\nset wait_key=no\n"
    )
    keys = f"<search>~i sample-99@peers.example<enter><copy-message>{out}<enter><quit>"
    command = [mutt, "-F", str(tmp_path / "rc"), "-e", f'push "{keys}"']
    text = in_terminal(command, tmp_path, 120)
    assert out.exists(), text
    assert b"sample-99@peers.example" in out.read_bytes()


def in_terminal(command: list[str], home: Path, seconds: float) -> str:
    """Runs a full-screen program in a terminal of its own until it ends; returns what it drew."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(HOME=str(home), TERM="xterm")
        os.execv(command[0], command)
    drawn, deadline = b"", time.monotonic() + seconds
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                drawn += os.read(terminal, 65536)
            except OSError:
                break
    else:
        os.kill(pid, 9)
    os.waitpid(pid, 0)
    os.close(terminal)
    return drawn.decode("utf-8", "replace")


def filter_stats(server) -> dict[str, int]:
    text = server.cli("filter", "stats", server.account_name(1), "--json")
    found: dict[str, int] = json.loads(text)
    return found


def wait_for(what, seconds: float = 120.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if what():
            return True
        time.sleep(0.1)
    return False


def test_a_move_to_junk_teaches_and_a_move_back_undoes(server):
    client = imap(server)
    client.select("INBOX")
    client.append("INBOX", "", None, sample.spam(5))  # type: ignore[arg-type]
    _, found = client.uid("SEARCH", "HEADER Message-ID sample-5@peers.example")
    uid = found[0].split()[-1].decode()
    before = filter_stats(server)["MessageSpam"]
    assert client.uid("MOVE", uid, "Junk")[0] == "OK"
    assert wait_for(lambda: filter_stats(server)["MessageSpam"] == before + 1)
    client.select("Junk")
    _, found = client.uid("SEARCH", "HEADER Message-ID sample-5@peers.example")
    assert client.uid("MOVE", found[0].split()[-1].decode(), "INBOX")[0] == "OK"
    assert wait_for(lambda: filter_stats(server)["MessageSpam"] == before)
    client.logout()


@pytest.mark.parametrize("box", ["INBOX", "Junk"])
def test_status_agrees_with_the_command_line(server, box):
    client = imap(server)
    _, answer = client.status(box, "(MESSAGES UNSEEN UIDNEXT)")
    shown = json.loads(server.cli("mailbox", "show", server.account_name(1), box, "--json"))
    text = answer[0].decode()
    assert f"MESSAGES {shown['Total']} " in text
    assert f"UIDNEXT {shown['UIDNext']}" in text
    client.logout()


def test_verifydata_is_clean_on_the_running_server(server):
    done = subprocess.run([server.echomox, "verifydata", "--config", server.config], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
