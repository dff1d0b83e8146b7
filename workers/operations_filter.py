"""Operations that ask an account's filter: why a message was judged so, what it knows. See
`workers.operations`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping
from contextlib import closing
from typing import Any

from echomox.config.senderlists import filter_of
from echomox.errors import ConfigError
from echomox.filter import stats as known
from echomox.filter.explain import DETAILS, details
from echomox.filter.explain import explain as judge
from echomox.filter.stages.membranes import rules_of
from echomox.filter.weights import DIRECTORY, ROW, STATE, StateFile
from workers.operations_mail import find_message
from workers.site import Refused, Site

Fields = Mapping[str, Any]
Answer = dict[str, Any]


def explain(site: Site, fields: Fields) -> Answer:
    """A stored message judged again, now; with those of DETAILS that are asked for."""
    store = site.store(fields["account"])
    find_message(store, fields["id"], ["id"])
    content = store.content(fields["id"])
    try:
        data = content.read(content.prefix_size)
    finally:
        content.close()
    return explain_bytes(site, fields["account"], data, [name for name in DETAILS if fields.get(name)])


def explain_bytes(site: Site, account: str, data: bytes, wanted: Collection[str] = ()) -> Answer:
    """A message that is in no mailbox, judged for an account. wanted: of DETAILS."""
    site.account(account)
    junk_filter = filter_of(site.dynamic(), account)
    try:
        rules = rules_of(site.static().filter.rules)
    except ConfigError as error:
        raise Refused(str(error)) from None
    found = judge(data, account, site.paths.accounts, junk_filter, rules)
    return found | details((data, account), site.paths.accounts, junk_filter, rules, wanted)


def stats(site: Site, fields: Fields) -> Answer:
    """F04: MessageTotal, MessageHam, MessageSpam, Threshold, and more."""
    settings = site.account(fields["account"]).junk_filter
    return known.stats(site.paths.accounts, fields["account"], settings)


def state(site: Site, fields: Fields) -> Answer:
    """RESERVOIR and the rows of ESN_STATE, as state.db has them. recorded: False where it has none of the account,
    which was not trained since the reservoir came; then the row is what its settings and its junk.db say."""
    account = fields["account"]
    settings = site.account(account).junk_filter
    directory = site.paths.data / DIRECTORY
    row, states = None, []
    try:
        if (directory / STATE).exists():
            with closing(StateFile(directory)) as file:
                row, states = file.row(account), file.states(account)
    except sqlite3.Error as error:
        raise Refused(f"{DIRECTORY}/{STATE}: {error}; `echomox verifydata` looks at all files") from None
    found = row or {"AccountID": account, **known.stats(site.paths.accounts, account, settings)["reservoir"]}
    reservoir = {name: found[name] for name in ("AccountID", *ROW)} | {"Trained": bool(found["Trained"])}
    return {"reservoir": reservoir, "states": states, "recorded": row is not None}


def word(site: Site, fields: Fields) -> Answer:
    """F05: Word, Ham, Spam."""
    site.account(fields["account"])
    if not fields["word"]:
        raise Refused("give a word; `echomox filter explain` shows which ones a message has")
    return known.word(site.paths.accounts, fields["account"], fields["word"])
