"""`echomox alias` and `echomox ruleset` on the files of a demo; comments of people stay."""

from __future__ import annotations

import json

import pytest

from echomox.cli.main import main
from echomox.config.load import load_dynamic


@pytest.fixture
def em(demo, capsys):
    """Runs a command: (exit code, its output)."""

    def run(*words):
        code = main(["--config", str(demo.paths.config), *words])
        found = capsys.readouterr()
        return code, found.out + found.err

    return run


@pytest.fixture
def dynamic(demo):
    return lambda: load_dynamic(demo.paths.dynamic)


def test_an_alias_from_its_making_to_its_end(em, dynamic, demo):
    with demo.paths.dynamic.open("a") as file:
        file.write("\n# a word of a person\n")
    assert (
        em("alias", "add", "Team@example.test", "u0@example.test", "eve@far.example", "--set", "post=members")[0] == 0
    )
    (alias,) = dynamic().aliases.values()
    assert (alias.members, alias.post) == (("u0@example.test", "eve@far.example"), "members")
    assert (
        em("alias", "members", "team@example.test", "--add", "u1@example.test", "--remove", "eve@far.example")[0] == 0
    )
    assert dynamic().aliases["team@example.test"].members == ("u0@example.test", "u1@example.test")
    assert em("alias", "set", "TEAM@example.test", "own_posts=false", "description=Us")[0] == 0
    output = em("--json", "alias", "show", "team@example.test")[1]
    shown = json.loads(output)
    assert (shown["own_posts"], shown["description"]) == (False, "Us")
    assert shown["reached"] == [
        {"address": "u0@example.test", "account": "u0"}, {"address": "u1@example.test", "account": "u1"}
    ]  # fmt: skip
    assert "u0@example.test (u0), u1@example.test (u1)" in em("alias", "show", "team@example.test")[1]
    assert "Us" in em("alias", "list")[1]
    assert em("alias", "remove", "team@example.test")[0] == 0 and not dynamic().aliases
    assert "# a word of a person" in demo.paths.dynamic.read_text()


@pytest.mark.parametrize(
    "words,said",
    [
        (("add", "u0@example.test", "u1@example.test"), "is an address of account u0"),
        (("add", "team@example.test", "nobody@example.test"), "no such address"),
        (("add", "team@far.example", "u0@example.test"), "is not configured"),
        (("add", "nonsense", "u0@example.test"), "not an address"),
        (("show", "team@example.test"), "no alias team@example.test"),
        (("remove", "team@example.test"), "no alias"),
        (("members", "team@example.test", "--add", "x@y.example"), "no alias"),
        (("add", "team@example.test", "u0@example.test", "--set", "post=anyone"), "not allowed"),
        (("add", "team@example.test", "u0@example.test", "--set", "colour=red"), "no option colour"),
    ],
)
def test_what_cannot_be_changes_nothing(em, demo, words, said):
    before = demo.paths.dynamic.read_bytes()
    code, output = em("alias", *words)
    assert code and said in output
    assert demo.paths.dynamic.read_bytes() == before


def test_an_address_that_is_a_member_cannot_be_taken_away(em):
    em("alias", "add", "team@example.test", "u0@example.test")
    code, output = em("address", "remove", "u0@example.test")
    assert code and "no such address" in output


def test_rules_in_their_order(em, dynamic, demo):
    def comments():
        return [rule.comment for rule in dynamic().accounts["u0"].rulesets]

    assert em("ruleset", "add", "u0", "mail_from=one", "mailbox=A", "comment=first")[0] == 0
    assert em("ruleset", "add", "u0", "verified_domain=b.example", "mailbox=B", "comment=second")[0] == 0
    assert em("ruleset", "add", "u1", "mail_from=x", "mailbox=X")[0] == 0
    assert (
        em("ruleset", "add", "u0", "mailbox=C", "comment=between", "--header", "list-id=<x[.]y>", "--at", "2")[0] == 0
    )
    assert comments() == ["first", "between", "second"]
    assert dynamic().accounts["u0"].rulesets[1].headers == {"list-id": "<x[.]y>"}
    assert em("ruleset", "remove", "u0", "1")[0] == 0 and comments() == ["between", "second"]
    assert em("ruleset", "remove", "u0", "3")[0] == 1
    assert "list-id: <x[.]y>" in em("ruleset", "list", "u0")[1]
    assert len(dynamic().accounts["u1"].rulesets) == 1
    assert em("ruleset", "remove", "u0", "2")[0] == em("ruleset", "remove", "u0", "1")[0] == 0 and comments() == []


@pytest.mark.parametrize(
    "words,said",
    [
        (("add", "u0", "mail_from=(", "mailbox=X"), "no regular expression"),
        (("add", "u0", "mailbox=X"), "no condition"),
        (("add", "nobody", "mail_from=x", "mailbox=X"), "no account nobody"),
        (("add", "u0", "colour=red"), "no option colour"),
        (("add", "u0", "mailbox=X", "--header", "x"), "NAME=VALUE"),
        (("remove", "u0", "1"), "has rules 1 to 0"),
        (("list", "nobody"), "no account nobody"),
        (("test", "u0", "/nonexistent"), "No such file"),
    ],
)
def test_a_rule_that_cannot_be(em, demo, words, said):
    before = demo.paths.dynamic.read_bytes()
    code, output = em("ruleset", *words)
    assert code and said in output
    assert demo.paths.dynamic.read_bytes() == before


def test_which_rule_fits_a_file(em, tmp_path):
    em("ruleset", "add", "u0", "verified_domain=b.example", "mailbox=B")
    em("ruleset", "add", "u0", "message_from=@b[.]example$", "mailbox=C")
    mail = tmp_path / "mail"
    mail.write_bytes(b"From: x@b.example\r\nSubject: y\r\n\r\ntext")
    assert "rule 2 fits: mailbox=C" in em("ruleset", "test", "u0", str(mail))[1]
    assert "rule 1 fits" in em("ruleset", "test", "u0", str(mail), "--verified", "b.example")[1]
    mail.write_bytes(b"\xff\x00")
    assert "no rule fits" in em("ruleset", "test", "u0", str(mail))[1]
