"""The shapes of the tables: commands, extensions, and the roles a server plays (port 25, submission).

A command is a row: name, the function, what must have happened before (`Needs`), the longest line. An
extension is a row too: its EHLO line, the parameters it adds to MAIL and RCPT, its commands.
`ext.EXTENSIONS` lists them; the EHLO answer is computed from the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntFlag
from typing import TYPE_CHECKING, Protocol

from echomox.errors import Reply

if TYPE_CHECKING:
    from echomox.smtpd.body import Body
    from echomox.smtpd.session import SmtpSession

LINE = 512  # RFC 5321 4.5.3.1.4
PATH_LINE = 1536  # MAIL and RCPT, with the parameters of all extensions (RFC 3461 4, RFC 4954 5, RFC 4865 4)
AUTH_LINE = 12_288  # RFC 4954 4


class Needs(IntFlag):
    """What must be so before a command is run, else 503 (530 for LOGIN)."""

    NOTHING = 0
    HELLO = 1
    LOGIN = 2
    """A login, where the role wants one."""
    NO_MAIL = 4
    MAIL = 8
    EXTENDED = 16
    """EHLO, not HELO."""


Run = Callable[["SmtpSession", str], "Reply | bytes | None"]
"""The argument after the verb, stripped. Returns the reply, or None when the session replies later
(`wait`)."""
Parameter = Callable[["SmtpSession", "str | None"], "Reply | None"]
"""A value of MAIL or RCPT (None: keyword only). Returns a refusal, or None."""


@dataclass(frozen=True, slots=True)
class Command:
    name: str
    run: Run
    needs: Needs = Needs.NOTHING
    limit: int = LINE


@dataclass(frozen=True, slots=True)
class Extension:
    """keyword: how EHLO shows it to this session, "" for not at all."""

    name: str
    keyword: Callable[[SmtpSession], str]
    mail: Mapping[str, Parameter] = field(default_factory=dict)
    rcpt: Mapping[str, Parameter] = field(default_factory=dict)
    commands: tuple[Command, ...] = ()


class Role(Protocol):
    """What differs between port 25 and submission."""

    service: str
    """As "smtp" or "submission"."""
    login: bool
    """Whether MAIL needs a login."""

    def offered(self, session: SmtpSession) -> list[str]:
        """SASL mechanisms that may be used now."""
        ...

    def sender(self, session: SmtpSession, address: str) -> Reply | None:
        """Why this reverse-path ("" for <>) is refused, or None."""
        ...

    def recipient(self, session: SmtpSession, address: str) -> Reply | None:
        """Why this forward-path is refused, or None; then it has been noted in the session."""
        ...

    async def message(self, session: SmtpSession, body: Body) -> Reply:
        """Takes over a whole message; what it answers is final. Does not discard the body."""
        ...
