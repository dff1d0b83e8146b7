"""Options of reports: addresses that can be, and those that cannot."""

from __future__ import annotations

import pytest

from echomox.config.dnsrecords import Facts, records
from tests.unit.config.test_load import PLAIN, dynamic, problems, static

BASE = """
[domains."a.test"]
{domain}
[domains."a.test".dmarc_reports]
{reports}
[accounts.ann]
addresses = ["ann@a.test", "taken@a.test"]
[aliases."team@a.test"]
members = ["ann@a.test"]
"""


def of(reports, domain=""):
    return BASE.format(reports=reports, domain=domain)


GOOD = (
    'local_part = "dmarc-reports"',
    'local_part = "taken"\naccount = "ann"',
    'local_part = "r"\nmailbox = "Reports/DMARC"',
)


@pytest.mark.parametrize("text", GOOD)
def test_good_ones(text):
    assert dynamic(of(text)).domains["a.test"].dmarc_reports.local_part


BAD = {
    'local_part = "a@b"': "quotes",
    'local_part = "a b"': "quotes",
    'local_part = "d\u00fc"': "ASCII",
    'local_part = "dmarc+x"': "separator",
    'local_part = "team"': "is an alias",
    'local_part = "taken"': "address of account ann",
    'local_part = "x"\naccount = "eve"': "no account eve",
    'account = "ann"': "missing",
    'local_part = "x"\nmailbox = ""': "a mailbox is named",
    'local_part = "x"\nmailbox = "a//b"': "a mailbox is named",
}


@pytest.mark.parametrize("text", BAD)
def test_bad_ones(text):
    (problem,) = problems(dynamic, of(text))
    assert BAD[text] in problem


def test_a_domain_without_addresses_of_its_own_has_none_for_reports():
    text = of('local_part = "x"', 'alias_of = "b.test"').replace('"ann@a.test", "taken@a.test"', '"ann@b.test"')
    text = text.replace("team@a.test", "team@b.test").replace('members = ["ann@a.test"]', 'members = ["ann@b.test"]')
    (problem,) = problems(dynamic, text + '[domains."b.test"]\n')
    assert "no addresses of its own" in problem


@pytest.mark.parametrize(
    "line,part",
    [
        ('address = "nobody"', "no @"),
        ('address = "@a.test"', "whole address"),
        ('contact = "a\\nb"', "one line"),
        ("hours = 30", "hours"),
    ],
)
def test_bad_static_ones(line, part):
    (problem,) = problems(static, f"{PLAIN}[reports]\n{line}\n")
    assert part in problem


def test_the_records_to_publish_name_the_addresses():
    facts = Facts("a.test", "mail.a.test", ("192.0.2.1",), (), "1", "dmarc@a.test", tls_reports="tls@a.test")
    values = {record.name: record.value for record in records(facts)}
    assert "rua=mailto:dmarc@a.test;" in values["_dmarc.a.test."]
    assert "rua=mailto:tls@a.test" in values["_smtp._tls.a.test."]
