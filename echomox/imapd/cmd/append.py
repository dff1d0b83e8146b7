"""APPEND. RFC 9051 6.3.12; RFC 4315 3 (APPENDUID); RFC 7889 (APPENDLIMIT); RFC 5530 (TRYCREATE, OVERQUOTA).

The OK is said when the message survives a power cut (`Committer.add`). A message of more than 64 KiB has come
by way of a spool file; it is taken apart in a thread, so that the other sessions live on."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

from echomox.imap import grammar
from echomox.imap.response import appenduid
from echomox.imapd.command import AUTHENTICATED, BadCommand, Command, No, Rule
from echomox.imapd.flags import FLAGS
from echomox.message.header import Limits
from echomox.message.mime import parse
from echomox.message.structure import Structure
from echomox.store.engine import Addition, NoSuchMailbox, Target

if TYPE_CHECKING:
    from echomox.imapd.session import Session
    from echomox.imapd.upload import Upload


async def append(session: Session, arguments: grammar.Append) -> bytes:
    if len(arguments.messages) != 1:
        raise BadCommand("One message at a time")
    message = arguments.messages[0]
    if message.utf8 and not session.utf8:
        raise BadCommand("UTF8 is not enabled")
    flags, keywords = FLAGS.split(message.flags)
    try:
        mailbox = session.store.mailbox(arguments.mailbox)
    except NoSuchMailbox:
        raise No("No such mailbox", "TRYCREATE") from None
    source, structure = await receive(session, message)
    check_quota(session, structure.size)
    added = await session.service.committer.add(
        Addition(
            source=source,
            structure=structure,
            targets=(Target(session.store.name, mailbox.name, flags=flags, keywords=keywords),),
            delivery=secrets.token_hex(16),
            received=message.when.timestamp() if message.when else time.time(),
            remote_ip=session.remote_ip,
            learn=True,
        )
    )
    return f"[{appenduid(added[0].uidvalidity, (added[0].uid,))}] APPEND completed".encode("ascii")


async def receive(session: Session, message: grammar.Message) -> tuple[bytes | str, Structure]:
    """The message's source for the committer, and what it is made of."""
    limits = parse_limits(session)
    if isinstance(message.data, bytes):
        if not message.data:
            raise No("A message of no octets", "CANNOT")
        return message.data, parse(message.data, limits)
    upload = session.upload
    if upload is None or upload.index != message.data.index:
        raise BadCommand("The message did not come")
    if upload.error is not None:
        raise upload.error
    return upload.id, await session.service.loop.run_in_executor(None, parse_file, upload, limits)


def parse_file(upload: Upload, limits: Limits) -> Structure:
    return parse(upload.path.read_bytes(), limits)


def parse_limits(session: Session) -> Limits:
    limits = session.service.limits
    return Limits(header_size=limits.header_size, depth=limits.mime_depth, parts=limits.mime_parts)


def check_quota(session: Session, size: int) -> None:
    quota = session.service.quota(session.store.name)
    if quota and sum(mailbox.size for mailbox in session.store.mailboxes()) + size > quota:
        raise No("Over quota", "OVERQUOTA")


ROWS = (Command("APPEND", AUTHENTICATED, Rule.BREAKS_SEQUENCES, ("UIDPLUS", "LITERAL+"), grammar.append, append),)
