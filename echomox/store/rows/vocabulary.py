"""What an account's messages say again and again: its languages, its correspondents' domains, its own trace headers.
New contents are packed with it (close.py), which makes them a sixth smaller than DICTIONARY alone does.

The indexer makes one when the account has FIRST messages, a better one at SECOND, and another after each EACH, so that
it keeps up with what comes. It takes in only what LEAST of the latest SAMPLES messages have in common, lest it keep
what one of them said beyond its deletion. Once made it stays: contents are packed with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

import msgpack

from echomox.store.rows import affect, compact, traces
from echomox.store.rows.packing import REST

FIRST, SECOND, EACH = 128, 2048, 16_384
SAMPLES = 128
TRACES = 96
LEAST = 4
"""In so many of the messages a piece is found, or it is not taken in."""
REST_SIZE, TRACE_SIZE = 4000, 6000
"""Octets: more makes each row smaller by a few octets, and packing slower."""
_REST_PIECE, _TRACE_PIECE = 5, 8
_LONGEST = 4096
"""Octets of a sample that are looked at."""
_LEFT_OUT = ("body", "preview")
Execute = Callable[..., Any]


def is_due(execute: Execute) -> bool:
    made, next_id = execute(
        "SELECT coalesce((SELECT made FROM vocabulary v WHERE v.id = s.vocabulary), 0), next_id FROM state s"
    ).fetchone()
    due = next((least for least in (FIRST, SECOND) if made < least), made + EACH)
    return bool(next_id >= due)


def samples(execute: Execute) -> tuple[list[bytes], list[bytes]]:
    """Of the latest contents: what is packed as `rest`, and trace headers with the verdict."""
    rests: list[bytes] = []
    said: list[bytes] = []
    rows = execute(f"SELECT id FROM content ORDER BY id DESC LIMIT {SAMPLES}").fetchall()  # noqa: S608
    for (content,) in rows:
        with suppress(*compact.DAMAGE):
            values = compact.read(execute, content)
            if values is not None:
                rests.append(msgpack.packb([values[name] for name in REST if name not in _LEFT_OUT])[:_LONGEST])
            if len(said) < TRACES:
                prefix, verdict = compact.trace(execute, content)
                if prefix:
                    text = affect.cut(verdict)[0].encode("utf-8", "replace")
                    said.append((traces.shorten(prefix) + text)[:_LONGEST])
    return rests, said


def make(rests: Sequence[bytes], said: Sequence[bytes]) -> tuple[bytes, bytes]:
    """(rest, trace) of a vocabulary."""
    return gather(rests, _REST_PIECE, REST_SIZE), gather(said, _TRACE_PIECE, TRACE_SIZE)


def keep(execute: Execute, words: tuple[bytes, bytes]) -> None:
    """In a write transaction; unless another process was faster."""
    if not is_due(execute):
        return
    number = execute("INSERT INTO vocabulary (made, rest, trace) SELECT next_id, ?, ? FROM state", words).lastrowid
    execute("UPDATE state SET vocabulary = ?", (number,))


def gather(texts: Sequence[bytes], piece: int, size: int) -> bytes:
    """What of at least LEAST texts is alike, at most `size` octets of it, the best last: there the way back to it is
    short. Runs of octets all of whose pieces of `piece` octets are in so many texts; what a better run has is not taken
    again."""
    counts: Counter[bytes] = Counter()
    for text in texts:
        counts.update(_pieces(text, piece))
    runs = {run for text in texts for run in _runs(text, piece, counts)}
    worth = {run: sum(map(counts.__getitem__, _pieces(run, piece))) / len(run) for run in runs}
    taken: set[bytes] = set()
    chosen: list[bytes] = []
    room = size
    for run in sorted(runs, key=lambda run: (-worth[run], run)):
        pieces = _pieces(run, piece)
        if len(run) > room or 2 * len(pieces - taken) < len(pieces):
            continue
        taken |= pieces
        chosen.append(run)
        room -= len(run)
        if room < piece:
            break
    return b"".join(reversed(chosen))


def _pieces(text: bytes, piece: int) -> set[bytes]:
    return {text[place : place + piece] for place in range(len(text) - piece + 1)}


def _runs(text: bytes, piece: int, counts: Counter[bytes]) -> Iterable[bytes]:
    start = -1
    for place in range(len(text) - piece + 2):
        common = counts[text[place : place + piece]] >= LEAST and place + piece <= len(text)
        if common and start < 0:
            start = place
        elif not common and start >= 0:
            yield text[start : place + piece - 1]
            start = -1
