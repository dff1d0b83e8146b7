"""`echomox rdap DOMAIN`: what the registry says of a domain: registered when, until when, by whom.

The registry's server is found by IANA's bootstrap file (`dns.rdap_bootstrap`), which is kept for a day. No server needs
to run; without a configuration nothing is kept. Exit code 1: the registry does not know the domain, or did not answer.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from typing import Any

from echomox.cli.console import CommandError, pairs, show
from echomox.cli.outbound import Outside, domain_name, options, run
from echomox.dns.psl import organisational_domain
from echomox.errors import ConfigError
from echomox.outbound.https import GetError, Getter, split
from echomox.outbound.rdap import FILE, SERVERS, Bootstrap, RdapError, Registration, ask, servers_for

YOUNG = 30  # days


def configure(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=run_rdap)
    parser.add_argument("domain", metavar="DOMAIN", help="of a host, what was registered above it is looked up")
    parser.add_argument("--server", metavar="URL", help="ask this RDAP server; no bootstrap file is needed then")
    parser.add_argument("--bootstrap", metavar="URL", help="in place of dns.rdap_bootstrap")
    parser.add_argument("--steps", action="store_true", help="tell who was asked")
    options(parser)


def run_rdap(args: argparse.Namespace) -> int:
    name = domain_name(args.domain)
    for url in (args.server, args.bootstrap):
        if url:
            try:
                split(url)
            except GetError as error:
                raise CommandError(str(error), 2) from None
    domain = organisational_domain(name)
    answer = run(args, lambda found: _look(found, args, domain))
    if domain != name:
        answer["steps"].insert(0, f"{name} stands below the registered domain {domain}")
    lines = answer["steps"] if args.steps else []
    show(args, answer, [*lines, *_lines(answer)])
    return 1 if answer["error"] else 0


async def _look(found: Outside, args: argparse.Namespace, domain: str) -> dict[str, Any]:
    steps: list[str] = []
    try:
        getter = Getter(await found.contexts.verified(), found.resolver, args.timeout)
        if args.server:
            servers: tuple[str, ...] = (args.server.rstrip("/") + "/",)
        else:
            servers = await _servers(_bootstrap(found, getter, args.bootstrap), domain, steps)
        registration, server = await _asked(getter, servers, domain, steps)
    except (RdapError, ConfigError) as error:
        return {"domain": domain, "server": "", "error": str(error), "steps": steps}
    if registration is None:
        return {"domain": domain, "server": server, "error": f"{domain} is not registered", "steps": steps}
    return {**asdict(registration), "server": server, "error": "", "steps": steps}


def _bootstrap(found: Outside, getter: Getter, url: str | None) -> Bootstrap:
    data = found.place.paths.data
    return Bootstrap(getter, url or found.static.dns.rdap_bootstrap, data / FILE if data.is_dir() else None)


async def _servers(bootstrap: Bootstrap, domain: str, steps: list[str]) -> tuple[str, ...]:
    """Raises RdapError."""
    services, whence = await bootstrap.services(time.time())
    steps.append(f"bootstrap file: {whence}")
    servers = servers_for(services, domain)
    if not servers:
        top = domain.rpartition(".")[2]
        raise RdapError(f"the registry of {top} has no RDAP server that the bootstrap file knows; try its web page")
    return servers


async def _asked(
    getter: Getter, servers: tuple[str, ...], domain: str, steps: list[str]
) -> tuple[Registration | None, str]:
    """The first answer, and whose it is. Raises RdapError with the last server's trouble."""
    trouble = RdapError("no server")
    for server in servers[:SERVERS]:
        try:
            found = await ask(getter, server, domain, time.time())
        except RdapError as error:
            steps.append(str(error))
            trouble = error
            continue
        steps.append(f"asked {server}domain/{domain}")
        return found, server
    raise trouble


def _lines(answer: dict[str, Any]) -> list[str]:
    if answer["error"]:
        return [f"{answer['domain']}: {answer['error']}"]
    age, left = answer["age_days"], answer["days_left"]
    young = ", young: be careful with its mail" if age is not None and age < YOUNG else ""
    over = None if left is None else f"in {left} days" if left >= 0 else f"{-left} days ago"
    registrar = answer["registrar"] + (f" (IANA {answer['registrar_id']})" if answer["registrar_id"] else "")
    return pairs(
        {
            "domain": answer["domain"],
            "registered": answer["registered"] + (f" ({age} days{young})" if age is not None else ""),
            "expires": answer["expires"] + (f" ({over})" if over else ""),
            "changed": answer["changed"],
            "registrar": registrar,
            "status": answer["status"],
            "name servers": answer["nameservers"],
            "DNSSEC": "" if answer["signed"] is None else answer["signed"],
            "by": answer["server"],
        }
    )
