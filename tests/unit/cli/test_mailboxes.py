"""`echomox mailbox …`: whom mailboxes are shared with, virtual ones, repairs; without a server."""

import pytest

from echomox.cli.main import main
from echomox.cli.stats import figures
from tests.unit.cli.test_operations import site  # noqa: F401  # a fixture
from workers.operations import CHANGES, execute
from workers.site import Refused


def test_sharing(site):  # noqa: F811
    box = {"account": "u0", "mailbox": "INBOX"}
    assert execute(site, "mailbox.acl", box)["acl"] == {"u0": "lrswipkxtecda"}
    done = execute(site, "mailbox.acl.set", {**box, "who": "u1@example.test", "rights": "lrd"})
    assert done["acl"]["u1"] == "lrted"
    execute(site, "mailbox.acl.set", {**box, "who": "u1", "rights": "-t"})
    execute(site, "mailbox.acl.set", {**box, "who": "-u1", "rights": "e"})
    execute(site, "mailbox.acl.set", {**box, "who": "anyone", "rights": "+l"})
    assert execute(site, "mailbox.shares", {})["shares"] == [
        {"owner": "u0", "mailbox": "INBOX", "who": "anyone", "rights": "l"},
        {"owner": "u0", "mailbox": "INBOX", "who": "u1", "rights": "lr"},
    ]
    assert len(execute(site, "mailbox.shares", {"account": "u1"})["shares"]) == 2
    assert execute(site, "mailbox.acl.set", {**box, "who": "anyone", "rights": ""})["acl"].keys() == {"u0", "u1", "-u1"}
    assert execute(site, "mailbox.acl.remove", {**box, "who": "-u1"})["acl"].keys() == {"u0", "u1"}
    execute(site, "account.remove", {"name": "u1"})
    assert execute(site, "mailbox.shares", {})["shares"] == []


@pytest.mark.parametrize(
    ("op", "more", "why"),
    [
        ("mailbox.acl.set", {"who": "nobody", "rights": "l"}, "no account nobody"),
        ("mailbox.acl.set", {"who": "u0@example.test", "rights": "l"}, "the owner has all rights"),
        ("mailbox.acl.set", {"who": "u1", "rights": "lz"}, "no right z"),
        ("mailbox.acl.remove", {"who": "u1"}, "no rights for u1"),
    ],
)
def test_what_cannot_be_shared(site, op, more, why):  # noqa: F811
    with pytest.raises(Refused, match=why):
        execute(site, op, {"account": "u0", "mailbox": "INBOX", **more})


def test_virtual_mailboxes(site):  # noqa: F811
    flagged = {"account": "u0", "name": "Flagged", "search": "FLAGGED", "use": "flagged"}
    assert execute(site, "mailbox.virtual.add", flagged) == {"name": "Flagged", "messages": 0}
    with pytest.raises(Refused, match="exists"):
        execute(site, "mailbox.virtual.add", flagged)
    with pytest.raises(Refused, match="no use"):
        execute(site, "mailbox.virtual.add", {**flagged, "use": "sent"})
    with pytest.raises(Refused, match="not a search"):
        execute(site, "mailbox.virtual.add", {"account": "u0", "name": "x", "search": "WHAT"})
    listed = execute(site, "mailbox.virtual.list", {"account": "u0"})["virtual"]
    assert listed == [{"name": "Flagged", "search": "FLAGGED", "use": "\\Flagged"}]
    execute(site, "mailbox.virtual.remove", {"account": "u0", "name": "Flagged"})
    for name in ("Flagged", "INBOX"):
        with pytest.raises(Refused, match="no virtual mailbox"):
            execute(site, "mailbox.virtual.remove", {"account": "u0", "name": name})


def test_repairs_are_logged_and_say_what_they_changed(site):  # noqa: F811
    before = execute(site, "mailbox.show", {"account": "u0", "mailbox": "INBOX"})
    asked = {"account": "u0", "mailbox": "INBOX"}
    assert execute(site, "mailbox.bumpuidvalidity", asked) == {"account": "u0", "changed": 1}
    after = execute(site, "mailbox.show", {"account": "u0", "mailbox": "INBOX"})
    assert after["UIDValidity"] > before["UIDValidity"]
    for operation in ("mailbox.reassignuids", "mailbox.recalculate", "mailbox.fixuidmeta"):
        assert execute(site, operation, {"account": "u0"})["changed"] == 0 and operation in CHANGES
    for operation in ("account.reparse", "account.reassignthreads", "account.fixmsgsize"):
        assert execute(site, operation, {"account": "u0"})["changed"] == 0 and operation in CHANGES
    with pytest.raises(Refused, match="no mailbox"):
        execute(site, "mailbox.recalculate", {"account": "u0", "mailbox": "none"})


def test_command_lines(demo, capsys):
    config = ["--config", str(demo.paths.config)]
    assert main([*config, "mailbox", "acl", "u0", "INBOX", "set", "u1", "lrs"]) == 0
    assert main([*config, "mailbox", "shares", "u1"]) == 0
    assert main([*config, "mailbox", "acl", "u0", "INBOX", "remove", "u1"]) == 0
    assert main([*config, "mailbox", "acl", "u0", "INBOX"]) == 0
    assert main([*config, "mailbox", "virtual", "add", "u0", "Big", "LARGER", "100000"]) == 0
    assert main([*config, "mailbox", "virtual", "list", "u0"]) == 0
    assert main([*config, "mailbox", "recalculate", "u0"]) == 0
    assert main([*config, "account", "reparse", "u0"]) == 0
    shown = capsys.readouterr().out
    for word in ("lrs", "LARGER 100000", "0 mailboxes had wrong counts", "0 messages are told otherwise now"):
        assert word in shown
    for wrong in (["set", "u1"], ["remove"], ["remove", "u1", "l"]):
        assert main([*config, "mailbox", "acl", "u0", "INBOX", *wrong]) == 2


def test_memory_is_added_up_by_kind():
    workers = [
        {"service": "imap", "memory": 3 << 20, "connections": 5},
        {"service": "imap", "memory": 1 << 20, "connections": 3},
        {"service": "smtp", "memory": 2 << 20, "connections": 0},
    ]
    found = figures({"supervisor_memory": 1 << 20, "memory": 7 << 20, "workers": workers}, 2)
    assert found["services"][1] == {"service": "imap", "processes": 2, "memory": 4 << 20, "connections": 8}
    assert sum(one["memory"] for one in found["services"]) == found["memory"]
