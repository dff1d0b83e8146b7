"""What a message is sorted and threaded by: one narrow row of numbers for each content, written when it is delivered.

RFC 5256 2.1 (base subject), 2.2 (sent date, with the internal date where there is none) and 3 (addr-mailbox of the
first address of From, To and Cc); RFC 5957 3 (display names). Texts are kept once an account, as `collated` makes them,
in a table whose order is the order of sorting: a row has their ids, and whoever sorts compares no text at all.

Message ids are hashes of 64 bits, keyed by the account, so that nobody outside can make two of them meet. A thread
(RFC 8474 5.2) is known by the ids that its messages have and refer to (`thread_name`); a message joins the thread of
the first of its references that is known, and stays in it.

The module knows statements, not connections.
"""

# ruff: noqa: S608  # the texts put into statements are constants of this program

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from hashlib import blake2b
from struct import pack
from typing import Any, NamedTuple

from echomox.message.encoded import decode_words
from echomox.message.subject import base_subject
from echomox.store.rows.compact import Lexicon, shape

REFERENCES = 200
"""Most references of a message that are kept: the first, and the last ones."""
TEXTS = 8  # ids of texts for each content
LONGEST = 200  # characters of a text that are compared
SOURCES = ("message_id", "in_reply_to", "refs", "subject", "envelope", "sent", "sent_day")
"""Columns of content that a row is made from."""
_SHAPE = shape(SOURCES, {})
_STATEMENT = "INSERT OR REPLACE INTO sorting VALUES (?,?,?,?,?,?,?,?,?,?,?,?)"
_TOKEN = re.compile(rb'[()]|NIL|"((?:[^"\\]|\\.)*)"|\{(\d+)\}\r\n', re.DOTALL)
_STRING = rb'(?:NIL|"[^"\\]*(?:\\.[^"\\]*)*")'
_FIRST = rb"(?:NIL|\((\(%b\))(?:\(%b\))*\))" % ((b" ".join([_STRING] * 4),) * 2)
_USUAL = re.compile(rb"\(%b %b %b" % (_STRING, _STRING, b" ".join([_FIRST] * 5)), re.DOTALL)
"""An ENVELOPE without literals up to Cc; groups: the first addresses of From, Sender, Reply-To, To and Cc."""
_FROM, _TO, _CC = 2, 5, 6  # places in an ENVELOPE (RFC 9051 7.5.2)
Execute = Callable[..., Any]


class Keys(NamedTuple):
    """Of one content, for any account. texts: subject, mailboxes of From, To, Cc, display names of From, To; as
    `collated`. names: the message's own id, "" for none, and its references, oldest first."""

    sent: int
    reply: bool
    texts: tuple[str, ...]
    name: str
    references: tuple[str, ...]


def collated(text: str) -> str:
    """As i;unicode-casemap compares it, octet by octet in UTF-8 (RFC 5051 2): title case, decomposed."""
    text = text[:LONGEST]
    if text.isascii():
        return text.upper()
    return "".join([_collated(letter) for letter in text]).encode("utf-8", "replace").decode()


def _collated(letter: str) -> str:
    title = letter.title()
    if len(title) == 1:  # RFC 5051 takes the simple mappings only
        letter = title
    return letter if "\uac00" <= letter <= "\ud7a3" else unicodedata.normalize("NFKD", letter)


def keys_of(values: Sequence[Any], received: float) -> Keys:
    """values: of SOURCES."""
    message_id, in_reply_to, refs, subject, envelope, sent, sent_day = values
    base, reply = base_subject(subject)
    first = first_addresses(envelope)
    texts = (
        collated(base),
        *(collated(first[place][1]) for place in (_FROM, _TO, _CC)),
        *(collated(shown(*first[place])) for place in (_FROM, _TO)),
    )
    references = tuple(refs.split()) or ((in_reply_to,) if in_reply_to else ())
    if len(references) > REFERENCES:
        references = (references[0], *references[1 - REFERENCES :])
    return Keys(int(sent if sent_day else received), reply, texts, message_id, references)


def shown(name: str, box: str, host: str) -> str:
    """RFC 5957 3: the display name, else the address; the first address may be a group, with its name."""
    return name or (f"{box}@{host}" if host else box)


def first_addresses(envelope: bytes) -> dict[int, tuple[str, str, str]]:
    """(name, mailbox, host) of the first address of the lists From, To and Cc of an ENVELOPE; "" for what is NIL."""
    usual = _USUAL.match(envelope)
    if usual is not None:
        return {_FROM: _address(usual[1]), _TO: _address(usual[4]), _CC: _address(usual[5])}
    found = dict.fromkeys((_FROM, _TO, _CC), ("", "", ""))
    depth = field = place = 0
    values: list[str] = []
    while token := _TOKEN.search(envelope, place):
        place = token.end()
        word = token[0]
        if word == b"(":
            depth += 1
            continue
        if word == b")":
            depth -= 1
            if depth == 2 and field in found and len(values) == 4 and found[field] == ("", "", ""):
                found[field] = decode_words(values[0]).strip(), values[2], values[3]
            if depth == 2:
                values = []
            elif depth == 1:
                if field == _CC:
                    break
                field += 1
            continue
        if token[2] is not None:
            size = int(token[2])
            value, place = envelope[place : place + size], place + size
        else:
            value = b"" if word == b"NIL" else token[1].replace(b'\\"', b'"').replace(b"\\\\", b"\\")
        if depth == 3:
            values.append(value.decode("utf-8", "replace"))
        elif depth == 1:
            field += 1
    return found


def _address(written: bytes | None) -> tuple[str, str, str]:
    """(name, mailbox, host) of an address without literals."""
    if written is None:
        return "", "", ""
    name, _, box, host = [_unquoted(token[1]) for token in _TOKEN.finditer(written, 1, len(written) - 1)]
    return decode_words(name).strip() if "=?" in name else name.strip(), box, host


def _unquoted(quoted: bytes | None) -> str:
    if not quoted:
        return ""
    if b"\\" in quoted:
        quoted = quoted.replace(b'\\"', b'"').replace(b"\\\\", b"\\")
    return quoted.decode("utf-8", "replace")


class Sorter:
    """Writes rows within one transaction. execute: of its connection; instance: of the account."""

    __slots__ = ("_execute", "_key", "_texts")

    def __init__(self, execute: Execute, instance: str) -> None:
        self._execute = execute
        self._key = instance.encode()
        self._texts: dict[str, int] = {"": 0}

    def add(self, content: int, keys: Keys) -> int:
        """Its thread."""
        own = self._hash(keys.name) if keys.name else 0
        references = [self._hash(name) for name in keys.references]
        texts = self._ids(keys.texts, content * TEXTS)
        thread = self._thread(content, own, references)
        packed = pack(f"<{len(references)}q", *references)
        self._execute(_STATEMENT, (content, thread, keys.sent, int(keys.reply), *texts, own, packed))
        return thread

    def _hash(self, name: str) -> int:
        digest = blake2b(name.encode("utf-8", "replace"), digest_size=8, key=self._key).digest()
        return int.from_bytes(digest, "little", signed=True) or 1

    def _ids(self, texts: Sequence[str], free: int) -> list[int]:
        """Their ids; those of new ones come after `free`."""
        known = self._texts
        asked = [text for text in {*texts} if text not in known]
        if asked:
            marks = ",".join("?" * len(asked))
            known.update(self._execute(f"SELECT text, id FROM sort_text WHERE text IN ({marks})", asked).fetchall())
        for place, text in enumerate(texts, 1):
            if text not in known:
                known[text] = free + place
                self._execute("INSERT INTO sort_text VALUES (?, ?)", (text, free + place))
        return [known[text] for text in texts]

    def _thread(self, content: int, own: int, references: Sequence[int]) -> int:
        """The thread's number is the first content's."""
        names = dict.fromkeys((own, *reversed(references)) if own else reversed(references))
        missing = []
        thread = 0
        for name in names:
            row = self._execute("SELECT thread FROM thread_name WHERE name = ?", (name,)).fetchone()
            if row is None:
                missing.append(name)
            elif not thread:
                thread = row[0]
        thread = thread or content
        for name in missing:
            self._execute("INSERT INTO thread_name VALUES (?, ?)", (name, thread))
        return thread


def fill_some(execute: Execute, condition: str, values: Sequence[Any], limit: int) -> int:
    """Makes rows of at most `limit` contents that have none, of those that the condition of content c chooses, by
    their ids; returns the last id, 0 when there was none."""
    rows = execute(
        f"""SELECT {", ".join(_SHAPE.select)}, coalesce((SELECT received FROM message m WHERE m.id = c.id), 0), c.id
            FROM content c WHERE {condition} AND NOT EXISTS (SELECT 1 FROM sorting s WHERE s.content = c.id)
            ORDER BY c.id LIMIT {limit}""",
        values,
    ).fetchall()
    if not rows:
        return 0
    sorter = Sorter(execute, execute("SELECT instance FROM state").fetchone()[0])
    lexicon = Lexicon(execute)
    for *row, received, content in rows:
        sorter.add(content, keys_of(_SHAPE.build(row, lexicon), received))
    return int(rows[-1][-1])


def fill(execute: Execute) -> None:
    """Makes the rows of all contents that have none."""
    last = 0
    while last := fill_some(execute, "c.id > ?", (last,), 500):
        pass


def prune(execute: Execute) -> None:
    """Takes out texts and names that no message has any more, but for the names of muted threads."""
    columns = ("subject", "from_box", "to_box", "cc_box", "from_name", "to_name")
    used = " UNION ".join(f"SELECT {column} FROM sorting" for column in columns)
    execute(f"DELETE FROM sort_text WHERE id NOT IN ({used})")
    execute("DELETE FROM thread_name WHERE thread NOT IN (SELECT thread FROM sorting UNION SELECT thread FROM muted)")
