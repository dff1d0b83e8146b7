"""Mail through the queue: submits over TLS with a login, and plays the host it is for. Run as a process of its own.

    python -m tests.bench.submit '{"port": 40465, "sink": 42025, "password": "…", "seconds": 6}'

prints one JSON object: what was submitted and what arrived, at which rates, and the transit of each message in ms, from
before its MAIL command to the end of its text at the sink. The sink is a second process. With `pause`, each connection
waits so many seconds between two messages: that is an idle server, and its transit.
"""

from __future__ import annotations

import asyncio
import base64
import json
import multiprocessing
import random
import ssl
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, cast

import uvloop

from tests.bench.load import Smtp, Tally, bodies, mail, now

QUIET = 20.0  # seconds without a message after which no more is waited for
EHLO = b"250-sink.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE\r\n"


@dataclass
class Settings:
    """recipient: "{}" is a number below recipients. users: u0 and so on, in turn; first: of them. serial: where the
    numbers of the messages begin."""

    port: int = 0
    sink: int = 0
    password: str = ""
    domain: str = "example.test"
    recipient: str = "r{}@sink.example"
    recipients: int = 100
    users: int = 4
    first: int = 0
    concurrency: int = 20
    per_connection: int = 100
    size: int = 8192
    seconds: float = 6.0
    pause: float = 0.0


# -- the sink ----------------------------------------------------------------------------


class Sink(asyncio.Protocol):
    """Takes all mail. arrivals: (when, how old by its X-Bench-Time field) of each message that has one."""

    def __init__(self, arrivals: list[tuple[float, float]]) -> None:
        self.arrivals = arrivals
        self.buffer = b""
        self.in_data = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.WriteTransport, transport)
        self.transport.write(b"220 sink.example ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while self._message() if self.in_data else self._command():
            pass

    def _message(self) -> bool:
        text, dot, rest = self.buffer.partition(b"\r\n.\r\n")
        if not dot:
            return False
        self.buffer, self.in_data = rest, False
        at = text.find(b"\nX-Bench-Time: ")
        if at >= 0:
            moment = now()
            self.arrivals.append((moment, moment - float(text[at + 15 : text.index(b"\r", at)])))
        self.transport.write(b"250 2.0.0 taken\r\n")
        return True

    def _command(self) -> bool:
        line, newline, rest = self.buffer.partition(b"\r\n")
        if not newline:
            return False
        self.buffer = rest
        verb = line[:4].upper()
        if verb == b"QUIT":
            self.transport.write(b"221 2.0.0 bye\r\n")
            self.transport.close()
            return False
        if verb == b"DATA":
            self.in_data = True
            self.transport.write(b"354 go on\r\n")
        else:
            self.transport.write(EHLO if verb == b"EHLO" else b"250 2.0.0 ok\r\n")
        return True


async def serve(pipe: Connection, port: int) -> None:
    """Until it is told how many messages to await and they are there; answers with the arrivals."""
    arrivals: list[tuple[float, float]] = []
    server = await asyncio.get_running_loop().create_server(lambda: Sink(arrivals), "127.0.0.1", port, backlog=1024)
    pipe.send("ready")
    while not pipe.poll():
        await asyncio.sleep(0.02)
    wanted, since = pipe.recv(), now()
    while len(arrivals) < wanted and now() - max(since, arrivals[-1][0] if arrivals else 0.0) < QUIET:
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.2)  # the last answers go out
    server.close()
    pipe.send(arrivals)


def serve_beside(pipe: Connection, port: int) -> None:
    uvloop.run(serve(pipe, port))


# -- the load ----------------------------------------------------------------------------


async def login(settings: Settings, user: str, context: ssl.SSLContext) -> Smtp:
    reader, writer = await asyncio.open_connection("127.0.0.1", settings.port, ssl=context, limit=1 << 20)
    smtp = Smtp(reader, writer)
    await reader.readline()
    await smtp.say(b"EHLO load.example\r\n")
    plain = base64.b64encode(f"\0{user}\0{settings.password}".encode())
    await smtp.say(b"AUTH PLAIN " + plain + b"\r\n")
    return smtp


async def drive(settings: Settings) -> Tally:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    pool, tally, deadline = bodies(settings.size), Tally(), now() + settings.seconds

    async def connection(index: int, turn: int) -> None:
        user = f"u{settings.first + (index + turn) % settings.users}@{settings.domain}"
        smtp = await login(settings, user, context)
        for _ in range(settings.per_connection):
            if now() >= deadline:
                break
            serial, began = len(tally.latencies), now()
            recipient = settings.recipient.format(random.randrange(settings.recipients))
            data = f"X-Bench-Time: {now():.6f}\r\n".encode() + mail(pool[serial % 64], user, recipient, serial)
            await asyncio.wait_for(smtp.mail(user, recipient, data), 60)
            tally.latencies.append(now() - began)
            if settings.pause:
                await asyncio.sleep(settings.pause * random.uniform(0.5, 1.5))
        smtp.writer.write(b"QUIT\r\n")
        smtp.close()

    async def worker(index: int) -> None:
        turn = 0
        while now() < deadline:
            try:
                await connection(index, turn)
            except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                tally.errors[repr(error)[:120]] += 1
                await asyncio.sleep(0.05)
            turn += 1

    await asyncio.gather(*(worker(index) for index in range(settings.concurrency)))
    return tally


def percentile(values: list[float], part: int) -> float:
    return round(1000 * values[min(len(values) - 1, len(values) * part // 100)], 2) if values else 0.0


def run(settings: Settings) -> dict[str, Any]:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve_beside, args=(theirs, settings.sink), daemon=True)
    process.start()
    assert ours.recv() == "ready"
    tally = uvloop.run(drive(settings))
    result = tally.result()
    ours.send(len(tally.latencies))
    arrivals: list[tuple[float, float]] = ours.recv()
    process.join(10)
    ages = sorted(age for _, age in arrivals)
    last = arrivals[-1][0] if arrivals else now()
    return {
        **result,
        "arrived": len(arrivals),
        "arrived_rate": round(len(arrivals) / (last - tally.began), 1),
        "transit_p50": percentile(ages, 50),
        "transit_p99": percentile(ages, 99),
    }


def main() -> None:
    print(json.dumps(run(Settings(**json.loads(sys.argv[1])))))


if __name__ == "__main__":
    assert time.get_clock_info("perf_counter").monotonic  # one clock for all processes of this machine
    main()
