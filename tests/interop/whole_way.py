"""Delivers mail with smtplib, reads it back with imaplib and with mbsync, and compares byte for byte.

Shared by the interop test (a sample of our own making) and by the bench (a real corpus, when there is one). The trace
headers that a delivery puts in front are found by their names; what follows them must be the bytes that were sent.
"""

from __future__ import annotations

import hashlib
import imaplib
import re
import smtplib
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

NAMES = rb"Return-Path|Delivered-To|Received|Received-SPF|Authentication-Results|X-EchoMox-Verdict|X-EchoMox-Rule"
TRACE = re.compile(rb"(?:(?:" + NAMES + rb"):[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*)+?")


@dataclass
class Delivered:
    """digests: of the accepted messages, with how often each was sent; refused: (name, reply code, text)."""

    digests: Counter[str] = field(default_factory=Counter)
    refused: list[tuple[str, int, str]] = field(default_factory=list)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def without_trace(data: bytes) -> list[bytes]:
    """The message after 4 and after 5 trace fields: a sender's own fields may have the same names, so each cut is a
    candidate."""
    found, position = [], 0
    for _ in range(8):
        match = TRACE.match(data, position)
        if not match:
            break
        position = match.end()
        found.append(data[position:])
    return found


def deliver(port: int, recipient: str, mails: Iterable[tuple[str, bytes]], per_connection: int = 100) -> Delivered:
    """Sends each mail with its own transaction; the bytes go as they are (smtplib only stuffs dots)."""
    done, client = Delivered(), None
    for count, (name, data) in enumerate(mails):
        if count % per_connection == 0:
            if client:
                client.quit()
            client = smtplib.SMTP("127.0.0.1", port, local_hostname="peer.example", timeout=60)
            client.ehlo()
        assert client is not None
        client.mail("sender@peers.example", ["BODY=8BITMIME"])
        client.rcpt(recipient)
        code, text = send_data(client, data)
        if code == 250:
            done.digests[digest(data)] += 1
        else:
            done.refused.append((name, code, text.decode("latin-1")))
    if client:
        client.quit()
    return done


def send_data(client: smtplib.SMTP, data: bytes) -> tuple[int, bytes]:
    """DATA without smtplib's repair of line ends: a bare CR must reach the server as it is."""
    code, text = client.docmd("DATA")
    if code != 354:
        return code, text
    stuffed = re.sub(rb"(?m)^\.", b"..", data)
    end = b".\r\n" if stuffed.endswith(b"\r\n") else b"\r\n.\r\n"
    client.send(stuffed + end)  # in one piece: two writes would wait for a delayed acknowledgement
    return client.getreply()


def read_imap(port: int, user: str, password: str, mailbox: str) -> Iterator[tuple[bytes, bytes]]:
    """(flags line, message) of all messages of a mailbox, by imaplib."""
    imap = imaplib.IMAP4("127.0.0.1", port)
    imap.login(user, password)
    status, found = imap.select(mailbox, readonly=True)
    if status != "OK":
        return
    total = int(found[0] or 0)
    for low in range(1, total + 1, 200):
        _, answers = imap.fetch(f"{low}:{min(low + 199, total)}", "(FLAGS RFC822.SIZE BODY.PEEK[])")
        for answer in answers:
            if isinstance(answer, tuple):
                yield answer[0], answer[1]
    imap.logout()


MBSYNCRC = """\
IMAPAccount em
Host localhost
Port {port}
User {user}
Pass {password}
SSLType {ssl}
{certificate}AuthMechs {mechanism}

IMAPStore remote
Account em

MaildirStore local
Path {maildir}/
Inbox {maildir}/INBOX
SubFolders Verbatim

Channel all
Far :remote:
Near :local:
Patterns *
Create Near
Expunge None
SyncState *
"""


def mbsync(
    directory: Path,
    port: int,
    user: str,
    password: str,
    *,
    ssl: str = "None",
    certificate: str = "",
    mechanism: str = "PLAIN",
) -> str:
    """Pulls all mailboxes into directory/maildir; returns what mbsync printed. Raises on any complaint."""
    maildir = directory / "maildir"
    maildir.mkdir(parents=True, exist_ok=True)
    rc = directory / "mbsyncrc"
    line = f"CertificateFile {certificate}\n" if certificate else ""
    rc.write_text(
        MBSYNCRC.format(
            port=port, user=user, password=password, ssl=ssl, certificate=line, mechanism=mechanism, maildir=maildir
        )
    )
    run = subprocess.run(["mbsync", "-c", rc, "-a", "-V"], capture_output=True, text=True, timeout=600)
    if run.returncode or "Error" in run.stderr or "Warning" in run.stderr:
        raise AssertionError(f"mbsync: {run.returncode}\n{run.stdout}\n{run.stderr}")
    return run.stdout


def read_maildir(directory: Path) -> Iterator[bytes]:
    """Messages of all folders as CRLF: mbsync writes LF on disk."""
    for path in sorted((directory / "maildir").rglob("*")):
        if path.is_file() and path.parent.name in ("cur", "new"):
            data = path.read_bytes()
            yield re.sub(rb"X-TUID: [^\n]*\n", b"", data).replace(b"\n", b"\r\n")


def missing(sent: Counter[str], received: Iterable[bytes]) -> tuple[Counter[str], int]:
    """(what was sent and not found, what was found and never sent), comparing without trace fields."""
    left, strange = Counter(sent), 0
    for data in received:
        for candidate in without_trace(data):
            key = digest(candidate)
            if left[key] > 0:
                left[key] -= 1
                break
        else:
            strange += 1
    return +left, strange
