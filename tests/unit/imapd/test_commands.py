"""The tables: every command has one row, and the banner says what the rows say."""

from __future__ import annotations

import pytest

from echomox.imap.state import State
from echomox.imapd.command import No, Rule
from echomox.imapd.commands import BY_NAME, COMMANDS, KEYWORDS
from echomox.imapd.service import capability_text

BREAKING = {"FETCH", "STORE", "SEARCH", "SORT", "THREAD"}


def test_every_command_has_one_row() -> None:
    assert len(BY_NAME) == len(COMMANDS)


def test_numbers_stay_in_fetch_store_and_search_only() -> None:
    """RFC 9051 7.5.1; the UID forms are other commands."""
    silent = {row.name for row in COMMANDS if row.flags & Rule.SILENT}
    keeping = {row.name for row in COMMANDS if not row.flags & Rule.BREAKS_SEQUENCES} - silent
    assert keeping == BREAKING


def test_uid_forms_tell_uids() -> None:
    """ESEARCH has no other form (RFC 7377 2.1)."""
    assert {row.name for row in COMMANDS if row.flags & Rule.UIDS} == {
        name for name in BY_NAME if name.startswith("UID ")
    } | {"ESEARCH"}


def test_what_needs_a_mailbox_is_refused_without() -> None:
    needing = {row.name for row in COMMANDS if row.states == {State.SELECTED}}
    assert needing == {
        "CHECK", "CLOSE", "COPY", "EXPUNGE", "FETCH", "MOVE", "SEARCH", "STORE", "UID COPY", "UID EXPUNGE", "UID FETCH",
        "REPLACE", "UID MOVE", "UID REPLACE", "UID SEARCH", "UID STORE", "UNSELECT", "SORT", "UID SORT", "THREAD",
        "UID THREAD", "CANCELUPDATE",
    }  # fmt: skip


@pytest.mark.parametrize(
    "starttls, mechanisms, expected",
    [
        (True, (), b"CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ENABLE ID IDLE STARTTLS LOGINDISABLED"),
        (False, (), b"CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ENABLE ID IDLE LOGINDISABLED"),
        (False, ("PLAIN",), b"CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ENABLE ID IDLE AUTH=PLAIN"),
        (
            False,
            ("CRAM-MD5",),
            b"CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ENABLE ID IDLE AUTH=CRAM-MD5 LOGINDISABLED",
        ),
    ],
)
def test_capabilities_before_login(starttls: bool, mechanisms: tuple[str, ...], expected: bytes) -> None:
    assert capability_text(False, starttls, mechanisms, 0) == expected


def test_capabilities_after_login() -> None:
    words = capability_text(True, False, (), 1000).decode().split()
    asked = (
        "IMAP4rev1 ENABLE LITERAL+ IDLE MOVE CONDSTORE UIDPLUS UNSELECT NAMESPACE SPECIAL-USE CHILDREN ID SASL-IR "
        "LIST-EXTENDED LIST-STATUS"
    )
    assert set(asked.split()) <= set(words)
    assert len(words) == len(set(words)) and "IMAP4rev2" in words and "STARTTLS" not in words
    assert words[-1] == "APPENDLIMIT=1000"
    assert all(keyword.after for keyword in KEYWORDS)


def test_a_refusal_is_one_line_of_ascii() -> None:
    assert No("no mailbox 'Ä\r\n* OK fooled'", "CANNOT").line() == b"NO [CANNOT] no mailbox '?* OK fooled'"
