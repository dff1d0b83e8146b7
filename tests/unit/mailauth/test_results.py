"""The fields that say what was found (RFC 8601 2.7, RFC 7208 9.1), and the evidence for the filter."""

import re

import pytest

from echomox.filter.training import envelope_of
from echomox.mailauth.arc import ArcResult
from echomox.mailauth.check import AuthResults, MailFacts
from echomox.mailauth.dkim import DkimResult
from echomox.mailauth.dmarc import DmarcResult, parse_record
from echomox.mailauth.iprev import IprevResult
from echomox.mailauth.results import authentication_results, evidence, received_spf
from echomox.mailauth.spf import RESULTS, SpfResult

FACTS = MailFacts("192.0.2.1", "mx.example.org", "ann@example.org", b"", ("example.org",), 0.0)
RECORD = parse_record(b"v=DMARC1; p=reject")


def results(**more):
    values = {
        "spf": SpfResult("pass", "example.org", mechanism="ip4:192.0.2.0/24"),
        "dkim": (DkimResult("pass", "example.org", "s1", "@example.org", "rsa-sha256", header_b="AbCd/+12"),),
        "dmarc": DmarcResult("pass", "example.org", domain="example.org", record=RECORD),
        "arc": ArcResult(),
        "iprev": IprevResult("pass", ("mx.example.org",)),
        "helo": "pass",
    }
    return AuthResults(**{**values, **more})


def test_a_mail_that_passes():
    assert authentication_results("mx.test.example", results(), FACTS) == (
        b"Authentication-Results: mx.test.example;\r\n"
        b"\tspf=pass smtp.mailfrom=ann@example.org;\r\n"
        b"\tdkim=pass header.d=example.org header.s=s1 header.a=rsa-sha256\r\n"
        b'\t header.b="AbCd/+12";\r\n'
        b"\tdmarc=pass header.from=example.org polrec.p=reject\r\n"
        b"\t polrec.domain=example.org;\r\n"
        b"\tiprev=pass policy.iprev=192.0.2.1\r\n"
    )


def test_a_mail_that_has_nothing():
    found = results(
        spf=SpfResult("none", "mx.example.org", "helo"), dkim=(), dmarc=DmarcResult("none", "example.org"),
        iprev=IprevResult("fail"),
    )  # fmt: skip
    assert authentication_results("mx", found, FACTS) == (
        b"Authentication-Results: mx;\r\n\tspf=none smtp.helo=mx.example.org;\r\n\tdkim=none;\r\n"
        b"\tdmarc=none header.from=example.org;\r\n\tiprev=fail policy.iprev=192.0.2.1\r\n"
    )


def test_reasons_and_a_chain():
    found = results(
        spf=SpfResult("temperror", "example.org", reason="SERVFAIL; dkim=pass"),
        dkim=(DkimResult("fail", "example.org", "s1", reason="the body was changed"), DkimResult("neutral")),
        arc=ArcResult("pass"),
    )
    text = authentication_results("mx", found, FACTS)
    assert b'spf=temperror reason="SERVFAIL, dkim=pass" smtp.mailfrom' in text
    assert b'dkim=fail reason="the body was changed" header.d=example.org' in text
    assert b"\tdkim=neutral;\r\n" in text
    assert b"\tarc=pass header.oldest-pass=0 smtp.remote-ip=192.0.2.1" in text


HOSTILE = [
    'x"@example.org', "a b\r\nX-Evil: 1@example.org", "ä@ü.example", "a;dmarc=pass@x", "x dmarc=pass", "(", "\\", "\0",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_strangers_cannot_write_results(text):
    facts = MailFacts("192.0.2.1", text, text, b"", (), 0.0)
    dkim = DkimResult("fail", text, text, text, text, text, header_b=text)
    found = results(spf=SpfResult("fail", text), dkim=(dkim,))
    for identity in ("mailfrom", "helo"):
        spf = SpfResult("fail", text, identity, mechanism=text, reason=text)
        for field in (authentication_results("mx", found, facts), received_spf("mx", spf, facts)):
            assert field.isascii()
            assert b"\0" not in field
            assert field.endswith(b"\r\n")
            assert all(line[:1] in b"\t " for line in field[:-2].split(b"\r\n")[1:])
        # Outside of quotes there are only the results that were found.
        bare = re.sub(rb'"(?:[^"\\]|\\.)*"', b"", authentication_results("mx", found, facts))
        assert re.findall(rb"[;\s](spf|dkim|dmarc|iprev)=([a-z]+)", bare) == [
            (b"spf", b"fail"), (b"dkim", b"fail"), (b"dmarc", b"pass"), (b"iprev", b"pass"),
        ]  # fmt: skip


def test_the_filter_learns_by_the_same_results_as_it_judges_by():
    """`training.envelope_of` reads them from the stored field."""
    found = results(dkim=(DkimResult("pass", "a.example"), DkimResult("fail", "b.example")), arc=ArcResult("fail"))
    field = authentication_results("mx", found, FACTS)
    assert envelope_of(field).auth == evidence(found)[:-1]
    assert evidence(found)[-1] == ("helo", "pass")
    assert evidence(results(dkim=()))[1] == ("dkim", "none")


def test_received_spf():
    """RFC 7208 9.1."""
    assert received_spf("mx.test.example", results().spf, FACTS) == (
        b"Received-SPF: pass (mx.test.example: domain of ann@example.org designates\r\n"
        b"\t192.0.2.1 as permitted sender) client-ip=192.0.2.1;\r\n"
        b'\tenvelope-from="ann@example.org"; helo=mx.example.org; identity=mailfrom;\r\n'
        b'\treceiver=mx.test.example; mechanism="ip4:192.0.2.0/24"\r\n'
    )


@pytest.mark.parametrize("result", RESULTS)
def test_every_spf_result_can_be_written(result):
    field = received_spf("mx", SpfResult(result, "example.org", "helo", reason="why"), FACTS)
    assert field.startswith(b"Received-SPF: " + result.encode() + b" (mx: domain of postmaster@mx.example.org ")
    assert (b'problem=why' in field) == (result in ("temperror", "permerror"))
    assert all(len(line) <= 78 for line in field.split(b"\r\n"))
