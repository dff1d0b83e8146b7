"""LOGIN and AUTHENTICATE. RFC 9051 6.2.2, 6.2.3; RFC 4959 (SASL-IR); RFC 5530 (codes).

Who may log in how, limits and hashes are `echomox.net.login`; here are the lines only.
"""

from __future__ import annotations

import time
from binascii import b2a_base64
from typing import TYPE_CHECKING

from echomox.imap import grammar
from echomox.imap.lexer import decode_base64
from echomox.imapd.command import NOT_AUTHENTICATED, BadCommand, Command, No, Rule
from echomox.net.login import LoggedIn, LoginFailed
from echomox.net.sessions import Entry
from echomox.net.tls import channel_of

if TYPE_CHECKING:
    from echomox.imapd.session import Session


async def login(session: Session, arguments: grammar.Login) -> bytes:
    authenticator = session.service.authenticator
    try:
        account = await authenticator.password(arguments.name, arguments.password, session.remote_ip, session.tls)
    except LoginFailed as error:
        raise refusal(error) from None
    return enter(session, account, Entry(arguments.name, "imap_login", time.time()))


async def authenticate(session: Session, arguments: grammar.Authenticate) -> bytes:
    try:
        channel = channel_of(session.transport.get_extra_info("ssl_object"))
        exchange = session.service.authenticator.begin(arguments.mechanism, session.remote_ip, session.tls, channel)
        data = arguments.initial
        if data is None:
            data = await response(session, b"") if exchange.mechanism.client_first else b""
        while data is not None:
            outcome = await exchange.step(data)
            if isinstance(outcome, LoggedIn):
                entry = Entry(exchange.name, exchange.mechanism.name, time.time())
                return enter(session, outcome.account, entry)
            data = await response(session, outcome)
        raise exchange.cancel()
    except LoginFailed as error:
        raise refusal(error) from None


async def response(session: Session, challenge: bytes) -> bytes | None:
    """None: the client has cancelled."""
    line = await session.ask(b2a_base64(challenge, newline=False))
    return None if line == b"*" else decode_base64(line)


def enter(session: Session, account: str, entry: Entry) -> bytes:
    session.service.attach(session, account)
    session.entry = entry
    return b"[%b] Logged in" % session.service.capabilities(session)


def refusal(error: LoginFailed) -> No:
    """A code of RFC 5530 and NO, or BAD where there is none."""
    text = error.reply.text
    return No(text, error.code) if error.code else BadCommand(text)


ROWS = (
    Command("LOGIN", NOT_AUTHENTICATED, Rule.SILENT, (), grammar.login, login),
    Command("AUTHENTICATE", NOT_AUTHENTICATED, Rule.SILENT, ("SASL-IR",), grammar.authenticate, authenticate),
)
