"""A way past the filter for a person it was wrong about (F16): a refusal tells a token, and mail whose subject has it
is let in.

    550 5.7.1 Message refused: it looks like spam. … with this in its subject: pass-AAAAAAAAAAAAAAAAAAAAAAAA

The token is base 32 of three bytes, the hour in which it was made, and twelve of an HMAC-SHA-256 of that hour, the
account and the author's address (the first one in From). So it is good for that author, for that account, and for
`junk_filter.subject_pass_days`; it is not kept anywhere. The key is a file of the data directory, as that of `srs`:
one a line, the first one signs, all of them are good. It is made when the first token is.

It is told when the filter refuses for good (550) what is for one account alone: a reply for several has no room for
the tokens of all. It helps against nothing but the filter: not when DMARC failed (then From is not to be believed), a
list of senders or DNS list, or a rule refuses. It proves nobody's name; it proves that someone reads what comes
back, which senders of spam rarely do. Replies that are logged have `hidden` instead of it.
"""

from __future__ import annotations

import hmac
import re
from base64 import b32decode, b32encode
from collections.abc import Sequence
from hashlib import sha256
from itertools import islice
from pathlib import Path

from echomox.delivery.acquaintance import author, said_of_author
from echomox.delivery.placement import Decided, Facts, Placement, Ruling
from echomox.delivery.srs import keys_at
from echomox.errors import Reply
from echomox.log import Log
from echomox.message.encoded import decode_words
from echomox.message.header import read_fields

FILE = "subjectpass.key"
REASON = "subject-pass"
HOUR = 3600
STAMP, MAC = 3, 12
"""Bytes of the hour (for 1900 years) and of the HMAC; both together are 24 letters without padding."""
SUBJECT = 2000
"""Bytes of the field that are read."""
TRIED = 5
"""Tokens of a subject that are looked at."""
RETRY = 60.0
"""Seconds after which a key that could not be had is asked for again."""
_TOKEN = re.compile(r"(?<![A-Z0-9-])pass-([A-Z2-7]{24})(?![A-Z0-9-])", re.I | re.A)
_REPLIED = re.compile(rb"pass-[A-Z2-7]{24}")


class SubjectPass:
    """One per worker. directory: the data directory."""

    def __init__(self, directory: Path, log: Log) -> None:
        self._path = directory / FILE
        self._log = log
        self._keys: tuple[bytes, ...] = ()
        self._retry = 0.0

    def passes(self, facts: Facts, ruling: Ruling, one: Decided) -> bool:
        """Whether what the filter has for junk is let in for its subject's sake."""
        days = ruling.junk_filter.subject_pass_days
        if not days or not _filters_own(facts, ruling, one):
            return False
        return self.holds(facts.header, one.destination.account, days, facts.mail.received)

    def holds(self, header: bytes, account: str, days: int, now: float) -> bool:
        """Whether the subject has a token of this account for this author, at most `days` old."""
        subject = read_fields(header, 0, len(header)).get(b"subject", b"")[:SUBJECT]
        found = [match[1] for match in islice(_TOKEN.finditer(decode_words(subject)), TRIED)]
        who = author(header) if found else ""
        return bool(who) and any(self._is_good(token, account, who, days, now) for token in found)

    def _is_good(self, token: str, account: str, who: str, days: int, now: float) -> bool:
        raw = b32decode(token.upper())
        stamp, given = raw[:STAMP], raw[STAMP:]
        age = int(now // HOUR) - int.from_bytes(stamp, "big")
        if not -1 <= age <= days * 24:  # another worker's clock may be behind
            return False
        good = [hmac.compare_digest(_mac(key, stamp, account, who), given) for key in self._known(now)]
        return any(good)

    def offer(
        self, facts: Facts, rulings: Sequence[Ruling], decided: Sequence[Decided], placed: Sequence[Placement]
    ) -> Reply | None:
        """The reply with a token, when it is the filter that refuses the message, and for one account."""
        accounts = {one.destination.account for one in decided}
        if len(accounts) != 1 or not all(map(_offers, rulings, placed)):
            return None
        if not all(_filters_own(facts, ruling, one) for ruling, one in zip(rulings, decided)):
            return None
        who = author(facts.header)
        token = self.token(accounts.pop(), who, facts.mail.received) if who else ""
        return told(token) if token else None

    def token(self, account: str, who: str, now: float) -> str:
        """For an author's address; "" when there is no key to sign with."""
        keys = self._known(now)
        if not keys:
            return ""
        stamp = int(now // HOUR).to_bytes(STAMP, "big")
        return "pass-" + b32encode(stamp + _mac(keys[0], stamp, account, who)).decode("ascii")

    def _known(self, now: float) -> tuple[bytes, ...]:
        """Trouble with the key costs the token, not the mail."""
        if not self._keys and now >= self._retry:
            try:
                self._keys = keys_at(self._path)
            except (OSError, ValueError) as error:
                self._retry = now + RETRY
                self._log.error("no key for subject tokens", error=error)
        return self._keys


def told(token: str) -> Reply:
    """In one line that is far from the 512 octets of RFC 5321 4.5.3.1.5, and that people can read."""
    return Reply(
        550,
        "5.7.1",
        "Message refused: it looks like spam. If it is not, please send it again, from the same address and with this "
        f"in its subject: {token}",
    )


def hidden(reply: bytes) -> bytes:
    """A reply as it may be logged."""
    return _REPLIED.sub(b"pass-***", reply) if b"pass-" in reply else reply


def _mac(key: bytes, stamp: bytes, account: str, who: str) -> bytes:
    # The stamp has a fixed length and an account's name no NUL.
    signed = stamp + b"\0".join((account.encode(), who.encode("utf-8", "replace")))
    return hmac.digest(key, b"subject-pass\0" + signed, sha256)[:MAC]


def _offers(ruling: Ruling, placement: Placement) -> bool:
    """Whether a destination is refused for ever and for what the filter says, and may be told how to get by."""
    return bool(
        ruling.junk_filter.subject_pass_days
        and placement.place == "reject"
        and placement.reply is None
        and ruling.refusal is None
    )


def _filters_own(facts: Facts, ruling: Ruling, one: Decided) -> bool:
    """Whether what was decided is the filter's own opinion: neither DMARC's nor of a list of senders nor of a rule."""
    if one.reply is not None or ruling.refusal is not None or one.verdict is None or facts.mail.login:
        return False
    if facts.auth is not None and facts.auth.dmarc.result == "fail":
        return False
    return said_of_author(one.verdict)[0] != "block"
