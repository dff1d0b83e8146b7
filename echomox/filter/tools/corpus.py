"""Corpora of labelled mail for `echomox filter eval`.

A corpus is one of

    DIR with index.tsv     lines of label, path under DIR, ISO time, in order of delivery
    DIR with full/index    or index: lines of label and path, from where the index is, in order of delivery (TREC)
    DIR with spam and ham  two directories (any case), of one file a message, or of mbox files
    DIR with spam and ham  mbox files of these names (spam.mbox, ham.mbox), RFC 4155

Without an index, the messages of the two kinds are mixed by their Date fields; where a kind has none at all its
messages are spread evenly among the others, in the order of their names. Bare line feeds become CRLF, as a server
would have received them, and so do bare CRs of a message that has no line feeds.
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
_DATED = re.compile(rb"From [^\n]{1,400}\d\d?:\d\d[^\n]{1,40}\d{4}")
TREC = ("full/index", "index")


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
        if b"\n" not in data:
            return data.replace(b"\r", b"\r\n")
        return _BARE.sub(b"\r\n", data)


def load(directory: Path) -> list[Mail]:
    """The corpus in order of time. Raises CorpusError, OSError."""
    index = directory / "index.tsv"
    plain = next((path for name in TREC if (path := directory / name).is_file()), None)
    mails = _indexed(index) if index.is_file() else _listed(plain) if plain else _sorted(directory)
    for kind in KINDS:
        if not any(mail.spam == (kind == "spam") for mail in mails):
            raise CorpusError(f"{directory}: no {kind}")
    return mails


def _lines(index: Path) -> list[str]:
    """Names of files are bytes: what is no UTF-8 is as os.fsdecode has it."""
    return index.read_text(encoding="utf-8", errors="surrogateescape").splitlines()


def _indexed(index: Path) -> list[Mail]:
    mails = []
    for number, line in enumerate(_lines(index), 1):
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


def _listed(index: Path) -> list[Mail]:
    mails = []
    for number, line in enumerate(_lines(index), 1):
        columns = line.split(maxsplit=1)
        if len(columns) < 2 or columns[0].lower() not in KINDS:
            raise CorpusError(f"{index}:{number}: not label and path")
        path = index.parent / columns[1]
        if not path.is_file():
            raise CorpusError(f"{index}:{number}: no file {path}")
        mails.append(Mail(path, columns[0].lower() == "spam", 0.0))
    return mails


def _sorted(directory: Path) -> list[Mail]:
    """By date; those without one stand where their neighbours of the same kind do."""
    kinds = [_dated(_of_kind(directory, kind)) for kind in KINDS]
    known = [mail.time for mails in kinds for mail in mails if mail.time]
    first, last = min(known, default=0.0), max(known, default=0.0)
    mails: list[tuple[float, Mail]] = []
    for kind in kinds:
        dated = any(mail.time for mail in kind)
        for at, mail in enumerate(kind):
            place = (at + 0.5) / len(kind)
            # Without any date a place among all is a share of the time, or of the mails.
            mails.append((mail.time if dated else first + place * ((last - first) or 1.0), mail))
    return [mail for _, mail in sorted(mails, key=lambda item: item[0])]


def _dated(mails: Iterator[Mail]) -> list[Mail]:
    out = []
    last = 0.0
    for mail in mails:
        found = _DATE.search(mail.read()[:65536])
        date = parse_date(found[1].decode("latin-1")) if found else None
        last = date.seconds if date else last
        out.append(Mail(mail.path, mail.spam, last, mail.start, mail.size))
    return out


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
    """RFC 4155: a message begins after a line that begins with "From ", which stands first or after an empty one, and
    has a date if the first of the file has one."""
    start, offset, empty, dated = -1, 0, True, False
    with open(path, "rb") as file:
        for line in file:
            if empty and line.startswith(b"From ") and (not dated or _DATED.match(line)):
                if start >= 0:
                    yield Mail(path, kind == "spam", 0.0, start, offset - start)
                else:
                    dated = _DATED.match(line) is not None
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
