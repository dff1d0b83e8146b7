"""SIZE (RFC 1870): the limit is announced, and a message that says it is larger is refused at MAIL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echomox.errors import Reply
from echomox.smtpd.body import TOO_BIG
from echomox.smtpd.command import Extension

if TYPE_CHECKING:
    from echomox.smtpd.session import SmtpSession

BAD_SIZE = Reply(501, "5.5.4", "SIZE is a number of octets")


def size(session: SmtpSession, value: str | None) -> Reply | None:
    if value is None or not value.isascii() or not value.isdigit() or len(value) > 20:
        return BAD_SIZE
    session.envelope.declared = int(value)
    return TOO_BIG if session.envelope.declared > session.service.limits.message_size else None


def keyword(session: SmtpSession) -> str:
    return f"SIZE {session.service.limits.message_size}"


EXTENSION = Extension("SIZE", keyword, mail={"SIZE": size})
