"""8BITMIME (RFC 6152): BODY=8BITMIME at MAIL. Every body is taken as it is, announced or not; nothing is
recoded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echomox.errors import Reply
from echomox.smtpd.command import Extension

if TYPE_CHECKING:
    from echomox.smtpd.session import SmtpSession

BAD_BODY = Reply(501, "5.5.4", "BODY is 7BIT or 8BITMIME")


def body(session: SmtpSession, value: str | None) -> Reply | None:
    return None if (value or "").upper() in ("7BIT", "8BITMIME") else BAD_BODY


EXTENSION = Extension("8BITMIME", lambda session: "8BITMIME", mail={"BODY": body})
