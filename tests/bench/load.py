"""A load generator for SMTP and IMAP on loopback, written for these benches; run as a process of its own.

    python -m tests.bench.load NAME '{"smtp": 12025, "imap": 12143, …}'

prints one JSON object: operations, seconds, rate, latencies in ms, errors. The client side is kept cheap (answers are
counted in whole buffers, never parsed into objects), because on a small machine it shares the cores with the server.
Each connection comes from a random address of 127.0.0.0/8, as on a real server.
"""

from __future__ import annotations

import asyncio
import collections
import json
import random
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import uvloop

from tests.corpus import sample

now = time.perf_counter


@dataclass
class Settings:
    smtp: int = 0
    imap: int = 0
    domain: str = "example.test"
    password: str = ""
    accounts: int = 1
    concurrency: int = 20
    seconds: float = 8.0
    per_connection: int = 1
    size: int = 8192
    messages: int = 500
    passes: int = 10
    connections: int = 500
    pushes: int = 50
    pid: int = 0


@dataclass
class Tally:
    latencies: list[float] = field(default_factory=list)
    errors: collections.Counter[str] = field(default_factory=collections.Counter)
    began: float = field(default_factory=now)

    def result(self, **more: Any) -> dict[str, Any]:
        elapsed = now() - self.began
        ordered = sorted(self.latencies) or [0.0]
        return {
            "count": len(self.latencies),
            "seconds": round(elapsed, 3),
            "rate": round(len(self.latencies) / elapsed, 1),
            "p50": round(1000 * ordered[len(ordered) // 2], 2),
            "p99": round(1000 * ordered[len(ordered) * 99 // 100], 2),
            "errors": sum(self.errors.values()),
            "error_sample": dict(self.errors.most_common(2)),
            **more,
        }


class Connection:
    """Bytes in and out with a growing buffer; the answers' shape is the subclass's matter."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, port: int, source: str = "") -> Any:
        source = source or f"127.{random.randrange(1, 255)}.{random.randrange(256)}.{random.randrange(1, 255)}"
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 24, local_addr=(source, 0))
        self = cls(reader, writer)
        await self.reader.readline()
        return self

    def close(self) -> None:
        self.writer.close()


class Smtp(Connection):
    async def say(self, data: bytes, replies: int = 1) -> None:
        """Sends; reads that many replies; raises on 4xx and 5xx."""
        self.writer.write(data)
        for _ in range(replies):
            while True:
                line = await self.reader.readline()
                if not line or line[:1] in b"45":
                    raise ConnectionError(line.decode("latin-1").strip() or "closed")
                if line[3:4] != b"-":
                    break

    async def mail(self, sender: str, recipient: str, data: bytes) -> None:
        await self.say(f"MAIL FROM:<{sender}>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n".encode(), 3)
        await self.say(data.replace(b"\r\n.", b"\r\n..") + b".\r\n")


class Imap(Connection):
    serial = 0

    async def run(self, command: str, literal: bytes | None = None) -> bytes:
        """Runs a command; returns all bytes up to its tagged line, which must be OK."""
        self.serial += 1
        tag = b"t%d " % self.serial
        data = tag + command.encode()
        self.writer.write(data + b"\r\n" if literal is None else data + b" {%d+}\r\n%b\r\n" % (len(literal), literal))
        chunks: list[bytes] = []
        tail = b""
        while True:
            chunk = await self.reader.read(1 << 20)
            if not chunk:
                raise ConnectionError("closed")
            chunks.append(chunk)
            tail = (tail + chunk)[-4096:]  # a tagged line may be long: LOGIN tells all capabilities
            at = tail.rfind(b"\r\n" + tag) if len(chunks) > 1 or not tail.startswith(tag) else -2
            if at != -1 and tail.endswith(b"\r\n"):
                if not tail[at + 2 :].startswith(tag + b"OK"):
                    raise ConnectionError(tail[at + 2 :].decode("latin-1").strip())
                return b"".join(chunks)

    @classmethod
    async def login(cls, settings: Settings, index: int) -> Imap:
        self: Imap = await cls.open(settings.imap)
        await self.run(f"LOGIN u{index % settings.accounts}@{settings.domain} {settings.password}")
        return self


def bodies(size: int) -> list[bytes]:
    """Messages of about `size` bytes without From, To and Message-ID: those are made per mail."""
    made = []
    for seed in range(64):
        rng = random.Random(seed)
        text = sample.prose(rng, size // 12, sample.HAM)
        attachment = sample.wrapped(rng.randbytes(size // 3))
        parts = [
            f"Content-Type: text/plain\r\n\r\n{text}",
            f"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n{attachment}",
        ]
        subject = " ".join(rng.choices(sample.HAM, k=5))
        body = sample.multipart("mixed", "cut", parts)
        made.append(f"Subject: {subject}\r\nMIME-Version: 1.0\r\n{body}".encode())
    return made


def mail(body: bytes, sender: str, recipient: str, serial: int) -> bytes:
    head = (
        f"From: <{sender}>\r\nTo: <{recipient}>\r\nDate: Mon, 05 Jan 2026 08:00:00 +0000\r\n"
        f"Message-ID: <{serial}.{random.getrandbits(60)}@load.example>\r\n"
    )
    return head.encode() + body


async def repeat(settings: Settings, once: Callable[[int, int], Awaitable[int]]) -> Tally:
    """Runs `once(worker, turn)` again and again in each worker until time is up; it returns how many operations it
    did."""
    tally = Tally()
    deadline = now() + settings.seconds

    async def worker(index: int) -> None:
        turn = 0
        while now() < deadline:
            start = now()
            try:
                done = await asyncio.wait_for(once(index, turn), 60)
            except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                tally.errors[repr(error)[:120]] += 1
                await asyncio.sleep(0.05)
            else:
                tally.latencies += [(now() - start) / done] * done
            turn += 1

    await asyncio.gather(*(worker(index) for index in range(settings.concurrency)))
    return tally


async def smtp_connections(settings: Settings) -> dict[str, Any]:
    async def once(worker: int, turn: int) -> int:
        smtp = await Smtp.open(settings.smtp)
        await smtp.say(b"EHLO load.example\r\n")
        await smtp.say(b"QUIT\r\n")
        smtp.close()
        return 1

    return (await repeat(settings, once)).result()


async def inbox_total(settings: Settings) -> int:
    total = 0
    for index in range(settings.accounts):
        imap = await Imap.login(settings, index)
        for box in ("INBOX", "Junk"):
            answer = await imap.run(f"STATUS {box} (MESSAGES)")
            total += int(answer.partition(b"MESSAGES ")[2].partition(b")")[0])
        imap.close()
    return total


async def smtp_deliver(settings: Settings) -> dict[str, Any]:
    pool, before = bodies(settings.size), await inbox_total(settings)

    async def once(worker: int, turn: int) -> int:
        smtp = await Smtp.open(settings.smtp)
        await smtp.say(b"EHLO load.example\r\n")
        for n in range(settings.per_connection):
            serial = worker + turn * settings.concurrency + n
            sender = f"load@s{serial % 500}.example"
            recipient = f"u{serial % settings.accounts}@{settings.domain}"
            await smtp.mail(sender, recipient, mail(pool[serial % 64], sender, recipient, serial))
        await smtp.say(b"QUIT\r\n")
        smtp.close()
        return settings.per_connection

    result = (await repeat(settings, once)).result()
    return {**result, "visible": await inbox_total(settings) - before}


async def imap_connections(settings: Settings) -> dict[str, Any]:
    async def once(worker: int, turn: int) -> int:
        imap = await Imap.login(settings, worker + turn * settings.concurrency)
        await imap.run("SELECT INBOX")
        imap.writer.write(b"z LOGOUT\r\n")
        while await imap.reader.readline():
            pass
        imap.close()
        return 1

    return (await repeat(settings, once)).result()


async def imap_append(settings: Settings) -> dict[str, Any]:
    pool = bodies(settings.size)
    sessions = [await Imap.login(settings, index) for index in range(settings.concurrency)]
    for session, index in zip(sessions, range(settings.concurrency)):
        await session.run(f"CREATE append-{index}-{random.getrandbits(40)}")

    async def once(worker: int, turn: int) -> int:
        who = f"u{worker}@{settings.domain}"
        await sessions[worker].run("APPEND Archive (\\Seen)", mail(pool[turn % 64], who, who, turn))
        return 1

    return (await repeat(settings, once)).result()


async def imap_fetch(settings: Settings) -> dict[str, Any]:
    """One session; between two passes one flag is changed, so that no remembered answer serves."""
    pool, box = bodies(settings.size), f"fetch-{random.getrandbits(40)}"
    imap = await Imap.login(settings, 0)
    await imap.run(f"CREATE {box}")
    for serial in range(settings.messages):
        await imap.run(f"APPEND {box}", mail(pool[serial % 64], "a@b.example", "u0@c.example", serial))
    await imap.run(f"SELECT {box}")
    found: dict[str, Any] = {}
    for name, items in (("envelopes", "(FLAGS ENVELOPE)"), ("flags", "(UID FLAGS)"), ("bodies", "(BODY.PEEK[])")):
        await imap.run(f"FETCH 1:* {items}")
        spent = 0.0
        for turn in range(settings.passes):
            await imap.run(
                f"STORE {turn % settings.messages + 1} {'+-'[turn // settings.messages % 2]}FLAGS (\\Flagged)"
            )
            start = now()
            answer = await imap.run(f"FETCH 1:* {items}")
            spent += now() - start
            if answer.count(b" FETCH (") < settings.messages:
                raise ConnectionError("messages missing from the answer")
        found[name] = round(settings.messages * settings.passes / spent, 1)
    imap.close()
    return found


async def imap_store(settings: Settings) -> dict[str, Any]:
    sessions = []
    for index in range(settings.concurrency):
        imap = await Imap.login(settings, index)
        box = f"store-{random.getrandbits(40)}"
        await imap.run(f"CREATE {box}")
        for serial in range(50):
            await imap.run(f"APPEND {box}", mail(b"Subject: x\r\n\r\nx\r\n", "a@b.example", "c@d.example", serial))
        await imap.run(f"SELECT {box}")
        sessions.append(imap)

    async def once(worker: int, turn: int) -> int:
        await sessions[worker].run(f"STORE {turn % 50 + 1} {'+-'[turn // 50 % 2]}FLAGS (\\Flagged)")
        return 1

    return (await repeat(settings, once)).result()


async def imap_idle(settings: Settings) -> dict[str, Any]:
    """Opens idle connections, then delivers mail over SMTP to the first one's account and times the EXISTS."""
    from tests.bench.measure import pss_mib

    before = pss_mib(settings.pid)
    sessions: list[Imap] = []
    for start in range(0, settings.connections, 20):
        block = [Imap.login(settings, i) for i in range(start, min(start + 20, settings.connections))]
        for imap in await asyncio.gather(*block):
            await imap.run("SELECT INBOX")
            imap.writer.write(b"i IDLE\r\n")
            await imap.reader.readuntil(b"+")
            await imap.reader.readline()
            sessions.append(imap)
    await asyncio.sleep(3)
    each = 1024 * (pss_mib(settings.pid) - before) / settings.connections
    smtp = await Smtp.open(settings.smtp)
    await smtp.say(b"EHLO load.example\r\n")
    waits, body = [], bodies(2048)[0]
    for serial in range(settings.pushes):
        heard = asyncio.create_task(sessions[0].reader.readuntil(b" EXISTS\r\n"))
        recipient = f"u0@{settings.domain}"
        await smtp.mail("push@s.example", recipient, mail(body, "push@s.example", recipient, serial))
        accepted = now()
        await asyncio.wait_for(heard, 10)
        waits.append(max(0.0, now() - accepted))
        await asyncio.sleep(0.03)
    for imap in sessions:
        imap.close()
    waits.sort()
    return {
        "kib_per_connection": round(each, 1),
        "push_p50": round(1000 * waits[len(waits) // 2], 2),
        "push_max": round(1000 * waits[-1], 2),
        "connections": len(sessions),
    }


LOADS = (smtp_connections, smtp_deliver, imap_connections, imap_append, imap_fetch, imap_store, imap_idle)


def main() -> None:
    by_name = {load.__name__: load for load in LOADS}
    settings = Settings(**json.loads(sys.argv[2]))
    print(json.dumps(uvloop.run(by_name[sys.argv[1]](settings))))


if __name__ == "__main__":
    main()
