"""The commands `dns`, `spf`, `dmarc` and `dnsbl` where no server of DNS is needed; tests/interop has the others."""

from __future__ import annotations

import json

import pytest

from echomox.cli.main import main
from echomox.dns import Answer, Mx, Tlsa
from echomox.dns.fake import FakeResolver
from workers.operations import OPERATIONS, Refused, execute
from workers.site import Site

TABLES = {
    ("example.org", "MX"): [(10, "mx.example.org")],
    ("_25._tcp.mx.example.org", "TLSA"): [(3, 1, 1, b"\xab\xcd")],
    ("example.org", "TXT"): "v=spf1 ip4:192.0.2.1 -all exp=why.example.org",
    ("why.example.org", "TXT"): "\x1b[1mnot you",
    ("_dmarc.example.org", "TXT"): "v=DMARC1; p=reject; rua=mailto:r@example.org,mailto:r@example.net",
    ("2.0.0.127.bl.example", "A"): "127.0.0.2",
    ("1.2.0.192.bl.example", "A"): "127.0.0.4",
    ("1.2.0.192.bl.example", "TXT"): "seen in a trap",
}


@pytest.fixture(autouse=True)
def resolver(monkeypatch):
    made = FakeResolver(TABLES, secure=["mx.example.org", "example.org"], fail=["down.example"])
    monkeypatch.setattr("workers.operations_dns.open_resolver", lambda settings: made)
    return made


def run(capsys, *arguments: str) -> tuple[int, str]:
    code = main(arguments)
    out = capsys.readouterr()
    return code, out.out + out.err


SPOKEN = [
    (("dns", "lookup", "example.org", "mx"), 0, "ask example.org MX: 10 mx.example.org (secure, 300 s)"),
    (("dns", "lookup", "_25._tcp.mx.example.org", "TLSA"), 0, "3 1 1 abcd (not secure"),
    (("dns", "lookup", "example.org", "A"), 1, "no such records"),
    (("dns", "lookup", "nix.example", "A"), 1, "no such name"),
    (("dns", "lookup", "down.example", "A"), 1, "trouble: SERVFAIL"),
    (("spf", "check", "192.0.2.1", "a@example.org"), 0, "SPF of example.org (mailfrom) for 192.0.2.1: pass"),
    (("spf", "check", "192.0.2.9", "a@example.org", "h"), 1, "explanation: ?[1mnot you"),
    (("spf", "check", "nonsense", "a@example.org"), 1, "'nonsense' is no IP address"),
    (("spf", "parse", "v=spf1 a ip4:x -all"), 1, "ip4:x: Invalid IP4 address: ip4:x"),
    (("spf", "parse", "v=spf1   mx  -all"), 0, "-all: good"),
    (("dmarc", "lookup", "a.example.org"), 0, "policy p=reject sp=reject np=reject at example.org"),
    (
        ("dmarc", "lookup", "example.org"),
        0,
        "reports to r@example.net: no, no record at example.org._report._dmarc.example.net",
    ),
    (("dmarc", "lookup", "nix.example", "--tree-walk"), 1, "no policy; the organisational domain is nix.example"),
    (("dmarc", "lookup", ".."), 1, "'..' is no domain name"),
    (("dmarc", "check", "example.org", "--dkim", "example.org"), 0, "DMARC of example.org: pass; what to do: none"),
    (("dmarc", "check", "example.org", "--ip", "192.0.2.9"), 1, "DMARC of example.org: fail; what to do: reject"),
    (("dnsbl", "check", "192.0.2.1", "bl.example"), 1, "bl.example: 192.0.2.1: 127.0.0.4 seen in a trap"),
    (("dnsbl", "check", "192.0.2.2/bl.example"), 0, "bl.example: 192.0.2.2: not listed"),
    (("dnsbl", "check", "bl.example"), 0, "bl.example: well"),
    (("dnsbl", "check", "nix.example"), 1, "the test entry 127.0.0.2 is not on it"),
    (("dnsbl", "check", "192.0.2.1"), 2, "name the lists too"),
]


@pytest.mark.parametrize(("arguments", "code", "said"), SPOKEN)
def test_a_command_says_what_it_did(capsys, arguments, code, said):
    found, text = run(capsys, *arguments)
    assert found == code, text
    assert said in text


def test_json(capsys):
    _, text = run(capsys, "--json", "dns", "lookup", "_25._tcp.mx.example.org", "TLSA")
    assert json.loads(text)["values"] == [{"usage": 3, "selector": 1, "matching": 1, "data": "abcd"}]
    _, text = run(capsys, "dmarc", "lookup", "example.org", "--json")
    found = json.loads(text)
    assert (found["record"]["p"], found["record"]["rua"][0]["address"]) == ("reject", "r@example.org")
    assert found["steps"][0].startswith("resolver: ")
    _, text = run(capsys, "spf", "check", "192.0.2.1", "a@example.org", "--json")
    assert json.loads(text)["asked"] == 2


ROWS = [
    ("dns.lookup", {"name": "example.org", "type": "MX"}, "values"),
    ("spf.check", {"ip": "192.0.2.1", "mail_from": "a@example.org"}, "result"),
    ("spf.parse", {"record": "v=spf1 -all"}, "valid"),
    ("dmarc.lookup", {"domain": "example.org"}, "record"),
    ("dmarc.check", {"domain": "example.org", "dkim": ["example.org"]}, "policy"),
    ("dnsbl.check", {"ip": "192.0.2.1", "zones": ["bl.example"]}, "zones"),
]


@pytest.mark.parametrize(("op", "fields", "key"), ROWS)
def test_the_operations_answer_in_json(demo, op, fields, key):
    answer = execute(Site(demo.paths), op, fields)
    assert key in json.loads(json.dumps(answer)) and answer["steps"]
    assert op in [row.name for row in OPERATIONS]


@pytest.mark.parametrize(
    ("op", "fields"),
    [
        ("dmarc.check", {"domain": "example.org", "dkim": [5]}),
        ("dnsbl.check", {"zones": [None]}),
        ("dnsbl.check", {"ip": "x", "zones": []}),
        ("dmarc.lookup", {"domain": ""}),
    ],
)
def test_bad_fields_are_refused(demo, op, fields):
    with pytest.raises(Refused):
        execute(Site(demo.paths), op, fields)


def test_values_have_a_plain_form():
    from workers.operations_dns import _plain, _said

    assert _plain(b"\xff text") == "\\xff text"
    assert _plain(Mx(0, "")) == {"preference": 0, "host": ""}
    assert _plain(Tlsa(3, 1, 1, b"\0")) == {"usage": 3, "selector": 1, "matching": 1, "data": "00"}
    assert _said(Answer("a", "MX", (Mx(0, ""),), canonical="b")) == "0 . by b (not secure, 0 s)"
