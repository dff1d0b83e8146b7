"""Mail of people that an account does not know yet, in a mailbox of its own (F14): the account's `introbox`.

There goes what would go to the Inbox when its author is a stranger: nobody whom the account has written to, of whom
it has ham, or whom a list of senders lets in. Ham of his domain or net does not make him known. The account that has
taught its filter nothing knows those whom it has written to.

Not there go: what a rule, an alias for members only or an address for reports has its own mailbox or trust for; reports
on mail of ours and other notices with the null sender (multipart/report, RFC 6522); mail of a mailing list (it has
List-Id, RFC 2919) from where there was ham before, for on a list everybody is a stranger; and mail that the filter
had no word on: it is off or only tried (shadow), or nobody could be asked.

Taking a message from there to another mailbox that is not Junk or Trash says that it is ham, and so makes its author
known (`store.flags.after_transfer`, `config.opinions`); so does an answer. Pure.
"""

from __future__ import annotations

from echomox.config.snapshot import Group
from echomox.delivery.acquaintance import said_of_author
from echomox.delivery.placement import Decided, Facts, Placement, Ruling
from echomox.ipc.schema import Verdict
from echomox.message.header import read_fields

REASON = "introbox"
INBOX = "INBOX"


def mailbox_for(facts: Facts, ruling: Ruling, one: Decided, placement: Placement) -> str:
    """Where a message goes instead of the Inbox; "" when it stays where it is."""
    if placement.place != "inbox" or placement.mailbox != INBOX or one.verdict is None:
        return ""
    introbox = facts.snapshot.account(one.destination.account).introbox
    settings = ruling.junk_filter
    if not introbox or settings.mode == "off" or settings.shadow or ruling.accept or ruling.forwarder:
        return ""
    if facts.mail.login or not facts.mail.remote_ip or _is_report(facts) or _is_of_members(facts, one):
        return ""
    of_list = b"list-id" in read_fields(facts.header, 0, len(facts.header))
    return "" if is_known(one.verdict, of_list) else introbox


def is_known(verdict: Verdict, of_list: bool) -> bool:
    """Whether the account knows the author. of_list: it is enough that there was ham from where the mail comes from."""
    step, ham = said_of_author(verdict)
    if step in ("written", "friend", "allow"):
        return True
    return ham > 0 and (of_list or step == "from")


def _is_report(facts: Facts) -> bool:
    parts = facts.structure.parts
    return not facts.mail.mail_from and bool(parts) and parts[0].content_type.lower() == "multipart/report"


def _is_of_members(facts: Facts, one: Decided) -> bool:
    """It came by an alias that only its members may write to."""
    via = one.destination.via
    found = facts.snapshot.recipient(via) if via else None
    return isinstance(found, Group) and found.alias.post == "members"
