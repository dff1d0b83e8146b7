"""IMAP clients as users have them, each doing what it is for: mbsync both ways with a large mailbox, offlineimap both
ways, mutt and neomutt, fetchmail, curl, and the Python libraries imaplib, IMAPClient (also its own live suite) and
aioimaplib."""

from __future__ import annotations

import asyncio
import imaplib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.corpus import sample
from tests.interop.test_clients import in_terminal
from tests.interop.tools import need, run
from tests.process.harness import Server

LARGE = 10_000
SYNC_SECONDS = 60.0
"""All mbsync runs of the test together."""
User = dict[str, str]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server.demo(tmp_path_factory.mktemp("imap") / "demo", "--accounts", "11", "--no-limits") as running:
        yield running


def login(server: Server, user: User) -> imaplib.IMAP4:
    client = imaplib.IMAP4("127.0.0.1", server.ports["imap"])
    client.login(user["address"], user["password"])
    return client


def fill(client: imaplib.IMAP4, mailbox: str, count: int, start: int = 0) -> None:
    """Small messages, many in one command (MULTIAPPEND)."""
    for low in range(start, start + count, 500):
        command = b"f APPEND %b" % mailbox.encode()
        for number in range(low, min(low + 500, start + count)):
            mail = b"From: a@peers.example\r\nMessage-ID: <n%d@peers.example>\r\nSubject: number %d\r\n\r\nText %d.\r\n"
            data = mail % (number, number, number)
            command += b" {%d+}\r\n%b" % (len(data), data)
        client.send(command + b"\r\n")
        while not (line := client.readline()).startswith(b"f "):
            pass
        assert line.startswith(b"f OK"), line


def count(client: imaplib.IMAP4, mailbox: str, *criteria: str) -> int:
    """Of messages on the server."""
    client.select(mailbox)
    _, found = client.uid("SEARCH", *(criteria or ("ALL",)))
    return len(found[0].split())


# -- mbsync ---------------------------------------------------------------------------

MBSYNC = """\
FSync no

IMAPAccount em
Host localhost
Port {port}
User {address}
Pass {password}
SSLType None
AuthMechs PLAIN
PipelineDepth 50

IMAPStore remote
Account em

MaildirStore local
Path {directory}/mail/
Inbox {directory}/mail/INBOX
SubFolders Verbatim

Channel all
Far :remote:
Near :local:
Patterns INBOX
Create Near
Expunge Both
SyncState *
"""


def mbsync(directory: Path) -> float:
    """Returns the seconds that it took."""
    start = time.monotonic()
    done = subprocess.run(
        ["mbsync", "-c", directory / "rc", "-a"], capture_output=True, text=True, timeout=SYNC_SECONDS * 2, check=False
    )
    assert done.returncode == 0 and "Error" not in done.stderr, done.stderr + done.stdout
    return time.monotonic() - start


def maildir(directory: Path) -> dict[str, Path]:
    """File by the number in its subject."""
    found = {}
    for path in (directory / "mail/INBOX").glob("[cn]*/*"):
        match = re.search(rb"Subject: number (\d+)", path.read_bytes())
        assert match, path
        assert match[1].decode() not in found, "a message twice"
        found[match[1].decode()] = path
    return found


def with_flag(path: Path, flag: str) -> None:
    base, _, flags = path.name.partition(":2,")
    path.rename(path.parent.with_name("cur") / f"{base}:2,{''.join(sorted({*flags, flag}))}")


def test_mbsync_both_ways_with_a_large_mailbox(server: Server, tmp_path: Path) -> None:
    need("mbsync")
    user = server.accounts[2]
    (tmp_path / "mail").mkdir()
    (tmp_path / "rc").write_text(MBSYNC.format(port=server.ports["imap"], directory=tmp_path, **user))
    client = login(server, user)
    fill(client, "INBOX", LARGE)
    first = mbsync(tmp_path)
    files = maildir(tmp_path)
    assert len(files) == LARGE
    again = mbsync(tmp_path)
    assert maildir(tmp_path) == files
    client.select("INBOX")
    client.uid("STORE", "11:20", "+FLAGS.SILENT", "(\\Flagged)")
    client.uid("STORE", "21:30", "+FLAGS.SILENT", "(\\Deleted)")
    client.uid("EXPUNGE", "21:30")
    fill(client, "INBOX", 50, LARGE)
    for number in range(100, 110):
        with_flag(files[str(number)], "S")
    for number in range(110, 120):
        files[str(number)].unlink()
    for number in range(5):
        path = tmp_path / "mail/INBOX/new" / f"own.{number}"
        path.write_bytes(b"From: me@example.test\nSubject: number 77777%d\n\nmine\n" % number)
    incremental = mbsync(tmp_path)
    files = maildir(tmp_path)
    assert len(files) == LARGE - 20 + 50 + 5
    assert all("F" in files[str(number)].name.partition(":2,")[2] for number in range(10, 20))
    assert not any(str(number) in files for number in range(20, 30))
    assert count(client, "INBOX") == LARGE - 20 + 50 + 5
    assert count(client, "INBOX", "SEEN") == 10
    assert count(client, "INBOX", "SUBJECT", '"number 77777"') == 5
    client.logout()
    assert first + again + incremental < SYNC_SECONDS, (first, again, incremental)


# -- offlineimap -------------------------------------------------------------------------


def test_offlineimap_both_ways(server: Server, tmp_path: Path) -> None:
    program = need("offlineimap")
    user = server.accounts[3]
    (tmp_path / "rc").write_text(
        f"[general]\naccounts = em\nmetadata = {tmp_path}/meta\n"
        "[Account em]\nlocalrepository = l\nremoterepository = r\n"
        f"[Repository l]\ntype = Maildir\nlocalfolders = {tmp_path}/mail\n"
        f"[Repository r]\ntype = IMAP\nremotehost = 127.0.0.1\nssl = no\nstarttls = no\n"
        f"remoteport = {server.ports['imap']}\nremoteuser = {user['address']}\nremotepass = {user['password']}\n"
        "auth_mechanisms = CRAM-MD5\nfolderfilter = lambda name: name == 'INBOX'\n"
    )
    command = [program, "-c", tmp_path / "rc", "-o", "-u", "basic"]
    client = login(server, user)
    fill(client, "INBOX", 40)
    run(command, timeout=120)
    files = maildir(tmp_path)
    assert len(files) == 40
    client.select("INBOX")
    client.uid("STORE", "1:3", "+FLAGS.SILENT", "(\\Answered)")
    client.uid("MOVE", "4:5", "Archive")
    with_flag(files["10"], "S")
    files["11"].unlink()
    (tmp_path / "mail/INBOX/new/own.1").write_bytes(b"From: me@example.test\nSubject: number 9000\n\nmine\n")
    run(command, timeout=120)
    files = maildir(tmp_path)
    assert len(files) == 40 - 3 + 1
    assert {number for number in files if "R" in files[number].name.partition(":2,")[2]} == {"0", "1", "2"}
    assert count(client, "INBOX") == 38
    assert count(client, "INBOX", "SEEN") == 1
    client.logout()


# -- mutt and neomutt ----------------------------------------------------------------------


@pytest.mark.parametrize("name, index", [("mutt", 4), ("neomutt", 5)])
def test_mutt_and_neomutt(server: Server, tmp_path: Path, name: str, index: int) -> None:
    """Without hands: flags one, deletes one, moves one, searches bodies on the server, and saves what it found."""
    program = need(name)
    user = server.accounts[index]
    client = login(server, user)
    fill(client, "INBOX", 20)
    (tmp_path / "rc").write_text(
        f'set folder="imap://127.0.0.1:{server.ports["imap"]}/"\nset imap_user="{user["address"]}"\n'
        f'set imap_pass="{user["password"]}"\nset ssl_starttls=no\nset ssl_force_tls=no\nset spoolfile="+INBOX"\n'
        f'set header_cache="{tmp_path}/cache"\nset imap_condstore=yes\nset imap_qresync=yes\nset imap_idle=yes\n'
        'set record=""\nset confirmappend=no\nset confirmcreate=no\nset move=no\nset quit=yes\nset wait_key=no\n'
        "set delete=yes\nset mark_old=no\nset sort=mailbox-order\n"
    )
    saved = tmp_path / "saved"
    keys = (
        "<search>~s'number 3$'<enter><flag-message>"
        "<search>~s'number 5$'<enter><delete-message>"
        "<search>~s'number 7$'<enter><save-message>+Archive<enter>"
        f"<search>=b'Text 9.'<enter><copy-message>{saved}<enter>"
        "<sync-mailbox><quit>"
    )
    for pushed in (keys, "<quit>"):  # the second time with its cache
        done = in_terminal([program, "-F", str(tmp_path / "rc"), "-e", f'push "{pushed}"'], tmp_path, 120)
    assert saved.exists(), done
    assert b"Subject: number 9\n" in saved.read_bytes()
    assert count(client, "INBOX") == 18, done
    assert count(client, "INBOX", "FLAGGED", "SUBJECT", '"number 3"') == 1
    assert count(client, "Archive", "SUBJECT", '"number 7"') == 1
    client.logout()


# -- fetchmail --------------------------------------------------------------------------------


def test_fetchmail(server: Server, tmp_path: Path) -> None:
    """Takes what is new to a program; keeps it first, removes it then."""
    program = need("fetchmail")
    user = server.accounts[6]
    client = login(server, user)
    fill(client, "INBOX", 12)
    rc = tmp_path / "rc"
    rc.write_text(
        f"poll 127.0.0.1 service {server.ports['imap']} protocol IMAP auth password\n"
        f"user \"{user['address']}\" password \"{user['password']}\" no sslcertck sslproto ''\n"
        f"mda \"cat >> {tmp_path}/mail\"\n"
    )
    rc.chmod(0o600)
    environment = {**os.environ, "HOME": str(tmp_path), "FETCHMAILHOME": str(tmp_path)}

    def fetch(*options: str) -> int:
        command = [program, "-f", rc, "--nodetach", "-v", *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)
        assert done.returncode in (0, 1), done.stdout + done.stderr
        return done.returncode

    assert fetch("--keep") == 0
    text = (tmp_path / "mail").read_bytes()
    assert len(re.findall(rb"^Subject: number \d+\r?$", text, re.MULTILINE)) == 12
    assert fetch("--keep") == 1, "nothing is new"
    assert count(client, "INBOX", "SEEN") == 12
    assert fetch("--fetchall", "--nokeep") == 0
    assert count(client, "INBOX") == 0
    client.logout()


# -- curl ------------------------------------------------------------------------------------------


def test_curl(server: Server, tmp_path: Path) -> None:
    curl = need("curl")
    user = server.accounts[7]
    (tmp_path / "mail").write_bytes(sample.ham(1))
    options = ["-sS", "-k", "-u", f"{user['address']}:{user['password']}"]
    base = f"imaps://127.0.0.1:{server.ports['imaps']}"
    run([curl, *options, "-T", tmp_path / "mail", f"{base}/INBOX"])
    assert run([curl, *options, f"{base}/INBOX?SUBJECT%20e"]).strip() in ("* SEARCH", "* SEARCH 1")
    assert "sample-1@peers.example" in run([curl, *options, f"{base}/INBOX;UID=1"])
    assert "Subject:" in run([curl, *options, f"{base}/INBOX;UID=1;SECTION=HEADER.FIELDS%20(SUBJECT)"])
    run([curl, *options, f"{base}/INBOX", "-X", "STORE 1 +FLAGS (\\Flagged)"])
    assert run([curl, *options, f"{base}/INBOX?FLAGGED"]).strip() == "* SEARCH 1"
    run([curl, *options, f"{base}/INBOX", "-X", "UID MOVE 1 Archive"])
    assert "(MESSAGES 1)" in run([curl, *options, base, "-X", "STATUS Archive (MESSAGES)"])
    assert "EXISTS" in run([curl, *options, "-v", f"{base}/", "-X", "EXAMINE INBOX"])
    command = [curl, "-sS", "-k", "-u", f"{user['address']}:wrong", f"{base}/"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 67, "a wrong password"


# -- libraries ---------------------------------------------------------------------------------------


def test_imaplib(server: Server) -> None:
    client = login(server, server.accounts[8])
    assert client.create("Gr&APwA3w-e")[0] == "OK"
    mail = b"Subject: a\r\n\r\nb\r\n"  # before ENABLE: its APPEND with UTF8 puts "UTF8 (" into the message itself
    assert client.append("Gr&APwA3w-e", "(\\Seen)", imaplib.Time2Internaldate(1e9), mail)[0] == "OK"
    assert client.enable("UTF8=ACCEPT")[0] == "OK"
    assert any("Grüße".encode() in line for line in client.list()[1])
    assert client.select('"Grüße"') == ("OK", [b"1"])
    _, (answer, *_) = client.fetch("1", "(FLAGS INTERNALDATE BODY.PEEK[TEXT])")
    assert isinstance(answer, tuple) and answer[1] == b"b\r\n" and b"9-Sep-2001" in answer[0]
    assert client.sort("REVERSE DATE", "UTF-8", "ALL")[1] == [b"1"]
    assert client.thread("REFERENCES", "UTF-8", "ALL")[1] == [b"(1)"]
    assert client.copy("1", "INBOX")[0] == client.store("1", "+FLAGS", "\\Deleted")[0] == "OK"
    assert client.expunge()[1] == [b"1"]
    assert client.getquotaroot("INBOX")[0] == client.myrights("INBOX")[0] == "OK"
    assert client.unselect()[0] == "OK"
    assert client.rename('"Grüße"', "Other")[0] == client.delete("Other")[0] == "OK"
    assert client.logout()[0] == "BYE"


def test_imapclient(server: Server) -> None:
    imapclient = pytest.importorskip("imapclient")
    user = server.accounts[8]
    with imapclient.IMAPClient("127.0.0.1", port=server.ports["imap"], ssl=False) as client:
        client.login(user["address"], user["password"])
        assert client.id_({"name": "IMAPClient"})[0][1] == b"EchoMox"
        assert client.namespace().personal == (("", "/"),)
        client.create_folder("Bücher & mehr")
        assert "Bücher & mehr" in [name for _, _, name in client.list_folders()]
        assert client.find_special_folder(b"\\Sent") == "Sent"
        client.select_folder("Bücher & mehr")
        for number in range(3):
            client.append("Bücher & mehr", sample.ham(number), flags=(imapclient.SEEN,))
        client.multiappend("Bücher & mehr", [sample.ham(3), {"msg": sample.ham(4), "flags": ["kw"]}])
        assert client.search("ALL") == [1, 2, 3, 4, 5]
        assert client.search(["SUBJECT", "übung"], "UTF-8") == []
        assert client.sort("ARRIVAL") == [1, 2, 3, 4, 5]
        assert sum(len(thread) for thread in client.thread()) >= 1
        fetched = client.fetch([1, 2], ["ENVELOPE", "BODYSTRUCTURE", "FLAGS", "MODSEQ", "RFC822.SIZE"])
        assert fetched[1][b"ENVELOPE"].message_id == b"<sample-0@peers.example>"
        assert {imapclient.SEEN, imapclient.FLAGGED} <= set(client.add_flags([1], [imapclient.FLAGGED])[1])
        modseq = client.fetch([1], ["MODSEQ"])[1][b"MODSEQ"][0]
        assert list(client.fetch(client.search(), ["FLAGS"], [f"CHANGEDSINCE {modseq - 1}"])) == [1]
        client.move([2], "Archive")
        client.delete_messages([3])
        client.uid_expunge([3])
        assert client.search() == [1, 4, 5]
        client.idle()
        other = login(server, user)
        other.append(imaplib.IMAP4._quote(other, "B&APw-cher &- mehr"), "", None, sample.ham(5))  # type: ignore[attr-defined]
        assert (4, b"EXISTS") in client.idle_check(timeout=60)
        client.idle_done()
        assert client.folder_status("INBOX", ["MESSAGES", "HIGHESTMODSEQ"])[b"MESSAGES"] >= 0
        assert client.get_quota_root("INBOX")[0].quota_roots == []  # nothing is limited
        client.unselect_folder()
        client.delete_folder("Bücher & mehr")
        other.logout()


LEFT_OUT = {
    "test_idle": "sleeps for ten seconds; IDLE is above",
    "test_fetch": "takes its own Envelope, a dataclass, for a sequence",
    "test_getacl": "takes its own configuration, a namespace, for a dictionary",
    "test_move": "by number it asks imaplib for a method that this has not",
    "test_subscriptions": "wants SUBSCRIBE to look for the mailbox, which RFC 9051 6.3.7 leaves to the server",
}
"""Tests of `imapclient.livetest` that fail or wait by themselves, whatever the server says."""


def test_live_suite_of_imapclient(server: Server, tmp_path: Path) -> None:
    """It is part of the package: folders, flags, searches, sorting, threads and copies, once by UID and once by
    number."""
    livetest = pytest.importorskip("imapclient.livetest")
    user = server.accounts[10]
    account = {"host": "127.0.0.1", "port": server.ports["imap"], "ssl": "false"}
    account |= {"username": user["address"], "password": user["password"]}
    config = tmp_path / "live.ini"
    config.write_text("[DEFAULT]\n" + "".join(f"{name} = {value}\n" for name, value in account.items()))
    classes = (livetest.TestGeneral, livetest.createUidTestClass(None, use_uid=True))
    names = {name for one in classes for name in dir(one) if name.startswith("test_")} - LEFT_OUT.keys()
    chosen = [word for name in sorted(names) for word in ("-k", name)]
    command = [sys.executable, "-m", "imapclient.livetest", config, *chosen]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    ran = re.search(r"^Ran (\d+) tests", done.stderr, re.MULTILINE)
    assert done.returncode == 0 and ran and int(ran[1]) >= 40, done.stdout + done.stderr


def test_aioimaplib(server: Server) -> None:
    aioimaplib = pytest.importorskip("aioimaplib")
    user = server.accounts[9]

    async def play() -> None:
        client = aioimaplib.IMAP4("127.0.0.1", server.ports["imap"], timeout=60)
        await client.wait_hello_from_server()
        assert (await client.login(user["address"], user["password"])).result == "OK"
        assert client.has_capability("IDLE") and client.has_capability("MOVE")
        assert (await client.append(sample.ham(1), "INBOX", "\\Seen")).result == "OK"
        assert (await client.select("INBOX")).result == "OK"
        answer = await client.uid("fetch", "1:*", "(FLAGS RFC822.SIZE BODY.PEEK[])")
        assert b"sample-1@peers.example" in answer.lines[1]
        idle = await client.idle_start(timeout=300)
        other = login(server, user)
        await asyncio.to_thread(other.append, "INBOX", "", None, sample.ham(2))  # type: ignore[arg-type]
        news: list[bytes] = []
        while not any(b"2 EXISTS" in line for line in news):
            news += await client.wait_server_push(timeout=60)
        client.idle_done()
        await asyncio.wait_for(idle, 60)
        assert (await client.uid("store", "1", "+FLAGS", "(\\Deleted)")).result == "OK"
        assert b"1 EXPUNGE" in (await client.expunge()).lines
        assert (await client.uid("move", "2", "Archive")).result == "OK"
        assert (await client.logout()).result == "OK"
        other.logout()

    asyncio.run(play())


def test_the_libraries_are_there() -> None:
    """As with programs: missing ones are a failure where everything is to be tested."""
    if os.environ.get("CI") == "true":
        code = "import imapclient, aioimaplib"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
