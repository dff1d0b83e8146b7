"""DMARC: the record, where it is found, alignment, the policy. RFC 7489, RFC 9091, RFC 9989 (tree walk)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from echomox.dns import DnsTemporary
from echomox.dns.fake import FakeResolver
from echomox.mailauth.dmarc import check_authors, check_dmarc, find_record, verify_report_destination
from echomox.mailauth.dmarcrecord import DmarcRecord, ReportUri, is_dmarc, parse_record, report_uris


@dataclass
class Result:
    result: str = "none"
    domain: str = ""


NO_SPF = Result()
SLOW = DnsTemporary("no answer in time")

# -- the record -----------------------------------------------------------------

RECORDS = [
    # RFC 7489 appendix B.2
    (
        b"v=DMARC1; p=none; rua=mailto:dmarc-feedback@example.com; ruf=mailto:auth-reports@example.com",
        {
            "p": "none",
            "rua": (ReportUri("mailto:dmarc-feedback@example.com", "dmarc-feedback@example.com"),),
            "ruf": (ReportUri("mailto:auth-reports@example.com", "auth-reports@example.com"),),
        },
    ),
    (
        b"v=DMARC1; p=quarantine; rua=mailto:dmarc-feedback@example.com, mailto:tld-test@thirdparty.example.net!10m; "
        b"pct=25",
        {
            "p": "quarantine",
            "sp": "quarantine",
            "np": "quarantine",
            "pct": 25,
            "rua": (
                ReportUri("mailto:dmarc-feedback@example.com", "dmarc-feedback@example.com"),
                ReportUri("mailto:tld-test@thirdparty.example.net", "tld-test@thirdparty.example.net", 10 << 20),
            ),
        },
    ),
    (b"v=DMARC1;p=reject", {"p": "reject", "sp": "reject", "np": "reject"}),
    (b"v=DMARC1; p=reject; sp=none", {"p": "reject", "sp": "none", "np": "none"}),
    (b"v=DMARC1; p=reject; sp=none; np=reject", {"p": "reject", "sp": "none", "np": "reject"}),
    (b"v=DMARC1; p=none; np=reject", {"p": "none", "sp": "none", "np": "reject"}),
    (
        b"V = DMARC1 ; P = Reject ; ADKIM=S; aspf = s ;;",
        {"p": "reject", "sp": "reject", "np": "reject", "adkim": "s", "aspf": "s"},
    ),
    (b"v=DMARC1; foo=bar; p=reject; x; =; 1=2", {"p": "reject", "sp": "reject", "np": "reject"}),  # unknown tags
    (b"v=DMARC1; p=none; adkim=x; aspf=; pct=101; ri=-5; fo=z; rf=iodef; t=maybe; psd=x", {}),  # defaults, RFC 7489 6.3
    (b"v=DMARC1; p=none; fo=1:d:s:x; ri=3600; pct=0", {"fo": ("1", "d", "s"), "ri": 3600, "pct": 0}),
    (b"v=DMARC1; p=none; p=reject", {"p": "none"}),
    (b"v=DMARC1; p=none; psd=y; t=y", {"psd": "y", "testing": True}),
    # RFC 7489 6.6.3, step 6
    (b"v=DMARC1; p=bogus; rua=mailto:a@b.example", {"rua": (ReportUri("mailto:a@b.example", "a@b.example"),)}),
    (
        b"v=DMARC1; p=reject; sp=bogus; rua=mailto:a@b.example",
        {"rua": (ReportUri("mailto:a@b.example", "a@b.example"),)},
    ),
    (b"v=DMARC1; rua=mailto:a@b.example", {"rua": (ReportUri("mailto:a@b.example", "a@b.example"),)}),
    (b"v=DMARC1; p=bogus; rua=nonsense", None),
    (b"v=DMARC1; p=bogus", None),
    (b"v=DMARC1", None),
    (b"v=DMARC1; p=reject; sp=bogus", None),
    (b"v=DMARC2; p=reject", None),
    (b"v=dmarc1; p=reject", None),
    (b"v=DMARC10; p=reject", None),
    (b"p=reject; v=DMARC1", None),
    (b" v=DMARC1; p=reject", None),
    (b"v=spf1 -all", None),
    (b"", None),
    (b"v=DMARC1; p=reject; " + b"x" * 10_000, None),
]


@pytest.mark.parametrize(("text", "fields"), RECORDS)
def test_a_record_is_read(text, fields):
    found = parse_record(text)
    expected = None if fields is None else DmarcRecord(**fields, text=text.decode())
    assert found == expected


URIS = [
    ("mailto:a@example.org!50k", [("mailto:a@example.org", "a@example.org", 51_200)]),
    ("mailto:a@example.org!1G , MAILTO:b@example.org!7", [
        ("mailto:a@example.org", "a@example.org", 1 << 30), ("MAILTO:b@example.org", "b@example.org", 7)]),
    ("mailto:a%2Bb@example.org", [("mailto:a%2Bb@example.org", "a+b@example.org", 0)]),
    ("mailto:a@example.org?subject=x", [("mailto:a@example.org?subject=x", "a@example.org", 0)]),
    ("https://example.org/report", [("https://example.org/report", "", 0)]),
    ("mailto:a@example.org,mailto:a@example.org", [("mailto:a@example.org", "a@example.org", 0)]),
    ("mailto:, mailto:x, mailto:@example.org, mailto:a@, ftp://x.example/, //, http:, a@example.org", []),
    ("mailto:a%0d%0ab@example.org, mailto:a b@example.org, mailto:ü@example.org, mailto:a@b..%20c", []),
    ("", []),
]  # fmt: skip


@pytest.mark.parametrize(("text", "found"), URIS)
def test_report_uris(text, found):
    assert [(uri.uri, uri.address, uri.size) for uri in report_uris(text)] == found


def test_uris_are_limited():
    assert len(report_uris(",".join(f"mailto:a{n}@example.org" for n in range(1000)))) == 20


# -- where it is found ----------------------------------------------------------


def find(domain, tables, tree_walk=False):
    records = {(name, "TXT"): value for name, value in tables.items()}
    resolver = FakeResolver(records)
    found = asyncio.run(find_record(resolver, domain, tree_walk=tree_walk))
    return found, [name for name, _ in resolver.asked]


def test_the_authors_domain_comes_before_the_organisational():
    """RFC 7489 6.6.3."""
    tables = {"_dmarc.example.com": "v=DMARC1; p=none", "_dmarc.mail.example.com": "v=DMARC1; p=reject"}
    found, asked = find("Mail.Example.COM.", tables)
    assert (found.domain, found.record.p, found.organisation) == ("mail.example.com", "reject", "example.com")
    assert asked == ["_dmarc.mail.example.com"]
    found, asked = find("a.b.example.com", tables)
    assert (found.domain, found.record.p) == ("example.com", "none")
    assert asked == ["_dmarc.a.b.example.com", "_dmarc.example.com"]


NOT_FOUND = [
    {},
    {"_dmarc.example.com": ["v=DMARC1; p=reject", "v=DMARC1; p=none"]},  # step 5: several are none
    {"_dmarc.example.com": ["v=spf1 -all", "text"]},
    {"_dmarc.example.com": "v=DMARC1; p=bogus"},
    {"example.com": "v=DMARC1; p=reject"},
]


@pytest.mark.parametrize("tables", NOT_FOUND)
@pytest.mark.parametrize("tree_walk", [False, True])
def test_no_policy(tables, tree_walk):
    found, _ = find("example.com", tables, tree_walk)
    assert found.record is None


@pytest.mark.parametrize("own", [["v=DMARC1; p=reject", "v=DMARC1; p=none"], ["v=DMARC1; p=bogus"]])
def test_records_of_no_use_are_not_replaced_by_those_of_the_organisation(own):
    """RFC 7489 6.6.3, steps 3 and 5: only a name without records leads further."""
    tables = {"_dmarc.mail.example.com": own, "_dmarc.example.com": "v=DMARC1; p=reject"}
    found, asked = find("mail.example.com", tables)
    assert (found.record, found.domain, found.organisation) == (None, "", "example.com")
    assert asked == ["_dmarc.mail.example.com"]


def test_a_record_above_the_organisation_counts_for_the_walk_only():
    """RFC 9989 4.10.2, rule 3: without psd=y it is that of the organisation itself."""
    tables = {"_dmarc.com": "v=DMARC1; p=reject"}
    assert find("example.com", tables)[0].record is None
    found, _ = find("example.com", tables, tree_walk=True)
    assert (found.domain, found.organisation) == ("com", "com")


def test_other_txt_records_do_not_count():
    found, _ = find("example.com", {"_dmarc.example.com": ["text", "v=DMARC1; p=reject", b"\xff"]})
    assert found.record.p == "reject"


def test_the_walk_goes_up_in_at_most_eight_steps():
    """RFC 9989 4.10: a.b.c.d.e.f.g.h.i.j.mail.example.com."""
    _, asked = find("a.b.c.d.e.f.g.h.i.j.mail.example.com", {}, tree_walk=True)
    assert asked == [
        "_dmarc.a.b.c.d.e.f.g.h.i.j.mail.example.com",
        "_dmarc.g.h.i.j.mail.example.com",
        "_dmarc.h.i.j.mail.example.com",
        "_dmarc.i.j.mail.example.com",
        "_dmarc.j.mail.example.com",
        "_dmarc.mail.example.com",
        "_dmarc.example.com",
        "_dmarc.com",
    ]


NONE, REJECT = "v=DMARC1; p=none", "v=DMARC1; p=reject"
WALKS = [
    # (author, records, where the policy is, the organisational domain)
    ("example.com", {"example.com": NONE}, "example.com", "example.com"),
    ("a.mail.example.com", {"mail.example.com": REJECT, "example.com": NONE}, "example.com", "example.com"),
    ("a.mail.example.com", {"a.mail.example.com": REJECT, "example.com": NONE}, "a.mail.example.com", "example.com"),
    # psd=n: the owner says that this is the organisational domain
    (
        "a.mail.example.com",
        {"mail.example.com": NONE + "; psd=n", "example.com": NONE},
        "mail.example.com",
        "mail.example.com",
    ),
    # psd=y: the domain below it is
    ("a.b.giant.bank.example", {"bank.example": REJECT + "; psd=y"}, "bank.example", "giant.bank.example"),
    (
        "a.giant.bank.example",
        {"giant.bank.example": NONE, "bank.example": REJECT + "; psd=y"},
        "giant.bank.example",
        "giant.bank.example",
    ),
    # a public suffix that sends mail itself
    ("bank.example", {"bank.example": REJECT + "; psd=y"}, "bank.example", "bank.example"),
    ("a.example.com", {}, "", "a.example.com"),
    # a record whose policy is missing or bad still says where the organisation begins, and nothing takes its place
    ("a.giant.bank.example", {"bank.example": "v=DMARC1; psd=y"}, "", "giant.bank.example"),
    ("a.mail.example.com", {"mail.example.com": "v=DMARC1; psd=n", "example.com": REJECT}, "", "mail.example.com"),
    ("a.example.com", {"a.example.com": "v=DMARC1; p=bogus", "example.com": REJECT}, "", "example.com"),
    # of several records at one name none counts, and the walk goes on
    ("a.example.com", {"a.example.com": [REJECT, NONE], "example.com": NONE}, "example.com", "example.com"),
    ("a.example.com", {"a.example.com": "v=DMARC1; rua=mailto:a@b.example"}, "a.example.com", "a.example.com"),
]


@pytest.mark.parametrize(("author", "records", "domain", "organisation"), WALKS)
def test_the_walk_finds_policy_and_organisation(author, records, domain, organisation):
    found, _ = find(author, {f"_dmarc.{name}": record for name, record in records.items()}, tree_walk=True)
    assert (found.domain, found.organisation) == (domain, organisation)


# -- the check ------------------------------------------------------------------


def check(author, record, spf=NO_SPF, dkim=(), zone=None, **how):
    tables = {("_dmarc.example.com", "TXT"): record, **(zone or {})}
    return asyncio.run(check_dmarc(FakeResolver(tables), author, spf, dkim, **how))


PASS_COM = Result("pass", "example.com")
ALIGNED = [
    # (author, mode, what has passed, aligned?); RFC 7489 3.1, appendix B.1
    ("example.com", "r", "example.com", True),
    ("example.com", "s", "example.com", True),
    ("example.com", "s", "Example.COM", True),
    ("example.com", "r", "child.example.com", True),
    ("example.com", "s", "child.example.com", False),
    ("child.example.com", "r", "example.com", True),
    ("child.example.com", "r", "other.example.com", True),
    ("child.example.com", "s", "example.com", False),
    ("example.com", "r", "sample.net", False),
    ("example.com", "r", "notexample.com", False),
    ("example.com", "r", "com", False),
    ("example.com", "r", "", False),
]


@pytest.mark.parametrize("tree_walk", [False, True])
@pytest.mark.parametrize(("author", "mode", "domain", "aligned"), ALIGNED)
def test_alignment(author, mode, domain, aligned, tree_walk):
    record = f"v=DMARC1; p=reject; adkim={mode}; aspf={mode}"
    passed = Result("pass", domain)
    by_spf = check(author, record, passed, tree_walk=tree_walk)
    assert (by_spf.result, by_spf.aligned_spf, by_spf.aligned_dkim) == ("pass" if aligned else "fail", aligned, False)
    by_dkim = check(author, record, dkim=[Result("fail", author), passed], tree_walk=tree_walk)
    assert (by_dkim.result, by_dkim.aligned_spf, by_dkim.aligned_dkim) == (
        "pass" if aligned else "fail",
        False,
        aligned,
    )
    assert by_dkim.reject is not aligned


def test_neighbours_under_a_public_suffix_are_strangers():
    tables = {("_dmarc.a.github.io", "TXT"): REJECT}
    assert check("a.github.io", REJECT, Result("pass", "b.github.io"), zone=tables).result == "fail"
    tables = {("_dmarc.bank.example", "TXT"): REJECT + "; psd=y"}
    found = check("a.bank.example", REJECT, Result("pass", "b.bank.example"), zone=tables, tree_walk=True)
    assert (found.result, found.organisation) == ("fail", "a.bank.example")


RESULTS = [
    # (spf, dkim, result)
    (Result("fail", "example.com"), [], "fail"),
    (Result("softfail", "example.com"), [Result("permerror", "example.com")], "fail"),
    (Result("temperror", "example.com"), [], "temperror"),
    (NO_SPF, [Result("temperror", "example.com")], "temperror"),
    (Result("temperror", "example.com"), [PASS_COM], "pass"),
    (Result("temperror", "sample.net"), [Result("temperror", "sample.net")], "fail"),  # cannot matter
]


@pytest.mark.parametrize(("spf", "dkim", "result"), RESULTS)
def test_trouble_counts_only_where_it_could_have_passed(spf, dkim, result):
    found = check("example.com", REJECT, spf, dkim)
    assert found.result == result
    assert found.policy == ("reject" if result == "fail" else "none")
    assert bool(found.reason) == (result == "temperror")


def test_dns_trouble_is_no_policy():
    found = check("example.com", SLOW)
    assert (found.result, found.policy, found.reason) == ("temperror", "none", "no answer in time")
    assert check("nix.example", REJECT).result == "none"
    assert check("", REJECT).result == "permerror"
    assert check("a..b", REJECT).result == "permerror"


EXISTS = {("sub.example.com", "A"): "192.0.2.1"}
POLICIES = [
    # (author, record, zone, tag, requested)
    ("example.com", "v=DMARC1; p=reject; sp=none; np=quarantine", {}, "p", "reject"),
    ("sub.example.com", "v=DMARC1; p=reject; sp=quarantine", {}, "sp", "quarantine"),
    ("sub.example.com", "v=DMARC1; p=none; sp=quarantine; np=reject", EXISTS, "sp", "quarantine"),
    ("sub.example.com", "v=DMARC1; p=none; sp=quarantine; np=reject", {}, "np", "reject"),  # RFC 9091
    ("sub.example.com", "v=DMARC1; p=none; np=reject", {}, "np", "reject"),
    ("sub.example.com", "v=DMARC1; p=reject", {}, "sp", "reject"),
]


@pytest.mark.parametrize("tree_walk", [False, True])
@pytest.mark.parametrize(("author", "record", "zone", "tag", "requested"), POLICIES)
def test_which_policy_holds(author, record, zone, tag, requested, tree_walk):
    found = check(author, record, zone=zone, tree_walk=tree_walk)
    assert (found.result, found.tag, found.requested, found.policy) == ("fail", tag, requested, requested)
    assert found.domain == "example.com"


def test_a_name_with_other_records_exists_for_the_walk_only():
    """RFC 9091 2.6 wants A, AAAA or MX; RFC 9989 3.2 that the name is there."""
    zone = {("sub.example.com", "TXT"): "text"}
    record = "v=DMARC1; p=none; sp=none; np=reject"
    assert check("sub.example.com", record, zone=zone).tag == "np"
    assert check("sub.example.com", record, zone=zone, tree_walk=True).tag == "sp"


def test_existence_that_is_not_known_is_a_temperror():
    zone = {("sub.example.com", "MX"): SLOW}
    assert check("sub.example.com", "v=DMARC1; p=none; np=reject", zone=zone).result == "temperror"


SAMPLES = [
    # (p, pct, draw, policy); RFC 7489 6.6.4
    ("reject", 100, 0.999999, "reject"),
    ("reject", 25, 0.24, "reject"),
    ("reject", 25, 0.25, "quarantine"),
    ("reject", 0, 0.0, "quarantine"),
    ("quarantine", 25, 0.9, "none"),
    ("none", 0, 0.9, "none"),
]


@pytest.mark.parametrize(("p", "pct", "draw", "policy"), SAMPLES)
def test_pct_takes_a_part_of_the_mail(p, pct, draw, policy):
    found = check("example.com", f"v=DMARC1; p={p}; pct={pct}", draw=draw)
    assert (found.requested, found.policy, found.sampled) == (p, policy, draw * 100 < pct)


def test_rfc9989_has_t_instead_of_pct():
    assert check("example.com", "v=DMARC1; p=reject; pct=0", tree_walk=True).policy == "reject"
    for p, applied in (("reject", "quarantine"), ("quarantine", "none"), ("none", "none")):  # RFC 9989 4.7: t
        testing = check("example.com", f"v=DMARC1; p={p}; t=y", tree_walk=True)
        assert (testing.requested, testing.policy) == (p, applied)
    assert check("example.com", "v=DMARC1; p=reject; t=y").policy == "reject"


AUTHORS = {
    ("_dmarc.none.example", "TXT"): NONE,
    ("_dmarc.quarantine.example", "TXT"): "v=DMARC1; p=quarantine",
    ("_dmarc.reject.example", "TXT"): REJECT,
    ("_dmarc.slow.example", "TXT"): SLOW,
}
STRICTEST = [
    (["none.example", "reject.example", "quarantine.example"], "pass-nothing", "reject.example", "fail"),
    (["none.example", "reject.example", "quarantine.example"], "reject.example", "quarantine.example", "fail"),
    (["reject.example", "without.example"], "reject.example", "without.example", "none"),  # one pass is not enough
    (["reject.example", "slow.example"], "reject.example", "slow.example", "temperror"),
    (["reject.example", "slow.example"], "pass-nothing", "reject.example", "fail"),
    (["reject.example", "Reject.EXAMPLE."], "reject.example", "reject.example", "pass"),
    (["none.example", "without.example"], "pass-nothing", "none.example", "fail"),
]


@pytest.mark.parametrize(("authors", "passed", "chosen", "result"), STRICTEST)
def test_of_several_authors_the_strictest_counts(authors, passed, chosen, result):
    found = asyncio.run(check_authors(FakeResolver(AUTHORS), authors, Result("pass", passed), []))
    assert (found.from_domain, found.result) == (chosen, result)


@pytest.mark.parametrize("authors", [[], [""], ["a..b"], [f"a{n}.example" for n in range(11)]])
def test_a_from_without_a_usable_domain_is_a_permerror(authors):
    assert asyncio.run(check_authors(FakeResolver(AUTHORS), authors, NO_SPF, [])).result == "permerror"


# -- reports --------------------------------------------------------------------

# RFC 7489 7.1 and appendix B.2.3
REPORTS = {
    ("example.com._report._dmarc.thirdparty.example.net", "TXT"): "v=DMARC1;",
    ("a.example.com._report._dmarc.other.example.net", "TXT"): ["text", "v=DMARC1; rua=mailto:in@other.example.net!5m"],
    ("b.example.com._report._dmarc.other.example.net", "TXT"): "v=DMARC1; rua=mailto:in@victim.example",
    ("c.example.com._report._dmarc.other.example.net", "TXT"): "text",
    ("slow.example.com._report._dmarc.other.example.net", "TXT"): SLOW,
}
DESTINATIONS = [
    ("example.com", "example.com", True, ()),
    ("mail.example.com", "reports.Example.com", True, ()),
    ("example.com", "thirdparty.example.net", True, ()),
    ("example.org", "thirdparty.example.net", False, ()),
    ("a.example.com", "other.example.net", True, ("in@other.example.net",)),
    ("b.example.com", "other.example.net", True, ()),  # step 7: not to another host
    ("c.example.com", "other.example.net", False, ()),
    ("", "example.com", False, ()),
    ("x" * 63 + "." + "y" * 63 + ".example.com", "z" * 63 + "." + "w" * 63 + ".example.net", False, ()),
]


@pytest.mark.parametrize(("policy", "target", "allowed", "instead"), DESTINATIONS)
def test_who_may_get_reports(policy, target, allowed, instead):
    found = asyncio.run(verify_report_destination(FakeResolver(REPORTS), policy, target))
    assert (found.allowed, tuple(uri.address for uri in found.rua)) == (allowed, instead)


def test_a_destination_that_is_not_known_is_temporary():
    with pytest.raises(DnsTemporary):
        asyncio.run(verify_report_destination(FakeResolver(REPORTS), "slow.example.com", "other.example.net"))


def test_only_dmarc_records_are_dmarc_records():
    assert is_dmarc(b"v=DMARC1") and is_dmarc(b"v = DMARC1 ;x")
    assert not is_dmarc(b"v=DMARC1 p=none") and not is_dmarc(b"xv=DMARC1;")
