"""Changes keep what a person wrote, and are made whole or not at all."""

from __future__ import annotations

import os
import threading

import pytest

from echomox.config.edit import editing
from echomox.config.load import load_dynamic
from echomox.config.paths import Paths
from echomox.config.schema import Account, Domain, JunkFilter
from echomox.errors import ConfigError

STATIC = 'hostname = "mail.a.test"\n[listeners]\nsubmissions = []\nimaps = []\n'
TEXT = """\
# first words

[domains."a.test"]   # main
separators = ["+", # plus
  "-"]

# the family
[accounts.bob]
addresses = [
   "bob@a.test",  # main
   "b@a.test"   # short
]   # end
junk_filter = { mode = "off" }  # bob wants all

[accounts.alice.junk_filter]
junk = 0.2 # low

# the other domain
[domains."b\u00fccher.test"]

[accounts.alice]
addresses = ["alice@a.test"]
# last words
"""
COMMENTS = [line[line.index("#") :] for line in TEXT.split("\n") if "#" in line]


@pytest.fixture
def paths(tmp_path):
    paths = Paths.home(tmp_path)
    paths.config.mkdir()
    paths.static.write_text(STATIC)
    paths.dynamic.write_text(TEXT)
    os.chmod(paths.dynamic, 0o640)
    return paths


def change(paths, name, *arguments):
    with editing(paths) as draft:
        getattr(draft, name)(*arguments)
    return load_dynamic(paths.dynamic), paths.dynamic.read_text()


def test_an_added_account_stands_at_the_end(paths):
    carl = Account(addresses=("carl@a.test",), junk_filter=JunkFilter(mode="junk-only"))
    dynamic, text = change(paths, "add_account", "carl", carl)
    assert dynamic.accounts["carl"] == carl
    assert text.startswith(TEXT)


def test_an_added_domain_is_there(paths):
    dynamic, text = change(paths, "add_domain", "c.test", Domain(description='say "c"'))
    assert dynamic.domains["c.test"].description == 'say "c"'
    assert text.startswith(TEXT)


SETS = [
    ("bob", ("addresses",), ("bob@a.test", "bobby@a.test"), ["# short"]),
    ("bob", ("addresses",), (), ["# main", "# short"]),
    ("bob", ("junk_filter", "mode"), "bands", []),
    ("bob", ("junk_filter", "junk"), 0.1, []),
    ("bob", ("disabled",), True, []),
    ("alice", ("junk_filter", "junk"), 0.25, []),
    ("alice", ("junk_filter", "reject"), 0.9, []),
    ("alice", ("full_name",), 'Alice "A" \u00e9', []),
    ("alice", ("quota",), 5, []),
]


@pytest.mark.parametrize(("name", "path", "value", "lost"), SETS)
def test_a_set_option_reads_back_and_comments_stay(paths, name, path, value, lost):
    dynamic, text = change(paths, "set_account", name, {path: value})
    found = dynamic.accounts[name]
    for part in path:
        found = getattr(found, part)
    assert found == value
    assert all(comment in text for comment in COMMENTS if not any(comment.startswith(gone) for gone in lost))


def test_a_removed_account_goes_with_all_its_tables_only(paths):
    dynamic, text = change(paths, "remove_account", "alice")
    assert list(dynamic.accounts) == ["bob"]
    kept = [comment for comment in COMMENTS if not comment.startswith("# low")]
    assert all(comment in text for comment in kept)


def test_a_domain_is_known_by_any_spelling(paths):
    dynamic, text = change(paths, "set_domain", "xn--bcher-kva.test", {("disabled",): True})
    assert dynamic.domains["xn--bcher-kva.test"].disabled
    assert '[domains."b\u00fccher.test"]\ndisabled = true\n' in text
    assert list(change(paths, "remove_domain", "xn--bcher-kva.test")[0].domains) == ["a.test"]


REFUSED = [
    ("remove_domain", ("a.test",), "domain a.test is not configured"),
    ("remove_account", ("zoe",), "no account zoe; `echomox account list`"),
    ("remove_domain", ("zoe.test",), "no domain zoe.test"),
    ("add_account", ("bob", Account()), "account bob is there already"),
    ("add_account", ("B b", Account()), "not an account name"),
    ("set_account", ("bob", {("addresses",): ("x@y.test",)}), "domain y.test is not configured"),
    ("set_account", ("bob", {("quotta",): 5}), "did you mean `quota`"),
    ("set_account", ("bob", {("quota",): "much"}), "a whole number, at least 0"),
    ("set_account", ("bob", {("junk_filter", "mode"): "on"}), 'one of "bands"'),
]


@pytest.mark.parametrize(("name", "arguments", "why"), REFUSED)
def test_a_refused_change_leaves_the_file(paths, name, arguments, why):
    with pytest.raises(ConfigError, match=why):
        change(paths, name, *arguments)
    assert paths.dynamic.read_text() == TEXT


def test_what_is_written_inline_is_left_to_people(paths):
    paths.dynamic.write_text('domains = { "a.test" = {} }\naccounts = { bob = {} }\n')
    with pytest.raises(ConfigError, match="only safe to change by hand"):
        change(paths, "remove_account", "bob")


def test_a_broken_file_is_not_touched(paths):
    paths.dynamic.write_text("[accounts.bob\n")
    with pytest.raises(ConfigError, match=r"domains.toml:1: not TOML"):
        change(paths, "remove_account", "bob")


def test_the_mode_stays_and_nothing_is_left_beside(paths):
    change(paths, "remove_account", "alice")
    assert os.stat(paths.dynamic).st_mode & 0o777 == 0o640
    assert sorted(os.listdir(paths.config)) == ["domains.toml", "echomox.toml"]


def test_an_exception_within_changes_nothing(paths):
    with pytest.raises(KeyError), editing(paths) as draft:
        draft.remove_account("alice")
        raise KeyError
    assert paths.dynamic.read_text() == TEXT


def test_writers_wait_for_each_other(paths):
    def add(number):
        with editing(paths) as draft:
            draft.add_account(f"n{number}", Account(addresses=(f"n{number}@a.test",)))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(load_dynamic(paths.dynamic).accounts) == 10
