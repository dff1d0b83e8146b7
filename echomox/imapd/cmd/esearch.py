"""ESEARCH: one search in several mailboxes. RFC 7377.

Each mailbox with a match has its answer as soon as it is searched; others run in between, and all mailboxes together
have the budget of one command. Mailboxes that are not there, or may not be read, are passed over without a word (2.2).
Sequence numbers are those of each mailbox; "$" means something in the selected one only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from echomox.imap import response
from echomox.imap.multisearch import MultiSearch, Source, esearch
from echomox.imapd import contexts
from echomox.imapd.box import Found, find, is_elsewhere, shared_mailboxes
from echomox.imapd.cmd.search import Program, Work, check, returned, run, saving, to_save
from echomox.imapd.command import AUTHENTICATED, BadCommand, Command, No, Rule
from echomox.imapd.view import View
from echomox.store.engine import SEPARATOR, StoreError

if TYPE_CHECKING:
    from echomox.imapd.session import Session


async def search(session: Session, arguments: MultiSearch) -> None:
    wanted = arguments.search
    options = wanted.returning or ("ALL",)
    if session.view is None and any(source.kind == "SELECTED" for source in arguments.sources):
        raise BadCommand("No mailbox is selected")
    check(session, wanted, options, ())
    items = contexts.checked(wanted.items)
    if wanted.modseq and session.view is not None:
        session.enable_condstore()
    work = Work(session)
    for found in list(mailboxes(session, arguments.sources)):
        program = of_mailbox(session, found)
        with saving(session, options):
            key = program.resolve(wanted.key)
            result = await run(work, program, key, (), "RELEVANCY" in options)
        if program.view is session.view:
            if "SAVE" in options:
                session.saved = to_save(result.uids, options, wanted.partial)
            if "UPDATE" in options:
                context = contexts.Context(session.tag, True, key, (), result.uids)
                context.items = items
                contexts.begin(session, context)
        if not result.uids or set(options) == {"SAVE"}:
            continue
        scores = [result.scores.get(uid, 1) for uid in result.uids] if "RELEVANCY" in options else ()
        named = response.mailbox_correlators(session.mailbox_name(found.mailbox.name), found.mailbox.uidvalidity)
        modseq = program.highest_modseq(returned(result.uids, options)) if wanted.modseq else 0
        session.say(
            response.esearch_line(session.tag, True, result.uids, options, modseq, wanted.partial, scores, named)
        )


def of_mailbox(session: Session, found: Found) -> Program:
    """The selected mailbox as this client knows it; others as they are now."""
    if session.has_selected(found.store, found.mailbox.id):
        return Program(session, found.store, session.selected)
    return Program(session, found.store, View(found.store.select(found.mailbox.id, claim_recent=False), True))


def mailboxes(session: Session, sources: tuple[Source, ...]) -> Iterator[Found]:
    """Each once."""
    known: set[tuple[str, int]] = set()
    for source in sources:
        for found in of_source(session, source):
            place = found.store.name, found.mailbox.id
            if place not in known and "r" in found.rights:
                known.add(place)
                yield found


def of_source(session: Session, source: Source) -> Iterator[Found]:
    """RFC 7377 2.2, RFC 5465 6."""
    store = session.store
    if source.kind == "SELECTED":
        yield from named(session, session.selected.name)
    elif source.kind == "MAILBOXES":
        for name in source.mailboxes:
            yield from named(session, name)
    elif source.kind == "SUBSCRIBED":
        for name in store.subscriptions():
            yield from named(session, name)
    elif source.kind in ("SUBTREE", "SUBTREE-ONE"):
        for found in every(session, any(map(is_elsewhere, source.mailboxes))):
            if any(is_below(found.mailbox.name, top, source.kind) for top in source.mailboxes):
                yield found
    else:
        for found in every(session, others=False):
            if source.kind == "PERSONAL" or found.name == "INBOX" or found.mailbox.special_use == "\\Junk":
                yield found


def is_below(name: str, top: str, kind: str) -> bool:
    if name == top:
        return True
    inner = name[len(top) + 1 :]
    return name.startswith(top + SEPARATOR) and (kind == "SUBTREE" or SEPARATOR not in inner)


def every(session: Session, others: bool) -> Iterator[Found]:
    for mailbox in session.store.mailboxes():
        if not is_elsewhere(mailbox.name):
            yield Found(session.store, mailbox)
    if others:
        yield from shared_mailboxes(session)


def named(session: Session, name: str) -> Iterator[Found]:
    try:
        yield find(session, name, "r")
    except (StoreError, No):
        return


ROWS = (Command("ESEARCH", AUTHENTICATED, Rule.UIDS | Rule.BREAKS_SEQUENCES, ("MULTISEARCH",), esearch, search),)
