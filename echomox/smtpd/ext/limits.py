"""LIMITS (RFC 9422): how many recipients a transaction may have. Announced only; `commands.rcpt` holds it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echomox.smtpd.command import Extension

if TYPE_CHECKING:
    from echomox.smtpd.session import SmtpSession


def keyword(session: SmtpSession) -> str:
    return f"LIMITS RCPTMAX={session.service.limits.recipients}"


EXTENSION = Extension("LIMITS", keyword)
