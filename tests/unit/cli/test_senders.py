"""`echomox senders` on the files of a demo; comments of people stay."""

from __future__ import annotations

import json

import pytest

from echomox.cli.main import main
from echomox.config.load import load_dynamic

PLACES = {"server": ("--server",), "domain": ("--domain", "example.test"), "account": ("--account", "u0")}


@pytest.fixture
def em(demo, capsys):
    def run(*words):
        code = main(["--config", str(demo.paths.config), *words])
        found = capsys.readouterr()
        return code, found.out + found.err

    return run


def lists(demo, place):
    dynamic = load_dynamic(demo.paths.dynamic)
    return {
        "server": dynamic.senders,
        "domain": dynamic.domains["example.test"].senders,
        "account": dynamic.accounts["u0"].junk_filter,
    }[place]


@pytest.mark.parametrize("place", PLACES)
def test_a_sender_on_a_list_and_off_it(em, demo, place):
    with demo.paths.dynamic.open("a") as file:
        file.write("\n# a word of a person\n")
    where = PLACES[place]
    assert em("senders", "block", "Spam@Bad.example", *where)[0] == 0
    assert em("senders", "block", "spam@bad.example", *where)[0] == 0  # once
    assert em("senders", "allow", "@good.example", *where)[0] == 0
    assert em("senders", "block", "@worse.example", *where)[0] == 0
    found = lists(demo, place)
    assert (found.allow, found.block) == (("@good.example",), ("spam@bad.example", "@worse.example"))
    shown = json.loads(em("--json", "senders", "list", *where)[1])["lists"]
    assert [(item["list"], item["sender"]) for item in shown] == [
        ("allow", "@good.example"), ("block", "spam@bad.example"), ("block", "@worse.example")
    ]  # fmt: skip
    code, said = em("senders", "test", "u0", "x@mail.good.example")
    assert (code, "allow list" in said) == (0, True)
    assert em("senders", "test", "u0", "x@other.example")[0] == 1
    assert em("senders", "test", "u1", "x@good.example")[0] == (1 if place == "account" else 0)
    assert em("senders", "remove", "SPAM@bad.example", *where)[0] == 0
    assert lists(demo, place).block == ("@worse.example",)
    assert em("senders", "remove", "spam@bad.example", *where)[0] == 1
    assert "# a word of a person" in demo.paths.dynamic.read_text()


@pytest.mark.parametrize(
    "words, said",
    [
        (("block", "bad.example"), "@example.org"),
        (("block", "a@b.example", "--account", "nobody"), "no account nobody"),
        (("allow", "a@b.example", "--domain", "far.example"), "no domain far.example"),
        (("remove", "a@b.example"), "on no list of the server"),
    ],
)
def test_what_cannot_be(em, demo, words, said):
    before = demo.paths.dynamic.read_bytes()
    code, output = em("senders", *words)
    assert (code, said in output) == (1, True), output
    assert demo.paths.dynamic.read_bytes() == before
