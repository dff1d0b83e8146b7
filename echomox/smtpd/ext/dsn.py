"""DSN (RFC 3461): RET and ENVID of MAIL, NOTIFY and ORCPT of RCPT, noted in the transaction.

RFC 3461 4 (xtext), 4.1 to 4.4 (the parameters), RFC 6533 3 (utf-8 addresses in ORCPT: with SMTPUTF8
as they are, without it as utf-8-addr-xtext). ENVID and ORCPT are kept decoded; who sends them on encodes them again.
What becomes of them is the matter of the roles and of the queue.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from echomox.errors import Reply
from echomox.smtpd.command import Extension

if TYPE_CHECKING:
    from echomox.smtpd.session import SmtpSession

ENVID_LIMIT = 100  # RFC 3461 4.4
ORCPT_LIMIT = 500  # RFC 3461 4.2
BAD_RET = Reply(501, "5.5.4", "RET is FULL or HDRS")
BAD_ENVID = Reply(501, "5.5.4", "ENVID is 1 to 100 characters of xtext")
BAD_NOTIFY = Reply(501, "5.5.4", "NOTIFY is NEVER, or a list of SUCCESS, FAILURE, DELAY")
BAD_ORCPT = Reply(501, "5.5.4", "ORCPT is an address type, a semicolon and an address in xtext")
CONDITIONS = frozenset({"success", "failure", "delay"})

_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})+")
_HEX = re.compile(r"\+([0-9A-F]{2})")
_TYPE = re.compile(r"[A-Za-z0-9!#$%&'*/?^_`{|}~+-]{1,60}")  # an atom, RFC 3461 4.2
_UNITEXT = re.compile(r"(?:[!-*,-<>-~\x80-\U0010ffff]|\+[0-9A-F]{2}|\\x\{[0-9A-F]{1,6}\})+")
_EMBEDDED = re.compile(r"\\x\{([0-9A-F]{1,6})\}")


def xtext_decode(text: str) -> str:
    """RFC 3461 4. Raises ValueError for what is no xtext, or does not hold printable US-ASCII."""
    if not _XTEXT.fullmatch(text):
        raise ValueError("not xtext")
    plain = _HEX.sub(lambda match: chr(int(match[1], 16)), text)
    if not plain.isascii() or not plain.isprintable():
        raise ValueError("a character that may not be there")
    return plain


def utf8_decode(text: str) -> str:
    """utf-8-addr-xtext and utf-8-addr-unitext of RFC 6533 3. Raises ValueError."""
    if not _UNITEXT.fullmatch(text):
        raise ValueError("not a utf-8 address")
    plain = _HEX.sub(lambda match: chr(int(match[1], 16)), text)
    plain = _EMBEDDED.sub(lambda match: chr(int(match[1], 16)), plain)
    if not plain.isprintable() or any("\ud800" <= c <= "\udfff" for c in plain):
        raise ValueError("a character that may not be there")
    return plain


def original_recipient(text: str, utf8: bool) -> str:
    """An ORCPT as "type;address", the type in lower case. utf8: the transaction has SMTPUTF8. Raises ValueError."""
    kind, semicolon, address = text.partition(";")
    if not semicolon or not _TYPE.fullmatch(kind) or len(text.encode("utf-8", "replace")) > ORCPT_LIMIT:
        raise ValueError("not a typed address")
    kind = kind.lower()
    if kind == "utf-8":
        if not utf8 and not address.isascii():
            raise ValueError("UTF-8 without SMTPUTF8")
        return f"{kind};{utf8_decode(address)}"
    return f"{kind};{xtext_decode(address)}"


def ret(session: SmtpSession, value: str | None) -> Reply | None:
    word = (value or "").lower()
    if word not in ("full", "hdrs"):
        return BAD_RET
    session.envelope.ret = word
    return None


def envid(session: SmtpSession, value: str | None) -> Reply | None:
    try:
        if value is None or len(value) > ENVID_LIMIT:
            return BAD_ENVID
        session.envelope.envid = xtext_decode(value)
    except ValueError:
        return BAD_ENVID
    return None


def notify(session: SmtpSession, value: str | None) -> Reply | None:
    words = (value or "").lower().split(",")
    found = frozenset(words)
    if len(found) != len(words) or not (found <= CONDITIONS or found == {"never"}):
        return BAD_NOTIFY
    session.envelope.asked.notify = found
    return None


def orcpt(session: SmtpSession, value: str | None) -> Reply | None:
    try:
        session.envelope.asked.orcpt = original_recipient(value or "", session.envelope.smtp_utf8)
    except ValueError:
        return BAD_ORCPT
    return None


EXTENSION = Extension(
    "DSN", lambda session: "DSN", mail={"RET": ret, "ENVID": envid}, rcpt={"NOTIFY": notify, "ORCPT": orcpt}
)
