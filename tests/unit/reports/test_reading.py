"""Reports in: what is right is read, what is not is refused with a reason, and bombs cost nothing."""

from __future__ import annotations

import gzip
import json
import struct
import time
import zlib

import pytest

from echomox.message.mime import parse
from echomox.reports.dmarcxml import parse_aggregate
from echomox.reports.model import BadReport
from echomox.reports.tlsjson import make_tls_report, parse_tls, to_json
from echomox.reports.unpack import SIZE, documents, unpack
from echomox.tlspolicy.tlsrpt import Counted, Result
from tests.unit.reports.samples import BEGIN, DAY, REPORTER, TLS, XML, report_mail, zipped

NAMESPACED = XML.replace(b"<feedback>", b'<feedback xmlns="urn:ietf:params:xml:ns:dmarc-2.0">')
PREFIXED = XML.replace(b"<feedback>", b'<d:feedback xmlns:d="http://dmarc.org/dmarc-xml/0.1">').replace(
    b"</feedback>", b"</d:feedback>"
)
LAUGHS = (
    b"<!DOCTYPE x ["
    + b"".join(b'<!ENTITY l%d "%s">' % (n, b"&l%d;" % (n - 1) * 10 if n else b"ha") for n in range(10))
    + b"]><feedback>&l9;</feedback>"
)


@pytest.mark.parametrize("data", [XML, NAMESPACED, PREFIXED, XML.decode().encode("utf-16")])
def test_an_aggregate_report_is_read(data):
    report = parse_aggregate(data)
    assert (report.organisation, report.report_id, report.begin) == ("There", "r-1", BEGIN)
    assert (report.published.domain, report.published.p, report.published.sp) == ("here.example", "reject", "reject")
    first, second = report.rows
    assert (first.source_ip, first.count, first.passed) == ("192.0.2.1", 3, True)
    assert first.dkim_results == (("here.example", "s1", "pass"),)
    assert (second.disposition, second.passed) == ("reject", False)
    assert second.spf_results == (("bad.example", "", "softfail"),)


BAD_XML = {
    b"": "not XML",
    b"hello": "not XML",
    b"<html></html>": "root element",
    b"<feedback/>": "missing",
    XML[:-20]: "not XML",
    XML.replace(b"here.example</domain><adkim>", b"</domain><adkim>"): "domain",
    XML.replace(b"r-1", b""): "id is missing",
    XML.replace(b"<end>1795305599", b"<end>1"): "time",
    XML.replace(b"1795219200", b"9" * 5000): "time",
    XML.replace(b"192.0.2.1", b"&lt;b&gt;"): "no address",
    LAUGHS: "document type",
    b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><feedback/>': "document type",
    b'<?xml version="1.0" encoding="none-such"?><feedback/>': "not",
    b"<feedback>" + b"<a>" * 50: "too deeply",
}


@pytest.mark.parametrize("data", BAD_XML, ids=lambda data: data[:20])
def test_what_is_no_aggregate_report_is_refused(data):
    with pytest.raises(BadReport, match=BAD_XML[data]):
        parse_aggregate(data)


@pytest.mark.parametrize(
    "data,reason",
    [
        (b"<feedback>" + b"<a/>" * 1_100_000, "too many elements"),
        (
            XML.replace(b"</feedback>", b"<record><row><source_ip>1.2.3.4</source_ip></row></record>" * 50_001),
            "records",
        ),
        (b"<feedback>" + b"x" * SIZE, "bytes of XML"),
    ],
    ids=["elements", "records", "size"],
)
def test_what_is_too_much_is_refused_soon(data, reason):
    began = time.process_time()
    with pytest.raises(BadReport, match=reason):
        parse_aggregate(data)
    assert time.process_time() - began < 40


def test_a_tls_report_is_read_as_in_rfc8460_appendix_b():
    report = parse_tls(TLS)
    (policy,) = report.policies
    assert (report.begin, report.end) == (BEGIN, BEGIN + 86_399)
    assert (policy.type, policy.domain, policy.successes, policy.failures) == ("sts", "here.example", 5326, 303)
    assert policy.mx == ("*.mail.here.example",)
    assert [(one.result, one.count) for one in policy.details] == [
        ("certificate-expired", 100), ("starttls-not-supported", 200), ("validation-failure", 3),
    ]  # fmt: skip
    assert policy.details[2].reason_code == "X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED"


@pytest.mark.parametrize(
    "data,reason",
    [
        (b"", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"[" * 100_000, "not JSON"),
        (b'{"a": ' * 100_000, "not JSON"),
        (b"{" + b" " * (5 << 20) + b"}", "bytes of JSON"),
        (TLS.replace(b'"t-1"', b"7"), "report-id"),
        (TLS.replace(b"2026-11-21T23", b"2026-11-20T23"), "time"),
        (TLS.replace(b'"policies": [', b'"policies": [], "x": ['), "no policies"),
        (TLS.replace(b"5326", b"NaN"), "not JSON"),
        (TLS.replace(b"5326", b"9" * 10_000), "not JSON"),
    ],
)
def test_what_is_no_tls_report_is_refused(data, reason):
    with pytest.raises(BadReport, match=reason):
        parse_tls(data)


@pytest.mark.parametrize("value", [b'"many"', b"null", b"-5", b"1e400", b"true", b"[1]"])
def test_a_count_of_another_kind_is_none(value):
    report = parse_tls(TLS.replace(b"5326", value))
    assert report.policies[0].successes == 0


def test_a_tls_report_is_made_and_reads_back():
    sts = Result("a.example", "a.example", "sts", ("version: STSv1",), ("mx.a.example",))
    bad = Result(
        "a.example", "a.example", "sts", ("version: STSv1",), ("mx.a.example",), "certificate-expired",
        "mx.a.example", "192.0.2.1", "198.51.100.1", "mx.a.example", "expired",
    )  # fmt: skip
    dane = Result("mx.a.example", "a.example", "tlsa", ("3 1 1 ab",))
    other = Result("b.example", "b.example", "no-policy-found")
    found = [Counted(DAY, sts, 5), Counted(DAY, bad, 2), Counted(DAY, dane, 1), Counted(DAY, other, 9)]
    report = make_tls_report(DAY, "a.example", found, REPORTER, "id")
    text = to_json(report)
    data = json.loads(text)
    assert data["date-range"] == {"start-datetime": "2026-11-21T00:00:00Z", "end-datetime": "2026-11-21T23:59:59Z"}
    assert {policy["policy"]["policy-domain"] for policy in data["policies"]} == {"a.example", "mx.a.example"}
    assert parse_tls(text) == report
    assert sum(policy.failures for policy in report.policies) == 2
    host = make_tls_report(DAY, "mx.a.example", found, REPORTER, "id")
    assert [policy.type for policy in host.policies] == ["tlsa"]
    assert make_tls_report(DAY, "c.example", found, REPORTER, "id") is None


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(XML, mtime=0),
        zipped(XML),
        XML,
        b"\xef\xbb\xbf" + XML,
        gzip.compress(XML[:9], mtime=0) + gzip.compress(XML[9:], mtime=0),
    ],
)
def test_attachments_are_unpacked_whatever_they_are_called(data):
    assert [one.removeprefix(b"\xef\xbb\xbf") for one in unpack(data)] == [XML]


def _bomb(size):
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(size >> 20)), packer.flush()])


BOMB = _bomb(200 << 20)
ZIP64 = zipped(XML)[:-22] + b"PK\x06\x07" + bytes(16) + zipped(XML)[-22:]


@pytest.mark.parametrize(
    "data,reason",
    [
        (BOMB, "when decompressed"),
        (zipped(bytes(SIZE + 1)), "when decompressed"),
        (gzip.compress(XML, mtime=0)[:-20], "cut short"),
        (gzip.compress(XML, mtime=0)[:12] + b"\xff" * 40, "broken gzip"),
        (zipped(XML)[:-30], "no directory"),
        (zipped(XML).replace(b"PK\x01\x02", b"PK\x01\x03"), "broken zip"),
        (ZIP64, "directory"),
        (zipped(XML)[:-10] + struct.pack("<L", 1 << 30) + zipped(XML)[-6:], "directory"),
        (b"<" * (SIZE + 1), "larger than"),
    ],
)
def test_bombs_and_wrecks_are_refused(data, reason):
    with pytest.raises(BadReport, match=reason):
        unpack(data)


def test_what_is_no_document_is_left_out():
    assert unpack(b"hello") == [] and unpack(gzip.compress(b"hello")) == []


def test_the_documents_of_a_mail_are_found():
    mail = report_mail(XML)
    assert list(documents(mail, parse(mail).parts)) == [XML]
    mail = report_mail(TLS, "application/tlsrpt+gzip", "x.json.gz")
    assert list(documents(mail, parse(mail).parts)) == [TLS]
