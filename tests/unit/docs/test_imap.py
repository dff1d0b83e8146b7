"""docs/imap.md and rfc/index.txt say what is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from echomox.imapd.commands import KEYWORDS
from echomox.imapd.limit import keywords as limit_keywords
from echomox.imapd.service import capability_text

ROOT = Path(__file__).parents[3]
STATES = ("Yes", "Partial", "No", "Not planned")
MECHANISMS = ("SCRAM-SHA-256", "EXTERNAL")


def documented() -> tuple[set[str], set[str]]:
    """(all words of the table, those marked as shown before login); "X=" for words that go on."""
    text = (ROOT / "docs/imap.md").read_text().partition("## Capabilities")[2].partition("\n## ")[0]
    every: set[str] = set()
    before: set[str] = set()
    for line in text.splitlines():
        cell = line.split("|")[1] if line.startswith("| `") else ""
        words = re.findall(r"`([^`]+)`", cell)
        assert not every & set(words), words
        every |= set(words)
        before |= set(words) if cell.rstrip().endswith("*") else set()
    return every, before


def announced(text: bytes) -> set[str]:
    words = set(text.decode().split()[1:])
    return {word if word in {keyword.name for keyword in KEYWORDS} else re.sub("=.*", "=", word) for word in words}


def test_every_capability_is_documented_and_no_other() -> None:
    shown = announced(capability_text(True, False, (), 1))
    shown |= announced(capability_text(True, False, (), 1, limit=limit_keywords(5, 0)))
    shown |= announced(capability_text(True, False, (), 1, limit=limit_keywords(0, 5)))
    early = announced(capability_text(False, True, MECHANISMS, 0)) | {"LOGINDISABLED"}
    every, before = documented()
    assert shown | early == every
    assert early == before


def rfcs() -> dict[int, tuple[str, str]]:
    """State and title by number."""
    found: dict[int, tuple[str, str]] = {}
    for line in (ROOT / "rfc/index.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            number, state, title = line.split("\t")
            assert int(number) not in found, line
            assert title.strip() == title != "", line
            found[int(number)] = state, title
    return found


def test_index_of_rfcs() -> None:
    found = rfcs()
    assert {state for state, _ in found.values()} <= set(STATES)
    assert all(re.search(r"[;,] ", title) for state, title in found.values() if state == "Partial")


@pytest.mark.parametrize("package", ["imap", "imapd", "sasl"])
def test_what_the_code_cites_is_in_the_index(package: str) -> None:
    found = rfcs()
    for path in sorted((ROOT / "echomox" / package).rglob("*.py")):
        for number in re.findall(r"RFC (\d{3,5})\b", path.read_text()):
            assert found.get(int(number), ("No", ""))[0] in ("Yes", "Partial"), (path.name, number)


def test_capabilities_name_rfcs_of_the_index() -> None:
    found = rfcs()
    table = (ROOT / "docs/imap.md").read_text().partition("## Capabilities")[2].partition("\n## ")[0]
    for line in table.splitlines():
        if line.startswith("| `"):
            for number in re.findall(r"\b(\d{4,5})\b", line.split("|")[2]):
                assert found[int(number)][0] in ("Yes", "Partial"), line
