"""STARTTLS (RFC 3207). Afterwards the client is a stranger: EHLO again, no login, no transaction.

Commands that came in the same packet after STARTTLS were sent before TLS, by the client or by someone in
between who hopes that we run them after the handshake (command injection). They are not run and the
connection ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from echomox.errors import Reply
from echomox.smtpd.command import Command, Extension
from echomox.smtpd.reply import wire

if TYPE_CHECKING:
    from echomox.smtpd.session import SmtpSession

READY = Reply(220, "2.0.0", "Ready to start TLS")
ALREADY = Reply(503, "5.5.1", "TLS is already active")
NOT_HERE = Reply(502, "5.5.1", "TLS is not available")
NO_ARGUMENT = Reply(501, "5.5.4", "No argument is allowed here")
INJECTED = Reply(554, "5.7.0", "Commands were sent in the clear after STARTTLS, closing connection")


def keyword(session: SmtpSession) -> str:
    return "STARTTLS" if session.service.context is not None and not session.tls else ""


def starttls(session: SmtpSession, argument: str) -> Reply | None:
    if session.service.context is None:
        return NOT_HERE
    if session.tls:
        return ALREADY
    if argument:
        return NO_ARGUMENT
    if session.unread:
        session.log.warn("commands after STARTTLS in the clear")
        session.close(INJECTED)
        return None
    session.send(wire(READY))
    session.start_tls()
    return None


EXTENSION = Extension("STARTTLS", keyword, commands=(Command("STARTTLS", starttls),))
