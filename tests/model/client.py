"""A client that believes only what it is told, and complains when that cannot be, or is not all of it.

`view` is what its sequence numbers mean: UIDs by position. Nothing happens while a command of the test runs but that
command, so what a client must be told is known exactly: `believe` compares line by line, `complete` what is left."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from tests.dialog.server import Connection
from tests.model.reference import Box
from tests.model.updates import LINE as UPDATE
from tests.model.updates import Kept

LINE = re.compile(
    rb"\* (?:(?P<number>\d+) (?P<what>EXISTS|RECENT|EXPUNGE|FETCH|UIDFETCH)(?: \((?P<items>.*)\))?"
    rb"|VANISHED (?P<earlier>\(EARLIER\) )?(?P<uids>[\d:,]+)"
    rb"|OK \[HIGHESTMODSEQ (?P<modseq>\d+)\].*"
    rb"|(?P<other>OK|FLAGS|SEARCH|ESEARCH|STATUS|LIST|BYE|ENABLED).*)"
)
FLAGS_ITEM = re.compile(rb"(?<![A-Z])FLAGS \(([^)]*)\)")
UID_ITEM = re.compile(rb"(?:^| )UID (\d+)")
MODSEQ_ITEM = re.compile(rb"MODSEQ \((\d+)\)")
SUBJECT_ITEM = re.compile(rb'ENVELOPE \((?:NIL|"[^"]*") "(\w+)"')


def numbers(text: bytes) -> list[int]:
    """Of a set as the server writes it: no "*", ascending."""
    found: list[int] = []
    for part in text.split(b","):
        low, _, high = part.partition(b":")
        found += range(int(low), int(high or low) + 1)
    assert found == sorted(set(found)), text
    return found


@dataclass(frozen=True, repr=False)
class Memory:
    """What a client has on its disk of a mailbox when it goes offline."""

    box: Box
    validity: int
    modseq: int
    flags: dict[int, frozenset[str]]

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(f"memory of {self.box.name} at {self.modseq}: {sorted(self.flags)}")


@dataclass(repr=False)
class Client:
    """enabled: of ENABLE. prefix: before the names of mailboxes: "" for a client of the account itself, else they are
    shared with it. flags, modseqs: by UID, what it knows. saved: what "$" means (RFC 5182). live: "" or how it is told
    at any time. kept: by tag, the searches that it is kept up to date of. session: one for each selection. fetched,
    earlier: the UIDs that FETCH, or VANISHED (EARLIER), lines of the last command were about."""

    connection: Connection
    worker: int
    enabled: frozenset[str]
    prefix: str = ""
    box: Box | None = None
    read_only: bool = False
    view: list[int] = field(default_factory=list)
    last: int = 0
    flags: dict[int, frozenset[str]] = field(default_factory=dict)
    modseqs: dict[int, int] = field(default_factory=dict)
    modseq: int = 0
    saved: list[int] = field(default_factory=list)
    live: str = ""
    watching: bool = False
    kept: dict[bytes, Kept] = field(default_factory=dict)
    session: object = None
    fetched: list[int] = field(default_factory=list)
    earlier: list[int] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"<{self.prefix}{' '.join(sorted(self.enabled))} in {self.box and self.box.name}: {self.view}>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))  # in a report of hypothesis

    def name(self, box: Box) -> bytes:
        """As this client writes it."""
        return f'"{self.prefix}{box.name}"'.encode()

    @property
    def by_uid(self) -> bool:
        return "UIDONLY" in self.enabled

    @property
    def vanishing(self) -> bool:
        return bool({"QRESYNC", "UIDONLY"} & self.enabled)

    @property
    def condstore(self) -> bool:
        return bool({"QRESYNC", "CONDSTORE"} & self.enabled)

    @property
    def comes_back(self) -> bool:
        """Its mod-sequence is good for QRESYNC: without that it was not told that VANISHED has to wait (RFC 7162 6)."""
        return self.condstore and ("QRESYNC" in self.enabled or self.box is None or not self.gone())

    def gone(self) -> list[int]:
        """In its view, but not in the mailbox."""
        assert self.box is not None
        return [uid for uid in self.view if uid not in self.box.messages]

    def open(self, box: Box, read_only: bool, lines: list[bytes]) -> None:
        """SELECT or EXAMINE was answered by `lines`."""
        self.box, self.read_only = box, read_only
        self.view = list(box.messages)
        self.last = max(box.ever, default=0)
        self.flags, self.modseqs, self.saved, self.kept = {}, {}, [], {}
        self.session = object()
        text = b"\n".join(lines)
        exists = re.search(rb"^\* (\d+) EXISTS$", text, re.MULTILINE)
        assert exists and int(exists[1]) == len(self.view), lines
        validity = re.search(rb"\[UIDVALIDITY (\d+)\]", text)
        assert validity and int(validity[1]) == box.validity
        uidnext = re.search(rb"\[UIDNEXT (\d+)\]", text)
        assert uidnext and int(uidnext[1]) > self.last
        modseq = re.search(rb"\[HIGHESTMODSEQ (\d+)\]", text)
        assert modseq and int(modseq[1]) == box.highest, (lines, box.highest)
        unseen = re.search(rb"\[UNSEEN (\d+)\]", text)
        if unseen:
            place = next(i for i, uid in enumerate(self.view) if "\\Seen" not in box.messages[uid].flags)
            assert int(unseen[1]) == place + 1
        self.modseq = int(modseq[1])

    def close(self) -> None:
        self.box = None
        self.view, self.flags, self.modseqs, self.saved, self.kept = [], {}, {}, [], {}

    # -- what it is told

    def believe(self, lines: list[bytes], expunges: bool) -> None:
        """expunges: the command lets them be told."""
        self.fetched, self.earlier = [], []
        for line in lines:
            if update := UPDATE.fullmatch(line):
                kept = self.kept[update["tag"]]
                assert kept.by_uid is bool(update["uid"])
                kept.update(update["changes"], self.view)
                continue
            match = LINE.fullmatch(line)
            assert match, line
            if match["uids"]:
                self._vanished(numbers(match["uids"]), bool(match["earlier"]), expunges)
            elif match["modseq"]:
                self.modseq = int(match["modseq"])
            elif match["what"] == b"EXISTS":
                self._exists(int(match["number"]))
            elif match["what"] == b"EXPUNGE":
                self._expunge(int(match["number"]), expunges)
            elif match["items"] is not None:
                self._fetch(int(match["number"]), match["what"] == b"UIDFETCH", match["items"])

    def _exists(self, count: int) -> None:
        assert self.box is not None
        new = [uid for uid in self.box.messages if uid > self.last]
        self.view += new
        self.last = max(self.box.ever, default=0)
        assert new and count == len(self.view), (count, self.view)

    def _expunge(self, number: int, expunges: bool) -> None:
        assert self.box is not None
        assert expunges and not self.vanishing
        assert 1 <= number <= len(self.view), (number, self.view)
        uid = self.view.pop(number - 1)
        assert uid not in self.box.messages, f"{uid} is still there"
        self._forget(uid)

    def _vanished(self, uids: list[int], earlier: bool, expunges: bool) -> None:
        assert self.box is not None
        assert self.vanishing
        if earlier:
            assert not self.earlier
            assert not set(uids) & self.box.messages.keys(), (uids, "still there")
            assert set(uids) <= self.box.ever.keys(), (uids, "never were")
            assert not set(uids) & set(self.view)
            self.earlier = uids
            return
        assert expunges
        assert uids == self.gone(), (uids, self.gone())
        self.view = [uid for uid in self.view if uid not in set(uids)]
        for uid in uids:
            self._forget(uid)

    def _forget(self, uid: int) -> None:
        self.flags.pop(uid, None)
        self.modseqs.pop(uid, None)

    def _fetch(self, number: int, named_by_uid: bool, items: bytes) -> None:
        assert self.box is not None
        assert named_by_uid is self.by_uid
        uid = number if named_by_uid else self.view[number - 1]
        assert uid in self.view, (uid, self.view)
        message = self.box.known(uid)
        assert message is not None, (uid, "told of a message that is gone")
        self.fetched.append(uid)
        if named := UID_ITEM.search(items):
            assert int(named[1]) == uid, (number, items, self.view)
        if flags := FLAGS_ITEM.search(items):
            self.flags[uid] = frozenset(flags[1].decode().split()) - {"\\Recent"}
            if b"\\Recent" in flags[1]:
                self._recent(uid)
            assert self.flags[uid] == message.flags, (uid, items, message)
        if modseq := MODSEQ_ITEM.search(items):
            assert int(modseq[1]) == message.modseq, (uid, items, message)
            assert int(modseq[1]) >= self.modseqs.get(uid, 0)
            self.modseqs[uid] = int(modseq[1])
            self.modseq = max(self.modseq, int(modseq[1]))
        if subject := SUBJECT_ITEM.search(items):
            assert subject[1].decode() == message.token, (number, items, "another message")

    def _recent(self, uid: int) -> None:
        """RFC 3501 2.3.2: in one session that may write and no other."""
        assert self.box is not None
        assert "IMAP4rev2" not in self.enabled
        owner = self.box.recent.get(uid)
        if not self.read_only and not self.prefix:
            assert owner in (None, self.session), (uid, "recent in two sessions")
            self.box.recent[uid] = self.session

    # -- whether that was all

    def complete(self, expunges: bool) -> None:
        """After a command at whose end news may be told, all of them have been."""
        assert self.box is not None
        present = [uid for uid in self.view if uid in self.box.messages]
        assert present == list(self.box.messages), (self.view, list(self.box.messages))
        if expunges:
            assert present == self.view, ("not told of", self.gone())
        for kept in self.kept.values():
            kept.check(self.box, self.view)
        for uid in present:
            message = self.box.messages[uid]
            if uid in self.flags:
                assert self.flags[uid] == message.flags, (uid, self.flags[uid], message.flags)
            if self.condstore and uid in self.modseqs:
                assert self.modseqs[uid] == message.modseq, (uid, self.modseqs[uid], message.modseq)

    def memory(self) -> Memory:
        assert self.box is not None
        return Memory(self.box, self.box.validity, self.modseq, dict(self.flags))
