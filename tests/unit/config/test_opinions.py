"""What mailboxes say by their names (F07)."""

from pathlib import Path

import pytest

from echomox.config.load import parse_dynamic
from echomox.config.opinions import opinion
from echomox.config.schema import Account
from echomox.errors import ConfigError

JUNK, NEUTRAL, HAM = "^(junk|spam)", "^(inbox|trash)", "^lists"
CASES = [
    (("", "", ""), "Junk", None),
    ((JUNK, "", ""), "Spam", "spam"),
    ((JUNK, "", ""), "INBOX", None),
    ((JUNK, NEUTRAL, HAM), "Spam/2024", "spam"),
    ((JUNK, NEUTRAL, HAM), "INBOX", ""),
    ((JUNK, NEUTRAL, HAM), "LISTS/dev", "ham"),
    ((JUNK, NEUTRAL, HAM), "Archive", None),
    ((JUNK, "", ".*"), "junk", "spam"),
    ((JUNK, "", ".*"), "Archive", "ham"),
    ((JUNK, NEUTRAL, ""), "Archive", "ham"),
    ((JUNK, "", HAM), "Archive", ""),
    (("", NEUTRAL, HAM), "Other", "spam"),
]


@pytest.mark.parametrize("options, mailbox, expected", CASES)
def test_the_first_that_fits_holds_and_two_leave_the_rest_to_the_third(options, mailbox, expected):
    account = Account(junk_mailbox=options[0], neutral_mailbox=options[1], notjunk_mailbox=options[2])
    assert opinion(account, mailbox) == expected


@pytest.mark.parametrize("mailbox, expected", [("New", "waits"), ("Spam", "spam"), ("INBOX", None), ("", None)])
def test_the_mailbox_of_strangers_waits(mailbox, expected):
    assert opinion(Account(introbox="New", junk_mailbox="^(spam|new)"), mailbox) == expected
    assert opinion(Account(junk_mailbox="^(spam|new)"), "New") == "spam"


@pytest.mark.parametrize("key", ["junk_mailbox", "neutral_mailbox", "notjunk_mailbox"])
def test_what_is_no_expression_is_refused(key):
    text = f'[accounts.mjl]\n{key} = "(a"\n'
    with pytest.raises(ConfigError, match=rf"domains.toml:2: accounts.mjl.{key}: .*regular expression"):
        parse_dynamic(Path("domains.toml"), text.encode())
