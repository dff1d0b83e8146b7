"""Messages read ahead, in processes of their own, while this one learns from those before them (F30).

Reading, hashing and what the stages without training say of a message are the same for every account and are more than
half of the work of a lesson. So for a long outbox and a retraining the trainer forks one process a spare core: raw
messages go to it in chunks through a pipe, and back come their features with everything in their memo that costs time.
They give the same evidence, bit for bit, as `features.read` here; what only people want to see is left out.

A helper has no file of the server open and ends when its pipe does: with the trainer, however that dies. When one dies
itself, what it had is read here. All are gone at `close`.
"""

from __future__ import annotations

import gc
import io
import marshal
import os
import pickle
import select
import signal
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fcntl import F_SETPIPE_SZ, fcntl
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from echomox.filter.context import Context, Stage, nothing
from echomox.filter.evidence import outline
from echomox.filter.features import VOCABULARY, Envelope, Features, hash_together, read
from echomox.filter.stages import ngrams
from echomox.filter.tokens import Text

CHUNK = 16
"""Messages that are read together."""
LEAST = 4
"""Of the last ones fewer and fewer, so that none waits for another at the end; but so many."""
AHEAD = 4
"""Chunks that a helper has before it."""
HELPERS = 4
"""At most."""
MOST_READY = 512
WORTH = 100
"""Messages from which helpers are forked: it takes as long as reading some ten of them."""
_PIPE = 1 << 20
_LENGTH = 4
_NICE = 5


class Raw(NamedTuple):
    """A message as it is stored: its bytes, of long ones the first, and how it came. whole: whether the stages without
    training are to look at it."""

    data: bytes
    envelope: Envelope
    whole: bool = True


Fetch = Callable[[int], Raw | None]
"""A message by its id; None when it is gone. An OSError goes up."""
Packed = tuple[bytes | tuple[Any, ...], dict[Any, Any], dict[int, Any], int, int]
"""What another process needs of features: the text, what is remembered of it and of its tokens, fields, size."""
Made = Packed | str
"""Or why it could not be read."""


def helpers() -> int:
    """How many this machine has room for."""
    return min(HELPERS, len(os.sched_getaffinity(0)) - 1)


def prepared(raws: Sequence[Raw], longest: int, stages: Sequence[Stage]) -> list[Features]:
    """All that does not depend on an account, done. longest: of n-grams."""
    messages = [read(raw.data, raw.envelope) for raw in raws]
    hash_together(messages, longest)
    for features, raw in zip(messages, raws):
        context = Context(longest, 0, 0, nothing, brief=True)
        for stage in stages:
            if raw.whole and not stage.learned:
                with suppress(Exception):  # it is asked again when the message is taught, and told of then
                    context.evidence.append(stage.run(features, context))
        outline(features, longest)
        ngrams.gaps(features, longest)
    return messages


def packed(features: Features) -> Packed:
    """What is needed after `prepared`, for `sent`."""
    features.memo.pop(VOCABULARY, None)  # what it was for is done
    return _written(features.text), features.memo, features.known, features.fields, features.size


def unpacked(made: Packed, envelope: Envelope) -> Features:
    """Without structure, parts and the sender's fields."""
    text, memo, known, fields, size = made
    return Features(_BARE, envelope, _text(text), (), fields, size, (), memo, known)


def _written(text: Text) -> bytes | tuple[Any, ...]:
    """Its hundreds of short strings as one, where that is possible: five times as fast."""
    words = list(text.singles)
    for _, run in text.runs:
        words += run
    every = "\n".join(words)
    if every.count("\n") != len(words) - 1:
        return marshal.dumps(tuple(text), _PLAIN)
    return every, len(text.singles), [(tag, len(run)) for tag, run in text.runs], text.head


def _text(made: bytes | tuple[Any, ...]) -> Text:
    """What `_written` was given."""
    if isinstance(made, bytes):
        return Text(*marshal.loads(made))  # noqa: S302 - of a process of our own
    every, at, lengths, head = made
    words = every.split("\n")
    runs = []
    start = at
    for tag, length in lengths:
        runs.append((tag, words[start : start + length]))
        start += length
    return Text(words[:at], runs, head)


def sent(made: Sequence[Made]) -> memoryview:
    """A frame: a length, then what `pickle` reads."""
    data = io.BytesIO()
    data.write(bytes(_LENGTH))
    pickler = pickle.Pickler(data, pickle.HIGHEST_PROTOCOL)
    pickler.dispatch_table = _SMALL
    pickler.dump(made)
    frame = data.getbuffer()
    frame[:_LENGTH] = (len(frame) - _LENGTH).to_bytes(_LENGTH, "little")
    return frame


def _reduced(array: NDArray[Any]) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Read three times as fast as what NumPy makes of its many small arrays."""
    if array.ndim != 1:
        return _shaped, (array.tobytes(), array.dtype.str, array.shape)
    return np.frombuffer, (array.tobytes(), array.dtype.str)


def _shaped(data: bytes, kind: str, shape: tuple[int, ...]) -> NDArray[Any]:
    return np.frombuffer(data, kind).reshape(shape)


_SMALL: dict[type, Callable[[Any], tuple[Callable[..., Any], tuple[Any, ...]]]] = {np.ndarray: _reduced}
"""For arrays of numbers, which are read-only where they arrive."""
_BARE = read(b"").structure
_PLAIN = 2
"""The version of marshal that looks for no string twice."""


@dataclass(slots=True)
class _Helper:
    """A forked process and our ends of its pipes. given: the messages of each chunk that it has not answered; got: its
    first `filled` bytes are what came and was not understood yet."""

    pid: int
    to: int
    back: int
    given: deque[dict[int, Envelope]] = field(default_factory=deque)
    out: bytearray = field(default_factory=bytearray)
    got: bytearray = field(default_factory=lambda: bytearray(_PIPE))
    filled: int = 0

    def end(self) -> None:
        os.close(self.to)
        os.close(self.back)
        os.waitpid(self.pid, 0)


class Ahead:
    """A source of features, to be asked for `messages` in their order. failed(message, why): of one that cannot be
    read. Raises OSError when no process can be made, as later what `fetch` raises."""

    def __init__(
        self,
        fetch: Fetch,
        messages: Sequence[int],
        longest: int,
        stages: Sequence[Stage],
        failed: Callable[[int, str], None],
    ) -> None:
        self._fetch = fetch
        self._waiting = deque(messages)
        self._ready: dict[int, Features | None] = {}
        self._work = _Work(longest, stages)
        self._failed = failed
        self._helpers: list[_Helper] = []
        try:
            for _ in range(helpers()):
                self._helpers.append(_fork(self._work))
            self._pump(0)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Ends the helpers, whatever they are at."""
        for helper in self._helpers:
            helper.end()
        self._helpers = []

    def __enter__(self) -> Ahead:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __call__(self, message: int) -> Features | None:
        self._pump(0)
        while message not in self._ready:
            if not any(message in chunk for helper in self._helpers for chunk in helper.given):
                self._here(self._chunk() if message in self._waiting else [message])
            elif self._waiting and len(self._ready) < MOST_READY:
                self._here(self._chunk())  # rather than to wait
                self._pump(0)
            else:
                self._pump(None)
        return self._ready.pop(message)

    # -- how

    def _chunk(self) -> list[int]:
        """The next that nobody reads yet."""
        size = max(LEAST, min(CHUNK, len(self._waiting) // (4 * len(self._helpers) + 4)))
        return [self._waiting.popleft() for _ in range(min(size, len(self._waiting)))]

    def _here(self, messages: Sequence[int]) -> None:
        found = self._found(messages)
        self._take({message: raw.envelope for message, raw in found.items()}, self._work.read([*found.values()]))

    def _found(self, messages: Sequence[int]) -> dict[int, Raw]:
        """Those that are there; the others are done with."""
        found = {}
        for message in messages:
            raw = self._fetch(message)
            if raw is None:
                self._ready[message] = None
            else:
                found[message] = raw
        return found

    def _take(self, messages: Mapping[int, Envelope], made: Sequence[Made | Features]) -> None:
        for (message, envelope), one in zip(messages.items(), made):
            if isinstance(one, str):
                self._failed(message, one)
                self._ready[message] = None
            else:
                self._ready[message] = one if isinstance(one, Features) else unpacked(one, envelope)

    def _fill(self) -> None:
        """Gives each helper AHEAD chunks."""
        for _ in range(AHEAD):
            for helper in self._helpers:
                if self._waiting and len(helper.given) < AHEAD:
                    self._give(helper, self._chunk())

    def _give(self, helper: _Helper, chunk: Sequence[int]) -> None:
        found = self._found(chunk)
        if found:
            data = pickle.dumps(list(found.values()), pickle.HIGHEST_PROTOCOL)
            helper.out += len(data).to_bytes(_LENGTH, "little") + data
            helper.given.append({message: raw.envelope for message, raw in found.items()})

    def _pump(self, timeout: float | None) -> None:
        """Moves what can be moved; with None it waits until something can."""
        self._fill()
        poll = select.poll()
        ends: dict[int, _Helper] = {}
        for helper in self._helpers:
            poll.register(helper.back, select.POLLIN)
            ends[helper.back] = helper
            if helper.out:
                poll.register(helper.to, select.POLLOUT)
                ends[helper.to] = helper
        for end, _ in poll.poll(timeout):
            helper = ends[end]
            if helper not in self._helpers:
                continue
            try:
                alive = _write(helper) if end == helper.to else self._read(helper)
            except (OSError, pickle.UnpicklingError, EOFError):
                alive = False
            if not alive:
                self._lost(helper)

    def _read(self, helper: _Helper) -> bool:
        """Whether it still lives."""
        if helper.filled == len(helper.got):
            helper.got += bytes(len(helper.got))
        with memoryview(helper.got) as every:
            size = os.readv(helper.back, [every[helper.filled :]])
            helper.filled += size
            at = 0
            for start, end in _frames(every[: helper.filled]):
                self._take(helper.given.popleft(), pickle.loads(every[start:end]))  # noqa: S301 - of a process of our own
                at = end
            left = helper.filled - at
            every[:left] = every[at : helper.filled]
        helper.filled = left
        return bool(size)

    def _lost(self, helper: _Helper) -> None:
        """What it had is read here when its turn comes."""
        self._helpers.remove(helper)
        helper.end()


def _write(helper: _Helper) -> bool:
    done = os.write(helper.to, helper.out)
    del helper.out[:done]
    return True


def _frames(data: memoryview) -> Iterator[tuple[int, int]]:
    """Where the content of each whole frame begins and ends."""
    start = _LENGTH
    while start <= len(data):
        end = start + int.from_bytes(data[start - _LENGTH : start], "little")
        if end > len(data):
            return
        yield start, end
        start = end + _LENGTH


# -- the helper ----------------------------------------------------------------


def _why(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


class _Work(NamedTuple):
    """What is done with a chunk, by a helper or here."""

    longest: int
    stages: Sequence[Stage]

    def read(self, chunk: Sequence[Raw]) -> list[Features | str]:
        """Or why one could not be read."""
        try:
            return [*prepared(chunk, self.longest, self.stages)]
        except Exception as error:
            if len(chunk) == 1:
                return [_why(error)]
            return [self.read([raw])[0] for raw in chunk]  # one must not spoil the others

    def __call__(self, chunk: Sequence[Raw]) -> memoryview:
        """A frame for the trainer."""
        return sent([one if isinstance(one, str) else packed(one) for one in self.read(chunk)])


def _fork(work: _Work) -> _Helper:
    there, to = os.pipe2(os.O_CLOEXEC)
    back, here = os.pipe2(os.O_CLOEXEC)
    try:
        for end in (to, back):
            os.set_blocking(end, False)
            _widen(end)
        pid = os.fork()
    except OSError:
        for end in (there, to, back, here):
            os.close(end)
        raise
    if not pid:
        _child(there, here, work)
    os.close(there)
    os.close(here)
    return _Helper(pid, to, back)


def _widen(end: int) -> None:
    try:
        fcntl(end, F_SETPIPE_SZ, _PIPE)
    except OSError:  # the user's share of pipes is used up; it works with small ones too
        return


def _child(there: int, here: int, work: _Work) -> NoReturn:
    """The helper's life: nothing of the trainer's is touched but closed, so that the pipe ends when that does."""
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_DFL)
        gc.freeze()
        low, high = sorted((there, here))
        os.closerange(3, low)
        os.closerange(low + 1, high)
        os.closerange(high + 1, os.sysconf("SC_OPEN_MAX"))
        os.nice(_NICE)
        while chunk := _taken(there):
            frame = work(pickle.loads(chunk))  # noqa: S301 - of the trainer
            while frame:
                frame = frame[os.write(here, frame) :]
    finally:
        os._exit(0)


def _taken(end: int) -> bytes:
    """The next frame; b"" when there is none any more."""
    size = int.from_bytes(_exactly(end, _LENGTH), "little")
    return _exactly(end, size)


def _exactly(end: int, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = os.read(end, size - len(data))
        if not piece:
            return b""
        data += piece
    return bytes(data)
