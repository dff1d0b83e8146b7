"""STARTTLS. RFC 9051 6.2.1: nothing that came before the handshake is believed, and capabilities are asked
for anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echomox.imap import grammar
from echomox.imapd.command import NOT_AUTHENTICATED, BadCommand, Command, Rule

if TYPE_CHECKING:
    from echomox.imapd.session import Session


async def starttls(session: Session, _: grammar.Nothing) -> bytes:
    """Answers before the handshake, so that b"" is left to answer."""
    if session.service.tls_context is None:
        raise BadCommand("TLS is not configured here")
    if session.tls:
        raise BadCommand("TLS is active already")
    if session.deflate is not None:
        raise BadCommand("The connection is compressed already")  # left so by UNAUTHENTICATE
    session.say(session.tag + b" OK Begin TLS negotiation now\r\n")
    session.flush()
    await session.secure()
    return b""


ROWS = (Command("STARTTLS", NOT_AUTHENTICATED, Rule.SILENT, (), grammar.nothing, starttls),)
