"""STORE and UID STORE. RFC 9051 6.4.6; RFC 7162 3.1.3 (UNCHANGEDSINCE, MODIFIED); RFC 2180 4.2 (expunged
messages).

The client hears of its own change here and not again when the change comes back from the store:
`Session.own`."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from echomox.imap import fetch
from echomox.imap.acl import ALL
from echomox.imap.seqset import format_numbers
from echomox.imapd.box import kept_flags, permitted
from echomox.imapd.command import SELECTED, Command, No, Outcome, Rule
from echomox.imapd.flags import FLAGS
from echomox.imapd.limit import answered, keep_highest
from echomox.imapd.tell import tell_flags, tell_keywords
from echomox.store.engine import FlagOp, FlagsStored

if TYPE_CHECKING:
    from echomox.imapd.session import Session

OPERATIONS = {op.value: op for op in FlagOp}
Change = tuple[int, int, str, int]


def store(session: Session, arguments: fetch.Store) -> bytes | None:
    return store_messages(session, arguments, by_uid=False)


def uid_store(session: Session, arguments: fetch.Store) -> bytes | None:
    return store_messages(session, arguments, by_uid=True)


def store_messages(session: Session, arguments: fetch.Store, by_uid: bool) -> Outcome:
    view = session.selected
    uids = view.at(session.positions(arguments.messages, by_uid))
    bits, keywords = FLAGS.split(arguments.flags)
    since = arguments.unchanged_since
    if since is not None:
        session.enable_condstore()
    if not uids:
        return None
    uids, lowest = keep_highest(session, uids)
    operation = OPERATIONS[arguments.operation]
    if session.box.rights == ALL or {"s", "t", "w"} <= set(session.box.rights):
        stored = session.box.store.store_flags(view.mailbox_id, uids, operation, bits, keywords, since)
    else:
        stored = store_permitted(session, uids, operation, (bits, keywords), since)
    note_own(session, stored, arguments.silent)
    tell_outcome(session, arguments, stored, uids)
    return answered(session, answer(session, stored, by_uid), lowest)


def store_permitted(
    session: Session, uids: array[int], operation: FlagOp, wanted: tuple[int, tuple[str, ...]], since: int | None
) -> FlagsStored:
    """RFC 4314 4: flags that the session may not change stay as they are; when it may change none of those named, the
    command fails."""
    rights, store, mailbox_id = session.box.rights, session.box.store, session.selected.mailbox_id
    mask = permitted(rights)
    bits, keywords = kept_flags(rights, *wanted)
    if not mask or (operation is not FlagOp.SET and wanted != (0, ()) and not (bits or keywords)):
        raise No("You have no right to change these flags", "NOPERM")
    if operation is not FlagOp.SET:
        return store.store_flags(mailbox_id, uids, operation, bits, keywords, since)
    groups: dict[tuple[int, tuple[str, ...]], list[int]] = {}
    chosen = set(uids)
    for uid, old, words in list(store.fetch(mailbox_id, uids[0], uids[-1], ("uid", "flags", "keywords"))):
        if uid in chosen:
            after = old & ~mask | bits, keywords if "w" in rights else tuple(words.split())
            groups.setdefault(after, []).append(uid)
    parts = [store.store_flags(mailbox_id, some, FlagOp.SET, *after, since) for after, some in groups.items()]
    return FlagsStored(
        max((part.modseq for part in parts), default=store.modseq()),
        sorted(change for part in parts for change in part.changed),
        sorted(uid for part in parts for uid in part.conflicts),
        sorted(chosen.difference(*groups.values()).union(uid for part in parts for uid in part.missing)),
        max((part.before for part in parts), default=0),
    )


def note_own(session: Session, stored: FlagsStored, silent: bool) -> None:
    """When nothing else happened since, the view has this change already; else it is to be passed over later: but not
    when it is all that the client would hear of what others have changed in the same messages."""
    if not stored.changed:
        return
    view = session.selected
    if stored.modseq == view.told + 1 and not session.contexts:  # these are to look at the change (RFC 5267 4.3)
        view.told = stored.modseq
        return
    if silent and stored.before > view.told:
        return
    for uid, _, _ in stored.changed:
        session.told(uid, stored.modseq)


def tell_outcome(session: Session, arguments: fetch.Store, stored: FlagsStored, uids: array[int]) -> None:
    by_uid = bool(session.row.flags & Rule.UIDS)
    if not arguments.silent:
        changes = outcome(session, stored, uids)
        tell_keywords(session, session.selected, (change[2] for change in changes))
        tell_flags(session, changes, by_uid)
        return
    tell_keywords(session, session.selected, (change[2] for change in stored.changed))
    if "CONDSTORE" in session.enabled:
        tell_modseqs(session, stored, by_uid)


def outcome(session: Session, stored: FlagsStored, uids: array[int]) -> list[Change]:
    """Flags of all messages that the command was about and that it found, changed or not."""
    modseq = stored.modseq
    changes = [(uid, bits, keywords, modseq) for uid, bits, keywords in stored.changed]
    if len(changes) + len(stored.conflicts) + len(stored.missing) == len(uids):
        return changes
    left = set(uids).difference((change[0] for change in changes), stored.conflicts, stored.missing)
    rows = session.box.store.fetch(
        session.selected.mailbox_id, min(left), max(left), ("uid", "flags", "keywords", "modseq")
    )
    changes += [(row[0], row[1], row[2], row[3]) for row in rows if row[0] in left]
    return sorted(changes)


def tell_modseqs(session: Session, stored: FlagsStored, by_uid: bool) -> None:
    """RFC 7162 3.1.3: the new mod-sequence is told even with .SILENT."""
    view = session.selected
    for uid, _, _ in stored.changed:
        if session.uid_only:
            session.say(b"* %d UIDFETCH (MODSEQ (%d))\r\n" % (uid, stored.modseq))
            continue
        name = b"UID %d " % uid if by_uid or "QRESYNC" in session.enabled else b""
        session.say(b"* %d FETCH (%bMODSEQ (%d))\r\n" % (view.number(uid), name, stored.modseq))


def answer(session: Session, stored: FlagsStored, by_uid: bool) -> bytes | None:
    if stored.conflicts:
        numbers = format_numbers(session.selected.numbers(stored.conflicts, by_uid))
        if stored.missing and not by_uid:  # RFC 7162 3.1.3, example 11
            raise No("Some of the messages are gone, others have been changed", f"MODIFIED {numbers.decode()}")
        return b"[MODIFIED %b] Some messages have been changed meanwhile" % numbers
    if stored.missing and not by_uid:
        raise No("Some of the messages have been deleted meanwhile", "EXPUNGEISSUED")
    return None


ROWS = (
    Command("STORE", SELECTED, Rule.WRITES | Rule.NUMBERS, ("CONDSTORE",), fetch.store, store),
    Command(
        "UID STORE", SELECTED, Rule.WRITES | Rule.UIDS | Rule.BREAKS_SEQUENCES, ("CONDSTORE",), fetch.store, uid_store
    ),
)
