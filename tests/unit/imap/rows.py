"""Arguments of a command as the server reads them."""

from __future__ import annotations

from typing import Any

from echomox.imap.lexer import Parser
from echomox.imapd.commands import BY_NAME


def parse(name: str, arguments: bytes, utf8: bool = False) -> Any:
    """By the parser of the command's row. utf8: names of mailboxes are UTF-8. Raises Bad."""
    return BY_NAME[name].parse(Parser(arguments, utf8))
