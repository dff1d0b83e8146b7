"""The commands of RFC 5321 4.1.1 and 3.5: functions and their table. Extensions bring theirs in `ext`.

A function gets the session and the argument, and returns the reply. What a role (port 25, submission)
thinks of sender and recipient is asked of `service.role`.
"""

from __future__ import annotations

from collections.abc import Mapping

from echomox.errors import Reply
from echomox.smtpd.address import BadAddress, NeedsUtf8, Path, parse_host, parse_parameters, parse_path
from echomox.smtpd.command import PATH_LINE, Command, Needs, Parameter
from echomox.smtpd.reply import wire_lines
from echomox.smtpd.session import AFTER_BDAT, SmtpSession
from echomox.smtpd.transaction import Asked

OK = Reply(250, "2.0.0", "OK")
SENDER_OK = Reply(250, "2.1.0", "Sender OK")
RECIPIENT_OK = Reply(250, "2.1.5", "Recipient OK")
NO_ARGUMENT = Reply(501, "5.5.4", "No argument is allowed here")
NAME_NEEDED = Reply(501, "5.5.4", "A host name is needed")
MAIL_SYNTAX = Reply(501, "5.5.4", "Syntax: MAIL FROM:<address> [parameters]")
RCPT_SYNTAX = Reply(501, "5.5.4", "Syntax: RCPT TO:<address> [parameters]")
BAD_PARAMETER = Reply(555, "5.5.4", "A parameter is not known here")
UTF8_NEEDED = Reply(553, "5.6.7", "An address that is not ASCII needs SMTPUTF8")  # RFC 6531 3.5
TOO_MANY_RECIPIENTS = Reply(452, "4.5.3", "Too many recipients")  # RFC 5321 4.5.3.1.10
NO_RECIPIENTS = Reply(554, "5.5.1", "No valid recipients")
CLOSING = Reply(221, "2.0.0", "Closing connection")
CANNOT_VERIFY = Reply(252, "2.1.5", "Cannot verify, but will take mail and try to deliver it")
NO_EXPN = Reply(502, "5.5.1", "EXPN is not available")


def ehlo(session: SmtpSession, argument: str) -> Reply | bytes:
    refusal = _hello(session, argument)
    if refusal is not None:
        return refusal
    session.session.extended_smtp = True
    return session.service.ehlo(session)


def helo(session: SmtpSession, argument: str) -> Reply | bytes:
    refusal = _hello(session, argument)
    if refusal is not None:
        return refusal
    session.session.extended_smtp = False
    return f"250 {session.service.hostname}\r\n".encode()


def _hello(session: SmtpSession, argument: str) -> Reply | None:
    try:
        session.session.host_name = parse_host(argument)
    except BadAddress:
        return NAME_NEEDED
    session.reset()  # RFC 5321 4.1.4, and here a message half sent by BDAT goes with it
    return None


def mail(session: SmtpSession, argument: str) -> Reply:
    if argument[:5].upper() != "FROM:":
        return MAIL_SYNTAX
    try:
        path, rest = parse_path(argument[5:].lstrip(" "), null=True)
        parameters = parse_parameters(rest) if rest else {}
    except BadAddress as error:
        return Reply(501, "5.1.7", f"Bad sender: {error}")  # RFC 3463: bad sender's mailbox address syntax
    refusal = _take(session, parameters, session.service.mail_parameters)
    if refusal is None and not path.ascii and not session.envelope.smtp_utf8:
        refusal = UTF8_NEEDED
    if refusal is None:
        refusal = session.service.role.sender(session, path.address)
    if refusal is not None:
        session.reset()
        return refusal
    session.envelope.mail_from = path.address
    session.envelope.mail_options = list(parameters)
    return SENDER_OK


def rcpt(session: SmtpSession, argument: str) -> Reply:
    if argument[:3].upper() != "TO:":
        return RCPT_SYNTAX
    try:
        path, rest = parse_path(argument[3:].lstrip(" "), postmaster=True)
        parameters = parse_parameters(rest) if rest else {}
        _check_utf8(session, path)
    except NeedsUtf8:
        return UTF8_NEEDED
    except BadAddress as error:
        return Reply(501, "5.1.3", f"Bad recipient: {error}")  # RFC 3463: bad destination address syntax
    if session.chunking:
        return AFTER_BDAT
    if len(session.envelope.rcpt_tos) >= session.service.limits.recipients:
        return TOO_MANY_RECIPIENTS
    session.envelope.asked = Asked()
    refusal = _take(session, parameters, session.service.rcpt_parameters)
    if refusal is None:
        refusal = session.service.role.recipient(session, path.address)
    if refusal is not None:
        return refusal
    session.envelope.wanted.append(session.envelope.asked)
    session.envelope.rcpt_tos.append(path.address)
    return RECIPIENT_OK


def _check_utf8(session: SmtpSession, path: Path) -> None:
    if not path.ascii and not session.envelope.smtp_utf8:
        raise NeedsUtf8


def _take(session: SmtpSession, given: dict[str, str | None], known: Mapping[str, Parameter]) -> Reply | None:
    """RFC 5321 4.1.1.11: a parameter that is not known refuses the command."""
    if given and not session.session.extended_smtp:
        return BAD_PARAMETER
    for keyword, value in given.items():
        parameter = known.get(keyword)
        if parameter is None:
            return BAD_PARAMETER
        refusal = parameter(session, value)
        if refusal is not None:
            return refusal
    return None


def data(session: SmtpSession, argument: str) -> Reply | bytes:
    if argument:
        return NO_ARGUMENT
    if not session.envelope.rcpt_tos:
        return NO_RECIPIENTS
    return session.begin_data()


def rset(session: SmtpSession, argument: str) -> Reply:
    if argument:
        return NO_ARGUMENT
    session.reset()
    return OK


def noop(session: SmtpSession, argument: str) -> Reply:
    return OK


def quit_(session: SmtpSession, argument: str) -> Reply | None:
    if argument:
        return NO_ARGUMENT
    session.close(CLOSING)
    return None


def vrfy(session: SmtpSession, argument: str) -> Reply:
    """RFC 5321 7.3: tells nobody which addresses there are."""
    return CANNOT_VERIFY if argument else Reply(501, "5.5.4", "An address is needed")


def expn(session: SmtpSession, argument: str) -> Reply:
    return NO_EXPN


def help_(session: SmtpSession, argument: str) -> bytes:
    names = " ".join(session.service.command_names(session))
    return wire_lines(214, (f"Commands: {names}", "See RFC 5321"), "2.0.0")


COMMANDS = (
    Command("EHLO", ehlo),
    Command("HELO", helo),
    Command("MAIL", mail, Needs.HELLO | Needs.LOGIN | Needs.NO_MAIL, PATH_LINE),
    Command("RCPT", rcpt, Needs.HELLO | Needs.LOGIN | Needs.MAIL, PATH_LINE),
    Command("DATA", data, Needs.HELLO | Needs.LOGIN | Needs.MAIL),
    Command("RSET", rset),
    Command("NOOP", noop),
    Command("QUIT", quit_),
    Command("VRFY", vrfy, limit=PATH_LINE),
    Command("EXPN", expn, limit=PATH_LINE),
    Command("HELP", help_),
)
