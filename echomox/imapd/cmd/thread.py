"""THREAD and UID THREAD. RFC 5256 3; the algorithms are `imap.threads`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from echomox.imap import response, sorting
from echomox.imap.threads import ALGORITHMS
from echomox.imapd.cmd.search import Program, Work
from echomox.imapd.command import SELECTED, Command, Rule
from echomox.imapd.limit import searched

if TYPE_CHECKING:
    from echomox.imapd.session import Session


async def thread(session: Session, arguments: sorting.Thread) -> None:
    await answer(session, arguments, by_uid=False)


async def uid_thread(session: Session, arguments: sorting.Thread) -> None:
    await answer(session, arguments, by_uid=True)


async def answer(session: Session, arguments: sorting.Thread, by_uid: bool) -> None:
    view, store, work = session.selected, session.box.store, Work(session)
    if arguments.search.modseq:
        session.enable_condstore()  # there is no place for the highest in the response (RFC 7162 3.1.6)
    key = Program(session, store, view).resolve(arguments.search.key)
    among, _ = searched(session, key, view.uids[:], whole=True)
    found = await work.run(store.searching(view.mailbox_id, key, among))
    items = await work.run(store.thread_items(view.mailbox_id, found))
    if not by_uid:
        places = np.searchsorted(np.array(view.uids, np.int64), items.numbers)
        items = items._replace(numbers=places + 1)
    session.say(response.thread_line(await work.run(ALGORITHMS[arguments.algorithm](items))))


CAPABILITY = ("THREAD=REFERENCES", "THREAD=ORDEREDSUBJECT", "THREAD=REFS")
ROWS = (
    Command("THREAD", SELECTED, Rule.NUMBERS, CAPABILITY, sorting.thread, thread),
    Command("UID THREAD", SELECTED, Rule.UIDS | Rule.BREAKS_SEQUENCES, CAPABILITY, sorting.thread, uid_thread),
)
