"""DNS and what is published in it, under arbitrary input.

1. Any bytes as a reply: parsed to a Reply or a BadReply, and as dnspython sees it where that accepts them. 2. Bytes
with another id, or to another question, are as if they had not come. 3. Any text as SPF or DMARC records: a result of
the RFC, in bounded time. 4. Any names: asked as valid ones or not at all.

HYPOTHESIS_PROFILE=long for the long run.
"""

from __future__ import annotations

import asyncio
import os
import time

import dns.exception
import dns.message
import dns.rdatatype
import dns.rrset
from hypothesis import given, settings
from hypothesis import strategies as st

from echomox.dns import DnsTemporary, canonical_name
from echomox.dns.codec import BadReply, answers, parse, query, question
from echomox.dns.fake import FakeResolver
from echomox.dns.psl import organisational_domain
from echomox.dns.stub import StubResolver
from echomox.dns.system import nameservers
from echomox.mailauth.dmarc import check_authors, find_record, verify_report_destination
from echomox.mailauth.dmarcrecord import POLICIES, parse_record
from echomox.mailauth.iprev import check_iprev
from echomox.mailauth.spf import RESULTS, SpfResult, check_spf, explain_record
from tests.nameserver import NameServer

settings.register_profile("long", max_examples=20_000, deadline=None)
settings.register_profile("short", max_examples=200, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))

ASKED = question("example.org", 15)


def sample() -> bytes:
    """A reply with every kind of record, names compressed."""
    message = dns.message.make_response(dns.message.make_query("example.org", "MX", id=7, want_dnssec=True))
    for type, text in (
        ("MX", "10 mx.example.org."), ("TXT", '"v=spf1 -all" "x"'), ("A", "192.0.2.1"), ("AAAA", "2001:db8::1"),
        ("TLSA", "3 1 1 " + "ab" * 32), ("CAA", '0 issue "ca.example"'), ("SRV", "1 2 3 imap.example.org."),
        ("PTR", "host.example.org."), ("CNAME", "other.example.org."), ("DS", "1 13 2 " + "cd" * 32),
    ):  # fmt: skip
        message.answer.append(dns.rrset.from_text("www.example.org.", 300, "IN", type, text))
    message.authority.append(
        dns.rrset.from_text("example.org.", 300, "IN", "SOA", "ns.example.org. a.example.org. 1 2 3 4 5")
    )
    return message.to_wire()


WIRE = sample()


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """The sample with bytes changed, cut out, put in or cut off."""
    wire = bytearray(WIRE)
    for _ in range(draw(st.integers(0, 6))):
        place = draw(st.integers(0, max(0, len(wire) - 1)))
        kind = draw(st.integers(0, 3))
        if kind == 0 and wire:
            wire[place] = draw(st.integers(0, 255))
        elif kind == 1:
            wire[place:place] = draw(st.binary(max_size=4))
        elif kind == 2:
            del wire[place : place + draw(st.integers(1, 4))]
        else:
            del wire[place:]
    return bytes(wire)


@given(st.one_of(damaged(), st.binary(max_size=600)))
def test_any_reply_is_parsed_or_refused(wire):
    try:
        reply = parse(wire)
    except BadReply:
        return
    for (name, _), (values, ttl) in reply.records.items():
        assert name == name.lower() and name.isascii() and name.isprintable() and values
        assert 0 <= ttl <= 0x7FFFFFFF
    assert reply.negative_ttl is None or 0 <= reply.negative_ttl <= 0x7FFFFFFF
    reply.trouble()


@given(damaged())
def test_what_dnspython_reads_we_read_alike(wire):
    try:
        theirs = dns.message.from_wire(wire, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError):
        return
    plain = [rrset for rrset in theirs.answer if rrset.rdclass == 1 and len(rrset)]
    try:
        ours = parse(wire)
    except BadReply:
        return  # stricter on pointers and lengths than dnspython; the other way round is what must not be
    assert ours.rcode == theirs.rcode() and ours.authentic == bool(theirs.flags & 0x20)
    for rrset in plain:
        type = dns.rdatatype.to_text(rrset.rdtype)
        if type in ("A", "AAAA"):
            matching = [values for (_, kind), (values, _) in ours.records.items() if kind == type]
            assert {rdata.address for rdata in rrset} <= {value for values in matching for value in values}


def test_the_sample_is_read_whole():
    assert len(parse(WIRE).records) == 10 and parse(WIRE).negative_ttl == 5


@given(st.binary(max_size=200), st.integers(0, 65535))
def test_only_replies_to_our_question_are_ours(tail, flags):
    right = WIRE[:2] + flags.to_bytes(2, "big") + WIRE[4:]
    if answers(right, ASKED):
        assert flags & 0x8000 and not flags & 0x7800
    if tail[: len(ASKED)].lower() != ASKED and len(tail) > 52:
        assert not answers(WIRE[:12] + tail, ASKED)


@given(st.lists(st.one_of(damaged(), st.binary(max_size=80)), max_size=8))
@settings(max_examples=40)
def test_garbage_on_the_wire_neither_crashes_nor_is_believed(packets):
    async def run() -> None:
        async with NameServer({("example.org", "MX"): ["10 mx.example.org."]}) as server:
            true = server.replies

            def replies(wire: bytes, how: str) -> list[bytes]:
                number = int.from_bytes(wire[:2], "big") ^ 1
                return [*(number.to_bytes(2, "big") + packet[2:] for packet in packets), *true(wire, how)]

            server.replies = replies
            resolver = StubResolver(lambda: [("127.0.0.1", server.port)])
            assert (await resolver.lookup("example.org", "MX")).values[0].host == "mx.example.org"
            server.replies = lambda wire, how: [wire[:2] + packet[2:] for packet in packets]
            resolver._timeout = 0.03
            try:
                await resolver.lookup("example.org", "TXT")
            except DnsTemporary:
                pass
            await resolver.close()

    asyncio.run(run())


TERM = st.sampled_from(
    [
        "v=spf1", "a", "mx", "ptr", "-all", "+all", "?all", "~all", "include:example.org", "include:b.example.org",
        "redirect=b.example.org", "exp=e.example.org", "exists:%{i}.example.org", "exists:%{l1r+-}._.%{d2}",
        "a:%{p}.example.org",
        "ip4:192.0.2.1", "ip4:192.0.2.0/33", "ip6:::1/64", "ip6:x", "a/24//64", "mx/0",
        "a:" + "x" * 70, "%", "%{", "%{z}",
        "%{d999999999999999999999}", "a/99999999999999999999", "redirect=", "include:", "exp=", ":", "=", "/", "\0",
        "exists:%{s}%{o}%{h}%{v}%{t}", "a:\u00fc.example", "default=x", "op=y", "include:%{d}", "exists:%{l}" * 50,
    ]
)  # fmt: skip
RECORD = st.one_of(
    st.lists(st.one_of(TERM, st.text(max_size=10)), max_size=12).map(
        lambda terms: " ".join(["v=spf1", *terms]).encode("utf-8", "replace")
    ),
    st.binary(max_size=100),
    st.binary(max_size=100).map(b"v=spf1 ".__add__),
)
NAME = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["joe@example.org", "", "@", "a@b@example.org", "%{d}@example.org", "ü@example.org"]),
)
IP = st.sampled_from(["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1", "", "x"])


@given(st.lists(RECORD, max_size=2), st.lists(RECORD, max_size=2), IP, NAME, NAME)
def test_any_spf_record_has_a_result_in_time(first, second, ip, mail_from, helo):
    tables = {
        ("example.org", "TXT"): first, ("b.example.org", "TXT"): second, ("e.example.org", "TXT"): second,
        ("example.org", "A"): "192.0.2.1", ("example.org", "MX"): [(1, "example.org"), (2, "")],
        ("1.2.0.192.in-addr.arpa", "PTR"): ["example.org", "x" * 30],
    }  # fmt: skip
    started = time.process_time()
    found = asyncio.run(check_spf(FakeResolver(tables), ip, mail_from, helo))
    assert found.result in RESULTS
    for text in (found.mechanism, found.explanation, found.reason):
        assert text.isascii() and (text.isprintable() or not text)
    assert time.process_time() - started < 10


@given(st.text(max_size=200))
def test_any_text_is_explained_as_a_record(text):
    explain_record(text)
    explain_record(f"v=spf1 {text}")


TAG = st.sampled_from(
    [
        "v=DMARC1", "p=none", "p=reject", "p=quarantine", "p=x", "sp=reject", "sp=y", "np=none", "pct=50", "pct=-1",
        "pct=99999999999999", "pct=\u0663", "adkim=s", "aspf=s", "fo=1:d",
        "rua=mailto:a@b.example!10m", "rua=,,,", "rua=mailto:" + "x" * 300,
        "ruf=http://[", "ri=1", "psd=y", "psd=n", "t=y", "=", "", "x=y", "rua=mailto:a@b.example!99999999999999999999t",
    ]
)  # fmt: skip
DMARC = st.one_of(
    st.lists(st.one_of(TAG, st.text(max_size=10)), max_size=10).map(
        lambda tags: ("v=DMARC1;" + ";".join(tags)).encode("utf-8", "replace")
    ),
    st.binary(max_size=100),
)


@given(st.lists(DMARC, max_size=2), st.lists(DMARC, max_size=2), NAME, st.booleans())
def test_any_dmarc_record_has_a_result(first, second, name, tree_walk):
    for record in (*first, *second):
        found = parse_record(record)
        if found is not None:
            assert {found.p, found.sp, found.np} <= set(POLICIES) and 0 <= found.pct <= 100
            assert found.text.isascii() and found.text.isprintable()
            assert all(" " not in uri.address and uri.address.isprintable() for uri in found.rua + found.ruf)
    tables = {("_dmarc.a.example.org", "TXT"): first, ("_dmarc.example.org", "TXT"): second}
    tables["a.example.org._report._dmarc.b.example", "TXT"] = first + second
    resolver = FakeResolver(tables)

    async def run() -> None:
        await find_record(resolver, name, tree_walk=tree_walk)
        passed = [SpfResult("pass", "x.example.org"), SpfResult("pass", name)]
        result = await check_authors(
            resolver, ["a.example.org", name], passed[0], passed, tree_walk=tree_walk, draw=0.5
        )
        assert result.result in ("none", "pass", "fail", "temperror", "permerror") and result.policy in POLICIES
        assert result.policy == "none" or result.result == "fail"
        await verify_report_destination(resolver, "a.example.org", "b.example")
        await verify_report_destination(resolver, name, name)

    asyncio.run(run())


@given(st.text(max_size=300))
def test_any_name_is_asked_valid_or_not_at_all(text):
    name = canonical_name(text)
    if name:
        assert name == name.lower() and name.isascii() and len(name) <= 253
        assert all(0 < len(label) <= 63 for label in name.split("."))
        assert canonical_name(name) == name
        wire = query(1, question(name, 1))
        assert dns.message.from_wire(wire).question[0].rdtype == 1
    organisational_domain(text)
    nameservers(text)


@given(st.one_of(IP, st.text(max_size=20)), st.lists(st.text(max_size=30), max_size=20))
def test_any_reverse_names(ip, names):
    tables = {("1.2.0.192.in-addr.arpa", "PTR"): names}
    found = asyncio.run(check_iprev(FakeResolver(tables), ip))
    assert found.result in ("pass", "fail", "permerror", "none")
