"""Corpora of labelled mail for `echomox filter eval`.

A corpus is one of

    DIR with index.tsv     lines of label, path under DIR, ISO time, in order of delivery
    DIR with spam and ham  two directories (any case), of one file a message, or of mbox files
    DIR with spam and ham  mbox files of these names (spam.mbox, ham.mbox), RFC 4155

Without times, the messages of the two kinds are mixed by their Date fields where they have one. Bare line feeds
become CRLF, as a server would have received them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from echomox.message.date import parse_date

KINDS = ("ham", "spam")
LARGEST = 64 << 20
_DATE = re.compile(rb"^Date:[ \t]*([^\r\n]{1,100})", re.M | re.I)
_BARE = re.compile(rb"(?<!\r)\n")
_QUOTED = re.compile(rb"^>(?=>*From )", re.M)


class CorpusError(ValueError):
    """str() says what is wrong with the corpus."""


@dataclass(frozen=True, slots=True)
class Mail:
    """start, size: the message's place in the file; size -1: the whole file. time: Unix seconds of delivery."""

    path: Path
    spam: bool
    time: float
    start: int = 0
    size: int = -1

    def read(self) -> bytes:
        """The message with CRLF line ends. Raises OSError."""
        with open(self.path, "rb") as file:
            file.seek(self.start)
            data = file.read(self.size if self.size >= 0 else LARGEST)
        if self.size >= 0:
            data = _QUOTED.sub(b"", data)
        return _BARE.sub(b"\r\n", data)


def load(directory: Path) -> list[Mail]:
    """The corpus in order of time. Raises CorpusError, OSError."""
    index = directory / "index.tsv"
    mails = _indexed(index) if index.is_file() else _sorted(directory)
    for kind in KINDS:
        if not any(mail.spam == (kind == "spam") for mail in mails):
            raise CorpusError(f"{directory}: no {kind}")
    return mails


def _indexed(index: Path) -> list[Mail]:
    mails = []
    for number, line in enumerate(index.read_text(encoding="utf-8").splitlines(), 1):
        columns = line.split("\t")
        if len(columns) < 3 or columns[0] not in KINDS:
            raise CorpusError(f"{index}:{number}: not label, path and time, separated by tabs")
        try:
            time = datetime.fromisoformat(columns[2].replace("Z", "+00:00")).timestamp()
        except ValueError:
            raise CorpusError(f"{index}:{number}: {columns[2]!r} is no ISO time") from None
        path = index.parent / columns[1]
        if not path.is_file():
            raise CorpusError(f"{index}:{number}: no file {path}")
        mails.append(Mail(path, columns[0] == "spam", time))
    return mails


def _sorted(directory: Path) -> list[Mail]:
    """By date; those without one stand where their neighbours of the same kind do."""
    mails = []
    for kind in KINDS:
        last = 0.0
        for mail in _of_kind(directory, kind):
            found = _DATE.search(mail.read()[:65536])
            date = parse_date(found[1].decode("latin-1")) if found else None
            last = date.seconds if date else last
            mails.append(Mail(mail.path, mail.spam, last, mail.start, mail.size))
    return sorted(mails, key=lambda mail: mail.time)


def _of_kind(directory: Path, kind: str) -> Iterator[Mail]:
    for path in sorted(directory.iterdir()):
        if path.name.lower() == kind and path.is_dir():
            for file in sorted(path.rglob("*")):
                if file.is_file():
                    yield from _file(file, kind)
        elif path.is_file() and path.name.lower() in (kind, f"{kind}.mbox", f"{kind}.mbx"):
            yield from _mbox(path, kind)


def _file(path: Path, kind: str) -> Iterator[Mail]:
    with open(path, "rb") as file:
        mbox = file.read(5) == b"From "
    if mbox:
        yield from _mbox(path, kind)
    else:
        yield Mail(path, kind == "spam", 0.0)


def _mbox(path: Path, kind: str) -> Iterator[Mail]:
    """RFC 4155: a message begins after a line that begins with "From ", which stands first or after an empty one."""
    start, offset, empty = -1, 0, True
    with open(path, "rb") as file:
        for line in file:
            if empty and line.startswith(b"From "):
                if start >= 0:
                    yield Mail(path, kind == "spam", 0.0, start, offset - start)
                start = offset + len(line)
            empty = line in (b"\n", b"\r\n")
            offset += len(line)
    if start >= 0:
        yield Mail(path, kind == "spam", 0.0, start, offset - start)


def halves(mails: Sequence[Mail]) -> tuple[list[int], list[int]]:
    """Indices of the first half of each kind, and of the second, both in order of time."""
    first: list[int] = []
    for spam in (False, True):
        places = [place for place, mail in enumerate(mails) if mail.spam == spam]
        first += places[: len(places) // 2]
    known = set(first)
    return sorted(first), [place for place in range(len(mails)) if place not in known]
