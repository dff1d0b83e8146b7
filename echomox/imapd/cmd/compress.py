"""COMPRESS DEFLATE. RFC 4978; see `imapd.deflate` for the stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echomox.imap import grammar
from echomox.imapd.command import AUTHENTICATED, BadCommand, Command, No, Rule
from echomox.imapd.deflate import Deflate

if TYPE_CHECKING:
    from echomox.imapd.session import Session


def compress(session: Session, arguments: grammar.Compress) -> bytes:
    """The OK is the last that goes out as it is."""
    if arguments.mechanism != "DEFLATE":
        raise BadCommand("DEFLATE is the one mechanism there is")
    if session.deflate is not None:
        raise No("The connection is compressed already", "COMPRESSIONACTIVE")
    session.say(session.tag + b" OK DEFLATE active\r\n")
    session.flush()
    session.receiver.clear()  # the client was to wait (RFC 4978 3)
    session.deflate = Deflate()
    return b""


ROWS = (Command("COMPRESS", AUTHENTICATED, Rule.SILENT, ("COMPRESS=DEFLATE",), grammar.compress, compress),)
