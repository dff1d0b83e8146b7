"""Scripts of numbered connections.

    # a comment
    @login 1 2              connections, logged in as the first account
    @login-other 1          the same as the second account, which has quotas
    @connect 3              a connection that only was greeted
    @deliver INBOX 3        messages into a mailbox, from outside of all connections
    @mail INBOX Subject: a|From: b@example.test||text    one message, "|" for the end of a line
    @flags INBOX 2 \\Seen    another process adds a flag to a UID;  @expunge INBOX 2  removes one
    @virtual Unread UNSEEN  a mailbox that is a search; a special use may follow
    @repair bumpuidvalidity INBOX   another process repairs
    @close 2                a client goes away without a word
    1> A1 NOOP              what a client sends, with CR LF;  1>> without (literals)
    1< * $n EXISTS          the next line it gets

In an expected line `$name` is what stood there the first time (a word) and has to be the same from then on,
`...` is anything. Every line that a client gets must be expected, but for the MAILBOXID of SELECT. `1-` says that
nothing more has come; `1.` that the server closes."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.dialog.server import OTHER, Connection, Server

WORD = re.compile(r"\$([a-z]\w*)|(\.\.\.)")
STEP = re.compile(r"(\d)(>>|>|<|-|\.)(?: (.*))?")


MAILBOXID = b"* OK [MAILBOXID ("


class Mismatch(AssertionError):
    """str() names file and line."""


def expected(pattern: str, known: dict[str, str]) -> re.Pattern[str]:
    """A pattern line as a regular expression; captures are groups by their names."""
    out, place, fresh = "", 0, set[str]()
    for match in WORD.finditer(pattern):
        out += re.escape(pattern[place : match.start()])
        place = match.end()
        name = match[1]
        if name is None:
            out += ".*"
        elif name in known:
            out += re.escape(known[name])
        elif name in fresh:
            out += f"(?P={name})"
        else:
            fresh.add(name)
            out += rf"(?P<{name}>[^\s()\[\]]+)"
    return re.compile(out + re.escape(pattern[place:]), re.DOTALL)


def substitute(text: str, known: dict[str, str]) -> str:
    return WORD.sub(lambda match: known.get(match[1], match[0]) if match[1] else match[0], text)


class Play:
    """One run of one script."""

    def __init__(self, server: Server, path: Path) -> None:
        self.server = server
        self.path = path
        self.connections: dict[str, Connection] = {}
        self.known: dict[str, str] = {}
        self.number = 0

    async def run(self) -> None:
        lines = self.path.read_text(encoding="utf-8").splitlines()
        for number, written in enumerate(lines, 1):
            self.number = number
            line = written.strip()
            if not line or line.startswith("#"):
                continue
            if line.startswith("@"):
                name, *words = line[1:].split()
                await DIRECTIVES[name](self, *words)
                continue
            match = STEP.fullmatch(line)
            if not match:
                raise Mismatch(f"{self.path.name}:{self.number}: not a step: {line}")
            await self.step(match[1], match[2], match[3] or "")
        for name, connection in self.connections.items():
            await self.nothing(name, connection)

    async def step(self, name: str, kind: str, text: str) -> None:
        connection = self.connections[name]
        if kind in (">", ">>"):
            data = substitute(text, self.known).encode("utf-8", "surrogateescape")
            connection.send(data + (b"\r\n" if kind == ">" else b""))
        elif kind == "-":
            await self.nothing(name, connection)
        elif kind == ".":
            line = await connection.line()
            if line is not None:
                raise self.wrong("the end of the connection", line)
        else:
            await self.expect(connection, text)

    async def expect(self, connection: Connection, text: str) -> None:
        try:
            line = await connection.line()
            if line is not None and line.startswith(MAILBOXID) and "MAILBOXID" not in text:
                line = await connection.line()
        except TimeoutError:
            raise self.wrong(text, b"(nothing)") from None
        got = (line if line is not None else b"(closed)").decode("utf-8", "surrogateescape")
        match = expected(text, self.known).fullmatch(got)
        if not match:
            raise self.wrong(text, got.encode("utf-8", "surrogateescape"))
        self.known.update(match.groupdict())

    async def nothing(self, name: str, connection: Connection) -> None:
        await connection.settle()
        if connection.wire.received:
            raise self.wrong(f"nothing more on {name}", bytes(connection.wire.received))

    def wrong(self, wanted: str, got: bytes) -> Mismatch:
        return Mismatch(
            f"{self.path.name}:{self.number}:\n  expected {wanted}\n  got      {got.decode(errors='replace')}"
        )


async def login(play: Play, *names: str) -> None:
    for name in names:
        play.connections[name] = await play.server.connect()


async def login_other(play: Play, *names: str) -> None:
    for name in names:
        play.connections[name] = await play.server.connect(user=OTHER)


async def connect(play: Play, *names: str) -> None:
    for name in names:
        play.connections[name] = await play.server.connect(login=False)


async def close(play: Play, name: str) -> None:
    play.connections.pop(name).hang_up()


async def deliver(
    play: Play, mailbox: str, count: str = "1", subject: str = "a message", account: str = "mrc"
) -> None:
    for number in range(int(count)):
        text = f"From: Fred <fred@example.test>\r\nSubject: {subject} {number + 1}\r\n\r\nHello {number + 1}.\r\n"
        await play.server.deliver(mailbox, text.encode(), account)


async def mail(play: Play, mailbox: str, *words: str) -> None:
    """A message of its own: lines with "|" between them, an empty one before the text."""
    text = "\r\n".join(" ".join(words).split("|")) + "\r\n"
    await play.server.deliver(mailbox, text.encode())


async def flags(play: Play, mailbox: str, uid: str, flag: str) -> None:
    from echomox.imapd.flags import FLAGS
    from echomox.store.engine import FlagOp

    store = play.server.engine.open("mrc")
    bits, keywords = FLAGS.split((flag,))
    store.store_flags(store.mailbox(mailbox).id, [int(uid)], FlagOp.ADD, bits, keywords)


async def expunge(play: Play, mailbox: str, *uids: str) -> None:
    store = play.server.engine.open("mrc")
    store.remove(store.mailbox(mailbox).id, [int(uid) for uid in uids])


async def repair(play: Play, task: str, mailbox: str) -> None:
    play.server.engine.open("mrc").repair(task, mailbox)


async def virtual(play: Play, name: str, *search: str) -> None:
    use = search[-1] if search[-1].startswith("\\") else ""
    words = search[:-1] if use else search
    play.server.engine.open("mrc").define_virtual(name, " ".join(words), use)


DIRECTIVES: dict[str, Callable[..., Awaitable[None]]] = {
    "login": login,
    "login-other": login_other,
    "connect": connect,
    "close": close,
    "deliver": deliver,
    "mail": mail,
    "flags": flags,
    "expunge": expunge,
    "virtual": virtual,
    "repair": repair,
}
