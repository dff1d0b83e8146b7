"""What the store's contract tests share: every engine, and messages to put into it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from echomox.message.mime import parse
from echomox.store.engine import Added, Addition, Engine, Target

ALICE = "alice@example.test"
BOB = "bob@example.test"
_numbers = itertools.count(1)


def message(subject: str = "hello", body: str = "The text.\r\n", headers: str = "") -> bytes:
    return (
        f"From: Ann <ann@example.org>\r\nTo: Bob <bob@example.test>\r\nSubject: {subject}\r\n"
        f"Message-ID: <{subject.encode().hex()}@example.org>\r\nDate: Sun, 1 Nov 2026 10:00:00 +0100\r\n"
        f"{headers}\r\n{body}"
    ).encode()


def addition(source: bytes, targets: Sequence[Target], /, **changes: Any) -> Addition:
    number = next(_numbers)
    made = Addition(source, parse(source), targets, f"test-{number}", 1_700_000_000.0 + number)
    return replace(made, **changes)


def add_all(engine: Engine, additions: Sequence[Addition]) -> list[list[Added]]:
    """All at once, through a committer that lives only for it."""

    async def run() -> list[list[Added]]:
        committer = engine.committer("test.0")
        try:
            return list(await asyncio.gather(*(committer.add(one) for one in additions)))
        finally:
            await committer.close()

    return asyncio.run(run())


def add(engine: Engine, mailbox: str = "INBOX", source: bytes = b"", account: str = ALICE, **target: Any) -> Added:
    """One message for one mailbox."""
    learn = target.pop("learn", False)
    return add_all(engine, [addition(source or message(), [Target(account, mailbox, **target)], learn=learn)])[0][0]


def fill(engine: Engine, count: int, mailbox: str = "INBOX", **target: Any) -> list[int]:
    """`count` messages, subjects "0" to "count - 1"; returns their UIDs."""
    made = [addition(message(str(n)), [Target(ALICE, mailbox, **target)]) for n in range(count)]
    return [added[0].uid for added in add_all(engine, made)]
