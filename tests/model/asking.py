"""Rules of what clients ask besides the plain commands: searches that they are kept up to date of (RFC 5267), parts of
results (RFC 9394), LIST with STATUS (RFC 5819)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.model.machine import Machine
from tests.model.reference import Box
from tests.model.updates import Kept, expand, found

CRITERIA: Mapping[bytes, Callable[[frozenset[str]], bool]] = {
    b"ALL": lambda flags: True,
    b"DELETED": lambda flags: "\\Deleted" in flags,
    b"UNSEEN": lambda flags: "\\Seen" not in flags,
    b"KEYWORD kw1": lambda flags: "kw1" in flags,
}
SELECTED = precondition(lambda self: any(client.box for client in self.quiet()))
QUIET = precondition(lambda self: self.quiet())
ITEMS: Mapping[str, Callable[[Box], int]] = {
    "MESSAGES": lambda box: len(box.messages),
    "UNSEEN": lambda box: sum("\\Seen" not in message.flags for message in box.messages.values()),
    "DELETED": lambda box: sum("\\Deleted" in message.flags for message in box.messages.values()),
    "UIDVALIDITY": lambda box: box.validity,
}
MOST_KEPT = 5
PARTIALS = st.tuples(st.sampled_from((1, -1)), st.integers(1, 5), st.integers(1, 9))


def partial_of(uids: list[int], low: int, high: int) -> list[int]:
    low, high = sorted((low, high), key=abs)
    return uids[low - 1 : high] if low > 0 else uids[max(len(uids) + high, 0) : max(len(uids) + low + 1, 0)]


class Asking(Machine):
    @SELECTED
    @rule(data=st.data(), criterion=st.sampled_from(sorted(CRITERIA)), is_sorted=st.booleans())
    def keep_up_to_date(self, data: Any, criterion: bytes, is_sorted: bool) -> None:
        """RFC 5267 4.3: from now on the client is told what comes into the result, and what leaves it."""
        client = self.pick(data, selected=True)
        assert client and client.box
        if len(client.kept) >= MOST_KEPT:
            return
        by_uid = client.by_uid or data.draw(st.booleans())
        view, tag = list(client.view), self.token().encode()
        name, order = (b"SORT", b"(SUBJECT) UTF-8 ") if is_sorted else (b"SEARCH", b"")
        lines = self.ask(client, b"%b RETURN (UPDATE ALL) %b%b" % (self.word(by_uid, name), order, criterion), tag)
        self.truth.check(self.world.store)
        right = found(client.box, view, CRITERIA[criterion], is_sorted)
        answer = re.fullmatch(rb'\* ESEARCH \(TAG "%b"\)( UID)?(?: ALL ([\d:,]+))?' % tag, lines[0])
        assert answer and bool(answer[1]) is by_uid, lines
        numbers = expand(answer[2]) if answer[2] else []
        uids = numbers if by_uid else [view[number - 1] for number in numbers]
        assert uids == right
        client.kept[tag] = Kept(CRITERIA[criterion], by_uid, is_sorted, uids)
        self.do(client, name, lines, expunges=by_uid)

    @SELECTED
    @rule(data=st.data())
    def cancel(self, data: Any) -> None:
        client = self.pick(data, selected=True)
        if client is None or not client.kept:
            return
        tags = data.draw(st.lists(st.sampled_from(sorted(client.kept)), min_size=1, unique=True))
        lines = self.ask(client, b"CANCELUPDATE " + b" ".join(b'"%b"' % tag for tag in tags))
        for tag in tags:
            del client.kept[tag]
        self.do(client, b"CANCELUPDATE", lines)

    @SELECTED
    @rule(data=st.data(), criterion=st.sampled_from(sorted(CRITERIA)), part=PARTIALS)
    def search_a_part(self, data: Any, criterion: bytes, part: tuple[int, int, int]) -> None:
        """RFC 9394 3.1, and with SAVE."""
        client = self.pick(data, selected=True)
        assert client and client.box
        by_uid = client.by_uid or data.draw(st.booleans())
        sign, low, high = part
        view, saving = list(client.view), data.draw(st.booleans())
        options = b"PARTIAL %d:%d%b" % (sign * low, sign * high, b" SAVE" if saving else b"")
        lines = self.ask(client, b"%b RETURN (%b) %b" % (self.word(by_uid, b"SEARCH"), options, criterion))
        self.truth.check(self.world.store)
        chosen = partial_of(found(client.box, view, CRITERIA[criterion], False), sign * low, sign * high)
        shown = b"%d:%d" % tuple(sorted((sign * low, sign * high), key=abs))
        pattern = rb'\* ESEARCH \(TAG "t"\)(?: UID)? PARTIAL \(%b ([\d:,]+|NIL)\)' % re.escape(shown)
        answer = re.fullmatch(pattern, lines[0])
        assert answer, lines
        numbers = [] if answer[1] == b"NIL" else expand(answer[1])
        assert numbers == [uid if by_uid else view.index(uid) + 1 for uid in chosen]
        if saving:
            client.saved = chosen
        self.do(client, b"SEARCH", lines, expunges=by_uid)

    @SELECTED
    @rule(data=st.data(), part=PARTIALS)
    def fetch_a_part(self, data: Any, part: tuple[int, int, int]) -> None:
        """RFC 9394 3.3: of the messages named, whether they are still there or not."""
        client = self.pick(data, selected=True)
        assert client and client.box
        sign, low, high = part
        text, uids, by_uid = self.messages(data, client)
        chosen = partial_of(uids, sign * low, sign * high)
        word = self.word(by_uid, b"FETCH")
        lines = self.ask(client, b"%b %b (FLAGS) (PARTIAL %d:%d)" % (word, text, sign * low, sign * high))
        present = [uid for uid in chosen if uid in client.box.messages]
        self.do(client, b"FETCH", lines, expunges=by_uid)
        assert client.fetched[: len(present)] == present, lines

    @SELECTED
    @rule(data=st.data())
    def fetch_numbers(self, data: Any) -> None:
        """The UID of a message is known as long as its number is."""
        client = self.pick(data, selected=True)
        assert client and client.box
        text, uids, by_uid = self.messages(data, client)
        lines = self.ask(client, b"%b %b (UID)" % (self.word(by_uid, b"FETCH"), text))
        told = [int(line.split()[1]) for line in lines if b" FETCH (UID " in line or b" UIDFETCH (UID " in line]
        wanted = uids if client.by_uid else [client.view.index(uid) + 1 for uid in uids]
        assert told[: len(wanted)] == wanted and lines[-1].startswith(b"t OK"), lines
        self.do(client, b"FETCH", lines[len(wanted) :], expunges=by_uid)

    @QUIET
    @rule(data=st.data())
    def list_with_status(self, data: Any) -> None:
        client = self.pick(data)
        assert client
        boxes = [*self.truth.boxes.values(), *(() if client.prefix else self.truth.views.values())]
        patterns = b" ".join(client.name(box) for box in boxes)
        items = b" ".join(name.encode() for name in ITEMS)
        lines = self.ask(client, b'LIST "" (%b) RETURN (STATUS (%b))' % (patterns, items))
        self.truth.check(self.world.store)
        told = {}
        for line in lines:
            if answer := re.fullmatch(rb'\* STATUS "?([^"]+?)"? \((.*)\)', line):
                words = answer[2].decode().split()
                told[answer[1].decode()] = dict(zip(words[::2], map(int, words[1::2]), strict=True))
        right = {client.prefix + box.name: {name: of(box) for name, of in ITEMS.items()} for box in boxes}
        assert told == right, (told, right)
        left = [line for line in lines if not line.startswith((b"* LIST ", b"* STATUS "))]
        self.do(client, b"LIST", left)
