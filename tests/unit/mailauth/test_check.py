"""All checks together: results of one mail, at once, in time, and never an exception."""

import asyncio

import pytest

from echomox.dns.fake import FakeResolver
from echomox.dns.types import Answer, DnsTemporary
from echomox.mailauth import check as module
from echomox.mailauth.check import MailFacts, check_mail
from echomox.mailauth.dkim import sign
from tests.unit.mailauth.dkimsamples import MAIL, NOW, record, signing_key

ZONE = {
    ("example.org", "TXT"): "v=spf1 ip4:192.0.2.0/24 -all",
    ("_dmarc.example.org", "TXT"): "v=DMARC1; p=reject; sp=quarantine; rua=mailto:d@example.org",
    ("s1._domainkey.example.org", "TXT"): record(),
    ("s1._domainkey.mail.example.org", "TXT"): record(),
    ("1.2.0.192.in-addr.arpa", "PTR"): "mx.example.org",
    ("mx.example.org", "A"): "192.0.2.1",
    ("other.example", "TXT"): "v=spf1 ip4:198.51.100.7 -all",
    ("_dmarc.quarantine.example", "TXT"): "v=DMARC1; p=quarantine",
    ("_dmarc.watch.example", "TXT"): "v=DMARC1; p=none",
    ("_dmarc.strict.example", "TXT"): "v=DMARC1; p=reject; adkim=s; aspf=s",
    ("s1._domainkey.strict.example", "TXT"): record(),
    ("s1._domainkey.sub.strict.example", "TXT"): record(),
}


def check(
    source=MAIL, ip="192.0.2.1", mail_from="ann@example.org", domains=("example.org",), dns=None, timeout=5.0, **more
):
    facts = MailFacts(ip, "mx.example.org", mail_from, source, domains, NOW)
    return asyncio.run(check_mail(dns or FakeResolver(ZONE), facts, timeout=timeout, **more))


def signed(domain="example.org", mail=MAIL):
    return sign(mail, [signing_key(domain=domain)], NOW) + mail


def test_a_good_mail_passes_everything():
    found = check(signed())
    assert (found.spf.result, found.dmarc.result, found.arc.result) == ("pass", "pass", "none")
    assert [each.result for each in found.dkim] == ["pass"]
    assert (found.iprev.result, found.iprev.names, found.helo) == ("pass", ("mx.example.org",), "pass")
    assert found.dmarc.aligned_spf and found.dmarc.aligned_dkim
    assert found.faults == ()


ALIGNMENT = [
    # (signed by, envelope sender, From domain, dmarc, policy)
    ("example.org", "", "example.org", "pass", "none"),
    ("mail.example.org", "", "example.org", "pass", "none"),  # relaxed
    ("example.org", "", "news.example.org", "pass", "none"),  # organisational domain's record
    ("", "x@example.org", "example.org", "pass", "none"),
    ("", "x@other.example", "example.org", "fail", "reject"),
    ("", "x@other.example", "news.example.org", "fail", "quarantine"),  # sp=
    ("", "x@other.example", "quarantine.example", "fail", "quarantine"),
    ("", "x@other.example", "watch.example", "fail", "none"),
    ("", "x@other.example", "nothing.example", "none", "none"),
    ("strict.example", "", "strict.example", "pass", "none"),
    ("sub.strict.example", "", "strict.example", "fail", "reject"),
    ("strict.example", "", "sub.strict.example", "fail", "reject"),
]


@pytest.mark.parametrize("signer, sender, author, result, policy", ALIGNMENT)
def test_alignment(signer, sender, author, result, policy):
    ip = "192.0.2.1" if sender.endswith("example.org") else "203.0.113.9"
    found = check(signed(signer) if signer else MAIL, ip, sender, (author,))
    assert (found.dmarc.result, found.dmarc.policy) == (result, policy)


def test_a_changed_body_fails_dmarc_when_spf_does_not_pass():
    found = check(signed().replace(b"Hello", b"Goodbye"), "203.0.113.9")
    assert (found.spf.result, found.dkim[0].result, found.dmarc.result) == ("fail", "fail", "fail")
    assert found.dmarc.reject


def test_an_expired_signature_does_not_count():
    source = sign(MAIL, [signing_key(expiry=10.0)], NOW - 100) + MAIL
    found = check(source, "203.0.113.9")
    assert (found.dkim[0].result, found.dmarc.result) == ("permerror", "fail")


@pytest.mark.parametrize("down", ["example.org", "_dmarc.example.org", "s1._domainkey.example.org"])
def test_dns_trouble_is_a_temperror_and_no_policy(down):
    found = check(signed(), "203.0.113.9", dns=FakeResolver(ZONE, fail=[down]))
    assert found.dmarc.result == "temperror"
    assert found.dmarc.policy == "none"
    assert found.faults == ()


def test_all_dns_down_is_temperrors():
    class Down:
        async def lookup(self, name, type):
            raise DnsTemporary("no network")

        async def close(self): ...

    found = check(signed(), dns=Down())
    words = (found.spf.result, found.dkim[0].result, found.dmarc.result, found.iprev.result)
    assert words == ("temperror",) * 4
    assert found.faults == ()


class Slow(FakeResolver):
    """Answers after `wait` seconds, or never; counts how many wait at once."""

    def __init__(self, tables, wait=None, slow=""):
        super().__init__(tables)
        self.wait, self.slow = wait, slow
        self.open = self.most = 0

    async def lookup(self, name, type):
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            if self.slow in name:
                await asyncio.sleep(3600 if self.wait is None else self.wait)
            return await super().lookup(name, type)
        finally:
            self.open -= 1


def test_dns_that_never_answers_costs_the_limit_once():
    dns = Slow(ZONE)
    found = check(signed(), dns=dns, timeout=0.2)
    assert dns.most >= 4  # SPF, DKIM, DMARC and iprev wait at once
    assert {found.spf.result, found.dkim[0].result, found.dmarc.result, found.iprev.result} == {"temperror"}


def test_what_came_in_time_counts():
    found = check(signed(), dns=Slow(ZONE, slow="in-addr"), timeout=2.0)
    assert (found.spf.result, found.dkim[0].result, found.dmarc.result) == ("pass", "pass", "pass")
    assert found.iprev.result == "temperror"


def test_the_first_questions_of_all_checks_are_asked_at_once():
    dns = Slow(ZONE, wait=0.01)
    check(signed(), dns=dns)
    assert dns.most >= 5  # SPF record, DKIM key, DMARC record, PTR, HELO name


def test_no_question_is_left_when_it_is_over():
    dns = Slow(ZONE)

    async def run():
        facts = MailFacts("192.0.2.1", "mx.example.org", "ann@example.org", signed(), ("example.org",), NOW)
        await check_mail(dns, facts, timeout=0.05)
        for _ in range(10):  # what was cancelled ends
            await asyncio.sleep(0)
        return [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]

    assert asyncio.run(run()) == []
    assert dns.open == 0


def test_our_own_mistake_is_a_temperror_and_is_told(monkeypatch):
    class Broken(FakeResolver):
        async def lookup(self, name, type):
            return Answer(name, type, (object(),))

    found = check(signed(), dns=Broken())
    assert found.dmarc.policy == "none"

    async def broken(*args, **more):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(module, "check_spf", broken)
    found = check(signed())
    assert [type(fault) for fault in found.faults] == [ZeroDivisionError]
    assert (found.spf.result, found.dmarc.result) == ("temperror", "pass")


def test_a_body_that_cannot_be_read_is_a_temperror():
    from echomox.mailauth.mailtext import MailText

    def gone():
        raise OSError("gone")
        yield b""

    source = signed()
    end = source.index(b"\r\n\r\n") + 4
    found = check(MailText(source[:end], gone, 10))
    assert found.dkim[0].result == "temperror"
    assert isinstance(found.faults[0], OSError)


def test_several_authors_count_by_the_strictest():
    found = check(signed(), domains=("example.org", "quarantine.example"))
    assert (found.dmarc.result, found.dmarc.from_domain) == ("fail", "quarantine.example")


MANY = tuple(f"d{n}.example" for n in range(50))


@pytest.mark.parametrize("domains", [(), ("",), ("x" * 300,), ("bad..name",), MANY])
def test_odd_authors_have_no_policy(domains):
    found = check(signed(), domains=domains)
    assert found.dmarc.policy == "none"
    assert found.faults == ()


@pytest.mark.parametrize("ip, helo, mail_from", [
    ("", "", ""), ("not an ip", "[", "@"), ("::1", "[IPv6:::1]", "a@b@c"), ("192.0.2.1", "\udcff", "ü@ü.example"),
    ("fe80::1%eth0", "x" * 1000, "x" * 1000 + "@example.org"),
])  # fmt: skip
def test_odd_envelopes_are_no_exception(ip, helo, mail_from):
    facts = MailFacts(ip, helo, mail_from, MAIL, ("example.org",), NOW)
    found = asyncio.run(check_mail(FakeResolver(ZONE), facts, timeout=5.0))
    assert found.faults == ()


class Known(FakeResolver):
    """As one that has all answers in its cache: nobody waits."""

    async def lookup(self, name, type):
        lookup = super().lookup(name, type)
        try:
            while True:
                lookup.send(None)
        except StopIteration as end:
            return end.value


def test_what_the_cache_answers_takes_no_task_and_says_the_same():
    tasks = []

    def counted(loop, work, **more):
        tasks.append(work)
        return asyncio.Task(work, loop=loop, **more)

    async def run(dns):
        facts = MailFacts("192.0.2.1", "mx.example.org", "ann@example.org", signed(), ("example.org",), NOW)
        asyncio.get_running_loop().set_task_factory(counted)
        found = await check_mail(dns, facts, timeout=5.0)
        return found, len(tasks)

    known, made = asyncio.run(run(Known(ZONE)))
    assert made == 0
    assert known == asyncio.run(run(FakeResolver(ZONE)))[0]
