"""Every operation on the files of a demo, without a server."""

from __future__ import annotations

import re

import pytest

from echomox.config.load import load_dynamic
from echomox.net.blocks import FILE, read_blocks
from echomox.sasl.derive import verify_bcrypt, verify_password
from workers.operations import CHANGES, OPERATIONS, Refused, Site, execute
from workers.operations_access import block_asked, change


@pytest.fixture
def site(demo):
    site = Site(demo.paths)
    yield site
    site.close()


def test_names_are_there_once():
    names = [operation.name for operation in OPERATIONS]
    assert len(set(names)) == len(names)
    assert {"account.add", "domain.remove", "block.add", "sessions.end", "loglevels"} <= CHANGES
    assert "account.list" not in CHANGES


BAD_REQUESTS = [
    ("nope", {}, "no operation 'nope'"),
    (None, {}, "no operation None"),
    ([], {}, "no operation"),
    ("account.show", {}, "account.show: field name is missing"),
    ("account.show", {"name": 5}, "name is to be of type str"),
    ("account.show", {"name": "u0", "x": 1}, "takes no field x; it takes name"),
    ("message.show", {"account": "u0", "id": True}, "id is to be of type int"),
    ("account.list", {"x": 1}, "it takes none"),
]


@pytest.mark.parametrize(("op", "fields", "why"), BAD_REQUESTS)
def test_a_bad_request_is_refused(site, op, fields, why):
    with pytest.raises(Refused, match=why):
        execute(site, op, fields)


BAD_BLOCKS = [
    ("block.add", {"net": "example.org"}, "is no address or net; give one as 192.0.2.1 or 192.0.2.0/24"),
    ("block.add", {"net": "0.0.0.0/0"}, "is everybody"),
    ("block.add", {"net": "192.0.2.1", "seconds": 0}, "a block lasts from 1 s"),
    ("block.add", {"net": "192.0.2.1", "seconds": 10**12}, "a block lasts from 1 s to 3650 days"),
    ("block.add", {"net": "192.0.2.1", "why": "x" * 201}, "longer than 200 characters"),
    ("block.remove", {"net": "192.0.2.1"}, "192.0.2.1 is not blocked; but 192.0.2.0/24 is; remove that"),
    ("block.remove", {"net": "198.51.100.1"}, "198.51.100.1 is not blocked; `echomox block list`"),
    ("sessions.list", {}, "no server runs here"),
    ("sessions.list", {"account": "zoe"}, "no account zoe"),
    ("sessions.end", {"id": "x"}, "no server runs here"),
]


@pytest.mark.parametrize(("op", "fields", "why"), BAD_BLOCKS)
def test_what_cannot_be_blocked_or_ended_is_refused(site, op, fields, why):
    execute(site, "block.add", {"net": "192.0.2.0/24"})
    before = execute(site, "block.list", {})
    with pytest.raises(Refused, match=re.escape(why)):
        execute(site, op, fields)
    assert execute(site, "block.list", {}) == before


def test_a_block_lives_in_a_file(site):
    made = execute(site, "block.add", {"net": "::ffff:192.0.2.1", "seconds": 3600, "why": "guessing"})
    assert (made["address"], made["why"], made["count"]) == ("192.0.2.1", "guessing", 0)
    execute(site, "block.add", {"net": "2001:DB8::/32", "seconds": 60})
    again = Site(site.paths)
    assert [entry["address"] for entry in execute(again, "block.list", {})["blocks"]] == ["2001:db8::/32", "192.0.2.1"]
    assert execute(again, "block.remove", {"net": "192.0.2.1"}) == {"address": "192.0.2.1"}
    listed = read_blocks(site.paths.data / FILE)
    assert [block.net for block in listed.blocks] == ["2001:db8::/32"] and list(listed.pardons) == ["192.0.2.1"]


def test_what_workers_ask_for_is_blocked_once(site):
    execute(site, "block.add", {"net": "192.0.2.9", "why": "mine"})
    assert block_asked(site, {"192.0.2.9": 50, "192.0.2.8": 51}, 60.0) == ["192.0.2.8"]
    assert block_asked(site, {"192.0.2.8": 55}, 60.0) == []
    found = {entry["address"]: (entry["why"], entry["count"]) for entry in execute(site, "block.list", {})["blocks"]}
    assert found == {"192.0.2.8": ("too many failed logins", 51), "192.0.2.9": ("mine", 0)}


def test_a_list_that_does_not_change_is_not_written(site):
    path = site.paths.data / FILE
    assert change(site, lambda listed: listed).blocks == () and not path.exists()
    execute(site, "block.add", {"net": "192.0.2.1"})
    before = path.stat().st_ino
    change(site, lambda listed: listed)
    assert path.stat().st_ino == before


def test_a_list_that_cannot_be_read_is_not_written_over(site):
    path = site.paths.data / FILE
    path.write_text("{")
    for op, fields in (("block.list", {}), ("block.add", {"net": "192.0.2.1"})):
        with pytest.raises(Refused, match="move it away"):
            execute(site, op, fields)
    assert path.read_text() == "{"


@pytest.mark.parametrize("setting", ["bcrypt", "argon2id"])
def test_a_new_password_gets_the_hash_that_is_set(site, setting):
    text = site.paths.static.read_text()
    site.paths.static.write_text(text.replace("[auth]", f'[auth]\npassword_hash = "{setting}"'))
    before = site.store("u1").secrets()
    execute(site, "account.set-password", {"name": "u0", "password": "another one"})
    assert [kind for kind in ("bcrypt", "argon2id") if kind in site.store("u0").secrets()] == [setting]
    assert verify_password(site.store("u0").secrets()[setting], "another one")
    assert execute(site, "account.show", {"name": "u0"})["has_password"]
    assert site.store("u1").secrets() == before


UNKNOWN = [
    ("account.show", {"name": "zoe"}, "no account zoe"),
    ("account.set", {"name": "zoe", "settings": {}}, "no account zoe"),
    ("account.set-password", {"name": "zoe"}, "no account zoe"),
    ("account.remove", {"name": "zoe"}, "no account zoe"),
    ("address.add", {"address": "x@example.test", "account": "zoe"}, "no account zoe"),
    ("address.remove", {"address": "zoe@example.test"}, "no account has the address zoe@example.test"),
    ("domain.show", {"name": "zoe.test"}, "no domain zoe.test"),
    ("domain.show", {"name": "a b"}, "not a domain name"),
    ("domain.remove", {"name": "example.test"}, "still has addresses: u0@example.test, u1@example.test"),
    ("logins.list", {"account": "../../etc"}, "no mail of an account"),
    ("mailbox.list", {"account": "zoe"}, "no mail of an account zoe"),
    ("mailbox.show", {"account": "u0", "mailbox": "zoe"}, "zoe"),
    ("message.show", {"account": "u0", "id": 1}, "account u0 has no message 1"),
    ("filter.explain", {"account": "u0", "id": 1}, "account u0 has no message 1"),
    ("filter.stats", {"account": "zoe"}, "no account zoe"),
    ("status", {}, "no server runs here"),
    ("reload", {}, "no server runs here"),
    ("account.add", {"name": "../x", "addresses": []}, "not an account name"),
    ("account.add", {"name": "x", "addresses": [], "password": "\0"}, "this password cannot be used"),
]


@pytest.mark.parametrize(("op", "fields", "why"), UNKNOWN)
def test_what_is_not_there_is_refused(site, op, fields, why):
    before = site.paths.dynamic.read_bytes()
    with pytest.raises(Refused, match=why):
        execute(site, op, fields)
    assert site.paths.dynamic.read_bytes() == before


def test_an_account_lives(site):
    made = execute(site, "account.add", {"name": "ann", "addresses": ["ann@example.test"], "settings": {"quota": 7}})
    assert verify_bcrypt(site.store("ann").secrets()["bcrypt"], made["password"])
    shown = execute(site, "account.show", {"name": "ann"})
    assert list(shown)[:6] == ["Name", "Dir", "DestinationDir", "JunkFilter", "ReservoirState", "Settings"]
    assert shown["Settings"]["quota"] == 7 and shown["mailboxes"] == 7
    changed = {"junk_filter.mode": "off", "disabled": True}
    execute(site, "account.set", {"name": "ann", "settings": changed})
    ann = load_dynamic(site.paths.dynamic).accounts["ann"]
    assert ann.disabled and ann.junk_filter.mode == "off"
    assert execute(site, "account.remove", {"name": "ann"}) == {"name": "ann", "mail_removed": True}
    assert "ann" not in site.engine.accounts()
    assert [account["name"] for account in execute(site, "account.list", {})["accounts"]] == ["u0", "u1"]


def test_mail_that_is_kept_is_told(site):
    execute(site, "account.remove", {"name": "u1", "keep_mail": True})
    assert execute(site, "account.list", {})["mail_without_account"] == ["u1"]
    made = execute(site, "account.add", {"name": "u1", "addresses": []})
    assert made["kept_mail"]


def test_a_refused_account_leaves_no_store(site):
    with pytest.raises(Refused, match="belongs to account u0 already"):
        execute(site, "account.add", {"name": "ann", "addresses": ["U0@example.test"]})
    assert "ann" not in site.engine.accounts()


def test_the_postmaster_cannot_be_removed(site):
    with pytest.raises(Refused, match=r"change postmaster in echomox\.toml first"):
        execute(site, "account.remove", {"name": "u0"})


def test_a_new_password_makes_the_old_one_wrong(site):
    before = dict(site.store("u0").secrets())
    answer = execute(site, "account.set-password", {"name": "u0", "password": "another one"})
    after = site.store("u0").secrets()
    assert answer == {"name": "u0"}  # a password that was given is not said back
    assert verify_bcrypt(after["bcrypt"], "another one") and not verify_bcrypt(after["bcrypt"], "secret")
    assert int(after["generation"]) > int(before["generation"])


def test_an_address_is_found_by_any_spelling(site):
    execute(site, "address.add", {"address": "Shop@example.test", "account": "u0"})
    listed = execute(site, "address.list", {"account": "u0"})["addresses"]
    assert [entry["address"] for entry in listed] == ["u0@example.test", "Shop@example.test"]
    answer = execute(site, "address.remove", {"address": "SHOP@EXAMPLE.test"})
    assert answer == {"address": "Shop@example.test", "account": "u0"}
    assert execute(site, "address.list", {"domain": "Example.test"})["addresses"] == [
        {"address": "u0@example.test", "account": "u0"},
        {"address": "u1@example.test", "account": "u1"},
    ]


def test_a_domain_lives(site):
    settings = {"description": "Books", "separators": []}
    made = execute(site, "domain.add", {"name": "B\u00fccher.test", "settings": settings})
    assert made["name"] == "xn--bcher-kva.test" and len(made["dkim"]) == 2
    shown = execute(site, "domain.show", {"name": "b\u00fccher.test"})
    assert (shown["description"], shown["separators"]) == ("Books", ())
    answer = execute(site, "domain.dnsrecords", {"name": "b\u00fccher.test"})
    names = [record["name"] for record in answer["records"]]
    assert f"{made['dkim'][0]}._domainkey.xn--bcher-kva.test." in names
    ports = [record["value"].split()[2] for record in answer["records"] if record["name"].startswith("_imaps.")]
    assert ports == ["20993"]
    execute(site, "domain.set", {"name": "b\u00fccher.test", "settings": {"disabled": True}})
    assert load_dynamic(site.paths.dynamic).domains["xn--bcher-kva.test"].disabled
    execute(site, "domain.remove", {"name": "b\u00fccher.test"})
    assert list(load_dynamic(site.paths.dynamic).domains) == ["example.test"]


def test_a_refused_domain_leaves_no_keys(site):
    before = sorted((site.paths.config / "dkim").iterdir())
    with pytest.raises(Refused, match="one character of"):
        execute(site, "domain.add", {"name": "c.test", "settings": {"separators": ["xx"]}})
    assert sorted((site.paths.config / "dkim").iterdir()) == before


def test_a_mailbox_has_the_ten_fields(site):
    shown = execute(site, "mailbox.show", {"account": "u0", "mailbox": "Junk"})
    assert list(shown)[:10] == [
        "ID",
        "UIDValidity",
        "UIDNext",
        "Name",
        "HaveCounts",
        "Total",
        "Deleted",
        "Unread",
        "Unseen",
        "Size",
    ]
    assert (shown["Name"], shown["Total"], shown["SpecialUse"]) == ("Junk", 0, "\\Junk")


def test_logins_are_listed_newest_first(site):
    from echomox.store.engine import Login

    for number in range(3):
        site.store("u0").log_login(Login(1e9 + number, "u0@example.test", "imap", "plain", "ok", "192.0.2.1"))
    listed = execute(site, "logins.list", {"account": "u0", "limit": 2})["logins"]
    assert [login["time"] for login in listed] == ["2001-09-09T01:46:42Z", "2001-09-09T01:46:41Z"]
    assert listed[0]["remote_ip"] == "192.0.2.1" and listed[0]["mechanism"] == "plain"


def test_an_untrained_filter_says_so(site):
    assert execute(site, "filter.stats", {"account": "u0"})["MessageTotal"] == 0
    assert execute(site, "filter.word", {"account": "u0", "word": "hello"})["Spam"] == 0
