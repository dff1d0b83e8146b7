"""Operations that ask an account's filter: why a message was judged so, what it knows. See
`workers.operations`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from echomox.filter import stats as known
from echomox.filter.explain import explain as judge
from echomox.log import logger
from workers.operations_mail import find_message
from workers.site import Refused, Site

Fields = Mapping[str, Any]
Answer = dict[str, Any]


def explain(site: Site, fields: Fields) -> Answer:
    """A stored message judged again, now."""
    store = site.store(fields["account"])
    find_message(store, fields["id"], ["id"])
    content = store.content(fields["id"])
    try:
        data = content.read(content.prefix_size)
    finally:
        content.close()
    return explain_bytes(site, fields["account"], data)


def explain_bytes(site: Site, account: str, data: bytes) -> Answer:
    """A message that is in no mailbox, judged for an account."""
    junk_filter = site.account(account).junk_filter
    return judge(data, account, site.paths.accounts, junk_filter, logger("filter"))


def stats(site: Site, fields: Fields) -> Answer:
    """F04: MessageTotal, MessageHam, MessageSpam, Threshold, and more."""
    settings = site.account(fields["account"]).junk_filter
    return known.stats(site.paths.accounts, fields["account"], settings)


def word(site: Site, fields: Fields) -> Answer:
    """F05: Word, Ham, Spam."""
    site.account(fields["account"])
    if not fields["word"]:
        raise Refused("give a word; `echomox filter explain` shows which ones a message has")
    return known.word(site.paths.accounts, fields["account"], fields["word"])
