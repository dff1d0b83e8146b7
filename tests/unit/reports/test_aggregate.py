"""Aggregate reports out: valid by the schema, whatever the results hold; small enough; read back as they were."""

from __future__ import annotations

import gzip

import pytest
from lxml import etree

from echomox.reports import aggregate
from echomox.reports.aggregate import full_address, make_report, packed, to_xml
from echomox.reports.dmarcxml import parse_aggregate
from tests.unit.reports.samples import BEGIN, DAY, REPORTER, result, schema


def made(*found):
    report = make_report(DAY, "a.example", found, REPORTER, "id-1@here.example")
    assert report is not None
    return report


def valid(xml):
    schema().assertValid(etree.fromstring(xml))
    return xml


ROWS = {
    "a pass": result(),
    "a null sender": result(envelope_from="", spf_result=("mx.a.example", "helo", "none")),
    "no signature": result(dkim_results=(), dkim="fail"),
    "a signature without selector": result(dkim_results=(("a.example", "", "permerror"),)),
    "IPv6": result(source_ip="2001:db8::1"),
    "IPv4 in IPv6": result(source_ip="::ffff:192.0.2.7"),
    "a trusted forwarder": result(override="trusted_forwarder", comment="lists.example.org"),
    "a local policy": result(override="local_policy", comment='arc=pass as[1].d=x <&">'),
    "sampled out": result(override="sampled_out", disposition="none"),
    "control characters": result(comment="a\x00b\x1b", header_from="a.example", override="other"),
    "no XML characters": result(comment="\ud800\uffff", override="other"),
    "quarantine": result(disposition="quarantine", dkim="fail", spf="fail"),
    "an unknown disposition": result(disposition="eaten"),
    "unknown results": result(dkim_results=(("a", "b", "great"),), spf_result=("a", "mfrom", "great")),
}


@pytest.mark.parametrize("name", ROWS)
def test_every_row_is_valid_by_the_schema(name):
    valid(to_xml(made((ROWS[name], 1))))


def test_the_schema_does_find_faults():
    with pytest.raises(etree.DocumentInvalid):
        valid(to_xml(made((result(), 1))).replace(b"<pct>", b"<pcd>").replace(b"</pct>", b"</pcd>"))
    with pytest.raises(etree.DocumentInvalid):
        valid(to_xml(made((result(), 1))).replace(b"192.0.2.1", b"2001:db8::1"))


def test_the_report_says_what_was_met():
    report = made((result(), 2), (result(record="v=DMARC1; p=none"), 3), (result(source_ip="192.0.2.2"), 4))
    assert [(row.source_ip, row.count) for row in report.rows] == [("192.0.2.1", 5), ("192.0.2.2", 4)]
    assert (report.begin, report.end) == (BEGIN, BEGIN + 86_399)
    xml = to_xml(made((result(), 2)))
    for text in (
        b"<org_name>Here</org_name>", b"<email>postmaster@here.example</email>", b"<sp>quarantine</sp>",
        b"<extra_contact_info>https://here.example/</extra_contact_info>", b"<adkim>s</adkim>", b"<pct>50</pct>",
        b"<report_id>id-1@here.example</report_id>", b"<begin>1795219200</begin>", b"<end>1795305599</end>",
    ):  # fmt: skip
        assert text in xml


def test_no_results_make_no_report():
    assert make_report(DAY, "a.example", (), REPORTER, "x") is None


def test_it_reads_back():
    report = made((ROWS["a local policy"], 2), (ROWS["quarantine"], 9))
    back = parse_aggregate(to_xml(report))
    assert back.rows[0].reasons == (("local_policy", 'arc=pass as[1].d=x <&">'),)
    assert (back.rows, back.published.domain, back.begin) == (report.rows, "a.example", BEGIN)


def test_a_report_that_is_too_large_keeps_what_stands_for_most_mail():
    rows = [(result(source_ip=f"192.0.2.{n % 250}", header_from=f"{n}.a.example"), n + 1) for n in range(300)]
    report, data = packed(made(*rows), 3000)
    assert len(data) <= 3000 and 1 <= len(report.rows) < 300
    assert report.rows[0].count == 300
    assert "left out" in report.errors[-1]
    valid(gzip.decompress(data))


def test_more_kinds_than_a_report_holds_are_counted_as_left_out(monkeypatch):
    monkeypatch.setattr(aggregate, "ROWS", 2)
    report = made(*[(result(source_ip=f"192.0.2.{n}"), 1) for n in range(5)], (result(source_ip="192.0.2.0"), 1))
    assert [row.count for row in report.rows] == [2, 1]
    assert report.errors == ("3 more kinds of results are left out",)


@pytest.mark.parametrize(
    "text,full",
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:0db8:0000:0000:0000:0000:0000:0001"),
        ("fe80::1%eth0", "fe80:0000:0000:0000:0000:0000:0000:0001"),
        ("", "0.0.0.0"),
    ],
)
def test_addresses_are_in_full(text, full):
    assert full_address(text) == full
