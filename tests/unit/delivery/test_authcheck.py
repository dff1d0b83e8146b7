"""What delivery does with the checks: refusal, Junk, headers, evidence, forged results, rows for reports."""

import asyncio
import hashlib
import json
import os
import sqlite3
from contextlib import closing
from dataclasses import asdict, replace

import pytest

from echomox.config.schema import MailAuth
from echomox.delivery.authcheck import MailChecks, from_domains
from echomox.delivery.authlog import AuthLog, ReportRows, ResultRow, write_rows
from echomox.delivery.authlog import row_of as row_of_results
from echomox.delivery.authpolicy import dispose, trusted_forwarder
from echomox.delivery.incoming import Destination, Incoming
from echomox.delivery.judging import Judging
from echomox.delivery.local import LocalDelivery
from echomox.dns.fake import FakeResolver
from echomox.mailauth.arc import ArcResult, ArcSet
from echomox.mailauth.check import MailFacts
from echomox.mailauth.dkim import DkimResult, sign
from echomox.mailauth.dmarc import DmarcResult, parse_record
from echomox.mailauth.iprev import IprevResult
from echomox.mailauth.spf import SpfResult
from echomox.message.authres import REMOVED, forged, without_forged
from tests.unit.delivery.test_local import Classifiers, Store
from tests.unit.mailauth.dkimsamples import MAIL, NOW, signing_key
from tests.unit.mailauth.test_check import ZONE
from tests.unit.mailauth.test_results import results
from tests.unit.net.support import Host
from tests.unit.smtpd.support import QUIET

FORGED = b"Authentication-Results: MX.example.org; dmarc=pass\r\n"
BAD_IP = "203.0.113.9"


def deliver(tmp_path, source=MAIL, ip=BAD_IP, zone=None, accounts=("mjl",), probability=0.1, **settings):
    """(reply, store, host, what classifiers were asked, rows for reports); large messages come from a spool file."""
    host = Host(tmp_path)
    host.static = replace(host.static, mailauth=MailAuth(**settings))
    store, classifiers = Store(), Classifiers(dict.fromkeys(accounts, probability))
    spool = ""
    if len(source) > 10_000:
        spool = "smtp.0/1-1"
        (tmp_path / "smtp.0").mkdir(exist_ok=True)
        (tmp_path / spool).write_bytes(source)
    mail = Incoming(
        id="cid-1", cid="cid", source=None if spool else source, spool=spool, read=lambda: source, size=len(source),
        mail_from="x@other.example", destinations=[Destination(name, f"{name}@example.org") for name in accounts],
        helo="mx.example.org", remote_ip=ip, protocol="ESMTPS", tls="TLSv1.3 X", received=NOW,
    )  # fmt: skip
    log = AuthLog(tmp_path / "reports.db", QUIET)

    async def run():
        checks = MailChecks(host.static, FakeResolver(zone or ZONE), tmp_path, log, QUIET)
        delivery = LocalDelivery(host, store, store, Judging(host, store, classifiers), checks)
        reply = await delivery.deliver(mail)
        delivery.close()
        await log.close()
        return str(reply)

    reply = asyncio.run(run())
    found = ReportRows(tmp_path / "reports.db")
    rows = [row for day, domain in found.days() for row in found.rows(day, domain)]
    return reply, store, host, classifiers.asked, rows


def mail_of(domain):
    return MAIL.replace(b"ann@example.org", b"ann@" + domain.encode())


def test_reject_is_a_refusal_for_all_with_a_copy_in_rejects(tmp_path):
    reply, store, host, asked, rows = deliver(tmp_path, accounts=("mjl", "rest"))
    assert reply == "550 5.7.26 example.org wants this refused: neither SPF nor DKIM passed for it (DMARC p=reject)"
    assert asked == []
    assert [(target.account, target.mailbox) for target in store.added[0].targets] == [
        ("mjl", "Rejects"), ("rest", "Rejects"),
    ]  # fmt: skip
    prefix = store.added[0].targets[0].prefix
    assert b"X-EchoMox-Verdict: reject;" in prefix and b"reason=dmarc-reject;" in prefix
    assert b"\tdmarc=fail header.from=example.org" in prefix
    assert host.counts["smtp_messages_refused"] == host.counts["dmarc_refused"] == 1
    assert host.counts["delivered_rejects"] == 2
    assert [(row.disposition, row.policy, count) for row, count in rows] == [("reject", "reject", 1)]


@pytest.mark.parametrize("domain, mailbox", [
    ("quarantine.example", "Junk"),
    ("news.example.org", "Junk"),  # sp=quarantine
    ("watch.example", "INBOX"),
    ("nothing.example", "INBOX"),
])  # fmt: skip
def test_weaker_policies_deliver(domain, mailbox, tmp_path):
    reply, store, host, asked, _ = deliver(tmp_path, mail_of(domain))
    assert reply.startswith("250")
    (target,) = store.added[0].targets
    assert target.mailbox == mailbox
    assert host.counts.get("dmarc_quarantined", 0) == (mailbox == "Junk")
    if mailbox == "Junk":
        assert b"X-EchoMox-Verdict: junk;" in target.prefix
        assert b"reason=dmarc-quarantine" in target.prefix
        assert json.loads(target.verdict)["place"] == "junk"
    told = {"nothing.example": "none", "watch.example": "watched"}.get(domain, "fail")
    assert ("dmarc", told) in asked[0].auth


def test_mail_that_passes_is_delivered_with_its_results(tmp_path):
    source = sign(MAIL, [signing_key()], NOW) + MAIL
    reply, store, _, asked, rows = deliver(tmp_path, source, ip="192.0.2.1")
    assert reply.startswith("250")
    prefix = store.added[0].targets[0].prefix
    assert b"Received: from mx.example.org (mx.example.org [192.0.2.1])" in prefix
    assert b"\r\nReceived-SPF: fail " in prefix
    assert b"\r\nAuthentication-Results: mx.example.org;\r\n" in prefix
    assert b"\tdkim=pass header.d=example.org" in prefix
    assert b"\tdmarc=pass header.from=example.org" in prefix
    assert prefix.index(b"\r\nReceived:") < prefix.index(b"\r\nReceived-SPF:") < prefix.index(b"\r\nAuthentication-R")
    assert ("dmarc", "pass") in asked[0].auth and ("dkim", "pass") in asked[0].auth
    assert ("iprev", "pass") in asked[0].auth and ("spf", "fail") in asked[0].auth
    assert [(row.disposition, row.dkim, row.spf) for row, _ in rows] == [("none", "pass", "fail")]


def test_spf_that_fails_alone_refuses_nothing(tmp_path):
    zone = {key: value for key, value in ZONE.items() if key[0] != "_dmarc.example.org"}
    reply, store, _, asked, rows = deliver(tmp_path, zone=zone)
    assert reply.startswith("250")
    assert store.added[0].targets[0].mailbox == "INBOX"
    assert ("spf", "fail") in asked[0].auth
    assert rows == []


def test_dns_that_is_down_refuses_nothing(tmp_path):
    class Down(FakeResolver):
        def __init__(self):
            super().__init__({}, fail=["org", "example", "arpa"])

    host = Host(tmp_path)
    store = Store()
    mail = Incoming(
        id="cid-1", cid="cid", source=MAIL, spool="", read=lambda: MAIL, size=len(MAIL), mail_from="x@other.example",
        destinations=[Destination("mjl", "mjl@example.org")], helo="h.example", remote_ip=BAD_IP, protocol="ESMTP",
        tls="", received=NOW,
    )  # fmt: skip

    async def run():
        checks = MailChecks(host.static, Down(), tmp_path, None, QUIET)
        delivery = LocalDelivery(host, store, store, Judging(host, store, Classifiers({"mjl": 0.1})), checks)
        reply = await delivery.deliver(mail)
        delivery.close()
        return reply

    assert asyncio.run(run()).code == 250
    assert b"dmarc=temperror" in store.added[0].targets[0].prefix


def test_a_broken_check_costs_the_checks_and_not_the_mail(tmp_path, monkeypatch):
    async def broken(*args, **more):
        raise ZeroDivisionError

    monkeypatch.setattr("echomox.delivery.authcheck.check_mail", broken)
    reply, store, host, _, _ = deliver(tmp_path)
    assert reply.startswith("250")
    assert host.counts["exceptions"] == 1
    assert b"Authentication-Results: mx.example.org; none\r\n" in store.added[0].targets[0].prefix


@pytest.mark.parametrize("size", [0, 200_000])
def test_results_in_our_name_are_taken_out(size, tmp_path):
    """RFC 8601 5. In memory, and in a spool file."""
    other = b"Authentication-Results: other.example; dmarc=pass\r\n"
    source = FORGED + other + mail_of("nothing.example") + b"x" * size
    _, store, _, _, _ = deliver(tmp_path, source)
    stored = store.added[0].source
    stored = stored if isinstance(stored, bytes) else (tmp_path / stored).read_bytes()
    assert stored == source.replace(b"Authentication-Results: MX", REMOVED + b": MX")


def test_a_large_message_is_checked_from_its_file(tmp_path):
    body = MAIL + b"many words in a line, over and over\r\n" * 30_000
    source = sign(body, [signing_key()], NOW) + body
    reply, _, _, asked, _ = deliver(tmp_path, source)
    assert reply.startswith("250")
    assert ("dkim", "pass") in asked[0].auth and ("dmarc", "pass") in asked[0].auth


def test_a_file_that_is_gone_is_a_temporary_error(tmp_path):
    host, store = Host(tmp_path), Store()
    mail = Incoming(
        id="cid-1", cid="cid", source=None, spool="smtp.0/9-9", read=lambda: MAIL, size=len(MAIL), mail_from="",
        destinations=[Destination("mjl", "mjl@example.org")], helo="h", remote_ip=BAD_IP, protocol="ESMTP", tls="",
        received=NOW,
    )  # fmt: skip

    async def run():
        checks = MailChecks(host.static, FakeResolver(ZONE), tmp_path, None, QUIET)
        delivery = LocalDelivery(host, store, store, Judging(host, store, Classifiers({"mjl": 0.1})), checks)
        return await delivery.deliver(mail)

    assert asyncio.run(run()).code == 451
    assert store.added == []


# -- policy ---------------------------------------------------------------------------

RECORD = parse_record(b"v=DMARC1; p=reject; rua=mailto:d@example.org")
FAILED = DmarcResult(
    "fail", "example.org", policy="reject", requested="reject", domain="example.org", record=RECORD
)  # fmt: skip
SEALED = ArcResult("pass", "", (ArcSet(1, "lists.example.net", "s", "none", "", (("dmarc", "pass"),)),))


@pytest.mark.parametrize("settings, change, what, override", [
    ({}, {}, "reject", ""),
    ({"enforce": ("reject",)}, {}, "reject", ""),
    ({"enforce": ("quarantine",)}, {}, "quarantine", "local_policy"),
    ({"enforce": ()}, {}, "none", "local_policy"),
    ({"trusted_forwarders": ("192.0.2.0/24",)}, {}, "none", "trusted_forwarder"),
    ({"trusted_forwarders": ("198.51.100.0/24",)}, {}, "reject", ""),
    ({"trusted_forwarders": ("2001:db8::/32",)}, {}, "reject", ""),
    ({"trusted_forwarders": ("example.net",)}, {"iprev": IprevResult("pass", ("mx.example.net",))}, "none",
     "trusted_forwarder"),
    ({"trusted_forwarders": ("example.net",)}, {"iprev": IprevResult("fail", ("mx.example.net",))}, "reject", ""),
    ({"trusted_forwarders": ("example.net",)}, {"spf": SpfResult("pass", "example.net")}, "none", "trusted_forwarder"),
    ({"trusted_forwarders": ("example.net",)}, {"spf": SpfResult("fail", "example.net")}, "reject", ""),
    ({"trusted_forwarders": ("example.net",)}, {"dkim": (DkimResult("pass", "example.net"),)}, "none",
     "trusted_forwarder"),
    ({"trusted_forwarders": ("example.net",)}, {"dkim": (DkimResult("pass", "notexample.net"),)}, "reject", ""),
    ({"trusted_sealers": ("lists.example.net",)}, {"arc": SEALED}, "none", "local_policy"),
    ({"trusted_sealers": ("example.net",)}, {"arc": SEALED}, "reject", ""),
    ({"trusted_sealers": ("lists.example.net",)}, {"arc": replace(SEALED, result="fail")}, "reject", ""),
    ({}, {"dmarc": replace(FAILED, policy="quarantine", sampled=False)}, "quarantine", "sampled_out"),
    ({}, {"dmarc": replace(FAILED, result="temperror", policy="none")}, "none", ""),
    ({}, {"dmarc": replace(FAILED, result="pass", policy="none")}, "none", ""),
])  # fmt: skip
def test_policy(settings, change, what, override):
    nothing = {"spf": SpfResult("none"), "dkim": (), "iprev": IprevResult("fail"), "dmarc": FAILED}
    done = dispose(MailAuth(**settings), results(**{**nothing, **change}), "192.0.2.1")
    assert (done.what, done.override) == (what, override)
    assert done.believed == (override in ("trusted_forwarder",) or "arc=pass" in done.comment)


def test_a_client_without_address_is_no_forwarder():
    assert trusted_forwarder(("192.0.2.0/24",), results(), "") == ""


def test_failures_of_a_trusted_forwarder_are_no_evidence(tmp_path):
    reply, store, _, asked, rows = deliver(tmp_path, trusted_forwarders=("203.0.113.0/24",))
    assert reply.startswith("250")
    assert store.added[0].targets[0].mailbox == "INBOX"
    assert not [each for each in asked[0].auth if each in (("spf", "fail"), ("dmarc", "fail"))]
    assert b"dmarc=fail" in store.added[0].targets[0].prefix
    assert [(row.disposition, row.override) for row, _ in rows] == [("none", "trusted_forwarder")]


# -- small parts ------------------------------------------------------------------------


@pytest.mark.parametrize("header, domains", [
    (b"From: a@Example.ORG\r\n", ["example.org"]),
    (b"From: A <a@x.example>, b@y.example, c@x.example\r\n", ["x.example", "y.example"]),
    (b"From: =?utf-8?q?=40?= <a@b\xc3\xbccher.example>\r\n", ["xn--bcher-kva.example"]),
    (b"From: nobody\r\n", []),
    (b"To: a@b.example\r\n", []),
    (b"From: list: a@x.example;\r\n", ["x.example"]),
])  # fmt: skip
def test_authors(header, domains):
    assert from_domains(header + b"\r\n") == domains


@pytest.mark.parametrize("value, ours", [
    (b" mx.example.org; spf=pass", True),
    (b"mx.example.org;spf=pass", True),
    (b" MX.Example.ORG 1; spf=pass", True),
    (b"\r\n\t(note) mx.example.org\r\n\t; spf=pass", True),
    (b' "mx.example.org"; spf=pass', True),
    (b" (broken", True),
    (b"", True),
    (b" other.example; x=mx.example.org", False),
    (b" mx.example.org.evil.example; spf=pass", False),
])  # fmt: skip
def test_forged_fields_are_found(value, ours):
    header = b"From: a@b\r\nauthentication-results :" + value + b"\r\nX-Authentication-Results: mx.example.org\r\n\r\n"
    places = forged(header, "mx.example.org")
    assert places == ([11] if ours else [])
    assert len(without_forged(header, places)) == len(header)


def row(n=0, day="2026-11-22"):
    return ResultRow(
        day, "example.org", "v=DMARC1; p=none", "none", "p", "example.org", "b.example", f"192.0.2.{n}", "none", "pass",
        "fail", "", "", (("example.org", "s1", "pass"),), ("b.example", "mfrom", "fail"),
    )  # fmt: skip


def test_equal_rows_are_counted_over_processes_and_days(tmp_path):
    file = tmp_path / "mailauth" / "reports.db"

    async def run():
        for _ in range(2):
            log = AuthLog(file, QUIET)
            log.start()
            for n in (1, 1, 2):
                log.add(row(n), 1e9)
            log.add(row(1, "2026-11-23"), 1e9)
            await log.close()

    asyncio.run(run())
    rows = ReportRows(file)
    assert rows.days() == [("2026-11-22", "example.org"), ("2026-11-23", "example.org")]
    assert list(rows.rows("2026-11-22", "example.org")) == [(row(1), 4), (row(2), 2)]
    assert rows.remove_before("2026-11-23") == 2
    assert rows.days() == [("2026-11-23", "example.org")]


def test_no_database_has_no_rows(tmp_path):
    rows = ReportRows(tmp_path / "none.db")
    assert rows.days() == [] and rows.remove_before("2030-01-01") == 0
    assert list(rows.rows("2026-11-22", "x")) == []
    assert not (tmp_path / "none.db").exists()


def test_rows_wait_while_the_disk_is_in_trouble(tmp_path):
    blocked = tmp_path / "mailauth"
    blocked.write_text("a file where the directory should be")

    async def run():
        log = AuthLog(blocked / "reports.db", QUIET)
        log.add(row(1), 1e9)
        await log.flush()
        log.add(row(1), 1e9)
        blocked.unlink()
        await log.close()

    asyncio.run(run())
    assert list(ReportRows(blocked / "reports.db").rows("2026-11-22", "example.org")) == [(row(1), 2)]


def test_a_damaged_database_is_moved_aside(tmp_path):
    file = tmp_path / "reports.db"
    file.write_bytes(os.urandom(8192))
    with pytest.raises(sqlite3.DatabaseError):
        ReportRows(file).days()

    async def run():
        log = AuthLog(file, QUIET)
        log.add(row(1), 1e9)
        await log.flush()
        await log.close()

    asyncio.run(run())
    assert list(ReportRows(file).rows("2026-11-22", "example.org")) == [(row(1), 1)]
    assert (tmp_path / "reports.damaged").stat().st_size == 8192


def test_the_number_of_rows_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("echomox.delivery.authlog.MOST_WAITING", 10)
    monkeypatch.setattr("echomox.delivery.authlog.MOST_OF_DAY", 15)
    file = tmp_path / "reports.db"

    async def run():
        log = AuthLog(file, QUIET)
        for start in (0, 100, 150):
            for n in range(start, start + 30):
                log.add(row(n), 1e9)
            await log.flush()
        await log.close()

    asyncio.run(run())
    assert len(list(ReportRows(file).rows("2026-11-22", "example.org"))) == 15


def test_only_mail_of_a_domain_with_a_policy_is_noted():
    facts = MailFacts("192.0.2.1", "h", "a@b.example", b"", ("example.org",), NOW)
    done = dispose(MailAuth(), results(), "192.0.2.1")
    assert row_of_results(results(dmarc=DmarcResult("none", "example.org")), facts, done) is None
    assert row_of_results(results(dmarc=replace(FAILED, result="temperror")), facts, done) is None
    noted = row_of_results(results(dmarc=FAILED), facts, done)
    assert noted is not None
    assert (noted.day, noted.record) == ("2020-09-13", "v=DMARC1; p=reject; rua=mailto:d@example.org")


def test_a_row_is_written_with_all_its_fields_in_their_order(tmp_path):
    facts = MailFacts("192.0.2.1", "h", "a@b.example", b"", ("example.org",), NOW)
    row = row_of_results(results(dmarc=FAILED), facts, dispose(MailAuth(), results(dmarc=FAILED), "192.0.2.1"))
    assert row is not None
    write_rows(tmp_path / "reports.db", {row: [2, NOW, NOW]})
    with closing(sqlite3.connect(tmp_path / "reports.db")) as database:
        ((text, digest),) = database.execute("SELECT row, digest FROM dmarc_result")
    assert text == json.dumps(asdict(row), separators=(",", ":"))
    assert digest == hashlib.sha256(text.encode()).digest()[:16]
