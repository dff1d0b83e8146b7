"""Commands that the documents show are commands that there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from echomox.cli.guess import ELSEWHERE
from echomox.cli.main import FAMILIES, family_parser
from echomox.cli.supervisor import parser

ROOT = Path(__file__).parents[3]
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.M | re.S)


def shown(file: str) -> list[str]:
    """The commands of its shell blocks, without what the shell does with them."""
    found = []
    for block in BLOCK.findall((ROOT / file).read_text()):
        for line in block.replace("\\\n", " ").splitlines():
            for command in line.split(" && "):
                words = re.split(r"\s+[#<>|]", command.strip())[0]
                if re.match(r"echomox(-supervisor)? ", words) and not re.search(r"[\[\]|…{]", words):
                    found.append(words)
    return found


FILES = ["README.md", "DEVELOP.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
COMMANDS = [(file, command) for file in FILES for command in shown(file)]


@pytest.mark.parametrize(("file", "command"), COMMANDS)
def test_a_command_that_is_shown_can_be_read(file: str, command: str) -> None:
    program, *words = shlex.split(command)
    if program == "echomox-supervisor":
        parser().read(words)
        return
    family = next(family for family in FAMILIES if family.name == words[0])
    if not family.own_line:
        numbers = [word if word not in ("ID", "N") else "7" for word in words[1:]]
        family_parser(family).read(numbers)


def test_there_are_some() -> None:
    assert {file for file, _ in COMMANDS} >= {"README.md", "DEVELOP.md", "docs/administration.md"}


def test_sections_that_a_message_names_are_there() -> None:
    text = (ROOT / "docs/administration.md").read_text()
    for said in ELSEWHERE.values():
        if said.startswith("docs/"):
            assert f"\n## {said.partition(', ')[2]}\n" in text
