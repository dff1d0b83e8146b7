"""Reports of strangers, as XML, JSON, gzip, zip and mail: a report within bounds or BadReport, nothing else, soon."""

from __future__ import annotations

import gzip
import ipaddress
import json
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from echomox.message.mime import parse
from echomox.reports import aggregate, dmarcxml, tlsjson, unpack
from echomox.reports.database import ReportsDatabase, Span
from echomox.reports.model import AggregateReport, BadReport
from tests.unit.reports.samples import BEGIN, TLS, XML, report_mail, result, schema, zipped

TAGS = st.sampled_from(
    ["feedback", "report_metadata", "policy_published", "record", "row", "source_ip", "count", "policy_evaluated",
     "identifiers", "auth_results", "dkim", "spf", "domain", "report_id", "date_range", "begin", "end", "reason", "x:y"]
)  # fmt: skip
TEXTS = st.one_of(
    st.sampled_from(
        ["here.example", "192.0.2.1", "::1", "1795219200", "9" * 30, "-1", "pass", "&#0;", "&lol;", "]]>", ""]
    ),
    st.text(max_size=20),
)
TREE = st.recursive(
    TEXTS,
    lambda inner: st.builds(lambda tag, parts: f"<{tag}>{''.join(parts)}</{tag}>", TAGS, st.lists(inner, max_size=5)),
    max_leaves=40,
)
PROLOGUES = st.sampled_from(
    ["", '<?xml version="1.0"?>', '<?xml version="1.1" encoding="latin-1"?>', '<!DOCTYPE feedback [<!ENTITY lol "x">]>',
     '<!DOCTYPE x SYSTEM "file:///etc/passwd">', '<?xml-stylesheet href="x"?>', "\ufeff"]
)  # fmt: skip


def mutated(sample):
    """A sample with some of its bytes cut out, doubled or replaced."""
    place = st.integers(0, len(sample))

    def change(one, other, new):
        low, high = sorted((one, other))
        return sample[:low] + new + sample[high:]

    return st.builds(change, place, place, st.one_of(st.binary(max_size=8), st.just(sample[:60]), st.just(b"")))


def check(report):
    """What every report holds that was read."""
    assert report.report_id and 0 < report.begin <= report.end
    for row in report.rows if isinstance(report, AggregateReport) else ():
        ipaddress.ip_address(row.source_ip)
        assert 0 <= row.count <= dmarcxml.COUNT
        assert {row.dkim, row.spf} <= {"pass", "fail"}


def read(parser, data):
    began = time.process_time()
    try:
        report = parser(data)
    except BadReport as error:
        assert str(error)
        report = None
    else:
        check(report)
    assert time.process_time() - began < 25
    return report


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.builds(lambda head, tree: (head + tree).encode("utf-8", "replace"), PROLOGUES, TREE), st.binary()))
def test_xml(data):
    read(dmarcxml.parse_aggregate, data)


@settings(max_examples=300, deadline=None)
@given(mutated(XML))
def test_xml_that_was_right(data):
    report = read(dmarcxml.parse_aggregate, data)
    if report is not None and report.rows:
        again = dmarcxml.parse_aggregate(aggregate.to_xml(report))
        assert [row.count for row in again.rows] == [row.count for row in report.rows]


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["<", "<a>", "<record>", "<!--", "<![CDATA[", "&lt;", "<a b='c'>", "<?x "]), st.integers(1, 200_000)
)
def test_repetition(piece, number):
    read(dmarcxml.parse_aggregate, ("<feedback>" + piece * number).encode()[: 2 << 20])


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(
                ["report-id", "date-range", "start-datetime", "end-datetime", "policies", "policy", "summary",
                 "mx-host", "policy-type", "policy-domain", "policy-string", "failure-details", "failed-session-count",
                 "total-successful-session-count", "result-type"]
            ),
            inner, max_size=6,
        ),
    ),
    max_leaves=30,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.one_of(JSON.map(lambda value: json.dumps(value).encode()), st.binary(), mutated(TLS)))
def test_json(data):
    report = read(tlsjson.parse_tls, data)
    if report is not None:
        assert tlsjson.parse_tls(tlsjson.to_json(report)).policies or not report.policies


@settings(max_examples=60, deadline=None)
@given(JSON, JSON)
def test_json_with_a_right_frame(policies, details):
    frame = json.loads(TLS)
    frame["policies"] = policies if isinstance(policies, list) else [policies, {"failure-details": details}]
    read(tlsjson.parse_tls, json.dumps(frame).encode())


PACKED = st.one_of(
    mutated(gzip.compress(XML)), mutated(zipped(XML)), st.binary(max_size=200),
    st.binary(max_size=60).map(lambda data: b"\x1f\x8b" + data),
    st.binary(max_size=60).map(lambda data: b"PK\x03\x04" + data),
    st.integers(1, 64).map(lambda size: gzip.compress(bytes(size << 20), 1)),
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(PACKED)
def test_attachments(data):
    try:
        found = unpack.unpack(data)
    except BadReport:
        return
    assert sum(map(len, found)) <= unpack.SIZE


@settings(max_examples=100, deadline=None)
@given(st.one_of(mutated(report_mail(XML)), mutated(report_mail(zipped(XML), "application/zip", "r.zip"))))
def test_mails(data):
    try:
        for document in unpack.documents(data, parse(data).parts):
            read(dmarcxml.parse_aggregate, document)
    except BadReport:
        pass


WORDS = st.text(max_size=40)


@settings(max_examples=100, deadline=None)
@given(st.tuples(WORDS, WORDS, WORDS, WORDS, WORDS), st.sampled_from(["", "other", "local_policy", "bad"]))
def test_what_we_make_is_valid_whatever_was_met(words, override):
    from lxml import etree

    one, two, three, four, five = words
    row = result(
        header_from=one, envelope_from=two, source_ip=three, comment=four, override=override, record=five,
        dkim_results=((one, two, "pass"), (three, four, "odd")), spf_result=(five, "mfrom", "pass"),
    )  # fmt: skip
    reporter = aggregate.Reporter(one, two, three)
    report = aggregate.make_report("2026-11-21", "a.example", [(row, 1)], reporter, "id")
    schema().assertValid(etree.fromstring(aggregate.to_xml(report)))


def test_the_largest_counts_can_be_added_up(tmp_path):
    """64 bits hold a year of rows with the highest count that is read."""
    database = ReportsDatabase(tmp_path / "index.db")
    report = dmarcxml.parse_aggregate(XML.replace(b"<count>3", b"<count>" + b"9" * 18))
    for number in range(50):
        changed = AggregateReport(**{**_fields(report), "report_id": str(number)})
        database.keep("dmarc", "there.example", changed, float(BEGIN))
    assert max(row[1] for row in database.sources(Span("dmarc"), 10)) == 50 * dmarcxml.COUNT


def _fields(report):
    return {name: getattr(report, name) for name in report.__dataclass_fields__}
