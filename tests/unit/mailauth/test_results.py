"""The fields that say what was found (RFC 8601 2.7, RFC 7208 9.1), and the evidence for the filter."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echomox.dns.types import canonical_name
from echomox.filter.learning.training import envelope_of
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
    assert evidence(found)[-3:-1] == (("spf-domain", "example.org"), ("dkim-domain", "a.example"))
    assert evidence(found)[-1] == ("helo", "pass")
    assert evidence(results(dkim=()))[1] == ("dkim", "none")


@pytest.mark.parametrize(("requested", "known"), [("none", "watched"), ("quarantine", "fail"), ("reject", "fail")])
def test_a_failure_that_the_owner_only_watches_is_so_at_training_too(requested, known):
    found = results(dmarc=DmarcResult("fail", "example.org", domain="example.org", requested=requested))
    field = authentication_results("mx", found, FACTS)
    assert b"\tdmarc=fail" in field
    assert ("dmarc", known) in evidence(found)
    assert envelope_of(field).auth == evidence(found)[:-1]


@pytest.mark.parametrize(
    "mail_from, spf, dkim, names",
    [
        ("ann@example.org", SpfResult("pass", "example.org"), (), [("spf-domain", "example.org")]),
        ("ann@Example.ORG.", SpfResult("pass", "example.org"), (), [("spf-domain", "example.org")]),
        ('"a@b c"@example.org', SpfResult("pass", "example.org"), (), [("spf-domain", "example.org")]),
        ("ä@münchen.example", SpfResult("pass", "xn--mnchen-3ya.example"), (),
         [("spf-domain", "xn--mnchen-3ya.example")]),
        ("", SpfResult("pass", "mx.example.org", "helo"), (), [("spf-domain", "mx.example.org")]),
        ("ann@example.org", SpfResult("softfail", "example.org"), (), []),
        ("ann@org", SpfResult("pass", "org"), (), []),
        (f"ann@{'a' * 60}.{'b' * 60}.{'c' * 60}.{'d' * 60}",
         SpfResult("pass", f"{'a' * 60}.{'b' * 60}.{'c' * 60}.{'d' * 60}"), (),
         [("spf-domain", f"{'a' * 60}.{'b' * 60}.{'c' * 60}.{'d' * 60}")]),
        ("", SpfResult("none"), (DkimResult("pass", "b.example"), DkimResult("fail", "c.example"),
         DkimResult("pass", "a.example"), DkimResult("pass", "b.example", reason="t header.d=evil.example")),
         [("dkim-domain", "b.example"), ("dkim-domain", "a.example")]),
        ("", SpfResult("none", reason="smtp.mailfrom=a@b.example"), (DkimResult("pass", "not a.name"),), []),
        ("", SpfResult("none"), tuple(DkimResult("pass", f"s{n}.example") for n in range(12)),
         [("dkim-domain", f"s{n}.example") for n in range(8)]),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isascii() and len(value) < 40 else "",
)  # fmt: skip
def test_the_names_that_are_proven_are_the_same_at_delivery_and_at_training(mail_from, spf, dkim, names):
    found = results(spf=spf, dkim=dkim)
    field = authentication_results("mx", found, MailFacts("192.0.2.1", "mx.example.org", mail_from, b"", (), 0.0))
    assert [pair for pair in evidence(found) if pair[0].endswith("-domain")] == names
    assert envelope_of(field).auth == evidence(found)[:-1]


WORD = st.text(st.characters(exclude_categories=("Cs",)), max_size=30) | st.sampled_from(
    ["a.example", "B.Example.", "a@b.example", "münchen.example", "x" * 330, " header.d=a.example", '";dkim=pass', "@"]
)


@given(st.lists(WORD, max_size=3).map("".join), WORD, WORD, WORD, st.sampled_from(["mailfrom", "helo"]))
def test_any_name_is_the_same_at_delivery_and_at_training(mail_from, helo, signer, reason, identity):
    domain = mail_from.rpartition("@")[2] if identity == "mailfrom" else helo
    spf = SpfResult("pass", canonical_name(domain) or "", identity, reason=reason)
    dkim = (DkimResult("pass", canonical_name(signer) or "", reason=reason), DkimResult("pass", "b.example"))
    found = results(spf=spf, dkim=dkim)
    field = authentication_results("mx", found, MailFacts("192.0.2.1", helo, mail_from, b"", (), 0.0))
    assert envelope_of(field).auth == evidence(found)[:-1]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_strangers_write_proves_no_name(text):
    text += ";dkim=pass header.d=evil.example; smtp.mailfrom=evil.example"
    facts = MailFacts("192.0.2.1", text, text, b"", (), 0.0)
    for result in ("pass", "fail"):
        dkim = DkimResult(result, text, text, text, text, text, header_b=text)
        for identity in ("mailfrom", "helo"):
            found = results(spf=SpfResult(result, text, identity, mechanism=text, reason=text), dkim=(dkim,))
            known = envelope_of(authentication_results("mx", found, facts)).auth
            assert known == evidence(found)[:-1]
            assert not any(name.endswith("-domain") for name, _ in known)


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
