"""`echomox`: everything but running the processes (that is `echomox-supervisor`).

A family of commands is a row of FAMILIES and a module of this package, imported when it is called. The
module has `configure(parser)`, which adds its commands and sets `run` on each: `run(args) -> int`, the exit
code.

    0 done   1 refused, or faults were found   2 wrong usage   78 the configuration cannot be used
"""

from __future__ import annotations

import argparse
import errno
import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

from echomox.cli.console import EXIT_CONFIG, CommandError, common_options, examples_of
from echomox.cli.parser import Formatter, Parser
from echomox.errors import ConfigError

EXIT_REFUSED = 1
EXIT_INTERRUPTED = 130


class Family(NamedTuple):
    name: str
    module: str
    help: str
    own_line: bool = False
    """Its main(argv) reads the command line by itself."""


FAMILIES = (
    Family(
        "quickstart", "echomox.cli.quickstart", "write a complete configuration, or a throwaway one (--demo)"
    ),
    Family("config", "echomox.cli.config", "check | describe | show the configuration"),
    Family(
        "account",
        "echomox.cli.account",
        "list | show | add | remove | set | set-password | client-cert | enable | disable",
    ),
    Family("address", "echomox.cli.address", "list | add | remove addresses of accounts"),
    Family(
        "domain", "echomox.cli.domain", "list | show | add | remove | set | enable | disable | dnsrecords"
    ),
    Family("alias", "echomox.cli.alias", "list | show | add | remove | set | members of aliases and lists"),
    Family("ruleset", "echomox.cli.ruleset", "list | add | remove | test rules of an account for its mail"),
    Family("senders", "echomox.cli.senders", "list | allow | block | remove | test: senders never or always junk"),
    Family("logins", "echomox.cli.logins", "list the login attempts of an account"),
    Family("sessions", "echomox.cli.sessions", "list | end: who is logged in now"),
    Family("block", "echomox.cli.block", "list | add | remove addresses that are refused when they connect"),
    Family("imapserve", "echomox.cli.imapserve", "IMAP for one account on standard input and output"),
    Family("mailbox", "echomox.cli.mailbox", "list | show | acl | shares | virtual | recalculate | … mailboxes"),
    Family("message", "echomox.cli.message", "show | parts | affect | raw of one message; parse: a file"),
    Family("queue", "echomox.cli.queue", "list | print | hold | schedule | fail | … of mail on its way out"),
    Family("smtp", "echomox.cli.smtp", "dial | send: the way of a mail to a domain, step by step"),
    Family("mtasts", "echomox.cli.mtasts", "lookup | list | policy | refresh policies of MTA-STS"),
    Family("dane", "echomox.cli.dane", "check | dial | makerecord: TLSA records and certificates"),
    Family("tlsrpt", "echomox.cli.tlsrpt", "lookup | reports: who wants reports of TLS trouble, and such reports"),
    Family("filter", "echomox.cli.filter", "explain a verdict, show stats and words of an account's filter"),
    Family("dns", "echomox.cli.dns", "lookup: ask one question of DNS"),
    Family("spf", "echomox.cli.dns", "check | parse: SPF by hand, step by step"),
    Family("dkim", "echomox.cli.dkim", "verify | sign | lookup | genkey | record: DKIM by hand"),
    Family("arc", "echomox.cli.dkim", "verify the ARC chain of a message"),
    Family("dmarc", "echomox.cli.dns", "lookup | check | reports: DMARC by hand, and its reports"),
    Family("dnsbl", "echomox.cli.dns", "check an address in DNS lists, or the lists themselves"),
    Family("rdap", "echomox.cli.rdap", "DOMAIN: what its registry says of it: since when, how long, by whom"),
    Family("sendmail", "echomox.cli.sendmail", "send a message from standard input, as /usr/sbin/sendmail does", True),
    Family("verifydata", "echomox.cli.verifydata", "check the data of all accounts; --fix repairs"),
    Family("stats", "echomox.cli.stats", "memory | storage: what the server uses"),
    Family("status", "echomox.cli.server", "the running processes"),
    Family("reload", "echomox.cli.server", "take a changed configuration over"),
    Family("loglevels", "echomox.cli.server", "show or change the log levels of the running server"),
    Family("counters", "echomox.cli.server", "the counters of the running server"),
    Family("version", "echomox.cli.server", "the version of this program and of what it stands on"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command line; messages of refusal are one line on standard error."""
    if sys.stdout is None:  # closed by who started us, as with `>&-`
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - to the end of the process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a locale that lacks a letter is no reason to print nothing
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _run(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
        return code
    except CommandError as error:
        return _said(error.code, str(error))
    except ConfigError as error:
        return _said(EXIT_CONFIG, str(error))
    except BrokenPipeError:  # the reader has had enough, as `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except OSError as error:
        return _said(EXIT_REFUSED, trouble(error))
    except UnicodeEncodeError:
        return _said(2, "a word of the command is not UTF-8; set LC_ALL=C.UTF-8")
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Exception as error:
        if type(error).__module__ != "sqlite3":  # which not every command brings
            raise
        return _said(EXIT_REFUSED, f"the database: {error}; {HINTS[errno.EIO]}")


def _said(code: int, text: str) -> int:
    print(f"echomox: {text}", file=sys.stderr)
    return code


_RIGHTS = "run this as root or as the server's own user"
_ROOM = "`df -h` shows which disk is full"
HINTS = {
    errno.EACCES: _RIGHTS, errno.EPERM: _RIGHTS, errno.ENOSPC: _ROOM, errno.EDQUOT: _ROOM,
    errno.EIO: "is the disk full (`df -h`)? The kernel's log tells of broken ones (`dmesg`)",
}  # fmt: skip


def trouble(error: OSError) -> str:
    """What the system refused, and what to do about it."""
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    hint = HINTS.get(error.errno or 0)
    return ": ".join([*names, str(error.strerror or error)]) + (f"; {hint}" if hint else "")


def _run(argv: list[str]) -> int:
    outer = _parser()
    before = outer.read(argv)
    if before.version:
        before.family = "version"
    if before.family == "help":
        before.family, before.rest = (before.rest[0], [*before.rest[1:], "--help"]) if before.rest else ("", [])
        if not before.family:
            outer.print_help()
            return 0
    if not before.family:
        outer.print_help(sys.stderr)
        return 2
    family = next((family for family in FAMILIES if family.name == before.family), None)
    if family is None:
        from echomox.cli.guess import guess

        raise CommandError(guess(before.family, before.rest, [family.name for family in FAMILIES]), 2)
    if family.own_line:
        return int(importlib.import_module(family.module).main(before.rest))
    args = family_parser(family, before.config, before.json).read(before.rest)
    return int(args.run(args))


def family_parser(family: Family, config: str | None = None, as_json: bool = False) -> Parser:
    """Of everything after the family's name. config, as_json: what was given before it."""
    text = family.help[0].upper() + family.help[1:] + "."
    parser = Parser(prog=f"echomox {family.name}", description=text, parents=[common_options()])
    parser.set_defaults(config=config, json=as_json, family=family.name)
    parser.epilog = examples_of(parser.prog)
    importlib.import_module(family.module).configure(parser)
    return parser


def _parser() -> Parser:
    width = max(len(family.name) for family in FAMILIES)
    lines = [f"  {family.name:{width}}  {family.help}" for family in FAMILIES]
    parser = Parser(
        prog="echomox",
        description="EchoMox, a mail server. `echomox COMMAND --help` tells more of a command.",
        epilog="commands:\n" + "\n".join(lines) + "\n\nexit codes:" + (__doc__ or "").split("code.", 1)[1],
        formatter_class=Formatter,
    )
    parser.add_argument("--config", help="directory of the configuration, or its echomox.toml")
    parser.add_argument("--json", action="store_true", help="print data as JSON")
    parser.add_argument("--version", action="store_true", help="print the version, as `echomox version` does")
    parser.add_argument("family", nargs="?", metavar="COMMAND", help="one of the commands below")
    parser.add_argument("rest", nargs=argparse.REMAINDER, metavar="...", help="what the command takes")
    return parser


if __name__ == "__main__":
    sys.exit(main())
