"""`echomox tlsrpt`: where a domain wants reports of TLS trouble (RFC 8460), and reports that came in and went out."""

from __future__ import annotations

import argparse

from echomox.cli import reports
from echomox.cli.console import CommandError, Commands, show
from echomox.cli.outbound import Outside, domain_name, options, run
from echomox.dns import DnsTemporary
from echomox.tlspolicy.tlsrpt import BadRecord, parse_record


def configure(parser: argparse.ArgumentParser) -> None:
    commands = Commands(parser)
    lookup = commands.add("lookup", run_lookup, "print the addresses that a domain's TLSRPT record names")
    lookup.add_argument("domain")
    options(lookup)
    reports.add(commands, "tls")


def run_lookup(args: argparse.Namespace) -> int:
    domain = domain_name(args.domain)
    addresses = run(args, lambda found: _lookup(found, domain))
    if not addresses:
        raise CommandError(f"_smtp._tls.{domain} has no TLSRPT record: it wants no reports")
    return show(args, {"domain": domain, "rua": addresses}, addresses)


async def _lookup(found: Outside, domain: str) -> tuple[str, ...]:
    try:
        answer = await found.resolver.lookup("_smtp._tls." + domain, "TXT")
        return parse_record(answer.values)
    except (DnsTemporary, BadRecord) as error:
        raise CommandError(f"_smtp._tls.{domain}: {error}") from None
