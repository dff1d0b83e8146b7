"""The help of every command, its examples, and what is said of a command that is mistyped or from elsewhere."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator

import pytest

from echomox.cli.examples import EXAMPLES
from echomox.cli.guess import ELSEWHERE
from echomox.cli.main import FAMILIES, family_parser
from echomox.cli.parser import SYNONYMS
from tests.unit.cli.test_main import run


def below(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """All commands that can be run: those without commands below."""
    inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not inner:
        yield parser
    for action in inner:
        for child in action.choices.values():
            yield from below(child)


COMMANDS = {
    command.prog.removeprefix("echomox "): command
    for family in FAMILIES
    if not family.own_line
    for command in below(family_parser(family))
}


def test_examples_are_of_commands_that_exist():
    assert set(EXAMPLES) == set(COMMANDS)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_examples_can_be_read_and_stand_in_the_help(command):
    text = COMMANDS[command].format_help()
    for example in EXAMPLES[command]:
        assert f"\n  {example}\n" in text
        words = shlex.split(re.split(r"\s[<>|#]", example)[0])
        assert words[: 1 + len(command.split())] == ["echomox", *command.split()]
        family = next(family for family in FAMILIES if family.name == words[1])
        family_parser(family).read(words[2:])


def test_a_mistyped_command_names_the_right_one(capsys):
    for argv, meant in (
        (("acount", "list"), "did you mean `account`?"),
        (("account", "lst"), "did you mean `list`?"),
        (("account", "delete", "ann"), "did you mean `remove`?"),
        (("account", "passwd", "ann"), "did you mean `set-password`?"),
        (("queue", "list", "--lmit", "3"), "no option --lmit; did you mean `--limit`?"),
        (("queue", "flush"), "did you mean `schedule`?"),
        (("queue", "holdrules", "new"), "did you mean `add`?"),
        (("account", "set", "ann", "quote=5"), "no option quote; did you mean `quota`?"),
        (("logins", "list", "ann", "more"), "too many words, from 'more' on"),
        (("message", "show", "ann", "x"), "id: 'x' is no whole number"),
    ):
        code, out, err = run(capsys, *argv)
        assert (code, out) == (2, "") and meant in err, argv


@pytest.mark.parametrize(("name", "ours"), [("mailq", "echomox queue list"), ("stop", "echomox-supervisor stop")])
def test_a_command_of_another_server_names_ours(capsys, name, ours):
    code, out, err = run(capsys, name)
    assert (code, out) == (2, "") and f"`{ours}`" in err and err.count("\n") == 1


def test_what_is_named_instead_exists():
    names = {family.name for family in FAMILIES}
    leaves = {command.rpartition(" ")[2] for command in COMMANDS}
    for said in ELSEWHERE.values():
        words = said.split()
        assert words[0] in ("echomox", "echomox-supervisor", "docs/administration.md,"), said
        assert words[0] != "echomox" or words[1].rstrip(",") in names, said
    assert {word for words in SYNONYMS.values() for word in words} <= leaves
    assert not set(ELSEWHERE) & names


def test_a_family_alone_prints_its_commands(capsys):
    code, out, err = run(capsys, "queue")
    assert (code, out) == (2, "") and "holdrules" in err and err.startswith("usage: echomox queue")


def test_help_and_version_as_words(capsys):
    assert run(capsys, "help") == run(capsys, "--help")
    assert run(capsys, "help", "queue", "list") == run(capsys, "queue", "list", "--help")
    assert run(capsys, "--version") == run(capsys, "version")
