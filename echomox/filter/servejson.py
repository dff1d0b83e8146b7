"""`echomox filter serve-json`: the filter for anyone's own evaluation, one JSON request a line, one answer a line.

    {"op": "classify", "path": FILE}                 {"p": 0.0012, "place": "inbox"}
    {"op": "train", "path": FILE, "spam": true}      {}

`place` is where the mail would go under the settings. The account is a scratch one that begins untrained. A message
is known by path and content, so training it again under the other label moves it. One with bare line feeds is read
as a server would have received it. What cannot be done is answered with {"error": WHY}, and the next line is read.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

from echomox.config.schema import JunkFilter
from echomox.filter.corpus import Mail
from echomox.filter.trial import Trial

MOST_LINE = 1 << 16


class RequestError(ValueError):
    """str() is told to who asked."""


class Service:
    """directory: empty, for the scratch account."""

    def __init__(self, directory: Path, settings: JunkFilter) -> None:
        self._trial = Trial(directory, settings)
        self._numbers: dict[tuple[str, bytes], int] = {}

    def close(self) -> None:
        self._trial.close()

    def answer(self, line: str) -> dict[str, Any]:
        """To one request."""
        try:
            return self._answer(line)
        except (RequestError, OSError, ValueError, sqlite3.Error) as error:
            return {"error": str(error)}

    def _answer(self, line: str) -> dict[str, Any]:
        try:
            request = json.loads(line) if len(line) <= MOST_LINE else None
        except (ValueError, RecursionError):
            request = None
        if not isinstance(request, dict) or not isinstance(request.get("path"), str):
            raise RequestError('not {"op": ..., "path": ...}')
        path = request["path"]
        if not Path(path).is_file():
            raise RequestError("no such file")
        data = Mail(Path(path), False, 0.0).read()
        if request.get("op") == "classify":
            (found,) = self._trial.classify([data])
            return {"p": found.probability, "place": found.place}
        if request.get("op") == "train" and isinstance(request.get("spam"), bool):
            number = self._numbers.setdefault((path, sha256(data).digest()), len(self._numbers) + 1)
            self._trial.train({number: (data, "spam" if request["spam"] else "ham")})
            return {}
        raise RequestError('not {"op": "classify"} nor {"op": "train", "spam": true or false}')


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
