"""SORT and UID SORT. RFC 5256 3; RFC 5957 (SORT=DISPLAY); RFC 5267 3 (ESORT) and 4 (CONTEXT=SORT); RFC 7162 3.1.6
(MODSEQ). The order is the store's; the rest is as in SEARCH."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echomox.imap import sorting
from echomox.imapd.cmd.search import answer
from echomox.imapd.command import SELECTED, Command, Outcome, Rule

if TYPE_CHECKING:
    from echomox.imapd.session import Session


async def sort(session: Session, arguments: sorting.Sort) -> Outcome:
    return await answer(session, arguments.search, by_uid=False, criteria=arguments.criteria)


async def uid_sort(session: Session, arguments: sorting.Sort) -> Outcome:
    return await answer(session, arguments.search, by_uid=True, criteria=arguments.criteria)


CAPABILITY = ("SORT", "SORT=DISPLAY", "ESORT", "CONTEXT=SORT", "I18NLEVEL=1")
ROWS = (
    Command("SORT", SELECTED, Rule.NUMBERS, CAPABILITY, sorting.sort, sort),
    Command("UID SORT", SELECTED, Rule.UIDS | Rule.BREAKS_SEQUENCES, CAPABILITY, sorting.sort, uid_sort),
)
