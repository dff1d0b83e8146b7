"""REQUIRETLS (RFC 8689): every hop from here on is to be encrypted and verified, or the message comes back.

Offered once TLS is active; noted in the transaction, kept by queue and delivery.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from echomox.errors import Reply
from echomox.smtpd.command import Extension

if TYPE_CHECKING:
    from echomox.smtpd.session import SmtpSession

NO_VALUE = Reply(501, "5.5.4", "REQUIRETLS takes no value")
NOT_ENCRYPTED = Reply(530, "5.7.10", "REQUIRETLS needs a connection with TLS")  # RFC 8689 4.2.1, RFC 7372


def requiretls(session: SmtpSession, value: str | None) -> Reply | None:
    if value is not None:
        return NO_VALUE
    if not session.tls:
        return NOT_ENCRYPTED
    session.envelope.require_tls = True
    return None


def keyword(session: SmtpSession) -> str:
    return "REQUIRETLS" if session.tls else ""


EXTENSION = Extension("REQUIRETLS", keyword, mail={"REQUIRETLS": requiretls})
