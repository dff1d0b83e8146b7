"""Bad clients against a whole server: garbage, silence, floods and bombs on every port and socket.

Each test runs within `calm(server)`, which holds what must stay true whatever a client does: the same processes
with the same number of restarts, no traceback in the log, no counted exception, memory of no worker grown by more
than MEMORY MB, and a well-behaved client beside it served on SMTP, submission and IMAP, for which no worker took more
than SERVED seconds of processor time, its own and that of the attack: a machine that has other things to do does not
count. There is one worker of each kind, so that the well-behaved client always meets the one under attack. After all
of it `echomox verifydata` finds nothing and no shared segment is left.

Here are the helpers and all that does not need a login; test_hostile_imap, _mail and _faults go on with them.
"""

from __future__ import annotations

import base64
import json
import os
import random
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.process.harness import HANG, ROOT, Server, command, wait_until

SERVED = 6.0
"""Of processor time; a slow machine may be three times as slow as a quick one."""
MEMORY = 64
PROMPT = 20.0
"""Seconds: less than TIMEOUT, so that what ends within them does not end by it."""
TIMEOUT = 30.0
TLS_TIMEOUT = 5.0
LIMITS = (
    "message_size = 2000000\nmime_depth = 50\nmime_parts = 1000\nrecipients = 200\n"
    f"command_timeout = {TIMEOUT}\ndata_timeout = {TIMEOUT}\nlogin_timeout = {TIMEOUT}\ntls_timeout = {TLS_TIMEOUT}\n"
)
ALL_TO_INBOX = '\n[accounts.u%d.junk_filter]\nmode = "junk-only"\njunk = 1.0\nreject = 1.0\n'
"""All is classified, and where it goes does not hang on what the filter thinks of it."""
ONE_OF_EACH = "\n[workers]\nsmtp = 1\nsubmission = 1\nimap = 1\nclassifier = 1\n"
DATA = (b"EHLO x.test\r\n", b"MAIL FROM:<a@x.test>\r\n", b"RCPT TO:<u0@example.test>\r\n", b"DATA\r\n")
RESET_AT_CLOSE = struct.pack("ii", 1, 0)


def prepare(root: Path, more: str = ONE_OF_EACH) -> Server:
    """A demo server with short time limits, not started yet."""
    server = Server.demo(root, "--no-limits", "--accounts", "3")
    path = root / "config/echomox.toml"
    text = path.read_text()
    path.write_text(text.replace("[limits]\n", "[limits]\n" + LIMITS) + more)
    path = root / "config/domains.toml"
    path.write_text(path.read_text() + "".join(ALL_TO_INBOX % number for number in range(3)))
    return server


def status(server: Server) -> dict[str, Any]:
    line = [*command("echomox-supervisor"), "status", "--json", "--config", str(server.root)]
    found: dict[str, Any] = json.loads(subprocess.run(line, capture_output=True, timeout=60, cwd=ROOT).stdout)
    return found


def workers(state: dict[str, Any]) -> dict[str, tuple[int, int, str]]:
    return {worker["name"]: (worker["pid"], worker["restarts"], worker["state"]) for worker in state["workers"]}


def verify(server: Server) -> None:
    line = [*command("echomox"), "--config", str(server.root / "config"), "--json", "verifydata"]
    done = subprocess.run(line, capture_output=True, timeout=60, cwd=ROOT)
    assert json.loads(done.stdout) == {"faults": [], "left": 0}


def memory(pid: int) -> int:
    """MB, proportional."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) // 1024
    return 0


# -- clients -------------------------------------------------------------------


def connect(server: Server, port: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.ports[port]), timeout=60)


def dial(server: Server, name: str) -> socket.socket:
    """To one of the Unix sockets."""
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(60)
    peer.connect(str(server.root / f"data/run/{name}.sock"))
    return peer


def send(peer: socket.socket, data: bytes) -> bool:
    """Whether it could be sent; a server may close on garbage."""
    try:
        peer.sendall(data)
    except OSError:
        return False
    return True


def rest(peer: socket.socket, limit: float = HANG) -> bytes:
    """All that comes until the server closes; AssertionError when it does not within `limit` seconds."""
    end, found = time.monotonic() + limit, bytearray()
    try:
        while True:
            peer.settimeout(max(0.01, end - time.monotonic()))
            piece = peer.recv(1 << 20)
            if not piece:
                return bytes(found)
            found += piece
    except TimeoutError:
        raise AssertionError(f"still open after {limit} s: {bytes(found[-200:])!r}") from None
    except OSError:
        return bytes(found)


def reset(peer: socket.socket) -> None:
    """Closes with RST."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
    peer.close()


def replies(peer: socket.socket, *commands: bytes) -> list[bytes]:
    """The last line of each SMTP reply, the greeting before them."""
    found = []
    with peer.makefile("rb") as lines:
        for line in (b"", *commands):
            peer.sendall(line)
            reply = lines.readline()
            while reply[3:4] == b"-":
                reply = lines.readline()
            found.append(reply)
    return found


def in_data(server: Server) -> socket.socket:
    peer = connect(server, "smtp")
    assert replies(peer, *DATA)[-1].startswith(b"354 ")
    return peer


def transmit(server: Server, data: bytes, account: int = 0) -> bytes:
    """One message, dots doubled already; the final reply."""
    with connect(server, "smtp") as peer:
        replies(peer, *DATA[:2], b"RCPT TO:<u%d@example.test>\r\n" % account, DATA[3])
        peer.sendall(data + b"\r\n.\r\n")
        with peer.makefile("rb") as lines:
            return lines.readline()


def login(server: Server, account: int = 0) -> socket.socket:
    """An IMAP session with INBOX selected."""
    peer = connect(server, "imap")
    user = server.accounts[account]
    assert b"s OK" in run(peer, b"s LOGIN %b %b" % (user["address"].encode(), user["password"].encode()))
    assert b"s OK" in run(peer, b"s SELECT INBOX")
    return peer


def run(peer: socket.socket, line: bytes, limit: float = HANG) -> bytes:
    """All that an IMAP command is answered, to its tagged line or the end."""
    tag, found, end = line.split(b" ", 1)[0], b"", time.monotonic() + limit
    if not send(peer, line + b"\r\n"):
        return rest(peer)
    while not any(b"\r\n%b %b" % (tag, word) in b"\r\n" + found for word in (b"OK", b"NO", b"BAD")):
        peer.settimeout(max(0.01, end - time.monotonic()))
        piece = peer.recv(1 << 20)
        if not piece:
            break
        found += piece
    return found


def secure(peer: socket.socket) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(peer)


# -- what must stay true ---------------------------------------------------------


def spent(pids: Iterable[int]) -> dict[int, float]:
    """Seconds of processor time of each process so far."""
    found = {}
    for pid in pids:
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            found[pid] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return found


@contextmanager
def served(server: Server, what: object = "") -> Iterator[None]:
    """No worker takes more than SERVED meanwhile."""
    before = spent(server.workers().values())
    yield
    after = spent(before)
    assert max(after[pid] - before[pid] for pid in after) < SERVED, what


class Witness(threading.Thread):
    """A well-behaved client that comes again and again; what it met."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self.server = server
        self.pids = list(server.workers().values())
        self.over = threading.Event()
        self.worst = 0.0
        self.served = 0
        self.trouble: list[str] = []

    def run(self) -> None:
        while not self.over.wait(0.05):
            for visit in (self.smtp, self.submission, self.imap):
                before = spent(self.pids)
                try:
                    visit()
                    self.served += 1
                except (OSError, AssertionError) as error:
                    self.trouble.append(f"{visit.__name__}: {error!r}")
                after = spent(before)
                self.worst = max(self.worst, *(after[pid] - before[pid] for pid in after))

    def smtp(self) -> None:
        with connect(self.server, "smtp") as peer:
            assert replies(peer, *DATA[:3], b"QUIT\r\n")[-2:-1] == [b"250 2.1.5 Recipient OK\r\n"]

    def submission(self) -> None:
        with connect(self.server, "submission") as peer:
            assert replies(peer, b"QUIT\r\n")[-1].startswith(b"221 ")

    def imap(self) -> None:
        with login(self.server, 1) as peer:
            assert b"z OK" in run(peer, b"z LOGOUT")


@contextmanager
def calm(server: Server, most: int = MEMORY) -> Iterator[None]:
    """The invariants of this file, around an attack. most: MB that a worker may grow."""
    before = status(server)
    pids = {name: pid for name, (pid, _, _) in workers(before).items()}
    sizes = {name: memory(pid) for name, pid in pids.items()}
    start = len(server.log)
    witness = Witness(server)
    witness.start()
    try:
        yield
        time.sleep(0.2)
    finally:
        witness.over.set()
        witness.join(60)
    grown = {name: memory(pid) - sizes[name] for name, pid in pids.items()}
    after = status(server)
    assert workers(after) == workers(before)
    assert "Traceback" not in server.log[start:]
    assert after["counters"]["exceptions"] == before["counters"]["exceptions"]
    assert not witness.trouble and witness.served >= 3
    assert witness.worst < SERVED
    assert max(grown.values()) <= most, grown


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with prepare(tmp_path_factory.mktemp("hostile") / "demo") as server:
        yield server
        verify(server)
        assert spooled(server) == []


def spooled(server: Server) -> list[str]:
    """Files of messages that are half received."""
    found = (server.root / "data/spool").glob("*/*")
    return [str(path) for path in found if path.is_file()]


# -- garbage and silence -----------------------------------------------------------

HTTP = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
PLAIN_PORTS = ("smtp", "submission", "imap")
TLS_PORTS = ("submissions", "imaps")
HALF_RECORDS = (b"\x16", b"\x16\x03\x01\x40\x00" + bytes(100))


def test_garbage_on_every_port_is_closed_or_answered(server):
    rng = random.Random(1)
    with calm(server):
        for port in (*PLAIN_PORTS, *TLS_PORTS):
            for size in (1, 100, 10_000, 300_000) * 5:
                with connect(server, port) as peer:
                    send(peer, rng.randbytes(size))
        for port in PLAIN_PORTS:
            with connect(server, port) as peer:
                send(peer, HTTP + b"MAIL FROM:<a@x.test>\r\n")
                assert rest(peer, PROMPT).count(b"\r\n") <= 4
            with connect(server, port) as peer:
                send(peer, b"x y\r\n" * 100)
                assert rest(peer, PROMPT)  # too many commands that are not understood
        for port in TLS_PORTS:
            for data in (HTTP, b"\x16\x03\x01\xff\xff" + bytes(70_000), rng.randbytes(1000)):
                with connect(server, port) as peer:
                    send(peer, data)
                    rest(peer, PROMPT)
            with connect(server, port) as peer, secure(peer) as tls:
                send(tls, rng.randbytes(100_000))


def begin(server: Server, port: str, data: bytes) -> socket.socket:
    peer = connect(server, port)
    send(peer, data)
    return peer


def drip(peers: list[socket.socket], over: threading.Event) -> None:
    """An octet every 200 ms, as long as there is somebody to take it."""
    while not over.wait(0.2):
        for peer in peers:
            send(peer, b"x")


def test_silent_and_slow_clients_are_sent_away_in_time(server):
    over = threading.Event()
    with calm(server):
        timed = [in_data(server) for _ in range(5)]
        for peer in timed[:3]:
            send(peer, b"Subject: never ends\r\n\r\n" + b"x" * 100_000)
        half = (b"", b"EHLO x", b"a AUTHENTICATE PLAIN\r\n", b"a LOGIN {5}\r\n", b"a LOGIN {4096+}\r\nx")
        timed += [begin(server, port, data) for port in PLAIN_PORTS for data in half]
        shaking = [begin(server, port, data) for port in TLS_PORTS for data in (b"", *HALF_RECORDS)]
        shaking += [begin(server, port, b"EHLO x.test\r\nSTARTTLS\r\n") for port in PLAIN_PORTS[:2]]
        shaking += [begin(server, "imap", b"a STARTTLS\r\n")]
        slow = [connect(server, ("smtp", "imap")[number % 2]) for number in range(100)]
        dripping = threading.Thread(target=drip, args=(slow, over), daemon=True)
        dripping.start()
        for peer in (*shaking, *timed, *slow):
            rest(peer)
            peer.close()
        over.set()
        dripping.join()


def test_thousands_of_connections_opened_and_dropped(server):
    ports = (*PLAIN_PORTS, *TLS_PORTS)
    with calm(server):
        for number in range(2500):
            peer = connect(server, ports[number % len(ports)])
            (reset if number % 3 else socket.socket.close)(peer)
        wait_until(lambda: status(server)["connections"] < 20, what="connections let go")


# -- SMTP ----------------------------------------------------------------------

BAD_DATA = (
    (b"X-A: " + b"b" * 900 + b"\r\n", 600, b"552 5.3.4"),  # a header without end
    (b"\r\n" + b"y" * 998 + b"\r\n", 20_000, b"552 5.3.4"),  # 20 MB where 2 MB is the limit
    (b"\r\n" + b"z" * 70_000, 1, b"554 5.6.0"),
    (b"Subject: a\0b\r\n", 3, b"550 5.6.11"),
    (b"Subject: a\r\n\r\nx\n.\nMAIL FROM:<evil@x.test>\r\n", 1, b"550 5.6.11"),  # SMTP smuggling
    (b"Received: from x\r\n", 120, b"554 5.4.6"),
)


@pytest.mark.parametrize(("piece", "times", "code"), BAD_DATA)
def test_bad_message_data_is_refused_at_its_end(server, piece, times, code):
    with calm(server), in_data(server) as peer:
        for _ in range(0, times, 1000):
            peer.sendall(piece * min(times, 1000))
        peer.sendall(b"\r\n.\r\n")
        assert rest_of_replies(peer, b"QUIT\r\n")[0].startswith(code)


def rest_of_replies(peer: socket.socket, data: bytes) -> list[bytes]:
    peer.sendall(data)
    return rest(peer).splitlines()


def test_cut_in_the_middle_of_data_stores_nothing(server):
    accepted = status(server)["counters"]["smtp_messages_accepted"]
    with calm(server):
        for number in range(100):
            peer = in_data(server)
            send(peer, b"Subject: cut\r\n\r\n" + b"abc\r\n" * (number * 300))
            (reset if number % 2 else socket.socket.close)(peer)
        wait_until(lambda: not spooled(server), what="spool is empty")
    assert status(server)["counters"]["smtp_messages_accepted"] == accepted


def test_endless_recipients_and_commands_are_counted_out(server):
    with calm(server):
        with connect(server, "smtp") as peer:
            replies(peer, *DATA[:2])
            lines = b"".join(b"RCPT TO:<u0+%d@example.test>\r\n" % number for number in range(100_000))
            writer = threading.Thread(target=send, args=(peer, lines + b"QUIT\r\n"), daemon=True)
            writer.start()
            codes = Counter(line[:9] for line in rest(peer).splitlines())
        assert codes == {b"250 2.1.5": 200, b"452 4.5.3": 99_800, b"221 2.0.0": 1}
        with connect(server, "smtp") as peer:  # a chunk that nobody is to read
            replies(peer, *DATA[:3])
            send(peer, b"BDAT 999999999 LAST\r\n" + b"\xff" * 50_000 + b"\r\n" * 20)
            assert rest(peer, PROMPT).splitlines()[-1].startswith(b"552 5.3.4")
        with connect(server, "smtp") as peer:  # reads no replies
            replies(peer)
            peer.settimeout(1)
            send(peer, b"NOOP\r\n" * 300_000)


def chatter(server: Server, over: threading.Event) -> None:
    """Commands without a pause, and all replies read."""
    with connect(server, "smtp") as peer:
        threading.Thread(target=rest, args=(peer,), daemon=True).start()
        while not over.is_set() and send(peer, b"EHLO x.test\r\n" + DATA[1] + DATA[2] * 3 + b"RSET\r\n" * 5000):
            pass
        peer.shutdown(socket.SHUT_RDWR)


def test_floods_of_commands_let_others_run(server):
    over = threading.Event()
    with calm(server):
        floods = [threading.Thread(target=chatter, args=(server, over), daemon=True) for _ in range(30)]
        for flood in floods:
            flood.start()
        time.sleep(2)
        over.set()
        for flood in floods:
            flood.join(60)


def test_nothing_said_before_tls_counts_after_it(server):
    with calm(server):
        peers = []
        for port in PLAIN_PORTS:
            start = b"a STARTTLS\r\n" if port == "imap" else b"STARTTLS\r\n"
            for extra in (b"NOOP\r\n", b"x NOOP\r\n" + b"\x16\x03\x01\xff\xff" * 10_000, start * 5000):
                peers.append(begin(server, port, start + extra))
            for number in range(50):
                with connect(server, port) as peer, peer.makefile("rb") as lines:
                    lines.readline()
                    peer.sendall(start)
                    lines.readline()
                    if number % 2:
                        secure(peer).close()
        for peer in peers:
            answer = rest(peer)
            assert not any(word in answer for word in (b"250 2.0.0", b"x OK", b"a BAD"))
            peer.close()


LOGINS = (
    ("submission", b"EHLO x\r\nAUTH %b %b\r\n%b\r\n%b\r\n" + b"QUIT\r\n" * 4),
    ("imap", b"a AUTHENTICATE %b %b\r\n%b\r\n%b\r\n" + b"b LOGOUT\r\n" * 4),
)
RESPONSES = (b"=", b"*", b"!!!!", b"A" * 7000, base64.b64encode(b"\0u0@example.test\0\xff\xfe"), b"A" * 100_000)


def test_hostile_logins_fail_cleanly(server):
    failed = failed_logins(server)
    with calm(server):
        peers = []
        for port, dialogue in LOGINS:
            for mechanism in (b"PLAIN", b"LOGIN", b"CRAM-MD5", b"SCRAM-SHA-256", b"X" * 3000):
                for response in RESPONSES:
                    peers.append(begin(server, port, dialogue % (mechanism, response, response, response)))
        for number in range(20):
            tries = b"".join(b"%d LOGIN u0@example.test no%d-%d\r\n" % (n, n, number) for n in range(20))
            peers.append(begin(server, "imap", tries + b"z LOGOUT\r\n"))
        for peer in peers:
            found = rest(peer)
            assert b"\r\n235" not in found and b"a OK" not in found and b"0 OK" not in found
            peer.close()
    assert failed_logins(server) > failed + 50


def failed_logins(server: Server) -> int:
    return sum(number for name, number in status(server)["counters"].items() if name.startswith("logins_failed"))
