"""All commands, and all keywords of CAPABILITY: the literal tables that dispatch and banner are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from echomox.imapd.cmd import (
    acl,
    append,
    basic,
    compress,
    context,
    copy,
    esearch,
    expunge,
    fetch,
    idle,
    list,
    login,
    mailboxes,
    metadata,
    notify,
    quota,
    replace,
    search,
    select,
    sort,
    starttls,
    status,
    store,
    thread,
)
from echomox.imapd.command import Command

COMMANDS: tuple[Command, ...] = (
    *basic.ROWS,
    *compress.ROWS,
    *starttls.ROWS,
    *login.ROWS,
    *select.ROWS,
    *mailboxes.ROWS,
    *list.ROWS,
    *status.ROWS,
    *quota.ROWS,
    *metadata.ROWS,
    *acl.ROWS,
    *notify.ROWS,
    *append.ROWS,
    *replace.ROWS,
    *idle.ROWS,
    *expunge.ROWS,
    *search.ROWS,
    *sort.ROWS,
    *thread.ROWS,
    *context.ROWS,
    *esearch.ROWS,
    *fetch.ROWS,
    *store.ROWS,
    *copy.ROWS,
)
BY_NAME: Mapping[str, Command] = {command.name: command for command in COMMANDS}


@dataclass(frozen=True, slots=True)
class Keyword:
    """One word of CAPABILITY. before, after: shown before, after login."""

    name: str
    before: bool
    after: bool


BEFORE_LOGIN = ("IMAP4rev2", "LITERAL+", "SASL-IR", "ENABLE", "ID", "IDLE")
"""Of the commands' keywords, those that a client may want to know at once."""


def keywords(commands: tuple[Command, ...]) -> tuple[Keyword, ...]:
    """IMAP4rev1, then those of the rows, each once."""
    names = dict.fromkeys(word for command in commands for word in command.capability)
    shown = [word for word in BEFORE_LOGIN if word in names] + [word for word in names if word not in BEFORE_LOGIN]
    return (
        Keyword("IMAP4rev1", True, True),
        *(Keyword(word, word in BEFORE_LOGIN, True) for word in shown),
    )


KEYWORDS = keywords(COMMANDS)
