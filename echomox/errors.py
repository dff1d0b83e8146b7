"""The errors of EchoMox: each carries the reply a client is to hear.

One `except MailError` in a command loop makes the reply; anything else that escapes is our own fault, is logged
with its traceback, and is answered `451 4.3.0` or `NO [SERVERBUG]`: an unexpected trouble is always temporary.
Outcomes that are normal (spam, unknown flag, no such record) are values, not exceptions.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reply:
    """An SMTP-shaped reply: code (RFC 5321 4.2), enhanced code (RFC 3463, "" for none), one line of text."""

    code: int
    enhanced: str
    text: str

    def __str__(self) -> str:
        return " ".join(filter(None, (str(self.code), self.enhanced, self.text)))


class MailError(Exception):
    """A trouble that has an answer. `reply` is for the client, `cause` for the log only."""

    default = Reply(451, "4.3.0", "Local error, try again later")

    def __init__(self, reply: Reply | None = None, cause: str = "") -> None:
        self.reply = reply or self.default
        self.cause = cause
        super().__init__(f"{self.reply}" + (f" ({cause})" if cause else ""))


class Temporary(MailError):
    """May succeed later: 4xx, IMAP NO [UNAVAILABLE]."""


class Permanent(MailError):
    """Will not succeed when repeated unchanged: 5xx, IMAP NO or BAD."""

    default = Reply(554, "5.3.0", "Transaction failed")


class RemoteError(Permanent):
    """The peer broke the rules of the protocol."""

    default = Reply(500, "5.5.2", "Syntax error")


class ConfigError(Exception):
    """A configuration that cannot be used; str() names file, line, key and what is allowed."""


class Bug(AssertionError):
    """One of our own invariants is broken: the worker ends and is replaced."""
