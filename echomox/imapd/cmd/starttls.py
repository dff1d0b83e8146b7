"""STARTTLS. RFC 9051 6.2.1: nothing that came before the handshake is believed, and capabilities are asked
for anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echomox.imap import grammar
from echomox.imapd.command import NOT_AUTHENTICATED, BadCommand, Command, Rule
from echomox.imapd.session import HIGH_WATER

if TYPE_CHECKING:
    from echomox.imapd.session import Session


async def starttls(session: Session, _: grammar.Nothing) -> bytes:
    """Answers before the handshake, so that b"" is left to answer."""
    if session.service.tls_context is None:
        raise BadCommand("TLS is not configured here")
    if session.tls:
        raise BadCommand("TLS is active already")
    session.say(session.tag + b" OK Begin TLS negotiation now\r\n")
    session.flush()
    await secure(session)
    return b""


async def secure(session: Session) -> None:
    """The handshake. Octets that came before it are forgotten: nobody has vouched for them."""
    context = session.service.tls_context
    assert context is not None, "not offered without"
    session.receiver.clear()
    try:
        transport = await session.service.loop.start_tls(
            session.transport,
            session,
            context,
            server_side=True,
            ssl_handshake_timeout=session.service.limits.tls_timeout,
        )
    except OSError as error:  # of ssl too
        session.service.log.debug("tls failed", cid=session.cid, ip=session.remote_ip, error=str(error))
        session.connection_lost(error)
        return
    assert transport is not None, "start_tls raises"
    session.transport = transport
    session.transport.set_write_buffer_limits(high=HIGH_WATER)
    session.tls = True


ROWS = (Command("STARTTLS", NOT_AUTHENTICATED, Rule.SILENT, (), grammar.nothing, starttls),)
