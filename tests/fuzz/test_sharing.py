"""What clients and people write about sharing, and searches that are to make mailboxes: whatever it is, it is taken or
refused as it should be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from echomox.imap import acl
from echomox.imap.lexer import Bad, Parser
from echomox.store import virtual
from echomox.store.engine import BadMailboxName

RIGHTS = some.text(alphabet="lrswipkxteacd", max_size=20)
ENTRIES = some.dictionaries(some.sampled_from(["bob", "anyone", "-bob", "-anyone", "carol"]), RIGHTS, max_size=5)


@given(some.binary(max_size=80))
def test_arguments(data: bytes) -> None:
    for parse in (acl.set_acl, acl.of_identifier):
        try:
            found = parse(Parser(b" " + data))
        except Bad:
            continue
        assert found.mailbox and found.identifier


@given(RIGHTS, RIGHTS)
def test_rights_are_a_set(one: str, two: str) -> None:
    first, second = acl.read_rights(one), acl.read_rights(two)
    assert acl.read_rights(acl.shown(first)) == acl.read_rights(acl.shown(acl.read_rights(acl.shown(first))))
    assert set(acl.changed(first, "+", second)) == set(first) | set(second)
    assert set(acl.changed(first, "-", second)) == set(first) - set(second)


@given(ENTRIES)
def test_nobody_gets_what_is_taken_away(entries: dict[str, str]) -> None:
    kept = {who: acl.read_rights(rights) for who, rights in entries.items()}
    granted = set(acl.granted(kept, "bob"))
    assert not granted & set(kept.get("-bob", "") + kept.get("-anyone", ""))
    assert granted <= set(kept.get("bob", "") + kept.get("anyone", ""))


WORDS = some.sampled_from(
    ["ALL", "OR", "NOT", "(", ")", "UNSEEN", "SUBJECT", '"x"', "OLDER", "5", "1:*", "UID", "KEYWORD", "$", "\0", "é"]
)


@given(some.one_of(some.text(some.characters(), max_size=60), some.lists(WORDS, max_size=8).map(" ".join)))
def test_searches_that_make_mailboxes(text: str) -> None:
    try:
        virtual.parse(text)
    except BadMailboxName:
        return
