"""What the stages of the filter read: a message taken apart once, with its envelope (F01).

`read` parses and tokenises; all accounts of a request share the result. `groups` puts it into the three
groups in which it is shown to people: headers, body, metadata. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from echomox.filter.hashed import Hashed, hashed, strings
from echomox.filter.hashing import Hashes
from echomox.filter.identities import NAME as WHO
from echomox.filter.identities import counted, identities
from echomox.filter.mending import is_whole, mended
from echomox.filter.tokens import Text, Vocabulary, body_text, field_name, header_text, part_tokens, vocabulary
from echomox.message.header import unfold
from echomox.message.mime import parse_with_fields
from echomox.message.structure import Structure
from echomox.message.text import HtmlText, TextPart, html_to_text, texts

READ_BYTES = 512 * 1024
"""Of a longer message only so much is looked at."""
TEXT_CHARS = 32 * 1024
HTML_CHARS = 16 * 1024
VOCABULARY = "vocabulary"
"""Under this name in Features.memo."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """How a message came; all empty for one read from a file."""

    mail_from: str = ""
    remote_ip: str = ""
    helo: str = ""
    tls: bool = False
    auth: tuple[tuple[str, str], ...] = ()
    """(method, result) of the checks of this delivery, as ("spf", "pass"); ("correspondent", "yes"); and the names of
    `message.proven`, as ("dkim-domain", "example.org")."""
    told: tuple[tuple[str, float], ...] = ()
    """(stage, P) of the stages that had an opinion when the message was judged at its delivery."""


@dataclass(frozen=True, slots=True)
class Features:
    """One message as the stages see it. text: tokens not yet joined to n-grams; `places` joins and remembers
    them. ngrams: longest run of words, 1 to 3.
    """

    structure: Structure
    envelope: Envelope
    text: Text
    parts: tuple[tuple[TextPart, HtmlText | None], ...]
    fields: int
    """Number of header fields."""
    size: int
    sender: tuple[tuple[str, bytes], ...] = ()
    """(lower-case name, raw value without folds) of the fields the sender wrote, in order."""
    memo: dict[Any, Any] = field(default_factory=dict)
    """What stages computed of this message alone, by their names, or name and longest n-gram: shared by all
    accounts of a request."""
    known: dict[int, Hashed] = field(default_factory=dict)

    def vocabulary(self) -> Vocabulary:
        """Remembered."""
        found: Vocabulary | None = self.memo.get(VOCABULARY)
        if found is None:
            found = self.memo[VOCABULARY] = vocabulary(self.text)
        return found

    def identities(self) -> dict[str, str]:
        """Whom it is from; see the module of that name. Remembered."""
        found: dict[str, str] | None = self.memo.get(WHO)
        if found is None:
            found = self.memo[WHO] = identities(self.sender, self.envelope.remote_ip, self.envelope.auth)
        return found

    def places(self, ngrams: int) -> Hashed:
        """The hash of every token at its place."""
        found = self.known.get(ngrams)
        if found is None:
            found = self.known[ngrams] = hashed([self.text], ngrams, [counted(self.identities())])[0]
        return found

    def hashed(self, ngrams: int) -> Hashes:
        """The hashes of the distinct tokens in reading order."""
        return self.places(ngrams).tokens

    def words(self, ngrams: int) -> tuple[str, ...]:
        """The distinct tokens in reading order."""
        found = self.places(ngrams)
        return tuple(strings(self.text, found, found.distinct))


def read(data: bytes, envelope: Envelope = Envelope(), size: int = 0) -> Features:
    """A message's features. data: its bytes, or the first READ_BYTES of them and then `size` says how long
    it is.
    """
    data = data[:READ_BYTES] if len(data) > READ_BYTES else data
    structure, fields = parse_with_fields(data)
    if not is_whole(data, structure, fields) and (better := mended(data, structure)) is not data:
        data = better
        structure, fields = parse_with_fields(data)
    sender = [(name, unfold(value)) for raw, value in fields if (name := field_name(raw)).sent]
    parts = tuple(
        [
            (part, html_to_text(part.text, HTML_CHARS) if part.html else None)
            for part in texts(structure, data, TEXT_CHARS)
        ]
    )
    head, body = header_text(sender), body_text(parts)
    text = Text([*head.singles, *part_tokens(structure), *body.singles], [*head.runs, *body.runs], len(head.singles))
    return Features(
        structure,
        envelope,
        text,
        parts,
        len(fields),
        size or len(data),
        tuple([(name[0], value) for name, value in sender]),
    )


def hash_together(messages: Sequence[Features], ngrams: int) -> None:
    """What `Features.places` would do for each, faster."""
    new = [one for one in {id(one): one for one in messages}.values() if ngrams not in one.known]
    if len(new) > 1:
        others = [counted(one.identities()) for one in new]
        for one, found in zip(new, hashed([one.text for one in new], ngrams, others)):
            one.known[ngrams] = found


Group = dict[str, str | int | float | bool]


def groups(features: Features) -> dict[str, Group]:
    """headers, body, metadata: sizes, counts and ratios for `echomox filter explain`."""
    structure, envelope = features.structure, features.envelope
    visible = "\n".join(html.text if html else part.text for part, html in features.parts)
    letters = [c for c in visible if c.isalpha()]
    pages = [html for _, html in features.parts if html]
    headers: Group = {
        "fields": features.fields,
        "sender_fields": len(features.sender),
        "bytes": structure.header_size,
        "from": structure.from_text,
        "to": structure.to_text,
        "subject": structure.subject,
        "message_id": structure.message_id,
        "date": structure.sent_day,
    }
    body: Group = {
        "bytes": features.size - structure.header_size,
        "parts": len(structure.parts),
        "text_characters": len(visible),
        "capitals": round(sum(c.isupper() for c in letters) / max(1, len(letters)), 4),
        "non_ascii": round(sum(ord(c) > 127 for c in visible) / max(1, len(visible)), 4),
        "html_parts": len(pages),
        "links": sum(len(page.links) for page in pages),
        "images": sum(page.images for page in pages),
        "hidden_characters": sum(len(page.hidden) for page in pages),
        "attachments": sum(part.disposition == "attachment" for part in structure.parts),
    }
    metadata: Group = {
        "bytes": features.size,
        "mail_from": envelope.mail_from,
        "remote_ip": envelope.remote_ip,
        "helo": envelope.helo,
        "tls": envelope.tls,
        "eight_bit": structure.eight_bit,
        "defects": ", ".join(structure.defects),
    }
    return {"headers": headers, "body": body, "metadata": metadata}
