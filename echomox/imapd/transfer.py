"""COPY and MOVE where the store alone cannot do it: into another account, or into a mailbox in which not all flags may
be set (RFC 4314 4). Messages are added as APPEND adds them: durable before the answer, all or none; a MOVE then removes
them where they were, and a crash in between leaves both.

Batches keep within BATCH octets, so that a large mailbox does not stand in memory at once."""

from __future__ import annotations

import asyncio
import secrets
from array import array
from typing import TYPE_CHECKING, Any

from echomox.imapd.box import Found, kept_flags
from echomox.imapd.cmd.append import parse_limits
from echomox.message.mime import parse
from echomox.store.engine import Added, Addition, Copied, Target

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from echomox.imapd.session import Session

BATCH = 4 << 20
COUNT = 64
COLUMNS = ("uid", "id", "flags", "keywords", "size", "received", "prefix", "verdict", "remote_ip")
SMALL = 64 * 1024  # octets of a message that is taken apart at once, not in a thread


def is_simple(session: Session, target: Found) -> bool:
    """Whether `store.copy` and `store.move` do it."""
    return target.store is session.box.store and {"s", "t", "w"} <= set(target.rights)


async def transfer(session: Session, uids: array[int], target: Found, move: bool) -> Copied:
    """Of the selected mailbox; what others have expunged stays out."""
    source, mailbox_id = session.box.store, session.selected.mailbox_id
    done: list[tuple[int, Added]] = []
    try:
        for batch in batches(session, uids):
            additions = [await addition(session, row, target) for row in batch]
            add = session.service.committer.add
            outcomes = await asyncio.gather(*map(add, additions), return_exceptions=True)
            done += [(row[0], one[0]) for row, one in zip(batch, outcomes) if not isinstance(one, BaseException)]
            for outcome in outcomes:
                if isinstance(outcome, BaseException):
                    raise outcome
            await session.breathe()
    except BaseException:
        target.store.remove(target.mailbox.id, [added.uid for _, added in done])
        raise
    validity = target.mailbox.uidvalidity
    if not done:
        return Copied(validity, [], [], source.modseq())
    modseq = source.remove(mailbox_id, [uid for uid, _ in done])[1] if move else source.modseq()
    return Copied(validity, [uid for uid, _ in done], [added.uid for _, added in done], modseq)


def batches(session: Session, uids: array[int]) -> Iterator[list[tuple[Any, ...]]]:
    """Rows of COLUMNS."""
    wanted = set(uids)
    store, mailbox_id = session.box.store, session.selected.mailbox_id
    sizes = [row for row in store.fetch(mailbox_id, uids[0], uids[-1], ("uid", "size")) if row[0] in wanted]
    start, octets = 0, 0
    for place, (_, size) in enumerate(sizes):
        octets += size
        if octets >= BATCH or place + 1 - start >= COUNT or place + 1 == len(sizes):
            part = {row[0] for row in sizes[start : place + 1]}
            rows = store.fetch(mailbox_id, sizes[start][0], sizes[place][0], COLUMNS)
            yield [row for row in rows if row[0] in part]
            start, octets = place + 1, 0


async def addition(session: Session, row: Sequence[Any], target: Found) -> Addition:
    """row: of COLUMNS."""
    _, message_id, flags, keywords, _, received, prefix, verdict, remote_ip = row
    content = session.box.store.content(message_id)
    try:
        data = content.read(content.prefix_size)
    finally:
        content.close()
    limits = parse_limits(session)
    if len(data) <= SMALL:
        structure = parse(data, limits)
    else:
        structure = await session.service.loop.run_in_executor(None, parse, data, limits)
    bits, words = kept_flags(target.rights, flags, keywords.split())
    return Addition(
        source=data,
        structure=structure,
        targets=(Target(target.store.name, target.name, prefix, bits, words, verdict),),
        delivery=secrets.token_hex(16),
        received=received,
        remote_ip=remote_ip,
        learn="w" in target.rights,
    )
