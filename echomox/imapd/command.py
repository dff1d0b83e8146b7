"""The row of a command, and the answers other than OK.

A command's file in `cmd/` ends in its rows; `commands.COMMANDS` lists all rows, and dispatch, states,
capabilities and what may be told meanwhile follow from them. RFC 9051 6 and 7.1, RFC 5530 (response codes).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import IntFlag
from typing import TYPE_CHECKING, Any

from echomox.imap.lexer import Parser
from echomox.imap.response import text as printable
from echomox.imap.state import State

if TYPE_CHECKING:
    from echomox.imapd.session import Session

NOT_AUTHENTICATED = frozenset({State.NOT_AUTHENTICATED})
AUTHENTICATED = frozenset({State.AUTHENTICATED, State.SELECTED})
SELECTED = frozenset({State.SELECTED})
ANY = frozenset({State.NOT_AUTHENTICATED, State.AUTHENTICATED, State.SELECTED})


class Rule(IntFlag):
    """BREAKS_SEQUENCES: expunges may be told before its tagged answer; without it the numbers that the client
    counts by stay (RFC 9051 7.5.1: FETCH, STORE and SEARCH). WRITES: refused in a mailbox that EXAMINE
    opened. UIDS: it names messages by UID, and what it tells carries the UID. SILENT: nothing is told before
    its answer (it opens, ends, or ends by itself, the view). NUMBERS: it names messages by sequence number, which
    UIDONLY forbids (RFC 9586)."""

    NONE = 0
    BREAKS_SEQUENCES = 1
    WRITES = 2
    UIDS = 4
    SILENT = 8
    NUMBERS = 16


Outcome = bytes | None
"""The text of the tagged OK, with a response code if there is one; None: "<name> completed"; b"": there is
nothing to say now, the command answers by itself."""
Run = Callable[["Session", Any], "Outcome | Awaitable[Outcome]"]


@dataclass(frozen=True, slots=True)
class Command:
    """name: upper case, "UID FETCH" for the UID form. capability: keywords that stand and fall with it."""

    name: str
    states: frozenset[State]
    flags: Rule
    capability: tuple[str, ...]
    parse: Callable[[Parser], Any]
    run: Run


class No(Exception):
    """The command is not done. code: of RFC 5530 or the extension's own, without brackets."""

    word = b"NO"

    def __init__(self, text: str, code: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.code = code

    def line(self) -> bytes:
        """Word, code and text, as after the tag."""
        code = f"[{self.code}] " if self.code else ""
        return self.word + b" " + printable(code + self.text).encode("ascii")


class BadCommand(No):
    """The command cannot be understood, or not now."""

    word = b"BAD"
