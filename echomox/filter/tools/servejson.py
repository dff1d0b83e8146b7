"""`echomox filter serve-json`: the filter for anyone's own evaluation, one JSON request a line, one answer a line.

    {"op": "classify", "path": FILE}                 {"p": 0.0012, "place": "inbox"}
    {"op": "train", "path": FILE, "spam": true}      {}

`place` is where the mail would go under the settings. The account is a scratch one that begins untrained. A message
is known by path and content: training it again under the same label changes nothing, under the other moves it. What was
answered to `classify` is kept for the message's first lesson, of the last KEPT messages, as a server keeps it in the
header; so a label that comes late teaches the combination what the parts said then. A path may be relative to where
the program was started. A file is read as a server would have received it: with CRLF for bare line feeds, without the
"From " line of an mbox.

Each answer is written before the next line is read. What cannot be done (no JSON, no such file, another op, a label
that is neither true nor false) is answered with {"error": WHY}, has changed nothing, and the next line is read; empty
lines have no answer. The service ends with its input, or when nobody reads its answers.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

from echomox.config.schema import JunkFilter
from echomox.filter.features import Features, read
from echomox.filter.tools.corpus import Mail
from echomox.filter.tools.trial import Trial, told

MOST_LINE = 1 << 16
KEPT = 20_000
"""Verdicts that wait for a label."""

Key = tuple[str, bytes]
"""(path, digest of the message)."""
Told = tuple[tuple[str, float], ...]
"""As `Envelope.told`."""


class RequestError(ValueError):
    """str() is told to who asked."""


class Service:
    """directory: empty, for the scratch account."""

    def __init__(self, directory: Path, settings: JunkFilter) -> None:
        self._trial = Trial(directory, settings)
        self._numbers: dict[Key, int] = {}
        self._verdicts: dict[Key, Told] = {}
        self._last: tuple[Key, Features] | None = None

    def close(self) -> None:
        self._trial.close()

    def answer(self, line: str) -> dict[str, Any]:
        """To one request."""
        try:
            return self._answer(line)
        except (RequestError, OSError, ValueError, sqlite3.Error) as error:
            return {"error": str(error) or type(error).__name__}

    def _answer(self, line: str) -> dict[str, Any]:
        try:
            request = json.loads(line) if len(line) <= MOST_LINE else None
        except (ValueError, RecursionError):
            request = None
        if not isinstance(request, dict) or not isinstance(request.get("path"), str):
            raise RequestError('not {"op": ..., "path": ...}')
        op, spam = request.get("op"), request.get("spam")
        if op != "classify" and not (op == "train" and isinstance(spam, bool)):
            raise RequestError('not {"op": "classify"} nor {"op": "train", "spam": true or false}')
        path = request["path"]
        if not Path(path).is_file():
            raise RequestError("no such file")
        data = Mail(Path(path), False, 0.0).read()
        key = path, sha256(data).digest()
        if op == "classify":
            return self._classify(key, data)
        self._train(key, data, "spam" if spam else "ham")
        return {}

    def _classify(self, key: Key, data: bytes) -> dict[str, Any]:
        features = read(data)
        (found,) = self._trial.classify([features])
        self._last = key, features
        self._verdicts.pop(key, None)
        if key not in self._numbers:
            self._verdicts[key] = told(features, found).envelope.told
            if len(self._verdicts) > KEPT:
                del self._verdicts[next(iter(self._verdicts))]
        return {"p": found.probability, "place": found.place}

    def _train(self, key: Key, data: bytes, label: str) -> None:
        features = self._last[1] if self._last and self._last[0] == key else read(data)
        said = self._verdicts.get(key)
        if said is not None:
            features = replace(features, envelope=replace(features.envelope, told=said))
        number = self._numbers.get(key) or len(self._numbers) + 1
        self._trial.train({number: (features, label)})
        self._numbers[key] = number
        self._verdicts.pop(key, None)


def lines_of(stream: IO[bytes]) -> Iterator[str]:
    """The lines of a stream, whatever bytes they have; of one that is too long only the beginning, which is no
    request."""
    while line := stream.readline(MOST_LINE + 1):
        yield line.decode("utf-8", "replace")
        while len(line) > MOST_LINE and not line.endswith(b"\n"):
            line = stream.readline(MOST_LINE + 1)


def serve(lines: Iterable[str], out: IO[str], directory: Path, settings: JunkFilter) -> int:
    """Answers until the lines end; returns how many there were."""
    service, count = Service(directory, settings), 0
    try:
        for line in lines:
            if line.strip():
                out.write(json.dumps(service.answer(line)) + "\n")
                out.flush()
                count += 1
    finally:
        service.close()
    return count
