"""APPEND of one message or of several. RFC 9051 6.3.12; RFC 3502 (MULTIAPPEND); RFC 4315 3 (APPENDUID); RFC 7889
(APPENDLIMIT); RFC 5530 (TRYCREATE, OVERQUOTA); RFC 3516 4.4 (literal8); RFC 6855 4 (UTF8).

The OK is said when the messages survive a power cut (`Committer.add`): the messages of a command are on their way to
it together, and few fsyncs serve them. When one of them is refused the others are taken back. A message of more than
64 KiB has come by way of a spool file; it is taken apart in a thread, so that the other sessions live on."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from echomox.imap import grammar
from echomox.imap.response import appenduid
from echomox.imapd.armour import armoured
from echomox.imapd.box import Found, find, kept_flags
from echomox.imapd.command import AUTHENTICATED, BadCommand, Command, No, Rule
from echomox.imapd.flags import FLAGS
from echomox.imapd.limit import refuse_more
from echomox.imapd.usage import check_room
from echomox.message.header import Limits
from echomox.message.mime import parse
from echomox.message.structure import Structure
from echomox.store.engine import Added, Addition, NoSuchMailbox, Target

if TYPE_CHECKING:
    from echomox.imap.lexer import Streamed
    from echomox.imapd.session import Session
    from echomox.imapd.upload import Upload

TURN = 16  # messages taken apart before others have their turn


async def append(session: Session, arguments: grammar.Append) -> bytes:
    target = target_of(session, arguments.mailbox)
    added = await add(session, target, arguments.messages)
    uids = [one.uid for one in added]
    session.brought(target.store, target.mailbox.id, uids)
    return f"[{appenduid(added[0].uidvalidity, uids)}] APPEND completed".encode("ascii")


def target_of(session: Session, name: str) -> Found:
    try:
        found = find(session, name, "i")
    except NoSuchMailbox:
        raise No("No such mailbox", "TRYCREATE") from None
    if found.mailbox.id < 0:
        raise No("A virtual mailbox takes no messages", "CANNOT")
    return found


async def add(
    session: Session, target: Found, messages: Sequence[grammar.Message], replaced: Sequence[int] = ()
) -> list[Added]:
    """All of them or none; durable when it returns. replaced: sizes of messages of the same account whose place they
    take, which leave room for them."""
    refuse_more(session, len(messages))
    size = sum(size_of(session, message) for message in messages) - sum(replaced)
    check_room(session, target.store, size, len(messages) - len(replaced))
    if len(messages) == 1:
        return await session.service.committer.add(await addition(session, target, messages[0]))
    running: list[asyncio.Task[list[Added]]] = []
    trouble: BaseException | None = None
    try:
        await take_several(session, target, messages, running)
    except Exception as error:
        trouble = error
    outcomes = await asyncio.gather(*running, return_exceptions=True)
    added = [one for outcome in outcomes if not isinstance(outcome, BaseException) for one in outcome]
    for outcome in (trouble, *outcomes):
        if isinstance(outcome, BaseException):
            target.store.remove(target.mailbox.id, [one.uid for one in added])
            raise outcome
    return added


async def take_several(
    session: Session, target: Found, messages: Sequence[grammar.Message], running: list[asyncio.Task[list[Added]]]
) -> None:
    """Each is on its way to the disk while the next ones are taken apart. UIDs ascend in the order of the messages (RFC
    4315 3): one that comes from a file waits for those before it, and those after it wait, for the committer takes
    longer for files, and others would overtake them."""
    for number, message in enumerate(messages, 1):
        one = await addition(session, target, message)
        in_memory = isinstance(one.source, bytes)
        if running and not in_memory:
            await asyncio.wait(running)
        task = session.service.loop.create_task(session.service.committer.add(one))
        running.append(task)
        if not in_memory:
            await task
        elif number % TURN == 0:
            await session.breathe()


async def add_several(session: Session, additions: Sequence[Addition]) -> list[list[Added] | BaseException]:
    """UIDs ascend in the order of the messages, as in `take_several`. Ends at the first that is refused."""
    committer = session.service.committer
    if all(isinstance(one.source, bytes) for one in additions):
        return await asyncio.gather(*map(committer.add, additions), return_exceptions=True)
    outcomes: list[list[Added] | BaseException] = []
    for one in additions:
        outcomes += await asyncio.gather(committer.add(one), return_exceptions=True)
        if isinstance(outcomes[-1], BaseException):
            break
    return outcomes


def size_of(session: Session, message: grammar.Message) -> int:
    """Octets; refuses what cannot be taken, before anything is."""
    if message.utf8 and not session.utf8:
        raise BadCommand("UTF8 is not enabled")
    if not isinstance(message.data, bytes):
        return upload_of(session, message.data).size
    if not message.data:
        raise No("A message of no octets", "CANNOT")
    return len(message.data)


def upload_of(session: Session, literal: Streamed) -> Upload:
    upload = next((upload for upload in session.uploads if upload.index == literal.index), None)
    if upload is None:
        raise BadCommand("The message did not come")
    if upload.error is not None:
        raise upload.error
    return upload


async def addition(session: Session, target: Found, message: grammar.Message) -> Addition:
    flags, keywords = kept_flags(target.rights, *FLAGS.split(message.flags))
    source, structure = await receive(session, message)
    return Addition(
        source=source,
        structure=structure,
        targets=(Target(target.store.name, target.name, flags=flags, keywords=keywords),),
        delivery=secrets.token_hex(16),
        received=message.when.timestamp() if message.when else float(int(time.time())),  # INTERNALDATE has seconds
        remote_ip=session.remote_ip,
        learn="w" in target.rights,
    )


async def receive(session: Session, message: grammar.Message) -> tuple[bytes | str, Structure]:
    """The message's source for the committer, and what it is made of."""
    limits = parse_limits(session)
    if isinstance(message.data, bytes):
        return taken_apart(message.data, limits, message.binary)
    upload = upload_of(session, message.data)
    run = session.service.loop.run_in_executor
    return upload.id, await run(None, parse_file, upload, limits, message.binary)


def taken_apart(data: bytes, limits: Limits, binary: bool) -> tuple[bytes, Structure]:
    """binary: it came as a literal8."""
    structure = parse(data, limits)
    if binary and b"\0" in data:
        data = armoured(data, structure.parts)
        structure = parse(data, limits)
    return data, structure


def parse_file(upload: Upload, limits: Limits, binary: bool) -> Structure:
    sent = upload.path.read_bytes()
    data, structure = taken_apart(sent, limits, binary)
    if data != sent:
        upload.path.write_bytes(data)
    return structure


def parse_limits(session: Session) -> Limits:
    limits = session.service.limits
    return Limits(header_size=limits.header_size, depth=limits.mime_depth, parts=limits.mime_parts)


CAPABILITY = ("UIDPLUS", "LITERAL+", "MULTIAPPEND")
ROWS = (Command("APPEND", AUTHENTICATED, Rule.BREAKS_SEQUENCES, CAPABILITY, grammar.append, append),)
