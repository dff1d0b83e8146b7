"""A06, A21: certificates of an account by command, and accounts whose passwords are made up only."""

import hashlib
import ssl

import pytest
import trustme

from echomox.cli.account import fingerprint
from echomox.cli.console import CommandError
from tests.unit.cli.test_operations import site  # noqa: F401  # a fixture
from workers.operations import execute
from workers.site import Refused


def test_fingerprints(tmp_path):
    issued = trustme.CA().issue_cert("a@example.org")
    pem = issued.private_key_and_cert_chain_pem.bytes()
    der = ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())
    (tmp_path / "a.pem").write_bytes(pem)
    (tmp_path / "a.der").write_bytes(der)
    wanted = hashlib.sha256(der).hexdigest()
    shown = ":".join(wanted[place : place + 2] for place in range(0, 64, 2)).upper()
    for text in (wanted, shown, str(tmp_path / "a.pem"), str(tmp_path / "a.der")):
        assert fingerprint(text) == wanted


def test_what_is_no_certificate(tmp_path):
    (tmp_path / "x").write_bytes(b"-----BEGIN CERTIFICATE-----\nnothing")
    (tmp_path / "y").write_bytes(b"nothing")
    for text in ("", "ab", "z" * 64, str(tmp_path / "none"), str(tmp_path / "x"), str(tmp_path / "y"), str(tmp_path)):
        with pytest.raises(CommandError):
            fingerprint(text)


def test_generated_passwords_only(site):  # noqa: F811
    settings = {"generated_passwords_only": True}
    with pytest.raises(Refused, match="generated passwords only"):
        execute(site, "account.add", {"name": "gen", "addresses": [], "settings": settings, "password": "my own one"})
    assert execute(site, "account.add", {"name": "gen", "addresses": [], "settings": settings})["password"]
    with pytest.raises(Refused, match="generated passwords only"):
        execute(site, "account.set-password", {"name": "gen", "password": "my own one"})
    assert execute(site, "account.set-password", {"name": "gen"})["password"]


def test_certificates_belong_to_one_account_and_are_fingerprints(site):  # noqa: F811
    one = "ab" * 32
    names = [account["name"] for account in execute(site, "account.list", {})["accounts"]]
    execute(site, "account.add", {"name": "other", "addresses": []})
    execute(site, "account.set", {"name": names[0], "settings": {"client_certificates": [one]}})
    for wrong in (one, "AB" * 32, "ab"):
        with pytest.raises(Refused):
            execute(site, "account.set", {"name": "other", "settings": {"client_certificates": [wrong]}})
