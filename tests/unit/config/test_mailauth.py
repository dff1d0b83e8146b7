"""The configuration of mail authentication: what is taken, and what is named as wrong."""

import pytest

from echomox.config.checks import FIELD_NAME
from echomox.config.load import ConfigProblems, parse_dynamic, parse_static

STATIC = 'hostname = "mail.example.com"\n[listeners]\nsubmissions = []\nimaps = []\n[mailauth]\n'


def test_the_defaults_enforce_both_policies_and_trust_nobody():
    found = parse_static("echomox.toml", STATIC.encode()).mailauth
    assert (found.enforce, found.trusted_forwarders, found.trusted_sealers) == (("quarantine", "reject"), (), ())
    assert (found.timeout, found.tree_walk) == (10.0, False)


def test_names_and_networks_are_normalised():
    text = 'trusted_forwarders = ["Lists.Example.ORG", "192.0.2.1", "2001:DB8::/32", "bücher.example"]\n'
    found = parse_static("echomox.toml", (STATIC + text).encode()).mailauth
    expected = ("lists.example.org", "192.0.2.1/32", "2001:db8::/32", "xn--bcher-kva.example")
    assert found.trusted_forwarders == expected


@pytest.mark.parametrize("text, key", [
    ('trusted_forwarders = ["192.0.2.0/33"]', "mailauth.trusted_forwarders[0]"),
    ('trusted_forwarders = ["192.0.2.1/24"]', "mailauth.trusted_forwarders[0]"),  # host bits: which was meant?
    ('trusted_forwarders = ["ok.example", ""]', "mailauth.trusted_forwarders[1]"),
    ('trusted_sealers = ["a b"]', "mailauth.trusted_sealers[0]"),
    ('enforce = ["none"]', "mailauth.enforce[0]"),
    ("timeout = 0", "mailauth.timeout"),
    ("timeout = 3600", "mailauth.timeout"),
])  # fmt: skip
def test_what_is_wrong_is_named(text, key):
    with pytest.raises(ConfigProblems) as caught:
        parse_static("echomox.toml", (STATIC + text + "\n").encode())
    assert [problem[2] for problem in caught.value.problems] == [key]


def test_fields_to_sign_are_names_of_fields(tmp_path):
    (tmp_path / "k.pem").write_text("")
    text = '[domains."example.com"]\n[[domains."example.com".dkim]]\nselector = "a"\nkey = "k.pem"\n'
    found = parse_dynamic(tmp_path / "domains.toml", (text + 'headers = ["From", "X-Mine"]\nexpiry = 86400\n').encode())
    (key,) = found.domains["example.com"].dkim
    assert (key.headers, key.expiry, key.sign) == (("From", "X-Mine"), 86400, True)
    for bad in ("a b", "a:b", "a;b", "", "ü", "From:"):
        with pytest.raises(ConfigProblems, match="no name of a header field"):
            parse_dynamic(tmp_path / "domains.toml", (text + f'oversign = ["From", "{bad}"]\n').encode())
        assert not FIELD_NAME.fullmatch(bad)
