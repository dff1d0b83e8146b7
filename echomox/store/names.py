"""Names: which mailboxes, keywords and accounts may be called what. Pure.

Mailbox names are Unicode in form NFC, levels parted by "/"; INBOX is one name in any case (RFC 9051 5.1), also as the
first level. Keywords are atoms (RFC 9051 9, flag-keyword), compared without case. Account names are directory names.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from functools import lru_cache

from echomox.store.engine import SEPARATOR, BadMailboxName, LimitExceeded, NoSuchAccount

LEVEL_BYTES = 200
NAME_BYTES = 1000
DEPTH = 50
KEYWORD_LENGTH = 100
KEYWORDS_PER_MESSAGE = 100
KEYWORDS_PER_ACCOUNT = 1000
MAILBOXES_PER_ACCOUNT = 5000
_ACCOUNT = re.compile(r"[A-Za-z0-9@_+-][A-Za-z0-9.@_+-]{0,199}")
_KEYWORD = re.compile(r'[^\x00-\x20(){%*"\\\]\x7f-\U0010ffff]+')
_FORBIDDEN = {"Cc": "control character", "Cs": "surrogate", "Zl": "line separator", "Zp": "paragraph separator"}


def account_name(name: str) -> str:
    """`name` if it can be a directory of its own; raises NoSuchAccount for one that cannot exist."""
    if not _ACCOUNT.fullmatch(name):
        raise NoSuchAccount(
            f"account name {name!r} has other characters than A-Z a-z 0-9 . @ _ + - or starts with a dot"
        )
    return name


@lru_cache(maxsize=1024)
def mailbox_name(name: str) -> str:
    """The name as it is kept; raises BadMailboxName, which says why."""
    if name.isascii() and name.upper() == "INBOX":
        return "INBOX"
    name = unicodedata.normalize("NFC", name)
    levels = name.split(SEPARATOR)
    if "" in levels:
        raise BadMailboxName("a mailbox name has an empty level")
    for character in name:
        kind = unicodedata.category(character)
        if kind in _FORBIDDEN:
            raise BadMailboxName(f"a mailbox name has a {_FORBIDDEN[kind]}")
    if "*" in name or "%" in name:
        raise BadMailboxName("* and % are reserved: LIST takes them for wildcards")
    if name.startswith("#"):
        raise BadMailboxName("names that start with # are reserved for namespaces")
    if len(levels) > DEPTH:
        raise BadMailboxName(f"a mailbox name has more than {DEPTH} levels")
    if max(len(level.encode()) for level in levels) > LEVEL_BYTES:
        raise BadMailboxName(f"a level of a mailbox name is longer than {LEVEL_BYTES} bytes")
    if len(name.encode()) > NAME_BYTES:
        raise BadMailboxName(f"a mailbox name is longer than {NAME_BYTES} bytes")
    if levels[0].upper() == "INBOX":
        levels[0] = "INBOX"
    return SEPARATOR.join(levels)


def parents(name: str) -> list[str]:
    """The names above: "a/b/c" has "a" and "a/b"."""
    levels = name.split(SEPARATOR)
    return [SEPARATOR.join(levels[:count]) for count in range(1, len(levels))]


def check_keywords(keywords: Collection[str]) -> None:
    """Raises LimitExceeded for a keyword that is too long, has a character that is not allowed, or for too many."""
    if len(keywords) > KEYWORDS_PER_MESSAGE:
        raise LimitExceeded(f"more than {KEYWORDS_PER_MESSAGE} keywords")
    for word in keywords:
        if len(word) > KEYWORD_LENGTH:
            raise LimitExceeded(f"a keyword is longer than {KEYWORD_LENGTH} characters")
        if not _KEYWORD.fullmatch(word):
            raise LimitExceeded(f"keyword {word!r} has a character that is not allowed")


def join_keywords(words: Collection[str]) -> str:
    """As a message row keeps them: sorted without case, one space between, "" for none."""
    return " ".join(sorted(words, key=str.lower))
