"""`echomox quickstart`: from an address to a configuration that can be started; with --demo, a throwaway
one.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echomox.cli.console import CommandError, printable
from echomox.errors import ConfigError

if TYPE_CHECKING:
    from echomox.store.engine import Engine


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("address", nargs="?", help="your address: its account and domain are set up")
    parser.add_argument("--dir", type=Path, help="where (default: here for home, / for fhs)")
    parser.add_argument(
        "--layout", choices=("home", "fhs"), default="home", help="home: all below --dir; fhs: /etc, /var"
    )
    parser.add_argument("--hostname", help="full name of this host (default: what the system says)")
    parser.add_argument("--user", help="user whose rights the server has (default: you; as root: echomox)")
    parser.add_argument("--offline", action="store_true", help="ask the network nothing; such checks are skipped")
    demo = parser.add_argument_group("demo", "a throwaway server on loopback with accounts u0, u1, ...")
    demo.add_argument("--demo", action="store_true", help="write one instead")
    demo.add_argument("--base-port", type=int, default=10000, metavar="N", help="port N+25 stands for 25 and so on")
    demo.add_argument("--domain", default="example.test", help="default %(default)s")
    demo.add_argument("--accounts", type=int, default=2, metavar="K", help="default %(default)s")
    demo.add_argument("--password", metavar="P", help="of all its accounts (default: a new one)")
    demo.add_argument("--mode", choices=("bands", "junk-only", "off"), default="bands", help="of their junk filters")
    demo.add_argument("--no-limits", action="store_true", help="lift limits of rates, connections, IDLE and accounts")
    demo.add_argument("--resolver", default="none", metavar="HOST:PORT|none", help="default %(default)s")
    demo.add_argument("--next-hop", default="", metavar="HOST:PORT", help="where all mail to others goes")
    demo.add_argument("--reuse", action="store_true", help="tell of a demo that is there instead of refusing")
    demo.add_argument("--force", action="store_true", help="replace a demo that is there, with its mail")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if args.demo:
        return run_demo(args)
    if not args.address:
        raise CommandError("give your address: echomox quickstart you@example.com; or --demo for a throwaway one", 2)
    return run_real(args)


# -- the demo -----------------------------------------------------------------------


def run_demo(args: argparse.Namespace) -> int:
    from echomox.config.demo import BCRYPT_COST, Demo, announce, announced, write_demo
    from echomox.config.keys import new_password
    from echomox.store import open_engine

    if args.dir is None:
        raise CommandError("--demo needs --dir DIR, the directory to write it to", 2)
    directory = Path(os.path.abspath(args.dir))
    if args.reuse and (facts := announced(directory)):
        return _print_demo(args, facts)
    demo = Demo(
        directory=directory,
        base_port=args.base_port,
        domain=args.domain,
        accounts=args.accounts,
        mode=args.mode,
        resolver=args.resolver,
        no_limits=args.no_limits,
        force=args.force,
        next_hop=args.next_hop,
    )
    password = args.password or new_password()
    secrets = derived(password, BCRYPT_COST)
    demo = write_demo(demo)
    make_accounts(open_engine(demo.paths), {address.partition("@")[0]: secrets for address in demo.addresses()})
    return _print_demo(args, announce(demo, password))


def _print_demo(args: argparse.Namespace, facts: dict[str, Any]) -> int:
    print(json.dumps(facts) if args.json else "\n".join(demo_text(facts)), flush=True)
    return 0


def demo_text(facts: dict[str, Any]) -> list[str]:
    """How to send and read a mail, ready to be pasted."""
    ports, accounts = facts["ports"], facts["accounts"]
    address, password = accounts[0]["address"], accounts[0]["password"]
    first = [f"  {entry['address']}  password {entry['password']}" for entry in accounts[:2]]
    more = [f"  and {len(accounts) - 2} more with the same password"] if len(accounts) > 2 else []
    # With what every mail program writes: the filter takes what lacks that for the work of a bulk mailer.
    fields = {"From": "you@example.org", "To": address, "Message-ID": "<1@example.org>", "Subject": "Hello"}
    mail = "\\n".join([*[f"{name}: {value}" for name, value in fields.items()], "", "It works.", ""])
    send = f"smtplib.SMTP('127.0.0.1', {ports['smtp']}).sendmail('you@example.org', '{address}', mail)"
    fetch = "print(m.select(), m.fetch('*', 'BODY[]')[1][0][1].decode())"
    return [
        "ports of 127.0.0.1: " + "  ".join(f"{name} {port}" for name, port in ports.items()),
        "accounts:",
        *first,
        *more,
        "",
        "send a mail to the first one, with what is installed:",
        f"  swaks --server 127.0.0.1:{ports['smtp']} --from you@example.org --to {address}",
        f"  printf '{mail}' | curl --crlf -sS -T - smtp://127.0.0.1:{ports['smtp']} "
        f"--mail-from you@example.org --mail-rcpt {address}",
        f"  python3 -c \"import smtplib; mail = '{mail}'; {send}\"",
        "",
        "read it:",
        f"  curl -sS -u '{address}:{password}' 'imap://127.0.0.1:{ports['imap']}/INBOX;MAILINDEX=1'",
        f"  python3 -c \"import imaplib; m = imaplib.IMAP4('127.0.0.1', {ports['imap']}); "
        f"m.login('{address}', '{password}'); {fetch}\"",
        "",
        "start it (Ctrl-C ends it):",
        "  " + shlex.join(facts["start"]),
    ]


def derived(password: str, cost: int) -> dict[str, str]:
    """The secrets of a password; raises CommandError for one that cannot be."""
    from echomox.sasl import BadPassword, derive

    try:
        return derive(password, cost)
    except BadPassword as error:
        raise CommandError(f"this password cannot be used: {error}") from None


def make_accounts(engine: Engine, secrets: dict[str, dict[str, str]]) -> None:
    """The accounts' directories with the secrets of each; closes the engine."""
    try:
        for account, values in secrets.items():
            engine.create(account)
            engine.open(account).set_secrets(values)
    finally:
        engine.close()


# -- the real one ---------------------------------------------------------------------


def run_real(args: argparse.Namespace) -> int:
    from echomox.config import quickstart
    from echomox.config.files import become
    from echomox.store import open_engine

    request = quickstart.Request(
        address=args.address,
        directory=Path(os.path.abspath(args.dir)) if args.dir else None,
        layout=args.layout,
        hostname=args.hostname,
        user=args.user,
    )
    try:
        plan = quickstart.plan(request)
    except ConfigError as error:
        raise CommandError(str(error)) from None
    findings = quickstart.checks(plan, offline=args.offline)
    if not args.json:
        for finding in findings:
            print(f"{finding.state:5} {printable(finding.text)}")
        print()
    secrets = derived(plan.password, plan.static.auth.bcrypt_cost)
    records = quickstart.write(plan)
    become(plan.owner)
    make_accounts(open_engine(plan.paths), {plan.account: secrets})
    result = {
        "config": str(plan.paths.config),
        "hostname": plan.static.hostname,
        "account": {"name": plan.account, "address": plan.address, "password": plan.password},
        "admin_password": plan.admin_password,
        "dns": [record._asdict() for record in records],
        "checks": [finding._asdict() for finding in findings],
        "start": ["echomox-supervisor", "start", "--config", str(plan.paths.config)],
    }
    print(json.dumps(result, ensure_ascii=False, indent=2) if args.json else "\n".join(plan.text(records)))
    sys.stdout.flush()
    return 0
