"""CAPABILITY, NOOP, CHECK, LOGOUT, ID, ENABLE, NAMESPACE: what needs no mail. RFC 9051 6.1, 6.3.1, 6.3.10;
RFC 2971; RFC 5161; RFC 5464 4.1 (METADATA); RFC 6855 3 (UTF8=ACCEPT); RFC 9586 (UIDONLY); RFC 2342; RFC 8437
(UNAUTHENTICATE); RFC 3501 6.4.1 (CHECK)."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from echomox.imap import grammar
from echomox.imap.state import State
from echomox.imapd.annotated import Annotated
from echomox.imapd.command import ANY, AUTHENTICATED, SELECTED, Command, Rule

if TYPE_CHECKING:
    from echomox.imapd.session import Session

ENABLING = {
    **{name: name for name in ("CONDSTORE", "QRESYNC", "UTF8=ACCEPT", "UIDONLY", "METADATA")},
    "IMAP4REV2": "IMAP4rev2",
}
"""Extensions that ENABLE switches on, and how they are written."""
CONDSTORE = frozenset({"CONDSTORE", "QRESYNC"})


def capability(session: Session, _: grammar.Nothing) -> None:
    session.say(b"* %b\r\n" % session.service.capabilities(session))


def noop(session: Session, _: grammar.Nothing) -> None:
    """News come before the answer of every command."""


def logout(session: Session, _: grammar.Nothing) -> None:
    session.say(b"* BYE Until next time\r\n")
    session.unselect()
    session.state = State.LOGOUT


def identify(session: Session, arguments: grammar.Id) -> None:
    """The version is told to those who have logged in only (RFC 2971 4)."""
    if arguments.fields:
        names = {name: value for name, value in arguments.fields if name in ("name", "version")}
        session.log("client", client=names.get("name"), client_version=names.get("version"))
    if session.state is State.NOT_AUTHENTICATED:
        session.say(b'* ID ("name" "EchoMox")\r\n')
    else:
        session.say(b'* ID ("name" "EchoMox" "version" "%b")\r\n' % _version())


def _version() -> bytes:
    try:
        return version("echomox").encode("ascii")
    except PackageNotFoundError:
        return b"unknown"


def enable(session: Session, arguments: grammar.Enable) -> None:
    """Unknown names are passed over (RFC 5161 3.1). Told are those that this command has switched on."""
    known = {name: ENABLING[name] for name in arguments.capabilities if name in ENABLING}
    new = {name: word for name, word in known.items() if name not in session.enabled and word not in session.hidden}
    session.say(b"* ENABLED%b\r\n" % "".join(f" {word}" for word in new.values()).encode("ascii"))
    if CONDSTORE & new.keys():
        session.enable_condstore()  # RFC 7162 3.2.3: QRESYNC has it in it
    if "METADATA" in new:
        session.annotated = Annotated(session)
    session.enabled |= new.keys()
    if session.rev2 and session.view is not None:
        session.view.forget_recent()


def unauthenticate(session: Session, _: grammar.Nothing) -> bytes:
    """RFC 8437: as if the client had just connected; TLS stays. The OK is the last that is compressed (4.1)."""
    session.unselect()
    session.log("login given up")
    session.service.detach(session)
    session.say(session.tag + b" OK UNAUTHENTICATE completed\r\n")
    session.end_compression()
    return b""


def namespace(session: Session, _: grammar.Nothing) -> None:
    """Of other users there is what they share (`imapd.box`)."""
    session.say(b'* NAMESPACE (("" "/")) (("Other Users/" "/")) NIL\r\n')


ENABLED = ("IMAP4rev2", "ENABLE", "QRESYNC", "UTF8=ACCEPT", "UIDONLY")
ROWS = (
    Command("CAPABILITY", ANY, Rule.BREAKS_SEQUENCES, (), grammar.nothing, capability),
    Command("NOOP", ANY, Rule.BREAKS_SEQUENCES, (), grammar.nothing, noop),
    Command("LOGOUT", ANY, Rule.SILENT, (), grammar.nothing, logout),
    Command("ID", ANY, Rule.BREAKS_SEQUENCES, ("ID",), grammar.id_, identify),
    Command("ENABLE", AUTHENTICATED, Rule.BREAKS_SEQUENCES, ENABLED, grammar.enable, enable),
    Command("NAMESPACE", AUTHENTICATED, Rule.BREAKS_SEQUENCES, ("NAMESPACE",), grammar.nothing, namespace),
    Command("UNAUTHENTICATE", AUTHENTICATED, Rule.SILENT, ("UNAUTHENTICATE",), grammar.nothing, unauthenticate),
    Command("CHECK", SELECTED, Rule.BREAKS_SEQUENCES, (), grammar.nothing, noop),
)
