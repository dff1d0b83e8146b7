"""CHUNKING (RFC 3030 2): BDAT, a message in pieces of announced size. Without BINARYMIME: lines as after DATA.

A chunk's octets follow the command whatever is thought of it, so they are always read: of one that is refused they are
dropped and then answered. A size that cannot be read leaves no way to know where the next command starts, and one
beyond the largest message is not worth the reading; the connection ends. After the first refusal the transaction is
over, and what was sent ahead of the answer is answered 503.
A transaction has DATA or BDAT, not both.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from echomox.errors import Reply
from echomox.smtpd.command import Command, Extension, Needs

if TYPE_CHECKING:
    from echomox.smtpd.session import SmtpSession

SYNTAX = Reply(501, "5.5.4", "Syntax: BDAT octets [LAST]")
TOO_LARGE = Reply(552, "5.3.4", "A chunk larger than a message may be")
NO_RECIPIENTS = Reply(554, "5.5.1", "No valid recipients")
_ARGUMENT = re.compile(r"([0-9]{1,15})(?:[ \t]+(LAST))?", re.I | re.A)


def bdat(session: SmtpSession, argument: str) -> Reply | None:
    match = _ARGUMENT.fullmatch(argument)
    if match is None:
        session.close(SYNTAX)
        return None
    if int(match[1]) > session.service.limits.message_size:
        session.close(TOO_LARGE)
        return None
    refusal = session.refusal(Needs.HELLO | Needs.EXTENDED | Needs.LOGIN | Needs.MAIL)
    if refusal is None and not session.envelope.rcpt_tos:
        refusal = NO_RECIPIENTS
    session.begin_chunk(int(match[1]), bool(match[2]), refusal)
    return None


EXTENSION = Extension("CHUNKING", lambda session: "CHUNKING", commands=(Command("BDAT", bdat),))
