"""The job that sends: what is planned and when, who gets a report, what is in the mail, and that none goes out twice
or is lost, wherever it is cut short. Real queue, real databases, a resolver of plain tables."""

from __future__ import annotations

import asyncio
import email
import gzip
import json
import ssl
from contextlib import closing

import pytest
import trustme
from lxml import etree

from echomox.clock import FakeClock
from echomox.config.keys import dkim_public, new_dkim_key
from echomox.config.paths import Paths
from echomox.config.schema import Account, Dkim, Domain, Dynamic, Outbound, Queue, Reports, Static
from echomox.config.snapshot import Snapshot
from echomox.delivery.authlog import FILE as RESULTS
from echomox.delivery.authlog import ReportRows, write_rows
from echomox.dns.fake import FakeResolver
from echomox.dns.types import DnsTemporary
from echomox.mailauth.dkim import verify_dkim
from echomox.outbound.remote import DATABASE as POLICIES
from echomox.queue import suppression
from echomox.queue.spool import QueueSpool
from echomox.reports import run as running
from echomox.reports.database import FILE, ReportsDatabase
from echomox.reports.model import day_of
from echomox.reports.run import Means
from echomox.reports.sending import send_reports
from echomox.tlspolicy.policies import Database
from echomox.tlspolicy.tlsrpt import Counted, Result
from tests.unit.queue.support import Bench, outcome
from tests.unit.reports.samples import BEGIN, DAY, RECORD, result, schema
from tests.unit.smtpd.support import QUIET

NOON = BEGIN + 86_400 + 43_200.0
STS = Result("a.example", "a.example", "sts", ("version: STSv1",), ("mx.a.example",))
BAD = Result(
    "a.example", "a.example", "sts", ("version: STSv1",), ("mx.a.example",), "certificate-expired", "mx.a.example"
)
DMARC, TLSRPT = ("_dmarc.a.example", "TXT"), ("_smtp._tls.a.example", "TXT")


class World:
    """A server's files, a moment, and DNS."""

    def __init__(self, root, again=False, **reports):
        """again: the files are there already."""
        self.paths = Paths.home(root)
        self.paths.run.mkdir(parents=True, exist_ok=True)
        self.paths.config.mkdir(exist_ok=True)
        key = self.paths.config / "key.pem"
        if not again:
            key.write_bytes(new_dkim_key("ed25519"))
        self.public = dkim_public(key.read_bytes())[1]
        row = Dkim(selector="s1", key=str(key))
        self.static = Static(hostname="mail.here.example", reports=Reports(**{"hours": 0.0, **reports}), queue=Queue())
        self.dynamic = Dynamic({"here.example": Domain(dkim=(row,))}, {"ann": Account(addresses=("ann@here.example",))})
        self.resolver = FakeResolver({DMARC: RECORD, TLSRPT: "v=TLSRPTv1; rua=mailto:tls@a.example"})
        self.clock = FakeClock(NOON)
        self.database = ReportsDatabase(self.paths.data / FILE)
        self.bench = Bench(root)

    def results(self, *rows, count=1):
        write_rows(self.paths.data / RESULTS, {row: [count, BEGIN + 5.0, BEGIN + 9.0] for row in rows})

    def tls(self, *results, day=DAY):
        with closing(Database(self.paths.data / POLICIES)) as database:
            database.add([Counted(day, one, 2) for one in results])

    def means(self):
        snapshot = Snapshot(self.dynamic, self.static, 1)
        return Means(self.static, self.paths, self.resolver, lambda: snapshot, QUIET, self.clock, chance=lambda: 0.5)

    def run(self):
        return asyncio.run(send_reports(self.means()))

    def mails(self):
        """(sender, recipients, bytes, require_tls) of each, in the order in which they were queued."""
        found = []
        for number, sender, prefix in self.bench.rows("SELECT id, sender, prefix FROM content ORDER BY id"):
            rows = self.bench.rows("SELECT recipient, require_tls FROM message WHERE content = ? ORDER BY id", number)
            (body,) = self.bench.rows("SELECT data FROM body WHERE content = ?", number)
            found.append((sender, [row[0] for row in rows], prefix + body[0], rows[0][1]))
        return found

    def state(self, kind="dmarc"):
        return [(one.domain, one.state, one.note) for one in self.database.outgoing(kind)]


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def attachment(source):
    return email.message_from_bytes(source).get_payload()[1]


def test_a_dmarc_report_goes_out_once(world):
    world.results(result(), result(source_ip="2001:db8::1"), count=3)
    did = world.run()
    assert (did["planned"], did["sent"]) == (1, 1)
    ((sender, recipients, source, require_tls),) = world.mails()
    assert recipients == ["rua@a.example"] and require_tls is None
    assert sender.startswith("postmaster+") and sender.endswith("@here.example")
    mail = email.message_from_bytes(source)
    (item,) = world.database.outgoing("dmarc")
    assert (item.state, item.size > 100, item.recipients) == ("sent", True, ("rua@a.example",))
    subject = " ".join(mail["Subject"].split())
    assert subject.startswith("Report Domain: a.example Submitter: here.example Report-ID: <")
    report_id = subject.split("Report-ID: ")[1]
    part = attachment(source)
    assert part.get_content_type() == "application/gzip"
    assert part.get_filename() == f"here.example!a.example!{BEGIN}!{BEGIN + 86_399}.xml.gz"
    xml = gzip.decompress(part.get_payload(decode=True))
    schema().assertValid(etree.fromstring(xml))
    assert b"<count>3</count>" in xml
    assert f"<report_id>{report_id.strip('<>')}</report_id>".encode() in xml
    assert world.run()["sent"] == 0 and len(world.mails()) == 1
    world.clock.advance(86_400 * 2)
    assert world.run()["sent"] == 0 and len(world.mails()) == 1


def test_it_is_signed_for_the_domain_of_from(world):
    world.results(result())
    world.run()
    key = {("s1._domainkey.here.example", "TXT"): f"v=DKIM1; k=ed25519; p={world.public}"}
    (found,) = asyncio.run(verify_dkim(FakeResolver(key), world.mails()[0][2], now=NOON, timeout=5))
    assert (found.result, found.domain) == ("pass", "here.example")


def test_a_day_that_is_not_over_waits(world):
    world.clock = FakeClock(BEGIN + 80_000.0)
    world.results(result())
    assert world.run()["planned"] == 0
    world.clock = FakeClock(BEGIN + 86_400.0)
    assert (world.run()["planned"], world.mails()) == (1, [])
    world.clock.advance(301)
    assert world.run()["sent"] == 1


def test_reports_are_spread_over_hours_and_not_more_than_the_rate(tmp_path):
    world = World(tmp_path, hours=4.0, rate=12)
    for n in range(5):
        world.results(result(policy_domain=f"{n}.example"))
        world.resolver.tables[f"_dmarc.{n}.example", "TXT"] = f"v=DMARC1; p=none; rua=mailto:r@{n}.example"
    world.clock = FakeClock(BEGIN + 86_400.0)
    world.run()
    assert {one.due for one in world.database.outgoing("dmarc")} == {BEGIN + 86_400 + 300 + 2 * 3600.0}
    world.clock.advance(3 * 3600)
    assert [world.run()["sent"] for _ in range(4)] == [2, 2, 1, 0]


NOBODY = {
    "no record": (None, "the domain has no DMARC record now"),
    "no rua": ("v=DMARC1; p=reject", "nobody wants reports"),
    "not a mail": ("v=DMARC1; p=reject; rua=https://a.example/r", "https://a.example/r: only mailto is known"),
    "elsewhere, not agreed": (
        "v=DMARC1; p=none; rua=mailto:r@far.example",
        "r@far.example has not agreed: no record at a.example._report._dmarc.far.example",
    ),
}


@pytest.mark.parametrize("name", NOBODY)
def test_nobody_who_wants_it(world, name):
    record, note = NOBODY[name]
    world.resolver.tables[DMARC] = [record] if record else []
    world.results(result())
    world.run()
    assert world.state() == [("a.example", "none", note)] and world.mails() == []


def test_an_address_elsewhere_gets_it_when_it_agrees(world):
    world.resolver.tables[DMARC] = (
        "v=DMARC1; p=none; rua=mailto:r@far.example,mailto:x@other.example,mailto:in@a.example"
    )
    world.resolver.tables["a.example._report._dmarc.far.example", "TXT"] = "v=DMARC1; rua=mailto:instead@far.example"
    world.results(result())
    world.run()
    assert world.mails()[0][1] == ["instead@far.example", "in@a.example"]
    assert "x@other.example has not agreed" in world.state()[0][2]


def test_a_report_larger_than_wanted_is_not_sent_but_said(world):
    world.resolver.tables[DMARC] = "v=DMARC1; p=none; rua=mailto:small@a.example!1,mailto:large@a.example!10m"
    world.results(result())
    world.run()
    assert world.mails()[0][1] == ["large@a.example"]
    assert world.state() == [("a.example", "sent", "too large for 1 addresses")]


def test_those_for_whom_all_is_too_large_are_told(world):
    world.resolver.tables[DMARC] = "v=DMARC1; p=none; rua=mailto:small@a.example!1"
    world.results(result())
    world.run()
    ((_, recipients, source, _),) = world.mails()
    text = email.message_from_bytes(source).get_payload()
    assert recipients == ["small@a.example"]
    assert "Report-Domain: a.example" in text and "Report-Size: " in text
    assert "Submitting-URI: mailto:small@a.example" in text


def test_a_suppressed_address_gets_none(world):
    suppression.add(world.bench.connection, "", "rua@a.example", "by hand")
    world.results(result())
    world.run()
    assert world.state() == [("a.example", "none", "rua@a.example is suppressed")] and world.mails() == []


def test_an_address_that_refuses_reports_is_suppressed_and_nobody_is_told(world):
    world.results(result())
    world.run()
    world.bench.now = 2e9
    (job,) = world.bench.lease()
    done = world.bench.finish(outcome(job.job.recipients[0].id, "failed"))
    assert done.reports == [] and world.bench.reports == []
    assert suppression.is_suppressed(world.bench.connection, "", "rua@a.example")


def test_other_refusals_count_until_there_are_five(world):
    for day in range(5):
        assert not suppression.is_suppressed(world.bench.connection, "", "rua@a.example")
        world.results(result(day=day_of(BEGIN + day * 86_400)))
        world.clock = FakeClock(NOON + day * 86_400)
        world.run()
        world.bench.now = 2e9
        (job,) = world.bench.lease()
        world.bench.finish(outcome(job.job.recipients[0].id, "failed", 552, "5.2.2"))
    assert suppression.is_suppressed(world.bench.connection, "", "rua@a.example")


def test_dns_trouble_puts_it_off(world):
    world.results(result())
    world.resolver.fail = ["a.example"]
    world.run()
    (item,) = world.database.outgoing("dmarc")
    assert (item.state, item.tries, item.due) == ("planned", 1, NOON + running.RETRY)
    world.resolver.fail = []
    world.clock.advance(running.RETRY)
    assert world.run()["sent"] == 1


def test_it_is_given_up_after_many_tries(world):
    world.results(result())
    world.resolver.tables[DMARC] = DnsTemporary("nobody answers")
    for _ in range(running.TRIES):
        world.run()
        world.clock.advance(running.RETRY_MOST)
    assert world.state()[0][1:] == ("failed", "given up: DNS: nobody answers")


def test_without_a_key_reports_wait_and_are_given_up_in_the_end(world):
    keys, world.dynamic = world.dynamic, Dynamic({"here.example": Domain()}, world.dynamic.accounts)
    world.results(result())
    assert world.run()["waiting"] == 1
    world.dynamic = keys
    assert world.run()["sent"] == 1
    world.dynamic = Dynamic({"here.example": Domain()}, {})
    world.results(result(policy_domain="b.example"))
    world.run()
    world.clock.advance(9 * 86_400)
    world.run()
    assert ("b.example", "failed", "not sent in time") in world.state()


def test_what_is_switched_off_is_not_sent(tmp_path):
    world = World(tmp_path, dmarc=False, tls=False)
    world.results(result())
    world.tls(BAD)
    assert world.run()["planned"] == 0


def test_old_results_are_forgotten(world):
    world.results(result(day="2026-11-01"), result())
    world.run()
    assert ReportRows(world.paths.data / RESULTS).days() == [(DAY, "a.example")]
    assert len(world.mails()) == 1


class Killed(BaseException):
    """As kill -9: no code of ours runs any more."""


@pytest.mark.parametrize("place", ["begin", "before add", "after add", "mailed", "finish"])
def test_one_that_was_cut_short_is_sent_once(world, monkeypatch, place):
    world.results(result())
    add = QueueSpool.add

    async def before(self, mail):
        raise Killed

    async def after(self, mail):
        await add(self, mail)
        raise Killed

    def killed(*values):
        raise Killed

    with monkeypatch.context() as patch:
        if place in ("begin", "mailed", "finish"):
            patch.setattr(ReportsDatabase, place, killed)
        else:
            patch.setattr(QueueSpool, "add", before if place == "before add" else after)
        with pytest.raises(Killed):
            world.run()
    world.run()
    assert len(world.mails()) == 1 and world.state()[0][1] == "sent"
    world.run()
    assert len(world.mails()) == 1


@pytest.mark.parametrize("after", [False, True])
def test_trouble_of_the_disk_neither_doubles_nor_loses_it(world, monkeypatch, after):
    world.results(result())
    add = QueueSpool.add

    async def full(self, mail):
        if after:
            await add(self, mail)
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(QueueSpool, "add", full)
        world.run()
    world.clock.advance(running.RETRY)
    world.run()
    assert len(world.mails()) == 1 and world.state()[0][1] == "sent"


# -- TLS --------------------------------------------------------------------------


def test_a_failed_handshake_is_one_tls_report(world):
    world.tls(STS, BAD)
    assert world.run()["sent"] == 1
    ((_, recipients, source, require_tls),) = world.mails()
    assert recipients == ["tls@a.example"] and require_tls == 0
    mail = email.message_from_bytes(source)
    assert (mail["TLS-Report-Domain"], mail["TLS-Report-Submitter"]) == ("a.example", "here.example")
    assert mail["TLS-Required"] == "No"
    assert (mail.get_content_type(), mail.get_param("report-type")) == ("multipart/report", "tlsrpt")
    part = attachment(source)
    assert part.get_content_type() == "application/tlsrpt+gzip"
    assert part.get_filename() == f"here.example!a.example!{BEGIN}!{BEGIN + 86_399}!001.json.gz"
    data = json.loads(gzip.decompress(part.get_payload(decode=True)))
    assert f"<{data['report-id']}>" in mail["Subject"]
    (policy,) = data["policies"]
    assert policy["summary"] == {"total-successful-session-count": 2, "total-failure-session-count": 2}
    assert [one["result-type"] for one in policy["failure-details"]] == ["certificate-expired"]
    assert world.run()["sent"] == 0


def test_today_is_not_reported(world):
    world.tls(BAD, day=day_of(NOON))
    assert world.run()["planned"] == 0


def test_domains_without_a_record_get_none(world):
    world.resolver.tables[TLSRPT] = []
    world.tls(BAD)
    world.run()
    assert world.state("tls") == [("a.example", "none", "nobody wants reports")]


class Collector:
    """An HTTPS host that takes reports."""

    def __init__(self, answer=b"HTTP/1.1 201 Created\r\n\r\n", name="reports.a.example"):
        self.answer, self.got = answer, []
        self.authority = trustme.CA()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(name).configure_cert(self.context)

    async def __aenter__(self):
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.context)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()

    async def _serve(self, reader, writer):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            self.got.append((head, await reader.readexactly(length)))
            writer.write(self.answer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


def post(world, collector):
    async def run():
        async with collector:
            uri = f"https://reports.a.example:{collector.port}/v1?x=1"
            world.resolver.tables[TLSRPT] = f"v=TLSRPTv1; rua={uri},mailto:tls@a.example"
            world.resolver.tables["reports.a.example", "A"] = "127.0.0.1"
            collector.authority.cert_pem.write_to_path(str(world.paths.config / "ca.pem"))
            world.static = Static(
                hostname="mail.here.example", reports=Reports(hours=0.0), outbound=Outbound(ca_file="ca.pem")
            )
            return await send_reports(world.means())

    return asyncio.run(run())


def test_a_tls_report_is_posted(world):
    world.tls(BAD)
    collector = Collector()
    post(world, collector)
    ((head, body),) = collector.got
    assert head.startswith(b"POST /v1?x=1 HTTP/1.1\r\n") and b"Content-Type: application/tlsrpt+gzip\r\n" in head
    assert json.loads(gzip.decompress(body))["policies"]
    assert world.state("tls")[0][1] == "sent" and len(world.mails()) == 1


@pytest.mark.parametrize(
    "answer,name,why",
    [
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", "reports.a.example", "status 302"),
        (b"HTTP/1.1 500 Oops\r\n\r\n", "reports.a.example", "status 500"),
        (b"220 hello\r\n", "reports.a.example", "not HTTP"),
        (b"", "reports.a.example", "not HTTP"),
        (b"HTTP/1.1 201 Created\r\n\r\n", "other.example", "mismatch"),
        (b"x" * 100_000, "reports.a.example", "not HTTP"),
    ],
)
def test_a_post_that_fails_is_put_off_and_the_mail_goes_once(world, answer, name, why):
    world.tls(BAD)
    post(world, Collector(answer, name))
    (item,) = world.database.outgoing("tls")
    assert (item.state, item.tries, item.mailed) == ("planned", 1, True)
    assert why in item.note
    world.clock.advance(running.RETRY)
    post(world, Collector())
    assert world.state("tls")[0][1] == "sent" and len(world.mails()) == 1
