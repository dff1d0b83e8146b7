"""`echomox dmarc reports` and `tlsrpt reports`, on files without a server."""

from __future__ import annotations

import json

import pytest

from echomox.cli import main as cli
from echomox.reports.database import FILE, ReportsDatabase
from echomox.reports.dmarcxml import parse_aggregate
from echomox.reports.tlsjson import parse_tls
from tests.unit.reports.samples import BEGIN, DAY, TLS, XML


@pytest.fixture
def config(demo):
    database = ReportsDatabase(demo.paths.data / FILE)
    database.keep("dmarc", "there.example", parse_aggregate(XML), float(BEGIN))
    database.keep("tls", "there.example", parse_tls(TLS), float(BEGIN))
    database.plan([("dmarc", DAY, "a.example", 1.0), ("dmarc", DAY, "b.example", 1.0)])
    nobody = database.outgoing("dmarc", "b.example")[0]
    database.finish(nobody.id, "none", 0, "nobody wants reports", 2.0)
    return str(demo.paths.config)


def run(config, capsys, *words, code=0):
    assert cli.main(["--config", config, *words]) == code
    found = capsys.readouterr()
    return found.out if code == 0 else found.err


def test_dmarc_reports(config, capsys):
    assert "There" in run(config, capsys, "dmarc", "reports", "list")
    shown = run(config, capsys, "dmarc", "reports", "show", "1")
    assert "published.p" in shown and "2001:db8::9" in shown
    summary = run(config, capsys, "dmarc", "reports", "summary", "--since", DAY, "--until", DAY)
    assert summary.index("2001:db8::9") < summary.index("192.0.2.1")
    assert "no reports came in" in run(config, capsys, "dmarc", "reports", "list", "--domain", "x.example")
    assert "no reports came in" in run(config, capsys, "dmarc", "reports", "list", "--since", "2026-11-22")
    assert "no reports came in" in run(config, capsys, "dmarc", "reports", "list", "--until", "2026-11-20")


def test_tls_reports(config, capsys):
    assert "5326" in run(config, capsys, "tlsrpt", "reports", "list")
    assert "certificate-expired" in run(config, capsys, "tlsrpt", "reports", "show", "2")
    found = json.loads(run(config, capsys, "--json", "tlsrpt", "reports", "summary"))
    assert [(one["result"], one["sessions"]) for one in found["results"]] == [
        ("starttls-not-supported", 200), ("certificate-expired", 100), ("validation-failure", 3),
    ]  # fmt: skip
    assert "starttls-not-supported" in run(config, capsys, "tlsrpt", "reports", "summary")


def test_reports_sent(config, capsys):
    assert "b.example" not in run(config, capsys, "dmarc", "reports", "sent")
    assert "nobody wants reports" in run(config, capsys, "dmarc", "reports", "sent", "--all")
    assert "no reports were sent" in run(config, capsys, "tlsrpt", "reports", "sent")


def test_suppression(config, capsys):
    reports = ("dmarc", "reports", "suppression")
    assert "all addresses get reports" in run(config, capsys, *reports, "list")
    assert "gets no more" in run(config, capsys, *reports, "add", "Rua@A.Example", "--reason", "asked for it")
    assert "asked for it" in run(config, capsys, *reports, "list")
    assert "again" in run(config, capsys, *reports, "remove", "rua@a.example")
    assert "is not on the list" in run(config, capsys, *reports, "remove", "rua@a.example", code=1)


@pytest.mark.parametrize(
    "words,text",
    [
        (("dmarc", "reports", "show", "2"), "no dmarc report 2"),
        (("tlsrpt", "reports", "show", "99"), "no tls report 99"),
        (("dmarc", "reports", "list", "--since", "yesterday"), "since is a day"),
        (("dmarc", "reports", "list", "--domain", "a..b"), "a..b"),
        (("dmarc", "reports", "list", "--limit", "0"), "at least 1"),
        (("dmarc", "reports", "suppression", "add", "nobody"), "not an address"),
    ],
)
def test_refusals(config, capsys, words, text):
    assert text in run(config, capsys, *words, code=1)


def test_without_any(demo, capsys):
    config = str(demo.paths.config)
    assert "no reports came in" in run(config, capsys, "dmarc", "reports", "list")
    assert "no mail" in run(config, capsys, "dmarc", "reports", "summary")
    assert "no failures" in run(config, capsys, "tlsrpt", "reports", "summary")
    assert "no reports were sent" in run(config, capsys, "dmarc", "reports", "sent")
    assert not (demo.paths.data / FILE).exists()


def test_a_new_domain_has_addresses_for_reports(demo, capsys):
    config = str(demo.paths.config)
    run(config, capsys, "domain", "add", "new.example")
    records = run(config, capsys, "domain", "dnsrecords", "new.example")
    assert "rua=mailto:dmarc-reports@new.example" in records and "rua=mailto:tls-reports@new.example" in records
    run(config, capsys, "domain", "add", "other.example", "--set", "alias_of=new.example")
    assert "rua=mailto:postmaster@other.example" in run(config, capsys, "domain", "dnsrecords", "other.example")
