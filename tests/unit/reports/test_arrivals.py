"""Reports that come to their address: from whom, about whom, kept once; shown by the operations."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from echomox.config.schema import Static
from echomox.config.snapshot import Recipient, Snapshot
from echomox.delivery.placement import Decided, Placement
from echomox.delivery.policy import AddressRules
from echomox.dns.fake import FakeResolver
from echomox.filter.decide import decide
from echomox.reports import database as database_module
from echomox.reports.arrivals import Arrivals, is_ours
from echomox.reports.database import ReportsDatabase, Span
from tests.unit.delivery.world import auth, facts, snapshot, to
from tests.unit.reports.samples import BEGIN, TLS, XML, report_mail
from tests.unit.smtpd.support import QUIET

CONFIG = """
[domains."here.example"]
[domains."here.example".dmarc_reports]
local_part = "dmarc"
account = "ann"
[domains."here.example".tls_reports]
local_part = "tlsrpt"
[accounts.ann]
addresses = ["ann@here.example"]
"""
HERE = snapshot(CONFIG, "")
SPF, SIGNED = auth(spf="there.example"), auth(dkim=("there.example",))
TLS_MAIL = report_mail(TLS, "application/tlsrpt+gzip", "r.json.gz")


def note(root, message, address="dmarc@here.example", checked=SPF, found=HERE, **envelope):
    """(reports kept, counters, the database)"""
    counts = {}

    def count(name, number=1):
        counts[name] = counts.get(name, 0) + number

    arrivals = Arrivals(root / "reports.db", QUIET, count)
    kept = asyncio.run(arrivals.note(replace(facts(found, to(found, address), message, checked, **envelope))))
    arrivals.close()
    return kept, counts, ReportsDatabase(root / "reports.db")


def test_report_addresses_are_found_in_any_spelling():
    for address in ("dmarc@here.example", "DMARC@Here.Example", "dmarc+x@here.example"):
        found = HERE.recipient(address)
        assert isinstance(found, Recipient)
        assert (found.account, found.mailbox, found.reports) == ("ann", "Reports", ("dmarc",))
    (destination,) = to(HERE, "tlsrpt@here.example")
    assert (destination.mailbox, destination.reports) == ("Reports", ("tls",))


def test_one_address_for_both():
    found = snapshot(CONFIG.replace('"tlsrpt"', '"dmarc"'), "").recipient("dmarc@here.example")
    assert isinstance(found, Recipient) and found.reports == ("dmarc", "tls")


def test_a_proved_report_is_kept_once(tmp_path):
    kept, counts, database = note(tmp_path, report_mail(XML))
    assert (kept, counts) == (1, {"reports_received": 1})
    assert note(tmp_path, report_mail(XML))[0] == 0
    (one,) = database.received(Span("dmarc"))
    assert (one.domain, one.submitter, one.good, one.bad, one.rows) == ("here.example", "there.example", 3, 7, 2)
    _, report = database.show("dmarc", one.id)
    assert report.rows[0].dkim_results == (("here.example", "s1", "pass"),)
    assert [row[:3] for row in database.sources(Span("dmarc"), 10)] == [("2001:db8::9", 7, 0), ("192.0.2.1", 3, 3)]


def test_another_sender_cannot_take_its_place(tmp_path):
    forged = report_mail(XML).replace(b"reports@there.example", b"reports@evil.example")
    note(tmp_path, forged, checked=auth(spf="evil.example"))
    assert note(tmp_path, report_mail(XML))[0] == 1


NOT_KEPT = {
    "nothing proved": (report_mail(XML), {"checked": auth()}),
    "another domain proved": (report_mail(XML), {"checked": auth(spf="evil.example")}),
    "a user's": (report_mail(XML), {"login": "ann"}),
    "about others": (
        report_mail(XML.replace(b"<domain>here.example</domain><adkim>", b"<domain>x.example</domain><adkim>")),
        {},
    ),
    "not XML": (report_mail(b"hello"), {}),
    "TLS where DMARC is": (TLS_MAIL, {"checked": SIGNED}),
    "TLS unsigned": (TLS_MAIL, {"address": "tlsrpt@here.example"}),
    "TLS about others": (
        report_mail(
            TLS.replace(b'domain": "here.example', b'domain": "x.example'), "application/tlsrpt+gzip", "r.json.gz"
        ),
        {"address": "tlsrpt@here.example", "checked": SIGNED},
    ),
}


@pytest.mark.parametrize("name", NOT_KEPT)
def test_what_is_not_kept(tmp_path, name):
    message, how = NOT_KEPT[name]
    kept, _, database = note(tmp_path, message, **how)
    assert kept == 0 and database.received(Span("dmarc")) == database.received(Span("tls")) == []


def test_a_signed_tls_report_is_kept(tmp_path):
    kept, _, database = note(tmp_path, TLS_MAIL, "tlsrpt@here.example", SIGNED)
    (one,) = database.received(Span("tls"))
    assert (kept, one.good, one.bad) == (1, 5326, 303)
    _, report = database.show("tls", one.id)
    assert report.policies[0].details[0].result == "certificate-expired"


def test_our_own_queue_may_bring_reports(tmp_path):
    found = facts(HERE, to(HERE, "dmarc@here.example"), report_mail(XML), remote_ip="")
    arrivals = Arrivals(tmp_path / "reports.db", QUIET, lambda name, number=1: None)
    assert asyncio.run(arrivals.note(replace(found, auth=None))) == 1
    arrivals.close()


def test_a_flood_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(database_module, "MOST_OF_DAY", 2)
    kept = [note(tmp_path, report_mail(XML.replace(b"r-1", b"r-%d" % n)))[0] for n in range(4)]
    assert kept == [1, 1, 0, 0]


def test_a_database_that_cannot_be_used_costs_no_mail(tmp_path):
    (tmp_path / "reports.db").write_bytes(b"no database" * 100)
    assert note(tmp_path, report_mail(XML))[:2] == (0, {})


def test_reports_are_forgotten_in_the_end(tmp_path):
    _, _, database = note(tmp_path, report_mail(XML))
    (one,) = database.received(Span("dmarc"))
    assert database.forget(one.arrived + 100, 200) == 0
    assert database.forget(one.arrived + 300, 200) == 1
    assert database.received(Span("dmarc")) == database.sources(Span("dmarc"), 10) == []


@pytest.mark.parametrize(
    "domain,since,until,number",
    [
        ("", 0, 0, 1),
        ("here.example", BEGIN, BEGIN + 1, 1),
        ("x.example", 0, 0, 0),
        ("", BEGIN + 86_400, 0, 0),
        ("", 0, BEGIN, 0),
    ],
)
def test_they_are_found_by_domain_and_time(tmp_path, domain, since, until, number):
    _, _, database = note(tmp_path, report_mail(XML))
    assert len(database.received(Span("dmarc", domain, since, until))) == number
    assert bool(database.sources(Span("dmarc", domain, since, until), 10)) is bool(number)


@pytest.mark.parametrize(
    "domain,ours",
    [("here.example", True), ("a.here.example", True), ("mail.a.test", True), ("example", False), ("", False),
     ("xhere.example", False), ("a" * 300, False)],
)  # fmt: skip
def test_whose_domain_it_is(domain, ours):
    assert is_ours(domain, HERE) is ours


def rules(arrivals=None):
    static = Static(hostname="mail.here.example")
    host = type("Host", (), {"static": static, "log": QUIET, "snapshot": lambda self: HERE, "count": lambda *_: None})()
    return AddressRules(host, FakeResolver({}), arrivals=arrivals)


def test_the_filter_keeps_no_proved_report_out():
    (destination,) = to(HERE, "dmarc@here.example")
    proved = rules().ruling(facts(HERE, [destination], report_mail(XML), SPF), destination)
    assert (proved.junk_filter.mode, proved.mailbox, proved.accept) == ("off", "Reports", True)
    unproved = rules().ruling(facts(HERE, [destination], report_mail(XML), auth()), destination)
    assert (unproved.junk_filter.mode, unproved.mailbox, unproved.accept) == ("bands", "Reports", False)


def test_only_what_was_kept_is_read():
    read = []

    class Reader:
        async def note(self, facts):
            read.append(facts)

    (destination,) = to(HERE, "dmarc@here.example")
    (plain,) = to(HERE, "ann@here.example")
    found = facts(HERE, [destination], report_mail(XML), SPF)

    def stored(one, place):
        decided = Decided(one, decide(HERE.account("ann").junk_filter, None))
        asyncio.run(rules(Reader()).stored(found, [decided], [Placement(place, "Reports", "")]))

    stored(destination, "junk")
    stored(plain, "inbox")
    assert read == []
    stored(destination, "inbox")
    assert read == [found]


def test_a_disabled_domain_takes_none():
    config = CONFIG.replace('[domains."here.example"]\n', '[domains."here.example"]\ndisabled = true\n')
    found = snapshot(config, "").recipient("dmarc@here.example")
    assert getattr(found, "reason", "") == "disabled"


def test_the_address_of_our_own_reports():
    assert HERE.reports_from == ""
    assert Snapshot(HERE.dynamic, Static(hostname="h.example"), 1).reports_from == ""
