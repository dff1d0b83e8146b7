"""`echomox message`: one message of an account, by the id that `message list` shows (not the UID of IMAP)."""

from __future__ import annotations

import argparse
import base64
import sys
from collections.abc import Iterator
from pathlib import Path

from echomox.cli.console import CommandError, Commands, ask, limited, pairs, rows, show, table

PIECE = 512 * 1024
_LIST = ("ID", "UID", "Received", "Size", "Seen", "Junk", "Subject")
_PARTS = ("PartNum", "Path", "ContentType", "Disposition", "Size", "BodyOffset", "Encoding", "Filename")


def configure(parser: argparse.ArgumentParser) -> None:
    commands = Commands(parser)
    listing = commands.add("list", run_list, "list the newest messages of a mailbox")
    listing.add_argument("account")
    listing.add_argument("mailbox", nargs="?", default="INBOX", help="default %(default)s")
    listing.add_argument("--limit", type=int, default=50, help="at most so many (default %(default)s)")
    _take_message(commands.add("show", run_show, "show all that is known of a message"))
    _take_message(commands.add("parts", run_parts, "show its MIME parts"))
    _take_message(commands.add("affect", run_affect, "show what a message feels like: AFFECTIVE_STATE"))
    for name, text in (
        ("mute", "mark what is delivered into its thread as read, from now on"),
        ("unmute", "mark what is delivered into its thread as read no more"),
    ):
        command = commands.add(name, run_mute, text)
        _take_message(command)
        command.set_defaults(operation=f"message.{name}")
    _take_message(commands.add("raw", run_raw, "print the message as clients see it"))
    parse = commands.add("parse", run_parse, "take a message file apart, as a delivery would")
    parse.add_argument("file", help='"-" for standard input')


def _take_message(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("account")
    parser.add_argument("id", type=int)


def run_list(args: argparse.Namespace) -> int:
    answer = ask(args, "message.list", account=args.account, mailbox=args.mailbox, limit=args.limit)
    found = answer["messages"]
    lines = table(_LIST, ([item[head] for head in _LIST] for item in found), "no messages")
    return show(args, answer, [*lines, *limited(found, args.limit)])


def run_show(args: argparse.Namespace) -> int:
    answer = ask(args, "message.show", account=args.account, id=args.id)
    return show(args, answer, pairs(answer))


def run_parts(args: argparse.Namespace) -> int:
    answer = ask(args, "message.parts", account=args.account, id=args.id)
    return show(args, answer, rows(_PARTS, ([item[head] for head in _PARTS] for item in answer["parts"])))


def run_affect(args: argparse.Namespace) -> int:
    answer = ask(args, "message.affect", account=args.account, id=args.id)
    return show(args, answer, pairs(answer))


def run_mute(args: argparse.Namespace) -> int:
    answer = ask(args, args.operation, account=args.account, id=args.id)
    return show(args, answer, [f"the thread of message {args.id} is {'muted' if answer['Muted'] else 'not muted'}"])


def run_parse(args: argparse.Namespace) -> int:
    """Without a server; what the parser makes of the file."""
    from echomox.message.mime import parse

    try:
        source = sys.stdin.buffer.read() if args.file == "-" else Path(args.file).read_bytes()
    except OSError as error:
        raise CommandError(f"{args.file}: {error.strerror}") from None
    found = parse(source)
    heads = {
        "Size": found.size, "HeaderSize": found.header_size, "MessageID": found.message_id,
        "InReplyTo": found.in_reply_to, "Subject": found.subject, "Sent": found.sent_day, "From": found.from_text,
        "To": found.to_text, "Cc": found.cc_text, "Bcc": found.bcc_text, "Preview": found.preview,
        "Defects": list(found.defects),
    }  # fmt: skip
    parts = [
        (n, part.path, part.content_type, part.disposition, part.size, part.offset, part.encoding, part.filename)
        for n, part in enumerate(found.parts)
    ]
    answer = {**heads, "parts": [dict(zip(_PARTS, part)) for part in parts]}
    return show(args, answer, [*pairs(heads), "", *rows(_PARTS, parts)])


def run_raw(args: argparse.Namespace) -> int:
    for piece in _pieces(args):
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()
    return 0


def _pieces(args: argparse.Namespace) -> Iterator[bytes]:
    offset, size = 0, 1
    while offset < size:
        answer = ask(args, "message.raw", account=args.account, id=args.id, offset=offset, length=PIECE)
        piece, size = base64.b64decode(answer["data"]), answer["size"]
        if not piece:
            return
        offset += len(piece)
        yield piece
