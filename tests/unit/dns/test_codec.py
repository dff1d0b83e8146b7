"""Messages: what we ask, and what is taken of a reply."""

from __future__ import annotations

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from echomox.dns import Caa, Mx, Soa, Srv, Tlsa
from echomox.dns.codec import BadReply, answers, parse, query, question, truncated, type_number

ASKED = question("example.org", 1)


def reply(*records: str, rcode: int = 0, authority: str = "", ede: tuple[int, str] | None = None, ad: bool = False):
    message = dns.message.make_response(dns.message.make_query("example.org", "A", id=1))
    message.set_rcode(dns.rcode.Rcode(rcode))
    if ad:
        message.flags |= dns.flags.AD
    for record in records:
        name, ttl, type, text = record.split(" ", 3)
        message.answer.append(dns.rrset.from_text(name, int(ttl), "IN", type, text))
    if authority:
        message.authority.append(dns.rrset.from_text("example.org.", 3600, "IN", "SOA", authority))
    if ede:
        message.use_edns(0, options=[dns.edns.EDEOption(*ede)])
    return message.to_wire(max_size=65535)


def test_a_query_is_what_dnspython_would_send():
    ours = dns.message.from_wire(query(4711, question("_25._tcp.mx.example.org", 52), dnssec=True))
    assert (ours.id, ours.payload, ours.edns) == (4711, 1232, 0)
    assert ours.flags == dns.flags.RD | dns.flags.AD and ours.ednsflags & dns.flags.DO
    assert ours.question[0].to_text() == "_25._tcp.mx.example.org. IN TLSA"
    plain = dns.message.from_wire(query(1, question("", 2), edns=False))
    assert plain.flags == dns.flags.RD and plain.edns == -1 and plain.question[0].to_text() == ". IN NS"
    untrusted = dns.message.from_wire(query(1, ASKED))
    assert not untrusted.ednsflags & dns.flags.DO and not untrusted.flags & dns.flags.AD


VALUES = [
    ("a.example. 60 A 192.0.2.1", "192.0.2.1"),
    ("a.example. 60 AAAA 2001:DB8:0::1", "2001:db8::1"),
    ('a.example. 60 TXT "v=spf1 " "-all" "\\255"', b"v=spf1 -all\xff"),
    ("a.example. 60 MX 10 MX.Example.org.", Mx(10, "mx.example.org")),
    ("a.example. 60 MX 0 .", Mx(0, "")),
    ("a.example. 60 PTR Host.Example.", "host.example"),
    ("a.example. 60 PTR evil\\032x\\.y\\013.example.", "evil\\032x\\046y\\013.example"),
    ("a.example. 60 CNAME b.example.", "b.example"),
    ("a.example. 60 TLSA 3 1 1 " + "0f" * 32, Tlsa(3, 1, 1, b"\x0f" * 32)),
    ("a.example. 60 SRV 1 2 993 imap.example.", Srv(1, 2, 993, "imap.example")),
    ("a.example. 60 SRV 0 0 0 .", Srv(0, 0, 0, "")),
    ("a.example. 60 SOA ns.example. admin.example. 7 1 2 3 400", Soa("ns.example", "admin.example", 7, 400)),
    ('a.example. 60 CAA 128 Issue "ca.example"', Caa(128, "issue", b"ca.example")),
    ("a.example. 60 DS 1 13 2 " + "ab" * 32, "1 13 2 " + "ab" * 32),
]


@pytest.mark.parametrize(("record", "value"), VALUES)
def test_values_are_plain(record, value):
    (key, (values, ttl)), *_ = parse(reply(record)).records.items()
    assert key == ("a.example", record.split(" ")[2]) and values == (value,) and ttl == 60


def test_absence_is_kept_for_the_less_of_soa_and_its_minimum():
    assert parse(reply(rcode=3, authority="ns. admin. 1 2 3 4 600")).negative_ttl == 600
    assert parse(reply(rcode=3, authority="ns. admin. 1 2 3 4 86400")).negative_ttl == 3600
    assert parse(reply(rcode=3)).negative_ttl is None


def test_extended_errors_are_read():
    bogus = parse(reply(rcode=2, ede=(6, "no valid RRSIG")))
    assert bogus.bogus and bogus.ede == "DNSSEC bogus (no valid RRSIG)"
    other = parse(reply(rcode=2, ede=(22, "")))
    assert not other.bogus and other.ede == "no reachable authority"


RIGHT = reply("example.org. 60 A 192.0.2.1")
FORGED = [
    (RIGHT, True),
    (RIGHT.replace(b"\7example\3org", b"\7eXAMPLE\3ORG"), True),
    (RIGHT.replace(b"\7example\3org", b"\7exAmplf\3org"), False),
    (RIGHT[:2] + b"\x01\x00" + RIGHT[4:], False),  # a query
    (RIGHT[:2] + b"\xa0\x00" + RIGHT[4:], False),  # another opcode
    (RIGHT[:4] + b"\0\2" + RIGHT[6:], False),
    (RIGHT[:12] + question("example.org", 28) + RIGHT[29:], False),  # another type
    (b"\0\1\x80\x01" + bytes(8), True),  # FORMERR without its question
    (b"\0\1\x80\x00" + bytes(8), False),
    (b"\0\1\x80", False),
    (b"", False),
]


@pytest.mark.parametrize(("wire", "expected"), FORGED)
def test_a_reply_is_to_our_question(wire, expected):
    assert answers(wire, ASKED) is expected


def test_truncation_is_seen_before_the_rest():
    assert truncated(b"\0\1\x82\x00") and not truncated(b"\0\1\x80\x00")


@pytest.mark.parametrize("wire", [b"", b"\0" * 11, RIGHT[:-1], RIGHT[:40], RIGHT[:29] + b"\xc0\x1d" + RIGHT[31:]])
def test_a_broken_reply_is_a_bad_reply(wire):
    with pytest.raises(BadReply):
        parse(wire)


@pytest.mark.parametrize("type", ["ANY", "AXFR", "NOPE", "", "OPT", "TYPE0", "TYPE70000", "A B"])
def test_types_that_cannot_be_asked(type):
    with pytest.raises(ValueError, match=r"type|asked"):
        type_number(type)


def test_types_have_their_numbers():
    assert [type_number(type) for type in ("A", "mx", "TLSA", "TYPE65")] == [1, 15, 52, 65]
