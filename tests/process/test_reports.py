"""Reports of a real server, after a simulated day: what it met of a domain goes to the domain's addresses on loopback;
and reports about its own domain that come by SMTP are shown by the commands."""

from __future__ import annotations

import asyncio
import email
import gzip
import json
import smtplib
import subprocess
import time
from collections.abc import Iterator

import pytest
from lxml import etree

from echomox.clock import FakeClock
from echomox.config.load import load_static
from echomox.config.paths import Paths
from echomox.config.snapshot import load_snapshot
from echomox.delivery.authlog import FILE, ReportRows
from echomox.dns import open_resolver
from echomox.outbound.remote import DATABASE
from echomox.reports.model import begin_of, day_of
from echomox.reports.tlssend import tls_results
from echomox.tlspolicy.dane import describe, make_record
from tests.process.dnsserver import DnsServer
from tests.process.harness import ROOT, Server, command, wait_until
from tests.process.test_dane_delivery import running, submit
from tests.unit.outbound.mx import Mx, server_context
from tests.unit.outbound.test_tls import leaf_of
from tests.unit.reports.samples import TLS, XML, report_mail, schema
from tests.unit.smtpd.support import QUIET
from workers.scheduler import Desk, send_reports

ZONE = """
    from.example.                       TXT  "v=spf1 ip4:127.0.0.0/8 -all"
    _dmarc.from.example.                TXT  "v=DMARC1; p=none; rua=mailto:rua@sink.example!10m"
    from.example._report._dmarc.sink.example.  TXT  "v=DMARC1"
    1.0.0.127.in-addr.arpa.             PTR  client.from.example.
    client.from.example.                A    127.0.0.1
    sink.example.                       MX   10 mx.sink.example.
    mx.sink.example.                    A    127.0.0.1
    there.example.                      MX   10 mx.there.example.
    mx.there.example.                   A    127.0.0.1
    _dmarc.example.test.                TXT  "v=DMARC1; p=none; rua=mailto:dmarc@example.test"
    _smtp._tls.there.example.           TXT  "v=TLSRPTv1; rua=mailto:tls@sink.example"
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Iterator[tuple[Server, Mx, DnsServer]]:
    context = server_context("mx.there.example")
    with running(Mx(tls=context)) as mx, DnsServer(ZONE, secure=True) as dns:
        dns.put(f"_{mx.port}._tcp.mx.there.example", "TLSA", "3 1 1 " + "00" * 32, ttl=0)
        server = Server.demo(tmp_path_factory.mktemp("reports") / "demo", "--resolver", dns.address)
        static = server.root / "config/echomox.toml"
        static.write_text(
            f"{static.read_text()}\n[outbound]\nport = {mx.port}\nidle_time = 0.2\n[reports]\nhours = 0\n"
        )
        dynamic = server.root / "config/domains.toml"
        dynamic.write_text(
            dynamic.read_text() + '\n[domains."example.test".dmarc_reports]\nlocal_part = "dmarc"\n'
            '[domains."example.test".tls_reports]\nlocal_part = "tlsrpt"\n'
        )
        with server:
            dns.put(f"_{mx.port}._tcp.mx.there.example", "TLSA", "3 1 1 " + "00" * 32, ttl=0)
            yield server, mx, dns


def receive(server: Server, mail: bytes, to: str, sender: str = "ann@from.example") -> tuple[int, bytes]:
    with smtplib.SMTP("127.0.0.1", server.ports["smtp"], local_hostname="client.from.example", timeout=60) as client:
        client.ehlo()
        client.mail(sender)
        assert client.rcpt(to)[0] == 250
        return client.data(mail)


def run_job(server: Server, now: float) -> dict[str, object]:
    """The scheduler's job, as of a moment."""
    paths = Paths.home(server.root)
    static = load_static(paths.static)
    snapshot = load_snapshot(paths, static, 0)

    async def run():
        resolver = open_resolver(static.dns)
        desk = Desk(static, paths, None, resolver, lambda: snapshot, QUIET, FakeClock(now))
        try:
            return await send_reports(desk)
        finally:
            await resolver.close()

    return dict(asyncio.run(run()))


def echomox(server: Server, *words: str):
    done = subprocess.run(
        [*command("echomox"), "--config", str(server.root / "config"), *words, "--json"],
        capture_output=True, timeout=60, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def test_after_a_day_the_reports_are_at_their_addresses(world):
    server, mx, dns = world
    if (left := 86_400 - time.time() % 86_400) < 300:
        time.sleep(left + 1)  # two days would make two reports
    data, today = server.root / "data", day_of(time.time())
    for number in range(2):
        mail = f"From: ann@from.example\r\nMessage-ID: <{number}@from.example>\r\nSubject: hi\r\n\r\nhello\r\n"
        assert receive(server, mail.encode(), server.accounts[0]["address"])[0] == 250
    submit_to_there(server)
    wait_until(lambda: "outcome=retry" in server.log, what="the wrong record was found")
    right = describe(make_record(leaf_of(mx.tls)))
    dns.put(f"_{mx.port}._tcp.mx.there.example", "TLSA", right, ttl=0)
    rows = ReportRows(data / FILE)
    wait_until(lambda: sum(count for _, count in rows.rows(today, "from.example")) == 2, what="results are written")
    wait_until(lambda: tls_results(data / DATABASE, today).get("there.example"), what="sessions are written")
    assert run_job(server, time.time())["planned"] == 0

    tomorrow = begin_of(today) + 86_400 + 3600.0
    assert run_job(server, tomorrow)["sent"] == 2
    wait_until(lambda: len(mx.mail) >= 2, what="both reports arrived")
    found = {mail["To"]: mail for mail in map(email.message_from_bytes, mx.mail)}
    aggregate = found["<rua@sink.example>"].get_payload()[1]
    assert aggregate.get_content_type() == "application/gzip"
    xml = gzip.decompress(aggregate.get_payload(decode=True))
    document = etree.fromstring(xml)
    schema().assertValid(document)
    assert document.findtext("policy_published/domain") == "from.example"
    assert document.findtext("record/row/count") == "2"
    assert document.findtext("record/row/policy_evaluated/spf") == "pass"
    assert found["<rua@sink.example>"]["DKIM-Signature"]
    report = found["<tls@sink.example>"]
    assert report["DKIM-Signature"] and report["TLS-Report-Domain"] == "there.example"
    facts = json.loads(gzip.decompress(report.get_payload()[1].get_payload(decode=True)))
    (policy,) = facts["policies"]
    assert policy["policy"]["policy-type"] == "tlsa"
    assert policy["summary"]["total-failure-session-count"] == 1
    assert policy["failure-details"][0]["result-type"] == "validation-failure"

    for later in (tomorrow + 3600, tomorrow + 86_400, tomorrow + 2 * 86_400):
        assert run_job(server, later)["sent"] == 0
    # The deliveries of the reports are not themselves reported, so the sink domain has no results.
    assert set(tls_results(data / DATABASE, today)) == {"there.example", "mx.there.example"}
    sent = echomox(server, "dmarc", "reports", "sent")["reports"]
    assert [(one["domain"], one["state"], one["recipients"]) for one in sent] == [
        ("from.example", "sent", ["rua@sink.example"])
    ]


def submit_to_there(server: Server) -> None:
    submit(server, 1)


def test_reports_about_us_are_read_and_shown(world):
    server, _, _ = world
    aggregate = report_mail(XML.replace(b"here.example", b"example.test")).replace(b"@there.example", b"@from.example")
    assert receive(server, aggregate, "dmarc@example.test")[0] == 250
    (one,) = echomox(server, "dmarc", "reports", "list")["reports"]
    assert (one["domain"], one["submitter"], one["passed"], one["failed"]) == ("example.test", "from.example", 3, 7)
    shown = echomox(server, "dmarc", "reports", "show", str(one["id"]))
    assert [record["source_ip"] for record in shown["records"]] == ["192.0.2.1", "2001:db8::9"]
    summary = echomox(server, "dmarc", "reports", "summary", "--domain", "example.test", "--since", "2026-11-01")
    assert [(row["source_ip"], row["failed"]) for row in summary["sources"]] == [("2001:db8::9", 7), ("192.0.2.1", 0)]
    mailbox = echomox(server, "mailbox", "show", server.accounts[0]["address"].partition("@")[0], "Reports")
    assert mailbox["Total"] == 1
    # Of TLS reports a signature is wanted, and this one has none: kept as mail, not as a report.
    tls = report_mail(TLS.replace(b"here.example", b"example.test"), "application/tlsrpt+gzip", "r.json.gz")
    assert receive(server, tls.replace(b"@there.example", b"@from.example"), "tlsrpt@example.test")[0] == 250
    assert echomox(server, "tlsrpt", "reports", "list")["reports"] == []
    # Mail with reports is in none of ours.
    today = day_of(time.time())
    time.sleep(6)
    assert sum(count for _, count in ReportRows(server.root / "data" / FILE).rows(today, "from.example")) <= 2


def test_a_large_report_is_read_too(world):
    """One that is received into a file."""
    server, _, _ = world
    large = XML.replace(b"here.example", b"example.test").replace(b"r-1", b"large")
    large = large.replace(b"<record>", b"<!-- " + b"x" * (3 << 20) + b" --><record>", 1)
    mail = report_mail(large, "text/xml", "r.xml").replace(b"@there.example", b"@from.example")
    assert receive(server, mail, "dmarc@example.test")[0] == 250
    assert "large" in [one["report_id"] for one in echomox(server, "dmarc", "reports", "list")["reports"]]


def test_a_report_about_ourselves_comes_by_our_own_queue(world):
    server, mx, _ = world
    mail = b"From: ceo@example.test\r\nMessage-ID: <forged@from.example>\r\nSubject: urgent\r\n\r\npay me\r\n"
    receive(server, mail, server.accounts[0]["address"])
    today = day_of(time.time())
    rows = ReportRows(server.root / "data" / FILE)
    wait_until(lambda: list(rows.rows(today, "example.test")), what="results are written")
    before = len(mx.mail)
    assert run_job(server, begin_of(today) + 86_400 + 4 * 3600.0)["sent"] == 1

    def arrived():
        return [
            one
            for one in echomox(server, "dmarc", "reports", "list")["reports"]
            if one["organisation"] == "example.test"
        ]

    (one,) = wait_until(arrived, what="the report came")
    (record,) = echomox(server, "dmarc", "reports", "show", str(one["id"]))["records"]
    assert (record["source_ip"], record["header_from"], record["passed"]) == ("127.0.0.1", "example.test", False)
    assert len(mx.mail) == before


def test_the_list_of_those_who_get_none(world):
    server, _, _ = world
    assert echomox(server, "dmarc", "reports", "suppression", "add", "x@bad.example")["Address"] == "x@bad.example"
    (one,) = echomox(server, "dmarc", "reports", "suppression", "list")["suppressed"]
    assert (one["Address"], one["Manual"], one["Active"]) == ("x@bad.example", True, True)
    echomox(server, "tlsrpt", "reports", "suppression", "remove", "x@bad.example")
    assert echomox(server, "dmarc", "reports", "suppression", "list")["suppressed"] == []


def test_hostile_reports_are_kept_as_mail_and_harm_nothing(world):
    server, _, _ = world
    before = server.log.count("report not usable")
    kept = echomox(server, "dmarc", "reports", "list")["reports"]
    bomb = gzip.compress(gzip.compress(bytes(100 << 20), 9), 9)
    laughs = b'<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><feedback>&b;</feedback>'
    for number, data in enumerate((bytes(60 << 20), laughs, b"{" * 100_000, bomb)):
        mail = report_mail(data).replace(b"@there.example", b"@from.example").replace(b"<r1", b"<h%d" % number)
        assert receive(server, mail, "dmarc@example.test")[0] == 250
    assert server.log.count("report not usable") - before == 3  # the last is no document at all
    assert echomox(server, "dmarc", "reports", "list")["reports"] == kept
