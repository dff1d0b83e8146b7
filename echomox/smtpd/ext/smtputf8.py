"""SMTPUTF8 (RFC 6531): UTF-8 in the addresses of a transaction that asks for it, in headers always."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echomox.errors import Reply
from echomox.smtpd.command import Extension

if TYPE_CHECKING:
    from echomox.smtpd.session import SmtpSession

NO_VALUE = Reply(501, "5.5.4", "SMTPUTF8 takes no value")


def smtputf8(session: SmtpSession, value: str | None) -> Reply | None:
    if value is not None:
        return NO_VALUE
    session.envelope.smtp_utf8 = True
    return None


EXTENSION = Extension("SMTPUTF8", lambda session: "SMTPUTF8", mail={"SMTPUTF8": smtputf8})
