"""What the organisation's people do by IMAP. Each function is one of them, who logs in, works for a while and goes;
`World.again` sees to it that they come back."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator

from tests.soak.imap import FLAGS, UID, Imap, numbers
from tests.soak.letters import token_of
from tests.soak.site import Site
from tests.soak.world import BROKEN, World

BOXES = ("INBOX", "Junk", "Archive")
TURNS = 30
MAX_UID = (1 << 32) - 1
VIRTUAL, SHARED = "Unread", "Team"
SHARING, PARTNER, SEER = 16, 17, 18
PROGRAMS = (b"TEXT free", b"SUBJECT re", b"BODY linux", b"LARGER 5000", b"UNSEEN", b"FROM a SINCE 1-Jan-2002", b"ALL")
SORTS = (b"ARRIVAL", b"REVERSE DATE", b"SUBJECT", b"FROM", b"SIZE", b"TO SUBJECT")


@contextlib.asynccontextmanager
async def session(world: World, number: int, *enable: bytes) -> AsyncIterator[Imap]:
    client = await Imap.connect(world.site.ports["imap"], Site.address(number), world.site.password, *enable)
    try:
        yield client
    finally:
        client.close()


@contextlib.contextmanager
def noted(note: Callable[[bool], None]) -> Iterator[None]:
    """note: is called with whether it is sure, unless the server has refused."""
    try:
        yield
    except BROKEN:
        note(False)
        raise
    note(True)


async def tokens(client: Imap, uids: list[int]) -> dict[int, int]:
    """UID -> token, of letters; reports are none."""
    if not uids:
        return {}
    wanted = b",".join(b"%d" % uid for uid in uids)
    found = {}
    for line in await client.run(b"UID FETCH %b (UID BODY.PEEK[HEADER.FIELDS (X-SOAK)])" % wanted):
        if b" FETCH " in line and b"\r\n" in line and (uid := UID.search(line)):
            found[int(uid[1])] = token_of(line.partition(b"\r\n")[2])
    return {uid: token for uid, token in found.items() if token}


def count(note: Callable[[str, int, bool], None], account: str, found: Iterable[int], sure: bool) -> None:
    for token in found:
        note(account, token, sure)


def some(world: World, uids: list[int], most: int) -> list[int]:
    return sorted(world.dice.sample(uids, min(len(uids), world.dice.randint(1, most)))) if uids else []


def joined(uids: list[int]) -> bytes:
    return b",".join(b"%d" % uid for uid in uids)


# -- people ------------------------------------------------------------------------------


async def watch(world: World, number: int) -> None:
    """Has the Inbox open and idles. At the end what it believes is compared with what a fresh client sees."""
    async with session(world, number) as client:
        await client.select(b"INBOX")
        while not world.over.is_set():
            await client.idle(world.dice.uniform(2, 20))
            world.counts["watch: IDLE"] += 1
        await compare(world, client, number, b"INBOX", "watch")


async def compare(world: World, client: Imap, number: int, box: bytes, who: str) -> None:
    """When nothing changes any more."""
    await world.quiet.wait()
    mine = await client.settle()
    async with session(world, number) as other:
        await other.select(box)
        fresh = await other.settle()
    world.counts["views compared"] += 1
    if mine != fresh:
        odd = [pair for pair in zip(mine, fresh) if pair[0] != pair[1]][:3]
        world.trouble(f"{who} of u{number}: a view of {len(mine)} is not that of a fresh client, {len(fresh)}: {odd}")


async def sort_mail(world: World, number: int) -> None:
    """Moves mail between Inbox, Junk and Archive, and so trains the filter. Nobody else moves it, and it removes
    nothing."""
    async with session(world, number) as client:
        for _ in range(TURNS):
            source, target = world.dice.sample(BOXES, 2)
            await client.select(source.encode())
            known = await tokens(client, some(world, await client.uids(), 5))
            if not known:
                continue

            def note(sure: bool, known: dict[int, int] = known, source: str = source, target: str = target) -> None:
                for token in known.values():
                    world.ledger.moved(f"u{number}", token, source, target, sure)

            with noted(note):
                await client.run(b"UID MOVE %b %b" % (joined(sorted(known)), target.encode()))
            world.counts[f"moves: {source} to {target}"] += len(known)
            if not await world.sleep(world.dice.uniform(0.2, 2.0)):
                break


async def clerk(world: World, number: int) -> None:
    """Appends, copies, flags, removes. Nobody else does in this account."""
    async with session(world, number) as client:
        for _ in range(TURNS):
            await world.dice.choice((append, append, copy, flag, remove))(world, client, number)
            if not await world.sleep(world.dice.uniform(0.2, 2.0)):
                break


async def append(world: World, client: Imap, number: int, box: bytes = b"INBOX") -> None:
    letters = [world.letters.write() for _ in range(world.dice.choice((1, 1, 3)))]
    text = b"".join(b" (\\Seen) {%d+}\r\n%b" % (len(letter.data), letter.data) for letter in letters)
    owner = f"u{SHARING if SHARED.encode() in box else number}"
    with noted(lambda sure: count(world.ledger.add, owner, [letter.token for letter in letters], sure)):
        await client.run(b"APPEND " + box + text)
    world.counts["clerk: APPEND"] += len(letters)


async def copy(world: World, client: Imap, number: int) -> None:
    await client.select(world.dice.choice((b"INBOX", b"Archive")))
    known = await tokens(client, some(world, await client.uids(), 5))
    with noted(lambda sure: count(world.ledger.add, f"u{number}", known.values(), sure)):
        await client.run(b"UID COPY %b Archive" % joined(sorted(known) or [MAX_UID]))
    world.counts["clerk: COPY"] += len(known)


async def flag(world: World, client: Imap, number: int) -> None:
    await client.select(b"INBOX")
    uids = some(world, await client.uids() or [1], 20)
    word = world.dice.choice((b"\\Flagged", b"\\Answered", b"$Label1", b"Later"))
    await client.run(b"UID STORE %b %bFLAGS (%b)" % (joined(uids), world.dice.choice((b"+", b"-")), word))
    world.counts["clerk: STORE"] += len(uids)


async def remove(world: World, client: Imap, number: int) -> None:
    await client.select(world.dice.choice((b"INBOX", b"Archive")))
    known = await tokens(client, some(world, await client.uids(), 4))
    if not known:
        return
    uids = joined(sorted(known))
    await client.run(b"UID STORE %b +FLAGS.SILENT (\\Deleted)" % uids)
    with noted(lambda sure: count(world.ledger.take, f"u{number}", known.values(), sure)):
        await client.run(b"UID EXPUNGE " + uids)
    world.counts["clerk: EXPUNGE"] += len(known)


async def read(world: World, number: int) -> None:
    """Searches, sorts, threads, and fetches a lot at once, over a compressed connection half of the time; what it gets
    must be what was sent."""
    enable = (b"COMPRESS DEFLATE",) if world.dice.random() < 0.5 else ()
    async with session(world, number, *enable) as client:
        await client.select(world.dice.choice((b"INBOX", b"Archive", b"Junk")))
        for _ in range(5):
            uids = await client.uids(world.dice.choice(PROGRAMS))
            await client.run(b"UID SORT (%b) UTF-8 ALL" % world.dice.choice(SORTS))
            await client.run(b"UID THREAD REFERENCES UTF-8 ALL")
            if uids:
                last = joined(uids[-world.dice.choice((10, 100)) :])
                lines = await client.run(b"UID FETCH %b (UID FLAGS BODY.PEEK[])" % last)
                check(world, [line for line in lines if b"BODY[] {" in line], number)
            world.counts["read: rounds"] += 1
            if not await world.sleep(world.dice.uniform(1, 6)):
                break


def check(world: World, lines: list[bytes], number: int) -> None:
    for line in lines:
        data = line.partition(b"}\r\n")[2][:-1]
        if (token := token_of(data)) and not world.letters.is_whole(data):
            world.trouble(f"u{number}: letter {token} is not what was sent, of {len(data)} octets")
        world.counts["read: letters compared"] += 1


Cache = dict[int, frozenset[bytes]]
MODSEQ = re.compile(rb"MODSEQ \((\d+)\)")


async def commute(world: World, number: int) -> None:
    """Comes back again and again with what it knew (RFC 7162), and checks what it is told has changed since."""
    cache: Cache = {}
    state = b""
    while not world.over.is_set():
        async with session(world, number, b"ENABLE QRESYNC") as client:
            lines = await client.select(b"INBOX", state)
            validity, modseq = said(lines, b"UIDVALIDITY"), said(lines, b"HIGHESTMODSEQ")
            learn(cache, lines)
            lines = await client.run(b"UID FETCH 1:* (UID FLAGS MODSEQ)")
            if state and (odd := differences(cache, lines, modseq)):
                world.trouble(f"commute of u{number}: told wrongly by QRESYNC since {state!r}: {odd[:3]}")
            cache = {entry.uid: entry.flags or frozenset() for entry in client.view if entry.uid}
            state = b" (QRESYNC (%d %d))" % (validity, modseq)
            world.counts["commute: reconnects"] += 1
        if not await world.sleep(world.dice.uniform(0.5, 8)):
            return


def learn(cache: Cache, lines: list[bytes]) -> None:
    for line in lines:
        if line.startswith(b"* VANISHED"):
            for uid in numbers(line.rpartition(b" ")[2]):
                cache.pop(uid, None)
        elif b" FETCH " in line and (uid_said := UID.search(line)) and (flags := FLAGS.search(line)):
            cache[int(uid_said[1])] = frozenset(flags[1].split()) - {b"\\Recent"}


def differences(cache: Cache, lines: list[bytes], modseq: int) -> list[tuple[int, object, object]]:
    """Between what is believed and what a FETCH of all tells, changes after `modseq` left out."""
    fresh: Cache = {}
    learn(fresh, lines)
    later = set()
    for line in lines:
        if line.startswith(b"* VANISHED"):
            later |= set(numbers(line.rpartition(b" ")[2]))
        elif (value := MODSEQ.search(line)) and (uid := UID.search(line)) and int(value[1]) > modseq:
            later.add(int(uid[1]))
    both = (set(cache) | set(fresh)) - later
    return [(uid, cache.get(uid), fresh.get(uid)) for uid in sorted(both) if cache.get(uid) != fresh.get(uid)]


def said(lines: list[bytes], word: bytes) -> int:
    found = re.search(rb"\[%b (\d+)\]" % word, b"\n".join(lines))
    return int(found[1]) if found else 0


async def share(world: World, number: int) -> None:
    """Works in a mailbox that another shares."""
    async with session(world, number) as client:
        listed = await client.run(b'LIST "" "*%b"' % SHARED.encode())
        names = [line.partition(b'"/" ')[2] for line in listed]
        for _ in range(10):
            await client.select(names[0])
            await append(world, client, number, names[0])
            uids = some(world, await client.uids() or [1], 10)
            await client.run(b"UID FETCH %b (UID FLAGS ENVELOPE)" % joined(uids))
            await client.run(b"UID STORE %b +FLAGS ($Label2)" % joined(uids))
            world.counts["share: rounds"] += 1
            if not await world.sleep(world.dice.uniform(0.5, 4)):
                break


async def overlook(world: World, number: int) -> None:
    """Reads a virtual mailbox of what is unread, and marks as read."""
    async with session(world, number) as client:
        await client.select(VIRTUAL.encode())
        while not world.over.is_set():
            uids = some(world, await client.uids() or [1], 5)
            await client.run(b"UID FETCH %b (UID FLAGS ENVELOPE)" % joined(uids))
            await client.run(b"UID STORE %b +FLAGS (\\Seen)" % joined(uids))
            await client.run(b"NOOP")
            world.counts["overlook: rounds"] += 1
            await world.sleep(world.dice.uniform(1, 5))
        await compare(world, client, number, VIRTUAL.encode(), "overlook")


async def settle_in(world: World) -> None:
    """What the people had made before: mailboxes, shares, virtual ones."""
    async with session(world, SHARING) as client:
        await client.run(b"CREATE " + SHARED.encode())
        await client.run(b"SETACL %b %b lrswipkxte" % (SHARED.encode(), Site.address(PARTNER).encode()))
    code, _, err = await world.site.ask("mailbox", "virtual", "add", f"u{SEER}", VIRTUAL, "UNSEEN")
    if code:
        world.trouble(f"virtual mailbox not made: {err}")


PEOPLE = (
    *((watch, number) for number in range(20)),
    *((sort_mail, number) for number in range(5)),
    *((clerk, number) for number in (5, 6, 7, 8, 10)),
    *((read, number) for number in (0, 3, 5, 8, 11, 12)),
    *((commute, number) for number in (1, 6, 9)),
    (share, PARTNER),
    (overlook, SEER),
)
