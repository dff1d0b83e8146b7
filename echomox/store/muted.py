"""Muted threads: mail that is delivered into one is \\Seen at once, and gets the keyword that muted it.

$Muted (`$muted` in IANA's registry of IMAP and JMAP keywords), set on any message, mutes the message's thread; taken
off one of them, by name or because others were set in its place, it unmutes the thread. The last word holds; other
messages of the thread keep their keywords. Table `muted` changes in the transaction that changes the keywords.

Functions over the statements of one write transaction. What a thread is, `sortkeys` says.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from echomox.store import sortkeys
from echomox.store.engine import FlagOp

KEYWORD = "$Muted"
_WORD = KEYWORD.lower()
_IN = "IN (SELECT value FROM json_each(?))"
_THREADS = f"SELECT thread FROM sorting WHERE content {_IN}"  # noqa: S608  # constants of this program
Execute = Callable[..., Any]


def is_in(words: Iterable[str]) -> bool:
    """Whether the keyword is one of them, in any case."""
    return any(word.lower() == _WORD for word in words)


def said(op: FlagOp, named: bool, old: str) -> bool | None:
    """What a STORE says of the thread of a message: muted or not, None for nothing. named: the keyword is in the STORE;
    old: the message's keywords until now. Taking off what is not there is a word too, for another may have set it."""
    if op is FlagOp.SET:
        return True if named else (False if old and is_in(old.split()) else None)
    return op is FlagOp.ADD if named else None


def follow(execute: Execute, op: FlagOp, words: Collection[str], messages: Iterable[tuple[int, str]]) -> None:
    """After a STORE with these keywords. messages: (key, keywords until now)."""
    named = is_in(words)
    if not named and op is not FlagOp.SET:
        return
    told: dict[bool, list[int]] = {True: [], False: []}
    for key, old in messages:
        word = said(op, named, old)
        if word is not None:
            told[word].append(key)
    for on, keys in told.items():
        if keys:
            rows = execute(f"SELECT content FROM message WHERE key {_IN}", (json.dumps(keys),))  # noqa: S608
            turn(execute, on, [content for (content,) in rows.fetchall()])


def turn(execute: Execute, on: bool, contents: Sequence[int]) -> None:
    """Mutes or unmutes the threads of contents; one that an older version left without a thread gets it first."""
    chosen = (json.dumps(contents),)
    sortkeys.fill_some(execute, f"c.id {_IN}", chosen, len(contents))
    if on:
        execute(f"INSERT OR IGNORE INTO muted {_THREADS}", chosen)
    else:
        execute(f"DELETE FROM muted WHERE thread IN ({_THREADS})", chosen)  # noqa: S608


def is_muted(execute: Execute, thread: int) -> bool:
    return execute("SELECT 1 FROM muted WHERE thread = ?", (thread,)).fetchone() is not None


def thread_anew(execute: Execute) -> None:
    """Makes all that messages are sorted and threaded by anew. Each message of a muted thread goes on to be in one; of
    muted threads that have no message any more the names stay."""
    kept = execute("SELECT content FROM sorting WHERE thread IN (SELECT thread FROM muted)").fetchall()
    execute("DELETE FROM muted WHERE thread IN (SELECT thread FROM sorting)")
    execute("DELETE FROM thread_name WHERE thread NOT IN (SELECT thread FROM muted)")
    for table in ("sorting", "sort_text"):
        execute(f"DELETE FROM {table}")  # noqa: S608
    sortkeys.fill(execute)
    turn(execute, True, [content for (content,) in kept])
