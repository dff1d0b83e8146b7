"""`echomox mtasts`: policies of other domains, and ours (RFC 8461)."""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import Any

from echomox.cli.console import CommandError, Commands, ask, find, show, table
from echomox.cli.outbound import Outside, domain_name, options, place_of, run
from echomox.config.files import become, owner_of
from echomox.dns import DnsTemporary, open_resolver
from echomox.log import logger
from echomox.outbound.remote import open_policies
from echomox.tlspolicy.mtasts import BadPolicy, parse_record

HEADS = ("domain", "mode", "mx", "id", "expires", "error")


def configure(parser: argparse.ArgumentParser) -> None:
    commands = Commands(parser)
    lookup = commands.add("lookup", run_lookup, "get the policy of a domain now: its record in DNS, its text by HTTPS")
    lookup.add_argument("domain")
    options(lookup)
    commands.add("list", run_list, "list the policies that are remembered")
    policy = commands.add("policy", run_policy, "print the policy text to serve for a domain of ours")
    policy.add_argument("domain")
    options(commands.add("refresh", run_refresh, "get policies anew that have changed or are half over"))


def run_lookup(args: argparse.Namespace) -> int:
    domain = domain_name(args.domain)
    answer = run(args, lambda found: _lookup(found, domain))
    lines = [f"{name:9} {value}" for name, value in answer.items() if value and name != "policy"]
    show(args, answer, [*lines, *answer["policy"]])
    return 1 if answer["error"] else 0


async def _lookup(found: Outside, domain: str) -> dict[str, Any]:
    try:
        answer = await found.resolver.lookup("_mta-sts." + domain, "TXT")
        wanted = parse_record(answer.values)
    except (DnsTemporary, BadPolicy) as error:
        return {"domain": domain, "id": "", "error": f"_mta-sts.{domain}: {error}", "policy": []}
    if wanted is None:
        return {"domain": domain, "id": "", "error": f"_mta-sts.{domain} has no MTA-STS record", "policy": []}
    got = await found.policies.fetch_now(domain, wanted)
    policy = list(got.policy.strings()) if got.policy else []
    return {"domain": domain, "id": wanted, "error": got.error, "result": got.result, "policy": policy}


def run_list(args: argparse.Namespace) -> int:
    answer = ask(args, "mtasts.list")
    entries = [[entry[head] for head in HEADS] for entry in answer["policies"]]
    return show(args, answer, table(HEADS, entries, "no policy is remembered"))


def run_policy(args: argparse.Namespace) -> int:
    answer = ask(args, "mtasts.policy", name=args.domain)
    return show(args, answer, answer["text"].splitlines())


def run_refresh(args: argparse.Namespace) -> int:
    """Done by this process, as the owner of the data: it may take minutes."""
    place = place_of(args)
    paths = find(args)
    resolver = open_resolver(place.static.dns)
    become(owner_of(paths.data))

    async def body() -> int:
        policies = open_policies(place, resolver, logger("tlspolicy"))
        try:
            return await policies.refresh()
        finally:
            await policies.close()
            await resolver.close()

    began = time.monotonic()
    try:
        got = asyncio.run(body())
    except OSError as error:
        raise CommandError(f"{error.filename or paths.data}: {error.strerror}") from None
    return show(args, {"got": got}, [f"{got} policies got, in {time.monotonic() - began:.1f} s"])
