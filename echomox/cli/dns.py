"""`echomox dns`, `spf`, `dmarc` and `dnsbl`: each check by hand, with the steps it takes.

They ask DNS from here, by `dns.resolver` of the configuration or --resolver; no server needs to run, and without a
configuration the resolver of this host is asked. Exit code 1: trouble with DNS, or a check that did not pass.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from echomox.cli import reports
from echomox.cli.console import CommandError, Commands, find, show
from echomox.errors import ConfigError

if TYPE_CHECKING:
    from workers.operations_dns import HasStatic

FAILED = 1


def configure(parser: argparse.ArgumentParser) -> None:
    commands = Commands(parser)
    for name, run, text, add in _COMMANDS[parser.get_default("family")]:
        add(_with_resolver(commands.add(name, run, text)))
    if parser.get_default("family") == "dmarc":
        reports.add(commands, "dmarc")


def _with_resolver(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--resolver", metavar="HOST:PORT", help='ask this resolver; or "system"')
    return parser


def _arguments(*names: str, optional: str = "") -> Callable[[argparse.ArgumentParser], None]:
    def add(parser: argparse.ArgumentParser) -> None:
        for name in names:
            parser.add_argument(name, metavar=name.upper())
        if optional:
            parser.add_argument(optional, metavar=optional.upper(), nargs="?", default="")

    return add


def _dmarc_lookup(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("domain", metavar="DOMAIN")
    parser.add_argument("--tree-walk", action="store_true", help="find the policy as RFC 9989 does, not RFC 7489")


def _dmarc_check(parser: argparse.ArgumentParser) -> None:
    _dmarc_lookup(parser)
    parser.add_argument("--ip", default="", help="address of the client, for SPF")
    parser.add_argument("--mail-from", default="", metavar="ADDRESS", help="sender of the envelope; empty: null")
    parser.add_argument("--helo", default="", metavar="NAME")
    parser.add_argument("--dkim", action="append", default=[], metavar="DOMAIN", help="of a signature that passed")


def _dnsbl_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", metavar="IP|ZONE", help="an address to look for, or a list whose health is checked")
    parser.add_argument("zones", metavar="ZONE", nargs="*", help="lists, as zen.spamhaus.org; without: filter.dnsbl")


def _perform(args: argparse.Namespace, operation: str, /, **fields: Any) -> dict[str, Any]:
    from workers import operations_dns
    from workers.refused import Refused

    if getattr(args, "resolver", None):
        fields["resolver"] = args.resolver
    run: Callable[..., dict[str, Any]] = getattr(operations_dns, operation)
    try:
        return run(_site(args), fields)
    except Refused as error:
        raise CommandError(str(error)) from None


def _site(args: argparse.Namespace) -> HasStatic:
    """The configuration; without one, the defaults."""
    from echomox.config.schema import Static
    from workers.site import Site

    class Defaults:
        def static(self) -> Static:
            return Static()

    try:
        return Site(find(args))
    except ConfigError:
        if args.config or os.environ.get("ECHOMOX_CONFIG"):
            raise
        return Defaults()


def run_lookup(args: argparse.Namespace) -> int:
    found = _perform(args, "dns_lookup", name=args.name, type=args.type)
    show(args, found, found["steps"])
    return 0 if found["values"] else FAILED


def run_spf_check(args: argparse.Namespace) -> int:
    found = _perform(args, "spf_check", ip=args.ip, mail_from=args.mail_from, helo=args.helo)
    lines = [*found["steps"]]
    lines += [f"{name}: {found[name]}" for name in ("mechanism", "explanation", "reason") if found[name]]
    show(args, found, lines)
    return 0 if found["result"] == "pass" else FAILED


def run_spf_parse(args: argparse.Namespace) -> int:
    found = _perform(args, "spf_parse", record=args.record)
    show(args, found, found["steps"])
    return 0 if found["valid"] else FAILED


def run_dmarc_lookup(args: argparse.Namespace) -> int:
    found = _perform(args, "dmarc_lookup", domain=args.domain, tree_walk=args.tree_walk)
    show(args, found, found["steps"])
    return 0 if found["record"] else FAILED


def run_dmarc_check(args: argparse.Namespace) -> int:
    found = _perform(
        args,
        "dmarc_check",
        domain=args.domain,
        tree_walk=args.tree_walk,
        ip=args.ip,
        mail_from=args.mail_from,
        helo=args.helo,
        dkim=args.dkim,
    )
    show(args, found, [*found["steps"], *([f"reason: {found['reason']}"] if found["reason"] else [])])
    return 0 if found["result"] == "pass" else FAILED


def _configured_lists(args: argparse.Namespace) -> list[str]:
    from echomox.config.load import load_static
    from echomox.errors import ConfigError

    try:
        return list(load_static(find(args).static).filter.dnsbl)
    except (ConfigError, OSError):
        return []


def run_dnsbl_check(args: argparse.Namespace) -> int:
    """Exit code 1: the address is listed, or a list is not well. Without lists: those of the configuration."""
    import ipaddress

    ip, zones = "", [args.what, *args.zones]
    try:
        ipaddress.ip_address(args.what)
        ip, zones = args.what, args.zones
    except ValueError:
        if "/" in args.what:  # IP/ZONE
            ip, _, zone = args.what.partition("/")
            zones = [zone, *args.zones]
    if not zones:
        zones = _configured_lists(args)
    if not zones:
        raise CommandError("name the lists too, as `echomox dnsbl check 192.0.2.1 zen.spamhaus.org`", 2)
    found = _perform(args, "dnsbl_check", ip=ip, zones=zones)
    show(args, found, found["steps"])
    return FAILED if any(not one["well"] or one["codes"] for one in found["zones"]) else 0


_Row = tuple[str, Callable[[argparse.Namespace], int], str, Callable[[argparse.ArgumentParser], None]]
_COMMANDS: dict[str, tuple[_Row, ...]] = {
    "dns": (("lookup", run_lookup, "ask one question", _arguments("name", "type")),),
    "spf": (
        ("check", run_spf_check, "check a client for a sender", _arguments("ip", "mail_from", optional="helo")),
        ("parse", run_spf_parse, "check the terms of a record", _arguments("record")),
    ),
    "dmarc": (
        ("lookup", run_dmarc_lookup, "find the policy of a domain, and who gets its reports", _dmarc_lookup),
        ("check", run_dmarc_check, "check mail from a domain, by SPF and given signatures", _dmarc_check),
    ),
    "dnsbl": (("check", run_dnsbl_check, "look for an address in lists, or check the lists", _dnsbl_check),),
}
