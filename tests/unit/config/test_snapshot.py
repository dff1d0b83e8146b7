"""Addresses to accounts."""

from __future__ import annotations

import pytest

from echomox.config.load import parse_dynamic
from echomox.config.paths import Paths
from echomox.config.schema import Static
from echomox.config.snapshot import Recipient, Snapshot, Unknown, accept, load_snapshot
from echomox.errors import ConfigError

DOMAINS = """
[domains."a.test"]
[domains."b\u00fccher.test"]
case_sensitive = true
separators = ["+", "-"]
[domains."off.test"]
disabled = true
[domains."all.test"]
[accounts.ann]
addresses = ["ann@a.test", "Ann@b\u00fccher.test", "postmaster@all.test", '"odd one"@a.test']
[accounts.bob]
addresses = ["bob@a.test", "@all.test", "bob@off.test"]
disabled = true
[accounts.root]
admin = true
"""


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    dynamic = parse_dynamic("/x/config/domains.toml", DOMAINS.encode())
    return Snapshot(dynamic, Static(hostname="mail.a.test"), 7)


RECIPIENTS = {
    "ann@a.test": "ann",
    "ANN@A.TEST": "ann",
    "ann@a.test.": "ann",
    "ann+shop@a.test": "ann",
    "ann+shop+more@a.test": "ann",
    '"ann"@a.test': "ann",
    '"odd one"@a.test': "ann",
    "+ann@a.test": "user",
    "ann-shop@a.test": "user",
    "nobody@a.test": "user",
    "ann@b.test": "domain",
    "ann@sub.a.test": "domain",
    # the domain's own rules (RFC 5321 2.4)
    "Ann@b\u00fccher.test": "ann",
    "Ann@xn--bcher-kva.test": "ann",
    "Ann-x+y@B\u00dcCHER.test": "ann",
    "ann@b\u00fccher.test": "user",
    # catch-all
    "anything@all.test": "bob",
    "any+thing@ALL.test": "bob",
    "@all.test": "user",
    "bob@off.test": "disabled",
    "x@off.test": "disabled",
    # RFC 5321 4.5.1
    "postmaster": "root",
    "PostMaster": "root",
    "postmaster@a.test": "root",
    "POSTMASTER+x@a.test": "root",
    "Postmaster@b\u00fccher.test": "root",
    "postmaster@mail.a.test": "root",
    "postmaster@all.test": "ann",
    "POSTMASTER@all.test": "ann",
    "ann@mail.a.test": "domain",
    # no addresses
    "ann": "user",
    "": "user",
    "@": "domain",
    "a@b@a.test": "user",
    "ann\0@a.test": "user",
    "ann@a..test": "domain",
    "x" * 100 + "@a.test": "user",
}


@pytest.mark.parametrize("address", RECIPIENTS)
def test_recipient(snapshot, address):
    found = snapshot.recipient(address)
    assert (found.account if isinstance(found, Recipient) else found.reason) == RECIPIENTS[address]


def test_the_address_stays_as_given_with_its_domain_normalised(snapshot):
    assert snapshot.recipient("Ann+Shop@A.Test").address == "Ann+Shop@a.test"
    assert snapshot.recipient("nobody@a.test") == Unknown("user")


LOGINS = {
    "ann": "ann",
    "ANN": "ann",
    "ann@a.test": "ann",
    "Ann@A.test": "ann",
    "ann+x@a.test": None,
    "x@all.test": None,
    "@all.test": None,
    "bob": None,
    "bob@a.test": None,
    "nobody": None,
    "": None,
    "ann@": None,
}


@pytest.mark.parametrize("name", LOGINS)
def test_login_account(snapshot, name):
    assert snapshot.login_account(name) == LOGINS[name]


@pytest.mark.parametrize(
    ("account", "address", "may"),
    [
        ("ann", "ann@a.test", True),
        ("ann", "ann+x@A.test", True),
        ("ann", "bob@a.test", False),
        ("bob", "whoever@all.test", True),
        ("bob", "postmaster@all.test", False),
        ("ann", "ann@elsewhere.test", False),
    ],
)
def test_may_send_as(snapshot, account, address, may):
    assert snapshot.may_send_as(account, address) is may


def test_domains_by_any_spelling(snapshot):
    assert snapshot.is_local_domain("A.test") and snapshot.is_local_domain("B\u00fccher.test.")
    assert not snapshot.is_local_domain("mail.a.test") and not snapshot.is_local_domain("a b")
    assert snapshot.domain("OFF.test").disabled


def test_a_named_postmaster_wins_over_the_first_admin():
    dynamic = parse_dynamic("/x/config/domains.toml", DOMAINS.encode())
    named = Snapshot(dynamic, Static(hostname="mail.a.test", postmaster="ann"), 1)
    assert named.recipient("postmaster@a.test").account == "ann"


def test_a_broken_file_leaves_what_was_accepted(tmp_path):
    paths = Paths.home(tmp_path)
    for directory in (paths.config, paths.run):
        directory.mkdir(parents=True)
    static = Static(hostname="mail.a.test")
    paths.dynamic.write_text('[domains."a.test"]\n')
    accept(paths, static)
    paths.dynamic.write_text("[domains\n")
    with pytest.raises(ConfigError):
        accept(paths, static)
    assert load_snapshot(paths, static, 2).is_local_domain("a.test")
    (paths.run / "domains.accepted.toml").unlink()
    with pytest.raises(ConfigError, match=r"domains.toml:1: not TOML"):
        load_snapshot(paths, static, 3)
