"""Allow and block lists of accounts, domains and the server: what holds for an account, and what is refused."""

from __future__ import annotations

import pytest

from echomox.config.load import ConfigProblems, parse_dynamic
from echomox.config.quota import quota_of
from echomox.config.schema import JunkFilter, Limits
from echomox.config.senderlists import AccountFilter, decided_by, filter_of

BASE = """
[senders]
block = ["@bad.example", "both@x.example"]
[domains."b\u00fccher.test"]
quota = 7
[domains."b\u00fccher.test".senders]
allow = ["both@x.example", "Boss@Bad.example"]
[domains."plain.test"]
[accounts.ann]
addresses = ["Ann@B\u00dcCHER.test", "ann@plain.test"]
junk_filter = { junk = 0.4, block = ["boss@bad.example"] }
[accounts.bob]
addresses = ["bob@plain.test"]
[accounts.eve]
addresses = ["eve@b\u00fccher.test"]
"""


def dynamic(text=BASE):
    return parse_dynamic("/x/config/domains.toml", text.encode())


@pytest.mark.parametrize(
    "account, sender, decided",
    [
        ("ann", "boss@bad.example", ("block", "")),
        ("eve", "boss@bad.example", ("allow", "xn--bcher-kva.test")),
        ("bob", "boss@bad.example", ("block", "the server")),
        ("ann", "both@x.example", ("allow", "xn--bcher-kva.test")),
        ("bob", "both@x.example", ("block", "the server")),
        ("bob", "a@mail.bad.example", ("block", "the server")),
        ("bob", "a@good.example", None),
        ("bob", "", None),
        ("nobody", "a@bad.example", None),
    ],
)
def test_the_first_list_that_has_a_sender_decides(account, sender, decided):
    assert decided_by(sender, filter_of(dynamic(), account)) == decided


def test_an_accounts_other_settings_stay():
    found = filter_of(dynamic(), "ann")
    assert isinstance(found, AccountFilter) and (found.junk, found.reject) == (0.4, JunkFilter().reject)
    without = dynamic("[accounts.ann]\njunk_filter = { junk = 0.4 }\n")
    assert filter_of(without, "ann") is without.accounts["ann"].junk_filter


def test_the_domain_of_an_account_is_found_however_its_address_is_spelt():
    assert quota_of(dynamic(), Limits(), "ann").size == 7


@pytest.mark.parametrize("entry", ["bad.example", "a b@x.example", "@", "", "@bad..example", "a@b@c d"])
@pytest.mark.parametrize(
    "text, place",
    [
        ("[senders]\nallow = [{}]", "senders.allow[0]"),
        ('[domains."a.test".senders]\nblock = [{}]', 'domains."a.test".senders.block[0]'),
        ("[accounts.ann]\njunk_filter = {{ allow = [{}] }}", "accounts.ann.junk_filter.allow[0]"),
    ],
)
def test_an_entry_that_can_be_about_nobody_is_an_error(entry, text, place):
    with pytest.raises(ConfigProblems) as error:
        dynamic(text.format(f'"{entry}"'))
    assert "is no sender" in str(error.value)
    assert error.value.problems[0][2].replace("[0]", "") == place.replace("[0]", "")
