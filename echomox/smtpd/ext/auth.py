"""AUTH (RFC 4954), with the initial response of RFC 4954 4; mechanisms are `echomox.sasl`, the rest
`echomox.net.login`.

Offered where the role has logins: by submission, once TLS is active or from a net that may do without. Port
25 does not know the command. AUTH= at MAIL is taken and not used: it names who a relay thinks wrote the
message.
"""

from __future__ import annotations

import binascii
import time
from base64 import b64encode
from typing import TYPE_CHECKING

from echomox.errors import MailError, Reply
from echomox.net.login import LoggedIn, LoginExchange, LoginFailed
from echomox.net.sessions import Entry
from echomox.smtpd.command import AUTH_LINE, Command, Extension, Needs
from echomox.smtpd.reply import wire

if TYPE_CHECKING:
    from echomox.smtpd.session import SmtpSession

DONE = Reply(235, "2.7.0", "Authentication successful")
TWICE = Reply(503, "5.5.1", "Already authenticated")
IN_MAIL = Reply(503, "5.5.1", "Not during a transaction")  # RFC 4954 4
NOT_HERE = Reply(502, "5.5.1", "AUTH is not available here")
SYNTAX = Reply(501, "5.5.4", "Syntax: AUTH mechanism [initial response]")
NOT_BASE64 = Reply(501, "5.5.2", "Not base64")
TOO_MANY = Reply(421, "4.7.0", "Too many failed logins, closing connection")
TRIES = 5
"""Failed logins before the connection is ended."""


def keyword(session: SmtpSession) -> str:
    offered = session.service.role.offered(session)
    return f"AUTH {' '.join(offered)}" if offered and not session.login else ""


def auth(session: SmtpSession, argument: str) -> Reply | None:
    authenticator = session.service.authenticator
    if authenticator is None:
        return NOT_HERE
    if session.login:
        return TWICE
    if session.envelope.mail_from is not None:
        return IN_MAIL
    words = argument.split()
    if not 1 <= len(words) <= 2:
        return SYNTAX
    initial = None
    if len(words) == 2:
        try:
            initial = b"" if words[1] == "=" else decode(words[1].encode())
        except ValueError:
            return NOT_BASE64
    try:
        exchange = authenticator.begin(words[0], session.remote_ip, bool(session.tls), session.channel)
    except LoginFailed as error:
        return failed(session, error) if error.reason == "limited" else error.reply
    session.wait(step(session, exchange, initial))
    return None


def decode(text: bytes) -> bytes:
    """Raises ValueError."""
    return binascii.a2b_base64(text, strict_mode=True)


async def step(session: SmtpSession, exchange: LoginExchange, response: bytes | None) -> Reply | bytes | None:
    try:
        outcome = await exchange.step(response)
    except LoginFailed as error:
        return failed(session, error)
    if isinstance(outcome, LoggedIn):
        session.login = outcome.account
        session.login_address = outcome.address
        session.entry = Entry(exchange.name, exchange.mechanism.name, time.time())
        session.session.authenticated = True
        return DONE

    def taker(session: SmtpSession, line: bytes) -> Reply | None:
        return answer(session, exchange, line)

    session.answer = taker
    return b"334 " + b64encode(outcome) + b"\r\n"


def answer(session: SmtpSession, exchange: LoginExchange, line: bytes) -> Reply | None:
    """The client's next response: base64, or "*" to give up."""
    if line == b"*":
        raise exchange.cancel()
    try:
        response = decode(line)
    except ValueError:
        return NOT_BASE64
    session.wait(step(session, exchange, response))
    return None


def failed(session: SmtpSession, error: MailError) -> Reply | None:
    session.failed_logins += 1
    session.delay = session.service.limits.login_delay
    if session.failed_logins >= TRIES:
        session.send(wire(error.reply))
        session.close(TOO_MANY)
        return None
    return error.reply


def mail_auth(session: SmtpSession, value: str | None) -> Reply | None:
    if session.service.authenticator is None or not value:
        return Reply(555, "5.5.4", "A parameter is not known here")
    return None


EXTENSION = Extension(
    "AUTH",
    keyword,
    mail={"AUTH": mail_auth},
    commands=(Command("AUTH", auth, Needs.HELLO | Needs.EXTENDED, AUTH_LINE),),
)
