"""IMAP where it is large: a mailbox of 100,000 messages, sets of 10,000, messages of megabytes, thousands of clients.

    python -m tests.bench --only imap:
    python -m tests.bench.imap PORT PASSWORD PID [word …]      against a server that runs; PID: its supervisor's

One blocking client works through the rows in their order; those about sets and opening use the mailbox that
MULTIAPPEND has made. Every figure is the median of several turns. "CPU ms" is the server's processor time of one turn
(of one message, of one connection, where the figure is of these), all processes together; behind the aim stands what
bounds the figure. Nothing is asserted, but for the answers being complete.
"""

from __future__ import annotations

import resource
import select
import socket
import ssl
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from tests.bench import measure
from tests.bench.load import bodies, mail

LARGE = 100_000
SET = 10_000
TURNS = 5
MIB = 1 << 20


class Client:
    """One connection; `run` returns what came before the tagged OK."""

    def __init__(self, port: int, password: str, account: int = 0, tls: bool = False) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 120)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.socket = unchecked().wrap_socket(self.socket)
        self.line()
        self.run(f"LOGIN u{account}@example.test {password}".encode())

    def line(self) -> bytes:
        found = b""
        while not found.endswith(b"\r\n"):
            found += self.socket.recv(4096)
        return found

    def run(self, command: bytes) -> bytes:
        self.socket.sendall(b"t " + command + b"\r\n")
        return self.answer()

    def answer(self) -> bytes:
        chunks, tail = [], b""
        while not (tail.endswith(b"\r\n") and (b"\r\nt " in tail or tail.startswith(b"t "))):
            chunk = self.socket.recv(MIB)
            if not chunk:
                raise ConnectionError("closed")
            chunks.append(chunk)
            tail = (tail + chunk)[-4096:]
        if b"\r\nt OK" not in tail and not tail.startswith(b"t OK"):
            raise ConnectionError(tail.decode("latin-1"))
        return b"".join(chunks)

    def size(self, command: bytes) -> int:
        """Octets of the answer, which is not kept."""
        self.socket.sendall(b"t " + command + b"\r\n")
        total, tail = 0, b""
        buffer = memoryview(bytearray(MIB))
        while b"\r\nt OK" not in tail:
            count = self.socket.recv_into(buffer)
            if not count:
                raise ConnectionError("closed")
            total += count
            tail = (tail + bytes(buffer[max(0, count - 200) : count]))[-200:]
        return total

    def number(self, command: bytes, before: bytes) -> int:
        """The number that follows `before` in the answer."""
        return int(self.run(command).partition(before)[2].partition(b"]")[0].partition(b")")[0])

    def idle(self) -> None:
        self.socket.sendall(b"i IDLE\r\n")
        self.line()


def unchecked() -> ssl.SSLContext:
    """Of a demo server, whose certificate nobody has signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Server(NamedTuple):
    port: int
    tls_port: int
    password: str
    pid: int

    def client(self, account: int = 0, tls: bool = False) -> Client:
        return Client(self.tls_port if tls else self.port, self.password, account, tls)

    def timed(self, work: Callable[[], Any], turns: int = TURNS) -> tuple[float, float]:
        """(median seconds, CPU milliseconds of one turn)"""
        spent, times = measure.cpu_seconds(self.pid), []
        for _ in range(turns):
            began = time.perf_counter()
            work()
            times.append(time.perf_counter() - began)
        return statistics.median(times), 1000 * (measure.cpu_seconds(self.pid) - spent) / turns


Result = dict[str, Any]


def row(name: str, figure: str, cpu_ms: float, bar: str, seconds: float = 0.0) -> Result:
    """seconds: of one turn, of which the server's processor time is `cpu_ms`."""
    bound = measure.bound(seconds, cpu_ms) if seconds else ""
    return {"row": f"imap: {name}", "figure": figure, "cpu_ms": round(cpu_ms, 1), "bar": bar, "bound": bound}


# -- the rows ---------------------------------------------------------------------


def multiappend(server: Server) -> Iterator[Result]:
    """100 messages of 8 KiB a command, SET / 2 in all."""
    client, pool = server.client(), bodies(8192)
    client.run(b"CREATE large")
    turns = SET // 200
    commands = []
    for turn in range(turns):
        mails = [mail(pool[(turn + n) % 64], f"a{n}@b.example", "u0@c.example", turn * 100 + n) for n in range(100)]
        commands.append(b"APPEND large" + b"".join(b" (\\Seen) {%d+}\r\n%b" % (len(one), one) for one in mails))
    following = iter(commands)
    seconds, cpu = server.timed(lambda: client.run(next(following)), turns)
    yield row("MULTIAPPEND, durable messages of 8 KiB", f"{100 / seconds:,.0f}/s", cpu / 100, "2,000/s", seconds / 100)


def sets(server: Server) -> Iterator[Result]:
    """COPY until the mailbox is LARGE; then MOVE there and back, STORE, EXPUNGE."""
    client = server.client()
    client.run(b"SELECT large")
    client.run(b"COPY 1:* large")
    numbers = b"1:%d" % SET
    turns = LARGE // SET - 1
    seconds, cpu = server.timed(lambda: client.run(b"COPY " + numbers + b" large"), turns)
    yield row(f"COPY of {SET:,}", f"{1000 * seconds:,.0f} ms", cpu, "1,000 ms", seconds)
    signs = iter(b"+-" * TURNS)
    seconds, cpu = server.timed(lambda: client.run(b"STORE %b %cFLAGS.SILENT (\\Flagged)" % (numbers, next(signs))))
    yield row(f"STORE of {SET:,} flags, silent", f"{1000 * seconds:,.0f} ms", cpu, "500 ms", seconds)
    seconds, cpu = server.timed(lambda: client.run(b"STORE %b %cFLAGS (\\Flagged)" % (numbers, next(signs))))
    yield row(f"STORE of {SET:,} flags, told", f"{1000 * seconds:,.0f} ms", cpu, "500 ms", seconds)
    client.run(b"CREATE other")
    seconds, cpu = server.timed(lambda: client.run(b"MOVE " + numbers + b" other"))
    yield row(f"MOVE of {SET:,}", f"{1000 * seconds:,.0f} ms", cpu, "1,000 ms", seconds)
    client.run(b"SELECT other")
    client.run(b"COPY 1:* large")
    client.run(b"STORE 1:* +FLAGS.SILENT (\\Deleted)")
    seconds, cpu = server.timed(lambda: client.run(b"EXPUNGE"), 1)
    yield row(f"EXPUNGE of {TURNS * SET:,}", f"{1000 * seconds:,.0f} ms", cpu, "-", seconds)


def opening(server: Server) -> Iterator[Result]:
    """SELECT of the large mailbox, and what a client that comes back is told."""
    client, other = server.client(), server.client()
    for one in (client, other):
        one.run(b"ENABLE QRESYNC")
    total = client.number(b"STATUS large (MESSAGES)", b"MESSAGES ")
    seconds, cpu = server.timed(lambda: client.run(b"SELECT large"), 3 * TURNS)
    yield row(f"SELECT of {total:,} messages", f"{1000 * seconds:.1f} ms", cpu, "50 ms", seconds)
    validity = client.number(b"STATUS large (UIDVALIDITY)", b"UIDVALIDITY ")
    modseq = client.number(b"STATUS large (HIGHESTMODSEQ)", b"HIGHESTMODSEQ ")
    other.run(b"SELECT large")
    for n in range(90):
        other.run(b"STORE %d +FLAGS.SILENT (\\Answered)" % (n * (total // 100) + 1))
    other.run(b"STORE " + b",".join(b"%d" % (n * 700 + 5) for n in range(10)) + b" +FLAGS.SILENT (\\Deleted)")
    other.run(b"EXPUNGE")
    client.run(b"UNSELECT")
    command = b"SELECT large (QRESYNC (%d %d))" % (validity, modseq)
    plain, cpu_plain = server.timed(lambda: client.run(b"SELECT large"), 3 * TURNS)
    seconds, cpu = server.timed(lambda: client.run(command), 3 * TURNS)
    yield row("QRESYNC, 100 changes, whole SELECT", f"{1000 * seconds:.1f} ms", cpu, "-", seconds)
    figure = f"{1000 * max(seconds - plain, 0):.1f} ms"
    yield row("QRESYNC, 100 changes, what it adds", figure, max(cpu - cpu_plain, 0), "20 ms")
    client.run(b"SELECT large")
    command = b"UID FETCH 1:* (FLAGS) (CHANGEDSINCE %d VANISHED)" % modseq
    seconds, cpu = server.timed(lambda: client.run(command))
    yield row("UID FETCH CHANGEDSINCE, 100 changes", f"{1000 * seconds:.1f} ms", cpu, "20 ms", seconds)
    seconds, cpu = server.timed(lambda: client.size(b"FETCH 1:* (UID FLAGS)"), 3)
    yield row("FETCH flags, all of it", f"{total / seconds:,.0f}/s", cpu, "200,000/s", seconds)
    seconds, cpu = server.timed(lambda: client.size(b"FETCH 1:* (FLAGS ENVELOPE)"), 3)
    yield row("FETCH flags and envelopes, all of it", f"{total / seconds:,.0f}/s", cpu, "100,000/s", seconds)
    seconds, cpu = server.timed(lambda: client.size(b"FETCH 1:%d (BODY.PEEK[])" % SET), 3)
    yield row(f"FETCH bodies of 8 KiB, {SET:,}", f"{SET / seconds:,.0f}/s", cpu, "40,000/s", seconds)


def large_bodies(server: Server) -> Iterator[Result]:
    """Messages of 16 MiB, up and down."""
    client = server.client()
    client.run(b"CREATE huge")
    data = b"Subject: large\r\n\r\n" + (b"y" * 76 + b"\r\n") * (16 * MIB // 78)
    command = b"APPEND huge {%d+}\r\n%b" % (len(data), data)
    seconds, cpu = server.timed(lambda: client.run(command), 4)
    yield row("APPEND of 16 MiB", f"{len(data) / seconds / 1e6:,.0f} MB/s", cpu, "-", seconds)
    client.run(b"SELECT huge")
    total = client.size(b"FETCH 1:* (BODY.PEEK[])")
    seconds, cpu = server.timed(lambda: client.size(b"FETCH 1:* (BODY.PEEK[])"))
    yield row("FETCH bodies of 16 MiB", f"{total / seconds / 1e6:,.0f} MB/s", cpu, "500 MB/s", seconds)


def idlers(server: Server) -> Iterator[Result]:
    """Idle connections: memory of each, and how long until all have heard of a message."""
    for tls, count in ((False, 5000), (True, 5000)):
        before = measure.pss_mib(server.pid)
        began = time.perf_counter()
        clients = [server.client(n % 4, tls) for n in range(count)]
        for client in clients:
            client.run(b"SELECT INBOX")
            client.idle()
        opened = time.perf_counter() - began
        time.sleep(3)
        each = 1024 * (measure.pss_mib(server.pid) - before) / count
        kind = "TLS" if tls else "plain"
        bar = "60 KiB" if tls else "30 KiB"
        yield row(f"{count:,} idle, {kind}: memory", f"{each:.1f} KiB each", 1000 * opened / count, bar)
        yield row(f"{count:,} idle, {kind}: all hear of 4 messages", *push(server, clients), "1 s")
        for client in clients:
            client.socket.close()
        time.sleep(2)


def push(server: Server, clients: Sequence[Client]) -> tuple[str, float]:
    """One message to each of the four accounts: the last EXISTS."""
    poll = select.epoll()
    by_number = {client.socket.fileno(): client for client in clients}
    for number in by_number:
        poll.register(number, select.EPOLLIN)
    senders = [server.client(account) for account in range(4)]
    spent, began = measure.cpu_seconds(server.pid), time.perf_counter()
    for sender in senders:
        sender.run(b"APPEND INBOX {14+}\r\nSubject: x\r\n\r\n")
    last = began
    while by_number and time.perf_counter() - began < 30:
        for number, _ in poll.poll(1):
            client = by_number.get(number)
            if client is not None and b"EXISTS" in client.socket.recv(65536):
                last = time.perf_counter()
                poll.unregister(number)
                del by_number[number]
    missing = f", {len(by_number)} never" if by_number else ""
    return f"{1000 * (last - began):,.0f} ms{missing}", 1000 * (measure.cpu_seconds(server.pid) - spent)


ROWS = (idlers, multiappend, sets, opening, large_bodies)
"""Memory first: what a worker has needed once it uses again, and idle clients seem to need nothing."""


def line(result: Result) -> str:
    figures = f"{result['row']:<48}{result['figure']:>14}{result['cpu_ms']:>9}"
    return f"{figures}  aim {result['bar']:<10}{result['bound']}".rstrip()


def drive(server: Server, words: Sequence[str] = ()) -> list[Result]:
    """Prints as it goes. words: of the names of ROWS."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # for the idle clients
    results = []
    for rows in ROWS:
        if not words or any(word in rows.__name__ for word in words):
            for result in rows(server):
                results.append(result)
                print(line(result), flush=True)
    return results


def run(words: Sequence[str], server: Callable[[], Any]) -> list[Result]:
    """server: starts one with four accounts (tests.bench.__main__.Server)."""
    if words and not any(word.startswith("imap:") for word in words):
        return []
    one = server()
    try:
        ports = one.facts["ports"]
        asked = [word.removeprefix("imap:") for word in words if word.startswith("imap:")]
        return drive(
            Server(ports["imap"], ports["imaps"], one.password, one.process.pid), [word for word in asked if word]
        )
    finally:
        one.stop()


if __name__ == "__main__":
    port, password, pid = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    drive(Server(port, port - 143 + 993, password, pid), sys.argv[4:])
