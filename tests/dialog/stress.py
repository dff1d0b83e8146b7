"""Many clients at once that do anything, and check as Dovecot's ImapTest does whatever they are told.

A Mailbox is what all clients know together: what of a message can never change (UID, octets, dates, structure), whose
it is to be \\Recent, the UIDs that are gone. A Client has its own view and believes only what it is told: numbers mean
what they meant, EXISTS only grows, EXPUNGE comes when it may, flags are those that its own STORE has set, keywords are
announced, UIDs ascend, mod-sequences grow, each command is answered, in order, with OK or a NO that says why. At a
checkpoint all stand still and have the same picture. `crowd` runs many of them."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

NAMES = ("INBOX", "Copies")
SYSTEM = ("\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft")
WORDS = ("$Label1", "$Label2", "$Label3", "kw")
STATIC = ("INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY", "BODYSTRUCTURE")
FORGIVEN = ("EXPUNGEISSUED", "TRYCREATE", "NONEXISTENT", "ALREADYEXISTS", "MODIFIED")
MOST = 60
TAGGED = re.compile(rb"(\w+) (OK|NO|BAD)(?: \[([\w-]+)[^\]]*\])? (.+)", re.DOTALL)
NUMBERED = re.compile(rb"\* (\d+) (EXISTS|RECENT|EXPUNGE|FETCH)(?: \((.*)\))?", re.DOTALL)


class Wire(Protocol):
    def send(self, data: bytes) -> None: ...
    async def line(self) -> bytes | None: ...
    async def exactly(self, count: int) -> bytes: ...
    def hang_up(self) -> None: ...


def mail(token: int) -> bytes:
    """Octets that follow from the token, so that anybody can tell whether they are right."""
    dice = random.Random(token)
    words = " ".join(dice.choice(("alpha", "beta", "gamma", "delta")) for _ in range(dice.randrange(1, 80)))
    head = f"Message-ID: <{token}@stress>\r\nSubject: s{token} end\r\nFrom: a{token % 7}@example.test\r\n"
    if token % 4:
        return f"{head}\r\n{words}\r\n".encode()
    head += "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=cut\r\n"
    part = "\r\n--cut\r\nContent-Type: text/plain\r\n\r\n"
    return f"{head}{part}{words}{part}2\r\n--cut--\r\n".encode()


@dataclass
class Mailbox:
    """fixed: by UID and item, what can never change. tokens: of UIDs that are known. recent: by UID, which session was
    shown it as \\Recent."""

    name: str
    fixed: dict[tuple[int, str], bytes] = field(default_factory=dict)
    tokens: dict[int, int] = field(default_factory=dict)
    recent: dict[int, int] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)
    validity: int = 0

    def same(self, uid: int, item: str, value: bytes) -> None:
        assert self.fixed.setdefault((uid, item), value) == value, (self.name, uid, item, value)


@dataclass
class World:
    boxes: dict[str, Mailbox] = field(default_factory=lambda: {name: Mailbox(name) for name in NAMES})
    token: int = 0
    sessions: int = 0
    commands: int = 0
    counts: dict[str, int] = field(default_factory=dict)


@dataclass
class Entry:
    uid: int = 0
    flags: frozenset[str] | None = None


@dataclass
class Command:
    """text: without the tag. expunges: EXPUNGE may be told while it runs. after: with (word, code, lines)."""

    text: bytes
    expunges: bool = True
    after: Callable[[str, str, list[bytes]], None] | None = None


def numbers(text: bytes) -> list[int]:
    found: list[int] = []
    for part in text.split(b","):
        low, _, high = part.partition(b":")
        found += range(int(low), int(high or low) + 1)
    return found


class Client:
    def __init__(self, world: World, dice: random.Random, connect: Callable[[], Awaitable[Wire]], kind: str) -> None:
        self.world, self.dice, self.connect, self.kind = world, dice, connect, kind
        self.wire: Wire | None = None
        self.tags = 0
        self.told: dict[str, tuple[int, int]] = {}
        self.forget()

    def forget(self) -> None:
        """No mailbox is selected. start: UIDs of the view, as far as they are known, when the answer of the command
        under way began: what was sent before may have changed it."""
        self.start: list[int] = []
        self.box: Mailbox | None = None
        self.view: list[Entry] = []
        self.keywords: set[str] = set()
        self.read_only = False
        self.modseq = 0
        self.session = 0
        self.recent = 0

    # -- what comes

    async def response(self) -> tuple[bytes, list[bytes]]:
        """A line whose literals are "#0", "#1" ..., and these."""
        assert self.wire is not None
        text, literals = b"", list[bytes]()
        while True:
            line = await self.wire.line()
            assert line is not None, "the server has closed"
            text += line
            found = re.search(rb"~?\{(\d+)\}$", line)
            if not found:
                return text, literals
            text = text[: -len(found[0])] + b'"#%d"' % len(literals)
            literals.append(await self.wire.exactly(int(found[1])))

    async def do(self, *commands: Command) -> None:
        """All at once, and their answers in order."""
        assert self.wire is not None
        tags = []
        for _ in commands:
            self.tags += 1
            tags.append(b"c%d" % self.tags)
        self.wire.send(b"".join(b"%b %b\r\n" % (tag, one.text) for tag, one in zip(tags, commands, strict=True)))
        for tag, command in zip(tags, commands, strict=True):
            await self.answer(tag, command)

    async def answer(self, tag: bytes, command: Command) -> None:
        lines: list[bytes] = []
        self.start = [entry.uid for entry in self.view]
        while True:
            text, literals = await self.response()
            if text.startswith(b"* "):
                lines.append(text)
                self.believe(text, literals, command.expunges)
                continue
            match = TAGGED.fullmatch(text)
            assert match and match[1] == tag, (command.text[:200], text)
            word, code = match[2].decode(), (match[3] or b"").decode()
            assert word == "OK" or (word == "NO" and code in FORGIVEN), (command.text[:200], text)
            self.world.commands += 1
            count = f"{command.text.split()[0].decode()} {word} {code}".strip()
            self.world.counts[count] = self.world.counts.get(count, 0) + 1
            if command.after:
                command.after(word, code, lines)
            return

    def believe(self, text: bytes, literals: list[bytes], expunges: bool) -> None:
        if status := re.match(rb"\* (?:OK|NO|BYE|BAD) (.*)", text, re.DOTALL):
            assert not text.startswith((b"* BYE", b"* BAD")), text
            assert re.fullmatch(rb"(\[[^\]]+\] )?[^\[ ].*", status[1], re.DOTALL), (text, "no text")
            if modseq := re.search(rb"\[HIGHESTMODSEQ (\d+)\]", text):
                self.modseq = int(modseq[1])
        elif match := NUMBERED.fullmatch(text):
            self.numbered(int(match[1]), match[2], match[3] or b"", literals, expunges)
        elif vanished := re.fullmatch(rb"\* VANISHED (\(EARLIER\) )?([\d:,]+)", text):
            assert self.kind == "qresync"
            if not vanished[1]:
                assert expunges, "VANISHED may not be told now"
                for uid in numbers(vanished[2]):
                    self.vanish(uid)
        elif flags := re.fullmatch(rb"\* FLAGS \((.*)\)", text):
            named = set(flags[1].decode().split())
            used = {word for entry in self.view for word in entry.flags or () if word[0] != "\\"}
            assert used <= named, ("keywords dropped", used - named)
            self.keywords = named

    def numbered(self, number: int, what: bytes, items: bytes, literals: list[bytes], expunges: bool) -> None:
        if what == b"EXISTS":
            assert number >= len(self.view), ("fewer messages without EXPUNGE", number, len(self.view))
            self.view += [Entry() for _ in range(number - len(self.view))]
        elif what == b"RECENT":
            assert number <= len(self.view) and self.kind != "rev2"
            self.recent = number
        else:
            assert 1 <= number <= len(self.view), (number, what, len(self.view))
            if what == b"FETCH":
                self.fetched(number, items, literals)
                return
            assert expunges, "EXPUNGE may not be told now"
            assert self.kind != "qresync"
            self.expunged(self.view.pop(number - 1))

    def expunged(self, entry: Entry) -> None:
        if entry.uid and self.box:
            self.box.gone.add(entry.uid)

    def vanish(self, uid: int) -> None:
        """One that the client knows, or one of those whose UIDs it does not know yet."""
        place = next((at for at, entry in enumerate(self.view) if entry.uid == uid), None)
        if place is None:
            higher = (at for at, entry in enumerate(self.view) if entry.uid > uid)
            place = next(higher, len(self.view)) - 1
            assert place >= 0 and not self.view[place].uid, ("VANISHED of an unknown UID", uid)
        entry = self.view.pop(place)
        self.expunged(Entry(uid, entry.flags))

    def fetched(self, number: int, items: bytes, literals: list[bytes]) -> None:
        entry, box = self.view[number - 1], self.box
        assert box is not None
        if uid := re.search(rb"(?:^|[ )])UID (\d+)", items):
            self.named(number, int(uid[1]))
        if flags := re.search(rb"(?<![A-Z.])FLAGS \(([^)]*)\)", items):
            words = frozenset(flags[1].decode().split())
            strange = words - {"\\Recent"} - set(SYSTEM) - self.keywords
            assert not strange, ("not announced", strange)
            if "\\Recent" in words and entry.uid and not self.read_only:
                owner = box.recent.setdefault(entry.uid, self.session)
                assert owner == self.session, (entry.uid, "recent in two sessions")
            entry.flags = words - {"\\Recent"}
        if modseq := re.search(rb"MODSEQ \((\d+)\)", items):
            self.modseq = max(self.modseq, int(modseq[1]))
        if not entry.uid:
            return
        for item in STATIC:
            value = rb"(?:^| )%b (\(.*?\)(?= [A-Z][A-Z0-9.]+[ \[]|$)|\"[^\"]*\"|\d+)" % re.escape(item.encode())
            if found := re.search(value, items):
                box.same(entry.uid, item, found[1])
        for label, literal in re.findall(rb'((?:BODY|RFC822)[^" ]*(?: \([^)]*\)\][^ ]*)?) "#(\d+)"', items):
            self.octets(entry.uid, label.decode(), literals[int(literal)])

    def named(self, number: int, uid: int) -> None:
        entry = self.view[number - 1]
        assert entry.uid in (0, uid), ("a number has another message", number, entry.uid, uid)
        entry.uid = uid
        before = max((one.uid for one in self.view[: number - 1]), default=0)
        after = min((one.uid for one in self.view[number:] if one.uid), default=uid + 1)
        assert before < uid < after, ("UIDs do not ascend", before, uid, after)

    def octets(self, uid: int, label: str, data: bytes) -> None:
        """Of a message whose token is known, they are what was appended."""
        box = self.box
        assert box is not None
        if token := re.search(rb"Message-ID: <(\d+)@stress>", data):
            assert box.tokens.setdefault(uid, int(token[1])) == int(token[1]), (uid, "another message")
        if uid in box.tokens:
            whole = mail(box.tokens[uid])
            head = whole.index(b"\r\n\r\n") + 4
            parts = {"BODY[]": whole, "RFC822": whole, "BODY[HEADER]": whole[:head], "RFC822.HEADER": whole[:head],
                     "BODY[TEXT]": whole[head:]}  # fmt: skip
            name, _, start = label.partition("<")
            if name in parts:
                first = int(start.rstrip(">") or 0)
                assert parts[name][first : first + len(data)] == data, (uid, label, data)
        if "<" not in label:
            box.same(uid, label, data)

    # -- what it does

    def some(self, most: int = 10) -> list[int]:
        return sorted({self.dice.randint(1, len(self.view)) for _ in range(self.dice.randint(1, most))})

    def set_of(self, chosen: Iterable[int]) -> bytes:
        return b",".join(b"%d" % number for number in chosen)

    def fetch(self) -> Command:
        item = self.dice.choice((*STATIC, "UID", "FLAGS", "BODY.PEEK[]", "BODY.PEEK[HEADER]", "BODY.PEEK[1]",
                                 "BODY.PEEK[TEXT]", "BODY.PEEK[]<3.40>", "RFC822.HEADER", "BODY.PEEK[TEXT]<5.9>",
                                 "BODY.PEEK[HEADER.FIELDS (SUBJECT FROM)]", "BODY[1]", "PREVIEW"))  # fmt: skip
        text = b"FETCH %b (UID %b FLAGS)" % (self.set_of(self.some()), item.encode())
        return Command(text, False)

    def store(self) -> Command:
        chosen, sign = self.some(), self.dice.choice(("+", "-", ""))
        flags = frozenset(self.dice.sample((*SYSTEM, *WORDS), self.dice.randint(0, 3)))
        silent = self.dice.random() < 0.3
        condition = ""
        if self.kind == "qresync" and self.dice.random() < 0.3:
            condition = f"(UNCHANGEDSINCE {max(self.modseq - self.dice.randint(0, 9), 1)}) "
        text = f"STORE {self.set_of(chosen).decode()} {condition}{sign}FLAGS{'.SILENT' * silent} ({' '.join(flags)})"
        entries = [self.view[number - 1] for number in chosen]

        def after(word: str, code: str, lines: list[bytes]) -> None:
            for entry in entries if silent else ():
                entry.flags = None
            if silent or word != "OK" or code == "MODIFIED":
                return
            for number in chosen:
                told = [line for line in lines if line.startswith(b"* %d FETCH (" % number) and b"FLAGS (" in line]
                assert told, (text, number, "no flags told")
                found = re.search(rb"FLAGS \(([^)]*)\)", told[0])
                assert found
                now = frozenset(found[1].decode().split()) - {"\\Recent"}
                right = flags <= now if sign == "+" else not flags & now if sign == "-" else flags == now
                assert right, (text, told)

        return Command(text.encode(), False, after)

    def search(self) -> Command:
        count, box = len(self.view), self.box
        assert box is not None
        known = [entry.uid for entry in self.view if (entry.uid, "RFC822.SIZE") in box.fixed]
        size = int(box.fixed[self.dice.choice(known), "RFC822.SIZE"]) if known else 300
        low, high = sorted((self.dice.randint(1, count), self.dice.randint(1, count)))
        program = self.dice.choice((f"SMALLER {size}", f"LARGER {size}", f"{high}:{low}", "TEXT gamma", "FLAGGED",
                                    "SUBJECT end", f"NOT {low}", "OR SEEN BODY delta", "SINCE 1-Jan-2020"))  # fmt: skip

        def after(word: str, code: str, lines: list[bytes]) -> None:
            count = len(self.start)
            line = next(line for line in lines if line.startswith((b"* SEARCH", b"* ESEARCH")))
            if line.startswith(b"* ESEARCH"):
                found = numbers(line.split(b" ALL ")[1]) if b" ALL " in line else []
            else:
                found = [int(one) for one in line.split()[2:]]
            assert found == sorted(set(found)) and (not found or found[-1] <= count), (program, line)
            for number, uid in enumerate(self.start, 1):
                right = self.expected(program, number, uid, box)
                if right is True and code != "EXPUNGEISSUED":
                    assert number in found, (program, number, uid, line)
                elif right is False:
                    assert number not in found, (program, number, uid, line)

        return Command(f"SEARCH {program}".encode(), False, after)

    @staticmethod
    def expected(program: str, number: int, uid: int, box: Mailbox) -> bool | None:
        """None: who knows."""
        word, _, rest = program.partition(" ")
        if ":" in program:
            high, low = map(int, program.split(":"))
            return low <= number <= high
        if word == "NOT":
            return number != int(rest)
        size = box.fixed.get((uid, "RFC822.SIZE"))
        if size is not None and word in ("SMALLER", "LARGER"):
            return int(size) < int(rest) if word == "SMALLER" else int(size) > int(rest)
        if uid in box.tokens and word == "TEXT":
            return b"gamma" in mail(box.tokens[uid])
        return True if word in ("SUBJECT", "SINCE") else None

    def sort(self) -> Command:
        key = self.dice.choice(("ARRIVAL", "DATE", "FROM", "SIZE", "SUBJECT", "TO", "REVERSE SIZE"))
        box = self.box
        assert box is not None

        def after(word: str, code: str, lines: list[bytes]) -> None:
            view = self.start
            line = next(line for line in lines if line.startswith(b"* SORT"))
            found = [int(one) for one in line.split()[2:]]
            assert len(set(found)) == len(found) and set(found) <= set(range(1, len(view) + 1)), line
            assert code == "EXPUNGEISSUED" or len(found) == len(view), (line, len(view))
            if "SIZE" in key and code != "EXPUNGEISSUED":
                sizes = [box.fixed.get((view[number - 1], "RFC822.SIZE")) for number in found]
                known = [int(size) for size in sizes if size is not None]
                assert known == sorted(known, reverse=key.startswith("REVERSE")), (key, known)

        return Command(f"SORT ({key}) US-ASCII ALL".encode(), False, after)

    def thread(self) -> Command:

        def after(word: str, code: str, lines: list[bytes]) -> None:
            count = len(self.start)
            line = next(line for line in lines if line.startswith(b"* THREAD"))
            found = sorted(map(int, re.findall(rb"\d+", line)))
            assert len(set(found)) == len(found) and (not found or found[-1] <= count), line
            assert code == "EXPUNGEISSUED" or len(found) == count, (line, count)

        algorithm = self.dice.choice(("REFERENCES", "ORDEREDSUBJECT", "REFS"))
        return Command(f"THREAD {algorithm} US-ASCII ALL".encode(), False, after)

    def append(self) -> Command:
        box = self.world.boxes[self.dice.choice((NAMES[0], NAMES[0], NAMES[1]))]
        tokens = []
        text = b"APPEND " + box.name.encode()
        for _ in range(self.dice.choice((1, 1, 1, 3))):
            self.world.token += 1
            tokens.append(self.world.token)
            flags = " ".join(self.dice.sample((*SYSTEM[:3], *WORDS), self.dice.randint(0, 2)))
            data = mail(self.world.token)
            text += b" (%b) {%d+}\r\n%b" % (flags.encode(), len(data), data)

        def after(word: str, code: str, lines: list[bytes]) -> None:
            assert word == "OK"

        return Command(text, True, after)

    def status(self) -> Command:
        box = self.world.boxes[self.dice.choice(NAMES)]
        items = "MESSAGES UNSEEN UIDNEXT UIDVALIDITY" + (" HIGHESTMODSEQ" if self.kind == "qresync" else " RECENT")

        def after(word: str, code: str, lines: list[bytes]) -> None:
            line = next(line for line in lines if line.startswith(b"* STATUS"))
            values = line.decode().split("(")[1].rstrip(")").split()
            told = dict(zip(values[::2], map(int, values[1::2]), strict=True))
            self.grown(box, told["UIDVALIDITY"], told["UIDNEXT"], told.get("HIGHESTMODSEQ", 0))
            assert told["UNSEEN"] <= told["MESSAGES"] < told["UIDNEXT"]
            assert told.get("RECENT", 0) <= told["MESSAGES"]

        return Command(f"STATUS {box.name} ({items})".encode(), True, after)

    def grown(self, box: Mailbox, validity: int, uidnext: int, modseq: int) -> None:
        """As far as this client was told: what others were told may be older or newer."""
        assert box.validity in (0, validity)
        box.validity = validity
        before = self.told.get(box.name, (0, 0))
        assert uidnext >= before[0] and (not modseq or modseq >= before[1]), (box.name, before, uidnext, modseq)
        self.told[box.name] = uidnext, max(before[1], modseq)

    def elsewhere(self) -> Command:
        """By number or by UID into the other mailbox or this one."""
        word = self.dice.choice(("COPY", "MOVE"))
        if self.read_only:
            word = "COPY"
        return Command(f"{word} {self.set_of(self.some(4)).decode()} {self.dice.choice(NAMES)}".encode())

    def anything(self) -> Command:
        """What is possible in every state."""
        box = f"test/{self.dice.randrange(4)}"
        names = "NOOP", "CHECK", 'LIST "" *', f"CREATE {box}", f"DELETE {box}", f"SUBSCRIBE {box}", 'LSUB "" *'
        return Command(self.dice.choice(names).encode())

    def by_uid(self) -> Command:
        uids = [entry.uid for entry in self.view if entry.uid] or [1]
        uid = self.dice.choice(uids)
        if self.read_only:
            return Command(b"UID FETCH %d:* (FLAGS)" % uid)
        texts = (b"UID FETCH %d:* (FLAGS)", b"UID STORE %d +FLAGS (\\Deleted)", b"UID EXPUNGE 1:%d",
                 b"UID MOVE %d Copies", b"UID SEARCH UID %d:*", b"UID COPY %d INBOX")  # fmt: skip
        return Command(self.dice.choice(texts) % uid)

    async def batch(self) -> None:
        """Several that name messages, and one that may renumber them, without waiting in between."""
        commands: list[Command] = []
        if self.view:
            kinds = [self.fetch, self.fetch, self.search, self.sort, self.thread]
            kinds += [] if self.read_only else [self.store, self.store]
            commands = [self.dice.choice(kinds)() for _ in range(self.dice.randint(0, 3))]
        last = [self.status, self.anything, self.by_uid]
        if self.view:
            last += [self.elsewhere]
            if not self.read_only:
                last += [lambda: Command(b"EXPUNGE"), self.delete, self.by_uid]
        if len(self.view) < MOST:
            last += [self.append] * 3
        await self.do(*commands, self.dice.choice(last)())

    def delete(self) -> Command:
        chosen = self.some(6 if len(self.view) < MOST else 30)
        entries = [self.view[number - 1] for number in chosen]

        def after(word: str, code: str, lines: list[bytes]) -> None:
            for entry in entries:
                entry.flags = None

        return Command(b"STORE %b +FLAGS.SILENT (\\Deleted)" % self.set_of(chosen), False, after)

    async def idle(self) -> None:
        assert self.wire is not None
        self.tags += 1
        tag = b"c%d" % self.tags
        self.wire.send(tag + b" IDLE\r\n")
        while True:
            text, literals = await self.response()
            if text == b"+ idling":
                break
            self.believe(text, literals, True)
        await asyncio.sleep(0.01 * self.dice.random())
        self.wire.send(b"DONE\r\n")
        await self.answer(tag, Command(b"IDLE"))

    # -- its life

    async def log_in(self, login: bytes) -> None:
        self.wire = await self.connect()
        text, _ = await self.response()
        assert text.startswith(b"* OK ["), text
        enable = {"qresync": [Command(b"ENABLE QRESYNC")], "rev2": [Command(b"ENABLE IMAP4rev2")]}.get(self.kind, [])
        await self.do(Command(login), *enable)

    async def select(self) -> None:
        self.forget()
        self.box = self.world.boxes[self.dice.choice((NAMES[0], NAMES[0], NAMES[0], NAMES[1]))]
        self.read_only = self.dice.random() < 0.15
        self.world.sessions += 1
        self.session = self.world.sessions
        told: list[bytes] = []
        word = "EXAMINE" if self.read_only else "SELECT"
        await self.do(Command(f"{word} {self.box.name}".encode(), True, lambda word, code, lines: told.extend(lines)))
        text = b"\n".join(told)
        values = [re.search(rb"\[%b (\d+)\]" % name, text) for name in (b"UIDVALIDITY", b"UIDNEXT", b"HIGHESTMODSEQ")]
        self.grown(self.box, *(int(value[1]) if value else 0 for value in values))
        await self.do(Command(b"FETCH 1:* (UID FLAGS)" if self.dice.random() < 0.8 else b"NOOP"))

    async def live(self, login: bytes, until: Callable[[], bool], pause: Callable[[Client], Awaitable[None]]) -> None:
        await self.log_in(login)
        await self.select()
        while not until():
            await pause(self)
            what = self.dice.random()
            if what < 0.03:
                await self.leave(login)
            elif what < 0.06:
                await self.do(Command(self.dice.choice((b"CLOSE", b"UNSELECT"))))
                await self.select()
            elif what < 0.08:
                await self.select()
            elif what < 0.12:
                await self.idle()
            else:
                await self.batch()

    async def leave(self, login: bytes) -> None:
        """With or without a word, also in the middle of what it was saying; and comes back."""
        assert self.wire is not None
        how = self.dice.choice(("logout", "cut", "half"))
        if how == "logout":
            self.wire.send(b"x LOGOUT\r\n")
            while not (await self.response())[0].startswith(b"x OK"):
                pass
        elif how == "half":
            self.wire.send(b"x FETCH 1:* BODY.PEEK[]\r\ny APPEND INBOX {500+}\r\nSubject: never")
        else:
            self.wire.send(b"x FETCH 1:* (FLAGS ENVELOPE)\r\ny NOOP\r\n")
        self.wire.hang_up()
        self.forget()
        await self.log_in(login)
        await self.select()

    async def settle(self) -> None:
        """For a checkpoint: hears of everything, and asks for all flags."""
        await self.do(Command(b"NOOP"))
        await self.do(Command(b"FETCH 1:* (UID FLAGS)"))
