"""The good-word attack of `evaluate`: a spam with the text of ham appended, as those do who want to look wanted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from random import Random

from echomox.filter.features import Features
from echomox.message.mime import parse

_PLAIN = ("", "7bit", "8bit", "binary", "quoted-printable")
_END = re.compile(rb"</body\s*>|</html\s*>", re.I)
LONGEST = 20_000


def plain_text(features: Features) -> str:
    """What a reader sees of a message, ASCII only, so that it can be put into any message."""
    text = "\n".join(html.text if html else part.text for part, html in features.parts)
    return text[:LONGEST].encode("ascii", "ignore").decode()


def padded(data: bytes, percent: int, texts: Sequence[str], seed: int) -> bytes | None:
    """The message with `percent` of its body's size of good text, of one or more of `texts`, at the end of its body.
    None for what has several parts, or a transfer encoding into which text cannot be put."""
    structure = parse(data)
    if len(structure.parts) != 1 or structure.parts[0].encoding not in _PLAIN or not texts:
        return None
    part = structure.parts[0]
    if not part.content_type.startswith("text/"):
        return None
    random = Random(seed)
    wanted = part.size * percent // 100
    good = ""
    while len(good) < wanted:
        good += texts[random.randrange(len(texts))] + "\n"
    good = good[:wanted].replace("=", " ").replace("\r", "").replace("\n", "\r\n")
    if part.content_type != "text/html":
        return data + b"\r\n" + good.encode()
    found = _END.search(data, part.offset)
    end = found.start() if found else len(data)
    return data[:end] + b"<p>" + escape(good).encode() + b"</p>" + data[end:]
