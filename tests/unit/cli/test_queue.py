"""The arguments of `echomox queue`, and its operations on a queue without a server."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
from datetime import datetime

import pytest

from echomox.cli import main as cli
from echomox.cli.queue import when_of
from echomox.config.load import find_config
from echomox.queue.model import Outgoing, QueueRecipient
from echomox.queue.spool import QueueSpool


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("now", {"at": 0.0}),
        ("+90m", {"by": 5400.0}),
        ("-2h", {"by": -7200.0}),
        ("2026-11-30T08:00", {"at": datetime(2026, 11, 30, 8).timestamp()}),
    ],
)
def test_a_time(text, fields):
    assert when_of(text) == fields


@pytest.mark.parametrize("text", ["", "soon", "90m", "+m", "+9999999999999h", "2026-13-01", "0001-01-01"])
def test_no_time(text):
    try:
        found = when_of(text)
    except argparse.ArgumentTypeError:
        return
    assert text == "0001-01-01"  # a time, though one that the operation refuses
    assert found["at"] < 0


@pytest.fixture
def config(tmp_path):
    with contextlib.redirect_stdout(io.StringIO()):
        assert cli.main(["quickstart", "--demo", "--dir", str(tmp_path), "--base-port", "23000"]) == 0
    return tmp_path / "config"


def run(config, capsys, *argv, code=0):
    assert cli.main(["--config", str(config), "--json", "queue", *argv]) == code
    out, err = capsys.readouterr()
    return json.loads(out) if code == 0 else err


def add(config, *addresses):
    async def work():
        spool = QueueSpool(find_config(str(config)))
        mail = Outgoing(
            "u0@example.test", tuple(map(QueueRecipient, addresses)), body=b"a" * 600_000, account="u0",
            prefix=b"X: y\r\n",
        )  # fmt: skip
        ids = await spool.add(mail)
        await spool.close()
        return ids

    return asyncio.run(work())


def test_every_verb_without_a_server(config, capsys):
    one, two, three = add(config, "a@x.test", "b@x.test", "c@y.test")
    assert [entry["ID"] for entry in run(config, capsys, "list")["messages"]] == [one, two, three]
    assert run(config, capsys, "count") == {"queued": 3, "leased": 0, "held": 0}
    assert run(config, capsys, "hold", "--to-domain", "x.test")["ids"] == [one, two]
    assert run(config, capsys, "unhold", str(two))["changed"] == 1
    assert run(config, capsys, "schedule", "+1h", str(three))["changed"] == 1
    assert run(config, capsys, "requiretls", "yes", "--all")["changed"] == 3
    assert run(config, capsys, "print", str(two))["RequireTLS"] is True
    assert run(config, capsys, "drop", str(two))["changed"] == 1
    assert run(config, capsys, "fail", str(three))["reports"] == 1
    assert run(config, capsys, "retired", "print", str(three))["Results"][0]["code"] == 550
    assert run(config, capsys, "suppression", "add", "u0", "x+y@z.test")["Address"] == "x@z.test"
    assert run(config, capsys, "suppression", "list")["suppressed"][0]["Manual"] is True
    assert run(config, capsys, "suppression", "remove", "u0", "x@z.test")["address"] == "x@z.test"
    assert not run(config, capsys, "suppression", "lookup", "u0", "x@z.test")["found"]


def test_the_whole_message_is_printed(config, capsysbinary):
    (one,) = add(config, "a@x.test")
    assert cli.main(["--config", str(config), "queue", "dump", str(one)]) == 0
    assert capsysbinary.readouterr().out == b"X: y\r\n" + b"a" * 600_000


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("drop",), "--all"),
        (("fail", "--to", ""), "--all"),
        (("transport", "nowhere", "--all"), "no transport nowhere"),
        (("print", "77"), "no message 77"),
        (("dump", "77"), "no message 77"),
        (("retired", "print", "77"), "no message 77"),
        (("holdrules", "remove", "5"), "no hold rule 5"),
        (("holdrules", "add", "--to-domain", "a b"), "domain"),
        (("holdrules", "add", "--account", "nobody"), "no account nobody"),
        (("suppression", "add", "nobody", "a@b.test"), "no account nobody"),
        (("suppression", "add", "u0", "nonsense"), "not an address"),
        (("suppression", "remove", "u0", "a@b.test"), "not on the suppression list"),
        (("schedule", "2126-01-01T00:00", "--all"), "more than a year"),
    ],
)
def test_what_is_refused(config, capsys, argv, said):
    assert said in run(config, capsys, *argv, code=1)
