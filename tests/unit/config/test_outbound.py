"""Options of outgoing mail, and our own MTA-STS policy."""

import pytest
import trustme

from echomox.config.dnsrecords import Facts, records
from echomox.config.load import ConfigProblems, parse_dynamic, parse_static
from echomox.config.outbound import own_policy, own_policy_id
from echomox.config.schema import Domain, MtaSts
from echomox.tlspolicy.mtasts import parse_policy, parse_record, policy_text
from workers.operations_tls import own_tlsa

STATIC = 'hostname = "mail.example.org"\n[listeners]\nsubmission = []\nsubmissions = []\nimaps = []\nimap = []\n'


def static(tmp_path, text):
    return parse_static(tmp_path / "echomox.toml", (STATIC + text).encode()).outbound


def test_the_authorities_file_is_found_and_read(tmp_path):
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    found = static(tmp_path, '[outbound]\nca_file = "ca.pem"\nhelo = "Out.Example.org"\nsource4 = "192.0.2.1"\n')
    assert (found.ca_file, found.helo) == (str(tmp_path / "ca.pem"), "out.example.org")


@pytest.mark.parametrize(
    "line, word",
    [('ca_file = "none.pem"', "ca_file"), ('ca_file = "bad.pem"', "no PEM"), ('source4 = "::1"', "IPv4"),
     ('source6 = "x"', "IPv6"), ('helo = "x y"', "helo"), ("connect_timeout = 0.0", "connect_timeout"),
     ('family = "ipv5"', "family")],
)  # fmt: skip
def test_what_cannot_be_used_is_told(tmp_path, line, word):
    (tmp_path / "bad.pem").write_text("garbage")
    with pytest.raises(ConfigProblems, match=word):
        static(tmp_path, f"[outbound]\n{line}\n")


def domain(tmp_path, text):
    data = f'[domains."example.org"]\n[domains."example.org".mta_sts]\n{text}\n'.encode()
    return parse_dynamic(tmp_path / "domains.toml", data).domains["example.org"]


def test_our_own_policy_is_one_that_others_can_read(tmp_path):
    found = domain(tmp_path, 'mode = "enforce"\nmx = ["MX.example.org", "*.müller.example"]\nmax_age = 86400')
    policy = own_policy(found, "mail.example.org")
    assert parse_policy(policy_text(policy).encode()) == policy
    assert policy.mx == ("mx.example.org", "*.xn--mller-kva.example")


@pytest.mark.parametrize("line", ['mx = ["a b"]', 'mx = ["*"]', 'mode = "yes"', "max_age = 1"])
def test_a_policy_that_cannot_be_is_told(tmp_path, line):
    with pytest.raises(ConfigProblems, match=line.partition(" ")[0]):
        domain(tmp_path, line)


def test_the_id_in_dns_follows_the_policy():
    one, other = Domain(), Domain(mta_sts=MtaSts(mode="testing"))
    ids = {own_policy_id(found, "mail.example.org") for found in (one, one, other)}
    assert len(ids) == 2
    assert all(parse_record([f"v=STSv1; id={one}".encode()]) == one for one in ids)


def test_the_hosts_tlsa_record_is_among_the_records(tmp_path):
    pem = tmp_path / "cert.pem"
    pem.write_bytes(trustme.CA().issue_cert("mail.example.org").cert_chain_pems[0].bytes())
    tlsa = own_tlsa(str(pem))
    assert tlsa.startswith("3 1 1 ")
    assert (own_tlsa(""), own_tlsa(str(tmp_path / "none"))) == ("", "")
    facts = Facts("example.org", "mail.example.org", (), (), "1", "postmaster@example.org", tlsa=tlsa)
    assert ("_25._tcp.mail.example.org.", "TLSA", tlsa) in [record[:3] for record in records(facts)]
