"""A small SMTP client, and the mail that it brings: from outside to the accounts, and from the accounts to outside."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from tests.soak.letters import Letter
from tests.soak.site import ACCOUNTS, ALIAS, BLOCKED, MEMBERS, Site
from tests.soak.world import BROKEN, World

LIMIT = 60.0
OUTSIDE = "sink.example"
REPORT = "a report to "
"""Before the name of an account: what it must get of a letter to somebody who is not there."""


@dataclass
class Smtp:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def say(self, line: bytes) -> int:
        self.writer.write(line + b"\r\n")
        return await self.answer()

    async def answer(self) -> int:
        """The code of the reply. Raises EOFError, TimeoutError, OSError."""
        while True:
            line = await asyncio.wait_for(self.reader.readline(), LIMIT)
            if not line.endswith(b"\n"):
                raise EOFError
            if line[3:4] != b"-":
                return int(line[:3])

    async def send(self, sender: str, recipients: Sequence[str], data: bytes) -> tuple[int, list[str]]:
        """The reply to the text and the recipients that were taken; code 0: nobody knows whether it was."""
        code = await self.say(f"MAIL FROM:<{sender}> BODY=8BITMIME".encode())
        if code != 250:
            return code, []
        codes = [await self.say(f"RCPT TO:<{recipient}>".encode()) for recipient in recipients]
        taken = [recipient for recipient, code in zip(recipients, codes) if code == 250]
        if not taken or await self.say(b"DATA") != 354:
            await self.say(b"RSET")
            return max(codes), []
        stuffed = data.replace(b"\r\n.", b"\r\n..")
        self.writer.write((b"." + stuffed if stuffed.startswith(b".") else stuffed) + b".\r\n")
        try:
            return await self.answer(), taken
        except BROKEN:
            return 0, taken


@contextlib.asynccontextmanager
async def connected(port: int, login: tuple[str, str] | None = None) -> AsyncIterator[Smtp]:
    """login: address and password; then the connection is one with TLS."""
    context = None
    if login:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    opening = asyncio.open_connection("127.0.0.1", port, ssl=context, limit=1 << 20)
    smtp = Smtp(*await asyncio.wait_for(opening, LIMIT))
    try:
        if await smtp.answer() != 220 or await smtp.say(b"EHLO load.example") != 250:
            raise EOFError
        if login:
            plain = base64.b64encode(f"\0{login[0]}\0{login[1]}".encode())
            if await smtp.say(b"AUTH PLAIN " + plain) != 235:
                raise EOFError
        yield smtp
        smtp.writer.write(b"QUIT\r\n")
    finally:
        smtp.writer.close()


# -- mail from outside -------------------------------------------------------------------


def addressees(world: World) -> list[str]:
    count = 1 if world.dice.random() < 0.7 else world.dice.randrange(2, 6)
    found = [Site.address(number) for number in world.dice.sample(range(ACCOUNTS), count)]
    return [*found, ALIAS] if world.dice.random() < 0.05 else found


def accounts_of(addresses: Sequence[str]) -> set[str]:
    names = {address.partition("@")[0] for address in addresses if address != ALIAS}
    return names | {f"u{number}" for number in MEMBERS} if ALIAS in addresses else names


async def arrivals(world: World) -> None:
    """Bursts of mail for the accounts; each burst is a connection or several."""

    async def burst(count: int) -> None:
        async with connected(world.site.ports["smtp"]) as smtp:
            for _ in range(count):
                blocked = world.dice.random() < 0.05
                sender = f"someone@{BLOCKED if blocked else 'elsewhere.example'}"
                head = f"From: {sender}\r\nSubject: an offer\r\n" if blocked else ""
                letter, recipients = world.letters.write(head), addressees(world)
                try:
                    code, taken = await smtp.send(sender, recipients, letter.data)
                except BROKEN:
                    world.counts["arrivals: cut before the text"] += 1
                    raise
                note_arrival(world, letter, code, taken)
                if not code:
                    raise EOFError

    while not world.over.is_set():
        together = world.dice.randrange(1, 5)
        count = world.dice.randrange(1, 20)
        found = await asyncio.gather(*(burst(count) for _ in range(together)), return_exceptions=True)
        for error in found:
            if isinstance(error, BROKEN):
                world.counts["arrivals: connections cut"] += 1
            elif error:
                world.trouble(f"arrivals: {type(error).__name__}: {error}")
        await world.sleep(world.dice.uniform(0.5, 1.5) * together * count / world.rate)


def note_arrival(world: World, letter: Letter, code: int, taken: Sequence[str]) -> None:
    for account in accounts_of(taken):
        if code == 250:
            world.ledger.add(account, letter.token)
        elif code == 0:
            world.ledger.add(account, letter.token, sure=False)
            world.ledger.refuse(account, letter.token)
        elif code == 550:
            world.ledger.refuse(account, letter.token)
    kind = {250: "taken", 550: "refused", 0: "cut after the text"}.get(code, f"answered {code}")
    world.counts[f"arrivals: {kind}"] += 1


# -- mail from the accounts --------------------------------------------------------------


async def submissions(world: World) -> None:
    """A user who logs in and sends some mails, most of them to outside."""
    number = world.dice.randrange(ACCOUNTS)
    me = Site.address(number)
    async with connected(world.site.ports["submissions"], (me, world.site.password)) as smtp:
        for _ in range(world.dice.randrange(1, 6)):
            recipient = f"r{world.dice.randrange(30)}@{OUTSIDE}"
            kind = world.dice.random()
            if kind < 0.25:
                recipient = Site.address(world.dice.randrange(ACCOUNTS))
            elif kind < 0.3:
                recipient = f"no-{world.dice.randrange(30)}@{OUTSIDE}"
            letter = world.letters.write(f"From: {me}\r\nTo: {recipient}\r\nSubject: from {number}\r\n")
            code, taken = await smtp.send(me, [recipient], letter.data)
            note_submission(world, letter, code, me, taken)
            if not code:
                raise EOFError
    await world.sleep(world.dice.uniform(0.2, 1.0))


def note_submission(world: World, letter: Letter, code: int, sender: str, taken: Sequence[str]) -> None:
    for recipient in taken:
        account = recipient if recipient.endswith("@" + OUTSIDE) else recipient.partition("@")[0]
        if recipient.startswith("no-"):
            account = REPORT + sender.partition("@")[0]
        if code in (250, 0):
            world.ledger.add(account, letter.token, sure=code == 250)
    kind = {250: "taken", 0: "cut after the text"}.get(code, f"answered {code}")
    world.counts[f"submissions: {kind}"] += 1
