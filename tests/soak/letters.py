"""Mail for the soak run: each has a token in its first field, `X-Soak`, by which it is known again wherever it goes.

Texts are those of the corpus of tests.bench.corpus where it is there, else made-up ones. The field comes first, so what
the server puts before it is told apart from the mail, which must come back byte for byte.
"""

from __future__ import annotations

import hashlib
import random
import re
from email.utils import formatdate
from itertools import islice
from typing import NamedTuple

from tests.bench import corpus
from tests.corpus import sample

FIELD = re.compile(rb"^X-Soak: (\d+)\r\n", re.MULTILINE)
LARGEST = 300_000
POOL = 2000


class Letter(NamedTuple):
    token: int
    data: bytes


class Letters:
    """digests: by token, of what was written."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._pool = pool()
        self.digests: dict[int, bytes] = {}

    def write(self, head: str = "") -> Letter:
        """head: fields of ours, for mail whose author must be one of our accounts; then only the text is from the
        pool."""
        token = len(self.digests) + 1
        data = self._dice.choice(self._pool)
        if head:
            date = formatdate(usegmt=True)
            own = f"{head}Date: {date}\r\nMessage-ID: <{token}@soak.example>\r\nMIME-Version: 1.0\r\n"
            text = f"{own}Content-Type: text/plain; charset=us-ascii\r\n\r\n"
            data = text.encode() + sample.prose(self._dice, self._dice.randrange(20, 400)).encode()
        data = b"X-Soak: %d\r\n" % token + data
        self.digests[token] = digest(data)
        return Letter(token, data)

    def is_whole(self, data: bytes) -> bool:
        """data: as the server gives it back, with its own fields before."""
        found = FIELD.search(data)
        return found is not None and digest(data[found.start() :]) == self.digests.get(int(found[1]))


def token_of(data: bytes) -> int:
    """0: none of ours, as a report."""
    found = FIELD.search(data.partition(b"\r\n\r\n")[0] + b"\r\n")
    return int(found[1]) if found else 0


def digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def pool() -> list[bytes]:
    archive = corpus.find()
    if archive is None:
        return [make(serial) for serial in range(POOL // 2) for make in (sample.ham, sample.spam)]
    mails = (re.sub(rb"\A(?:>?From .*\r\n)+", b"", data) for _, data in corpus.mails(archive))
    return list(islice((data for data in mails if len(data) < LARGEST), 0, 3 * POOL, 3))
