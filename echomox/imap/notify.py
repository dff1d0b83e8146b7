"""Arguments of NOTIFY. RFC 5465 3.1, 6 and 8.

Events may also stand without parentheses of their own, as in the RFC's example; which of them there are is said by
the server, so a name that nobody knows is taken and kept in `unknown`."""

from __future__ import annotations

from dataclasses import dataclass

from echomox.imap import fetch
from echomox.imap.lexer import Bad, Parser

GROUPS = 100
"""Most groups of one NOTIFY."""
MAILBOXES = 1000
"""Most names of mailboxes in one group."""
SELECTED = ("SELECTED", "SELECTED-DELAYED")
OTHERS = ("INBOXES", "PERSONAL", "SUBSCRIBED", "SUBTREE", "MAILBOXES")
MESSAGE_EVENTS = ("MessageNew", "MessageExpunge", "FlagChange")
EVENTS = (*MESSAGE_EVENTS, "MailboxName", "SubscriptionChange", "MailboxMetadataChange", "ServerMetadataChange")
_EVENTS = {name.upper(): name for name in EVENTS}


@dataclass(frozen=True, slots=True)
class Group:
    """kind: of SELECTED or OTHERS. events: as in EVENTS, none for NONE. items: of MessageNew."""

    kind: str
    mailboxes: tuple[str, ...]
    events: frozenset[str]
    items: tuple[fetch.FetchItem, ...] = ()
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Notify:
    """groups: None for NOTIFY NONE."""

    groups: tuple[Group, ...] | None
    status: bool = False


def notify(parser: Parser) -> Notify:
    parser.space()
    word = parser.word()
    if word == "NONE":
        parser.end()
        return Notify(None)
    if word != "SET":
        raise Bad("Expected SET or NONE")
    parser.space()
    status = parser.next_word() == "STATUS"
    if status:
        parser.word()
        parser.space()
    groups = [_group(parser)]
    while parser.accept(b" "):
        if len(groups) == GROUPS:
            raise Bad(f"More than {GROUPS} groups")
        groups.append(_group(parser))
    parser.end()
    if sum(group.kind in SELECTED for group in groups) > 1:
        raise Bad("One group for the selected mailbox")
    return Notify(tuple(groups), status)


def _group(parser: Parser) -> Group:
    parser.open()
    kind = parser.word()
    if kind not in (*SELECTED, *OTHERS):
        raise Bad("Unknown kind of mailboxes")
    mailboxes: tuple[str, ...] = ()
    if kind in ("SUBTREE", "MAILBOXES"):
        parser.space()
        mailboxes = _mailboxes(parser)
    parser.space()
    group = _events(parser, kind, mailboxes)
    parser.close()
    _check(group)
    return group


def _mailboxes(parser: Parser) -> tuple[str, ...]:
    if not parser.next_is(b"("):
        return (parser.mailbox(),)
    parser.open()
    names = [parser.mailbox()]
    while parser.accept(b" "):
        if len(names) == MAILBOXES:
            raise Bad(f"More than {MAILBOXES} mailboxes")
        names.append(parser.mailbox())
    parser.close()
    return tuple(names)


def _events(parser: Parser, kind: str, mailboxes: tuple[str, ...]) -> Group:
    enclosed = parser.accept(b"(")
    events: set[str] = set()
    items: tuple[fetch.FetchItem, ...] = ()
    unknown: list[str] = []
    while True:
        name = parser.word()
        if name == "NONE" and not events and not unknown:
            break
        if name not in _EVENTS:
            unknown.append(name)
        else:
            events.add(_EVENTS[name])
        if name == "MESSAGENEW" and parser.accept(b" ("):
            parser.pos -= 1
            items = fetch.items(parser)
        if not parser.accept(b" "):
            break
    if enclosed:
        parser.expect(b")")
    return Group(kind, mailboxes, frozenset(events), items, tuple(unknown))


def _check(group: Group) -> None:
    """RFC 5465 5 and 8: what has to come together, and where."""
    messages = group.events & set(MESSAGE_EVENTS)
    if messages and not {"MessageNew", "MessageExpunge"} <= messages:
        raise Bad("MessageNew and MessageExpunge come together, and FlagChange with both")
    if group.kind in SELECTED and (group.events - messages):
        raise Bad("The selected mailbox has message events only")
    if group.items and group.kind not in SELECTED:
        raise Bad("Items to fetch are for the selected mailbox")
