"""The queue as a mailbox: an account that has `queue_mailbox` finds there what it has sent and what still waits (Q29).

Each message that waits for more than a moment stands there as a copy, behind fields that say for each recipient why it
waits and until when:

    X-EchoMox-Queue: 17/5f2c…                      the number in the queue; what this copy says
    X-EchoMox-Waiting: <bob@far.example>; next try at Sun, 22 Nov 2026 12:10:00 +0000; 2 tries; 451 4.7.1 come again

Nothing is remembered of what was put there: at each look the mailbox is compared with the queue, and what is missing is
added, what is over or says something old is removed. So a crash costs nothing, and what a client changes there comes
back; it says nothing to the queue. Only messages with the first field are ever removed. Which accounts have such a
mailbox stands in outbox.json, for those whose option is taken away.

One process of a server does it. It looks again when the queue's database or a mailbox that shows something has changed,
at most every LOOK seconds, and the more seldom the longer a look takes; without an account that wants it, it does not
look at all.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import sqlite3
import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echomox.delivery.incoming import Host
from echomox.message.compose import format_field
from echomox.message.date import format_date
from echomox.message.mime import parse
from echomox.queue.database import QueueError, connect, file_path
from echomox.store.engine import Addition, Committer, Engine, Flag, NoSuchAccount, NoSuchMailbox, StoreError, Target

LOOK = 2.0
SHARE = 0.05  # of the time, at most, that looks take
AGE = 5.0  # seconds that a message waits before it is shown
MOST = 200  # messages of an account that are shown, the oldest
RECIPIENTS = 20
MAX_UID = (1 << 32) - 1
KNOWN = "outbox.json"
_KEY = re.compile(rb"\AX-EchoMox-Queue: ([0-9]+/[0-9a-f]{16})\r\n")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_ROWS = (
    "SELECT c.account, c.id, c.queued, m.recipient, m.state, m.attempts, m.next_attempt, m.last_error, m.hold"
    " FROM content c JOIN message m ON m.content = c.id"
    " WHERE c.account IN (SELECT value FROM json_each(?)) ORDER BY c.id, m.id"
)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message of the queue. key: its number, and a digest of what is said of it. fields: to stand before it."""

    content: int
    key: str
    fields: bytes


class Outbox:
    """directory: of the queue."""

    def __init__(self, host: Host, engine: Engine, committer: Committer, directory: Path) -> None:
        self._host = host
        self._engine = engine
        self._committer = committer
        self._directory = directory
        self._known = self._read_known()
        self._wanted: dict[str, str] = {}
        self._generation = -1
        self._seen = -1
        self._again = True
        self._left: dict[str, int] = {}

    async def run(self) -> None:
        """Until it is cancelled."""
        connection: sqlite3.Connection | None = None
        try:
            while True:
                began = time.monotonic()
                try:
                    if connection is None:
                        connection = await asyncio.to_thread(connect, self._directory, durable=False)
                    await self.look(connection)
                except (OSError, StoreError, QueueError, sqlite3.Error) as error:
                    self._host.log.error("mailboxes of the queue not kept", error=error)
                    self._again = True
                except Exception:
                    self._host.log.exception("mailboxes of the queue not kept")
                    self._host.count("exceptions")
                    self._again = True
                await asyncio.sleep(max(LOOK, (time.monotonic() - began) / SHARE))
        finally:
            if connection is not None:
                connection.close()

    async def look(self, connection: sqlite3.Connection) -> None:
        """Once: what has changed. Raises OSError, StoreError, QueueError, sqlite3.Error."""
        changed = self._read_wanted()
        if not self._wanted and not self._known:
            return
        version = connection.execute("PRAGMA data_version").fetchone()[0]
        if version == self._seen and not changed and not self._again and self._marks() == self._left:
            return
        marks = self._marks()  # before what is done now: a client's change meanwhile is seen the next time
        now = time.time()
        waiting, young = await asyncio.to_thread(look_up, connection, list(self._wanted), now)
        for account, name in list(self._known.items()):
            if self._wanted.get(account) != name:
                await self._step(connection, account, name, {})
        for account, name in self._wanted.items():
            await self._step(connection, account, name, waiting.get(account, {}))
        self._seen, self._again, self._left = version, young, marks
        self._write_known()

    def _marks(self) -> dict[str, int]:
        """The last change of each mailbox that shows something: ours, which costs one more look, or a client's."""
        found = {}
        for account, name in self._known.items():
            try:
                found[account] = self._engine.open(account).mailbox(name).modseq
            except StoreError:
                found[account] = 0  # it is gone
        return found

    def _read_wanted(self) -> bool:
        snapshot = self._host.snapshot()
        if snapshot.generation == self._generation:
            return False
        self._generation = snapshot.generation
        accounts = snapshot.dynamic.accounts.items()
        self._wanted = {name: account.queue_mailbox for name, account in accounts if account.queue_mailbox}
        return True

    # one mailbox

    async def _step(
        self, connection: sqlite3.Connection, account: str, name: str, waiting: Mapping[str, Waiting]
    ) -> None:
        """Brings a mailbox into step; trouble with it is no other account's."""
        try:
            there = self._there(account, name)
            if there is None:
                if not waiting:
                    return
                self._engine.open(account).create_mailbox(name)
                there = {}
            self._remove(account, name, there, waiting)
            for one in waiting.values():
                if one.key not in there:
                    await self._add(connection, account, name, one)
        except NoSuchAccount:
            self._known.pop(account, None)
            return
        except StoreError as error:
            self._host.log.error("mailbox of the queue not kept", account=account, mailbox=name, error=error)
            return
        if waiting:
            self._known[account] = name
        elif self._known.get(account) == name:
            del self._known[account]

    def _there(self, account: str, name: str) -> dict[str, int] | None:
        """UID by key; None without such a mailbox. Of two copies with one key, one; the other goes with its next."""
        store = self._engine.open(account)
        try:
            mailbox = store.mailbox(name)
        except NoSuchMailbox:
            return None
        rows = store.fetch(mailbox.id, 1, MAX_UID, ("uid", "prefix"))
        return {found[1].decode(): uid for uid, prefix in rows if (found := _KEY.match(prefix))}

    def _remove(self, account: str, name: str, there: Mapping[str, int], waiting: Mapping[str, Waiting]) -> None:
        over = [uid for key, uid in there.items() if key not in waiting]
        if over:
            store = self._engine.open(account)
            store.remove(store.mailbox(name).id, over)

    async def _add(self, connection: sqlite3.Connection, account: str, name: str, one: Waiting) -> None:
        source = await asyncio.to_thread(self._source, connection, one.content)
        if source is None:  # it has left meanwhile
            return
        structure = await asyncio.to_thread(parse, source)
        number = f"outbox-{one.key.replace('/', '-')}-{time.time_ns():x}"
        target = Target(account, name, prefix=one.fields, flags=int(Flag.SEEN))
        await self._committer.add(Addition(source, structure, [target], number, time.time()))

    def _source(self, connection: sqlite3.Connection, content: int) -> bytes | None:
        query = "SELECT c.prefix, c.file, b.data FROM content c LEFT JOIN body b ON b.content = c.id WHERE c.id = ?"
        row = connection.execute(query, (content,)).fetchone()
        if row is None:
            return None
        prefix, name, body = row
        try:
            rest = file_path(self._directory, name).read_bytes() if name else body or b""
        except FileNotFoundError:
            return None
        return bytes(prefix + rest)

    # what is known from one start to the next

    def _read_known(self) -> dict[str, str]:
        try:
            found = json.loads((self._directory / KNOWN).read_bytes())
        except (OSError, ValueError):
            return {}
        return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}

    def _write_known(self) -> None:
        if self._known == self._read_known():
            return
        scratch = self._directory / f".{KNOWN}.{os.getpid()}"
        scratch.write_text(json.dumps(self._known))
        scratch.replace(self._directory / KNOWN)


def look_up(
    connection: sqlite3.Connection, accounts: Iterable[str], now: float
) -> tuple[dict[str, dict[str, Waiting]], bool]:
    """(messages by account and key, whether there are more that will be shown soon)."""
    by_content: dict[tuple[str, int], list[Any]] = {}
    with closing(connection.execute(_ROWS, (json.dumps(list(accounts)),))) as rows:
        for account, content, *rest in rows:
            by_content.setdefault((account, content), []).append(rest)
    found: dict[str, dict[str, Waiting]] = {}
    young = False
    for (account, content), recipients in by_content.items():
        if not any(_shows(row, now) for row in recipients):
            young = True
            continue
        one = _waiting(content, recipients, now)
        mine = found.setdefault(account, {})
        if len(mine) < MOST:
            mine[one.key] = one
    return found, young


def _shows(row: Any, now: float) -> bool:
    queued, _, state, attempts, next_attempt, _, _ = row
    return bool(state == "held" or attempts or next_attempt > now + AGE or now - queued >= AGE)


def _waiting(content: int, recipients: list[Any], now: float) -> Waiting:
    lines = [format_field("X-EchoMox-Queued", format_date(recipients[0][0]))]
    lines += [format_field("X-EchoMox-Waiting", _said(row, now)) for row in recipients[:RECIPIENTS]]
    if len(recipients) > RECIPIENTS:
        lines.append(format_field("X-EchoMox-Waiting", f"{len(recipients) - RECIPIENTS} more recipients"))
    text = b"".join(lines)
    key = f"{content}/{hashlib.sha256(text).hexdigest()[:16]}"
    return Waiting(content, key, f"X-EchoMox-Queue: {key}\r\n".encode() + text)


def _said(row: Any, now: float) -> str:
    queued, recipient, state, attempts, next_attempt, error, hold = row
    words = [f"<{recipient}>"]
    if state == "held":
        words.append(f"held ({hold})" if hold else "held")
    elif not attempts and next_attempt > queued + 1.0:
        words.append(f"to be sent at {format_date(next_attempt)}")
    elif attempts:
        # While it is being tried nothing new is said: a copy is made when there is something to tell.
        words.append(f"next try at {format_date(next_attempt)}")
    else:
        words.append("waits for its first try")
    if attempts:
        words.append(f"{attempts} {'try' if attempts == 1 else 'tries'}")
    if error:
        words.append(error)
    return _CONTROL.sub(" ", "; ".join(words))[:900]
