"""Sorting and threading for the engine in memory: the real keys, compared one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from echomox.imap import threads
from echomox.imap.sorting import Criterion
from echomox.message.structure import Structure
from echomox.message.subject import base_subject
from echomox.store import muted, sortkeys
from echomox.store.engine import FlagOp


class Sortable(Protocol):
    uid: int
    size: int
    received: float
    structure: Structure


def keys_of(message: Sortable) -> sortkeys.Keys:
    one = message.structure
    values = (
        one.message_id,
        one.in_reply_to,
        " ".join(one.references),
        one.subject,
        one.envelope,
        one.sent,
        one.sent_day,
    )
    return sortkeys.keys_of(values, message.received)


_TEXT = {"SUBJECT": 0, "FROM": 1, "TO": 2, "CC": 3, "DISPLAYFROM": 4, "DISPLAYTO": 5}


def ordered(messages: Sequence[Any], criteria: Sequence[Criterion], scores: Mapping[int, int]) -> list[int]:
    """UIDs. Sorted by the last criterion first: each sorting leaves equals as they were."""
    found = sorted(messages, key=lambda message: message.uid)
    values: dict[str, Callable[[Any], Any]] = {
        "ARRIVAL": lambda message: int(message.received),
        "SIZE": lambda message: message.size,
        "DATE": lambda message: keys_of(message).sent,
        "RELEVANCY": lambda message: -scores.get(message.uid, 0),
    }
    for criterion in reversed(criteria):
        place = _TEXT.get(criterion.name, 0)
        value = values.get(criterion.name, lambda message, place=place: keys_of(message).texts[place].encode())
        found.sort(key=value, reverse=criterion.reverse)
    return [message.uid for message in found]


def items(messages: Sequence[Any]) -> threads.Items:
    rows = []
    for message in sorted(messages, key=lambda message: message.uid):
        keys = keys_of(message)
        subject, reply = base_subject(message.structure.subject)
        rows.append(threads.Item(message.uid, keys.name, keys.references, subject, reply, keys.sent))
    return threads.columns(rows)


class Names:
    """Threads by message ids (RFC 8474 5.2), and which are muted."""

    def __init__(self) -> None:
        self._threads: dict[str, int] = {}
        self.muted: set[int] = set()

    def thread(self, content: int, structure: Structure) -> int:
        references = structure.references or ((structure.in_reply_to,) if structure.in_reply_to else ())
        names = [name for name in (structure.message_id, *reversed(references)) if name]
        found = next((self._threads[name] for name in names if name in self._threads), content)
        for name in names:
            self._threads.setdefault(name, found)
        return found

    def follow(self, op: FlagOp, words: Sequence[str], messages: Sequence[Any]) -> None:
        """After a STORE; messages: as they were before it."""
        for message in messages:
            word = muted.said(op, muted.is_in(words), message.keywords)
            if word is not None:
                (self.muted.add if word else self.muted.discard)(message.thread)
