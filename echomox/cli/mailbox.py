"""`echomox mailbox`: the mailboxes of an account with their counts, and whom they are shared with."""

from __future__ import annotations

import argparse

from echomox.cli.console import CommandError, Commands, ask, counted, pairs, rows, show, table

RIGHTS = (
    "l look up, r read, s \\Seen, w other flags, i insert, p post, k create below, x delete it, t \\Deleted,"
    " e expunge, a administer; +RIGHTS adds, -RIGHTS takes away (write it after --)"
)
REPAIRS = {
    "bumpuidvalidity": ("mailboxes have another UIDVALIDITY", "make clients forget what they know of a mailbox"),
    "reassignuids": ("messages have UIDs from 1 on", "number the messages of a mailbox anew"),
    "recalculate": ("mailboxes had wrong counts", "count the messages of mailboxes anew"),
    "fixuidmeta": ("values put right", "put UIDNEXT, UIDVALIDITY and mod-sequences right where they are too low"),
}
_HEADS = ("Name", "ID", "Total", "Unread", "Unseen", "Deleted", "Size", "UIDNext", "SpecialUse")


def configure(parser: argparse.ArgumentParser) -> None:
    commands = Commands(parser)
    commands.add("list", run_list, "list the mailboxes of an account").add_argument("account")
    one = commands.add("show", run_show, "show one mailbox")
    one.add_argument("account")
    one.add_argument("mailbox", nargs="?", default="INBOX", help="default %(default)s")
    acl = commands.add("acl", run_acl, "show or change whom a mailbox is shared with (RFC 4314)")
    acl.add_argument("account")
    acl.add_argument("mailbox")
    acl.add_argument("action", nargs="?", choices=("set", "remove"))
    acl.add_argument("who", nargs="?", help="account or address, or anyone; -NAME for what NAME may not do")
    acl.add_argument("rights", nargs="?", help=RIGHTS)
    virtual = commands.add("virtual", run_virtual, "mailboxes that show what a search finds in all others")
    virtual.add_argument("action", choices=("list", "add", "remove"))
    virtual.add_argument("account")
    virtual.add_argument("name", nargs="?")
    virtual.add_argument("search", nargs="*", help="of IMAP, as UNSEEN or: FROM ann LARGER 100000; default: ALL")
    virtual.add_argument("--use", default="", help="all, flagged or important: what LIST says of it")
    for name, (_, what) in REPAIRS.items():
        repair = commands.add(name, run_repair, what)
        repair.set_defaults(task=name)
        repair.add_argument("account")
        repair.add_argument("mailbox", nargs="?", default="", help="default: all of the account")
    commands.add("shares", run_shares, "list what is shared").add_argument(
        "account", nargs="?", help="by this account and with it"
    )


def run_list(args: argparse.Namespace) -> int:
    answer = ask(args, "mailbox.list", account=args.account)
    return show(args, answer, rows(_HEADS, ([item[head] for head in _HEADS] for item in answer["mailboxes"])))


def run_show(args: argparse.Namespace) -> int:
    answer = ask(args, "mailbox.show", account=args.account, mailbox=args.mailbox)
    return show(args, answer, pairs(answer))


def run_acl(args: argparse.Namespace) -> int:
    mailbox = {"account": args.account, "mailbox": args.mailbox}
    if args.action is None:
        answer = ask(args, "mailbox.acl", **mailbox)
    elif args.who is None or (args.rights is None) is (args.action == "set"):
        raise CommandError("as in: acl ACCOUNT MAILBOX set WHO RIGHTS, or remove WHO", 2)
    elif args.action == "set":
        answer = ask(args, "mailbox.acl.set", **mailbox, who=args.who, rights=args.rights)
    else:
        answer = ask(args, "mailbox.acl.remove", **mailbox, who=args.who)
    return show(args, answer, table(("who", "rights"), answer["acl"].items(), "shared with nobody"))


def run_shares(args: argparse.Namespace) -> int:
    answer = ask(args, "mailbox.shares", **({"account": args.account} if args.account else {}))
    heads = ("owner", "mailbox", "who", "rights")
    entries = ([item[head] for head in heads] for item in answer["shares"])
    return show(args, answer, table(heads, entries, "nothing is shared"))


def run_repair(args: argparse.Namespace) -> int:
    fields = {"mailbox": args.mailbox} if args.mailbox else {}
    answer = ask(args, f"mailbox.{args.task}", account=args.account, **fields)
    return show(args, answer, [f"{answer['changed']} {REPAIRS[args.task][0]}"])


def run_virtual(args: argparse.Namespace) -> int:
    if args.action == "list":
        answer = ask(args, "mailbox.virtual.list", account=args.account)
        heads = ("name", "search", "use")
        entries = ([item[head] for head in heads] for item in answer["virtual"])
        return show(args, answer, table(heads, entries, "no virtual mailboxes"))
    if args.name is None:
        raise CommandError("the name of the mailbox is needed", 2)
    if args.action == "remove":
        answer = ask(args, "mailbox.virtual.remove", account=args.account, name=args.name)
        return show(args, answer, [f"mailbox {answer['name']} removed; its messages stay where they are"])
    search = " ".join(args.search) or "ALL"
    use = {"use": args.use} if args.use else {}
    answer = ask(args, "mailbox.virtual.add", account=args.account, name=args.name, search=search, **use)
    return show(args, answer, [f"mailbox {answer['name']} shows {counted(answer['messages'], 'message')}"])
