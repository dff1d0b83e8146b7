"""SPF beyond the openspf suite: examples of RFC 7208, what the result says, limits, how DNS is asked."""

from __future__ import annotations

import asyncio
import time

import pytest

from echomox.dns import Answer, DnsTemporary
from echomox.dns.fake import FakeResolver
from echomox.mailauth.spf import RECORD, SpfResult, check_spf, explain_record

# RFC 7208 appendix A
ZONE = {
    ("example.com", "A"): ["192.0.2.10", "192.0.2.11"],
    ("example.com", "MX"): [(10, "mail-a.example.com"), (20, "mail-b.example.com")],
    ("amy.example.com", "A"): "192.0.2.65",
    ("bob.example.com", "A"): "192.0.2.66",
    ("mail-a.example.com", "A"): "192.0.2.129",
    ("mail-b.example.com", "A"): "192.0.2.130",
    ("www.example.com", "CNAME"): "example.com",
    ("example.org", "MX"): [(10, "mail-c.example.org")],
    ("mail-c.example.org", "A"): "192.0.2.140",
    ("10.2.0.192.in-addr.arpa", "PTR"): "example.com",
    ("11.2.0.192.in-addr.arpa", "PTR"): "example.com",
    ("65.2.0.192.in-addr.arpa", "PTR"): "amy.example.com",
    ("66.2.0.192.in-addr.arpa", "PTR"): "bob.example.com",
    ("129.2.0.192.in-addr.arpa", "PTR"): "mail-a.example.com",
    ("130.2.0.192.in-addr.arpa", "PTR"): "mail-b.example.com",
    ("140.2.0.192.in-addr.arpa", "PTR"): "mail-c.example.org",
    ("4.0.0.10.in-addr.arpa", "PTR"): "bob.example.com",
    ("mary.mobile-users._spf.example.com", "A"): "127.0.0.2",
}


def check(record, ip="192.0.2.10", mail_from="joe@example.com", helo="mx.example.net", **more) -> SpfResult:
    zone = {**ZONE, **more.pop("zone", {})}
    if record is not None:
        zone["example.com", "TXT"] = record
    resolver = more.pop("resolver", None) or FakeResolver(zone, secure=more.pop("secure", False))
    return asyncio.run(check_spf(resolver, ip, mail_from, helo, **more))


RFC7208_A = [
    ("v=spf1 +all", "203.0.113.9", "pass", "+all"),
    ("v=spf1 a -all", "192.0.2.10", "pass", "a"),
    ("v=spf1 a -all", "192.0.2.65", "fail", "-all"),
    ("v=spf1 a:example.org -all", "192.0.2.10", "fail", "-all"),
    ("v=spf1 mx -all", "192.0.2.129", "pass", "mx"),
    ("v=spf1 mx:example.org -all", "192.0.2.140", "pass", "mx:example.org"),
    ("v=spf1 mx mx:example.org -all", "192.0.2.140", "pass", "mx:example.org"),
    ("v=spf1 mx/30 mx:example.org/30 -all", "192.0.2.131", "pass", "mx/30"),
    ("v=spf1 ptr -all", "192.0.2.65", "pass", "ptr"),
    ("v=spf1 ptr -all", "192.0.2.140", "fail", "-all"),
    ("v=spf1 ptr -all", "10.0.0.4", "fail", "-all"),
    ("v=spf1 ip4:192.0.2.128/28 -all", "192.0.2.65", "fail", "-all"),
    ("v=spf1 ip4:192.0.2.128/28 -all", "192.0.2.129", "pass", "ip4:192.0.2.128/28"),
    ("v=spf1 -ip4:192.0.2.0/24 +all", "192.0.2.1", "fail", "-ip4:192.0.2.0/24"),
    ("v=spf1 mx:nix.example.com ?all", "192.0.2.1", "neutral", "?all"),
    ("v=spf1 mx", "192.0.2.1", "neutral", "default"),
    ("v=spf1 ~all", "::ffff:192.0.2.1", "softfail", "~all"),
    ("v=spf1 ip6:2001:db8::/32 -all", "2001:db8::1", "pass", "ip6:2001:db8::/32"),
    ("v=spf1 ip4:192.0.2.0/24 -all", "2001:db8::1", "fail", "-all"),
]


@pytest.mark.parametrize(("record", "ip", "result", "mechanism"), RFC7208_A)
def test_records_of_rfc7208_appendix_a(record, ip, result, mechanism):
    found = check(record, ip)
    assert (found.result, found.mechanism) == (result, mechanism)
    assert (found.domain, found.identity) == ("example.com", "mailfrom")


def test_a_macro_finds_the_user():
    """RFC 7208 appendix A.4."""
    record = "v=spf1 mx include:mobile-users._spf.%{d} -all"
    zone = {("mobile-users._spf.example.com", "TXT"): "v=spf1 exists:%{l1r+}.%{d}"}
    assert check(record, "203.0.113.5", "mary@example.com", zone=zone).result == "pass"
    assert check(record, "203.0.113.5", "mary+list@example.com", zone=zone).result == "pass"
    assert check(record, "203.0.113.5", "fred@example.com", zone=zone).result == "fail"


NO_RESULT = [
    (None, "192.0.2.1", "joe@example.com", "none"),
    ("v=spf1 -all", "", "joe@example.com", "none"),
    ("v=spf1 -all", "not an address", "joe@example.com", "none"),
    ("v=spf1 -all", "192.0.2.1", "joe@localhost", "none"),
    ("v=spf1 -all", "192.0.2.1", "joe@[192.0.2.1]", "none"),
    ("v=spf1 -all", "192.0.2.1", "joe@", "none"),
    (["v=spf1 -all", "v=spf1 +all"], "192.0.2.1", "joe@example.com", "permerror"),
    ("v=spf1 nonsense -all", "192.0.2.1", "joe@example.com", "permerror"),
    ("v=spf10 -all", "192.0.2.1", "joe@example.com", "none"),
    (b"v=spf1 a:\xff.example.com -all", "192.0.2.1", "joe@example.com", "permerror"),
]


@pytest.mark.parametrize(("record", "ip", "mail_from", "result"), NO_RESULT)
def test_what_has_no_result(record, ip, mail_from, result):
    found = check(record, ip, mail_from)
    assert (found.result, found.mechanism) == (result, "")


def test_a_null_sender_is_the_helo_name():
    """RFC 7208 2.4."""
    zone = {("mx.example.net", "TXT"): "v=spf1 exists:%{l}.%{o} -all", ("postmaster.mx.example.net", "A"): "127.0.0.1"}
    found = check(None, mail_from="", helo="MX.Example.NET.", zone=zone)
    assert (found.result, found.identity, found.domain) == ("pass", "helo", "mx.example.net")
    assert check(None, mail_from="", helo="").result == "none"
    assert check(None, mail_from="", helo="[192.0.2.1]").result == "none"


def test_internationalised_names():
    """RFC 8616 4: A-labels; a local part outside of ASCII matches nothing."""
    zone = {("xn--bcher-kva.example", "TXT"): "v=spf1 exists:%{l}.x.example +exists:%{o}.x.example -all"}
    zone["xn--bcher-kva.example.x.example", "A"] = "127.0.0.1"
    assert check(None, mail_from="joe@bücher.example", zone=zone).result == "pass"
    zone["xn--bcher-kva.example", "TXT"] = "v=spf1 exists:%{l}.x.example -all"
    assert check(None, mail_from="jürgen@bücher.example", zone=zone).result == "fail"


def test_the_last_at_sign_parts_the_address():
    assert check("v=spf1 +all", mail_from='"a@evil.example"@example.com').domain == "example.com"


def test_the_owner_explains_a_fail_in_one_printable_line():
    zone = {("why.example.com", "TXT"): b"%{i} may not\r\nwrite as %{s}: see http://example.com/%{S}"}
    found = check("v=spf1 exp=why.%{d} -all", "203.0.113.9", "joe user@example.com", zone=zone)
    assert found.explanation == (
        "203.0.113.9 may not  write as joe user@example.com: see http://example.com/joe%20user%40example.com"
    )
    assert check("v=spf1 exp=why.%{d} ~all", "203.0.113.9", zone=zone).explanation == ""
    assert check("v=spf1 -all").explanation == ""
    assert check("v=spf1 exp=nix.example.com -all").result == "fail"
    long = {("why.example.com", "TXT"): "x" * 5000}
    assert len(check("v=spf1 exp=why.example.com -all", zone=long).explanation) == 400


def test_an_explanation_that_does_not_come_is_no_error():
    """RFC 7208 6.2."""
    zone = {("why.example.com", "TXT"): DnsTemporary("no answer in time")}
    found = check("v=spf1 exp=why.example.com -all", "203.0.113.9", zone=zone)
    assert (found.result, found.explanation) == ("fail", "")


def test_an_explanation_of_another_record_does_not_count():
    """RFC 7208 6.2: not of included ones; of a redirect its own."""
    zone = {
        ("why.example.com", "TXT"): "mine",
        ("why.example.org", "TXT"): "other",
        ("other.example.org", "TXT"): "v=spf1 exp=why.example.org -all",
        ("plain.example.org", "TXT"): "v=spf1 -all",
    }
    assert check("v=spf1 include:other.example.org exp=why.example.com -all", zone=zone).explanation == "mine"
    assert check("v=spf1 exp=why.example.com redirect=other.example.org", zone=zone).explanation == "other"
    assert check("v=spf1 exp=why.example.com redirect=plain.example.org", zone=zone).explanation == ""


TEMPORARY = [
    ("v=spf1 include:slow.example.com -all", "temperror"),
    ("v=spf1 a:slow.example.com -all", "temperror"),
    ("v=spf1 mx:slowmx.example.com -all", "temperror"),
    ("v=spf1 ip4:192.0.2.10 include:slow.example.com -all", "pass"),  # matched before it is needed
    ("v=spf1 redirect=slow.example.com", "temperror"),
    ("v=spf1 ptr:example.com -all", "fail"),  # RFC 7208 5.5: such a name is skipped
]


@pytest.mark.parametrize(("record", "result"), TEMPORARY)
def test_dns_trouble_is_temporary(record, result):
    zone = {
        ("slowmx.example.com", "MX"): [(1, "slow.example.com")],
        ("10.2.0.192.in-addr.arpa", "PTR"): "slow.example.com",
    }
    zone["example.com", "TXT"] = record
    found = check(None, resolver=FakeResolver({**ZONE, **zone}, fail=["slow.example.com"]))
    assert found.result == result
    assert found.reason == ("DNS SERVFAIL" if result == "temperror" else "")


def test_no_answer_in_time_is_temporary():
    class Silent(FakeResolver):
        async def lookup(self, name: str, type: str) -> Answer:
            await asyncio.sleep(60)
            raise AssertionError

    found = check(None, resolver=Silent({}), timeout=0.05)
    assert (found.result, found.reason, found.domain) == ("temperror", "DNS did not answer in time", "example.com")


def chain(length: int) -> dict[tuple[str, str], str]:
    return {(f"s{n}.example.com", "TXT"): f"v=spf1 include:s{n + 1}.example.com" for n in range(length)} | {
        (f"s{length}.example.com", "TXT"): "v=spf1 +all"
    }


LIMITS = [
    ("v=spf1 include:s0.example.com -all", chain(9), "pass"),  # ten terms that ask
    ("v=spf1 include:s0.example.com -all", chain(10), "permerror"),
    ("v=spf1 a:n1.example.com a:n2.example.com +all", {}, "pass"),  # two in vain
    ("v=spf1 a:n1.example.com a:n2.example.com a:n3.example.com +all", {}, "permerror"),
    (
        "v=spf1 mx:m.example.com +all",
        {("m.example.com", "MX"): [(n, f"h{n}.example.com") for n in range(11)]},
        "permerror",
    ),
    ("v=spf1 include:example.com +all", {}, "permerror"),
    ("v=spf1 " + "ip4:192.0.2.1 " * (RECORD // 14) + "+all", {}, "permerror"),
    ("v=spf1 " + " ".join(f"a:h{n}.example.com" for n in range(11)) + " +all", ZONE, "permerror"),
]


@pytest.mark.parametrize(("record", "zone", "result"), LIMITS)
def test_limits_of_rfc7208_4_6_4(record, zone, result):
    many = {(f"h{n}.example.com", "A"): "198.51.100.1" for n in range(11)}
    found = check(record, "203.0.113.1", zone={**many, **zone})
    assert found.result == result, found
    assert len(found.asked) < 40


def test_the_largest_records_do_not_hold_us_up():
    terms = " ".join(f"ip4:198.51.{n // 250}.{n % 250}" for n in range(350))
    zone = {(f"s{n}.example.com", "TXT"): f"v=spf1 {terms} include:s{n + 1}.%{{d2}}" for n in range(12)}
    started = time.process_time()
    found = check("v=spf1 include:s0.example.com -all", "203.0.113.1", zone=zone)
    assert found.result == "permerror"
    assert time.process_time() - started < 10.0


def test_what_is_needed_is_asked_at_once():
    class Rounds(FakeResolver):
        rounds = 0
        inside = 0

        async def lookup(self, name: str, type: str) -> Answer:
            if not self.inside:
                self.rounds += 1
            self.inside += 1
            await asyncio.sleep(0)
            try:
                return await super().lookup(name, type)
            finally:
                self.inside -= 1

    zone = {
        ("example.com", "TXT"): "v=spf1 include:a.example.com include:b.example.com mx ~all",
        ("a.example.com", "TXT"): "v=spf1 ip4:198.51.100.0/24 include:a1.example.com",
        ("b.example.com", "TXT"): "v=spf1 ip4:198.51.100.0/24 -all",
        ("a1.example.com", "TXT"): "v=spf1 ip4:198.51.100.0/24",
    }
    resolver = Rounds({**ZONE, **zone})
    found = check(None, "192.0.2.130", resolver=resolver)
    assert (found.result, found.mechanism) == ("pass", "mx")
    assert resolver.rounds == 4, resolver.asked
    assert len(resolver.asked) == len(set(resolver.asked))
    early = Rounds({**ZONE, ("example.com", "TXT"): "v=spf1 ip4:192.0.2.0/24 include:a.example.com -all"})
    assert check(None, "192.0.2.130", resolver=early).result == "pass"
    assert early.asked == [("example.com", "TXT")], "what is not needed is not asked"


def test_dnssec_of_all_answers_is_told():
    assert check("v=spf1 a -all", secure=True).secure
    assert not check("v=spf1 a -all", secure=False).secure
    zone = {("other.example.org", "TXT"): "v=spf1 +all"}
    assert not check("v=spf1 include:other.example.org", zone=zone, secure=["example.com"]).secure


def test_checks_side_by_side_do_not_mix():
    async def many() -> list[str]:
        resolvers = [
            FakeResolver({**ZONE, ("example.com", "TXT"): "v=spf1 a mx -all" if n % 2 else "v=spf1 mx ~all"})
            for n in range(20)
        ]
        found = await asyncio.gather(*(check_spf(one, "192.0.2.10", "joe@example.com", "x") for one in resolvers))
        return [one.result for one in found]

    assert asyncio.run(many()) == ["softfail", "pass"] * 10


PARSED = [
    ("v=spf1 a mx -all", ["", "", ""]),
    ("v=spf1 ip4:1.2.3 ~all", ["Invalid IP4 address: ip4:1.2.3", ""]),
    ("v=spf1 include:x.example redirect=y.example", ["", ""]),
    ("v=spf1 foo", ["Unknown mechanism found: foo"]),
    ("v=spf2 a", ['a record begins with "v=spf1"']),
]


@pytest.mark.parametrize(("record", "wrong"), PARSED)
def test_a_record_is_explained_term_by_term(record, wrong):
    assert [why for _, why in explain_record(record)] == wrong


PLAIN_RECORDS = [
    "v=spf1",
    "v=spf1 ",
    "v=spf1 -all",
    "V=SPF1  IP4:192.0.2.0/24  ~ALL ",
    "v=spf1 ip4:192.0.2.10 -all",
    "v=spf1 ?ip4:192.0.2.0/28 +ip6:2001:db8::/32 -all",
    "v=spf1 -ip4:192.0.2.10 all",
    "v=spf1 ip4:192.0.2.0/0 -all",
    "v=spf1 ip4:192.0.2.0/33 -all",
    "v=spf1 ip4:192.0.2.300 -all",
    "v=spf1 ip6:2001:db8::/129 -all",
    "v=spf1 ip6:2001:db8:::1 -all",
    "v=spf1 ip4: -all",
    "v=spf1 all -all ip4:192.0.2.10",
    "v=spf1 ip4:198.51.100.7 ip4:203.0.113.0/24",
    "v=spf1 ip4:192.0.2.10 exp=why.example.com -all",
    "v=spf1 ip4:%{i} -all",
    "v=spf1 ip4:192.0.2.10 -all moo",
    "v=spf1 a -all",
]


@pytest.mark.parametrize("ip", ["192.0.2.10", "203.0.113.9", "2001:db8::7", "::ffff:192.0.2.10"])
@pytest.mark.parametrize("record", PLAIN_RECORDS)
def test_a_remembered_evaluation_is_the_evaluation(record, ip, monkeypatch):
    """What is remembered of a plain record says the same as pyspf asked anew, whoever publishes it."""

    def found():
        return check(["other text", record], ip, secure=True)

    remembered = [found(), found()]
    monkeypatch.setattr("echomox.mailauth.spf.PLAIN", -1)  # none is plain
    assert remembered == [found()] * 2


def test_a_second_record_is_an_error_also_of_plain_ones():
    assert check(["v=spf1 -all", "v=spf1 -all"]).result == "permerror"
