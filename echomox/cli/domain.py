"""`echomox domain`: the domains that get mail here, and the DNS records that they need."""

from __future__ import annotations

import argparse
import json
from typing import Any

from echomox.cli.console import Commands, ask, pairs, show, table
from echomox.cli.settings import parse_settings
from echomox.config.dnsrecords import Record, placeholder_notes, zone
from echomox.config.schema import Domain

SETTINGS = "as description='My shop' separators=+,- quota=5G; `echomox config describe dynamic` tells of each"


def configure(parser: argparse.ArgumentParser) -> None:
    commands = Commands(parser)
    commands.add("list", run_list, "list all domains")
    commands.add("show", run_show, "show one domain").add_argument("name")
    add = commands.add("add", run_add, "add a domain, with DKIM keys")
    add.add_argument("name")
    add.add_argument("--set", nargs="+", default=[], metavar="OPTION=VALUE", help=SETTINGS)
    add.add_argument("--no-dkim", action="store_true", help="make no keys")
    commands.add("remove", run_remove, "remove a domain that has no addresses left").add_argument("name")
    change = commands.add("set", run_set, "change options of a domain")
    change.add_argument("name")
    change.add_argument("option", nargs="+", metavar="OPTION=VALUE", help=SETTINGS)
    commands.add("enable", run_enable, "take mail for it again").add_argument("name")
    commands.add("disable", run_disable, "refuse mail for it for now").add_argument("name")
    commands.add("dnsrecords", run_records, "print every DNS record to publish").add_argument("name")


def run_list(args: argparse.Namespace) -> int:
    answer = ask(args, "domain.list")
    heads = ("domain", "addresses", "dkim", "disabled", "description")
    entries = [
        (item["name"], item["addresses"], item["dkim"], item["disabled"], item["description"])
        for item in answer["domains"]
    ]
    return show(args, answer, table(heads, entries, "no domains yet; `echomox domain add` makes one"))


def run_show(args: argparse.Namespace) -> int:
    answer = ask(args, "domain.show", name=args.name)
    keys = [f"{key['selector']} ({key['algorithm']})" for key in answer["dkim"]]
    return show(args, answer, pairs({**answer, "dkim": keys}))


def run_add(args: argparse.Namespace) -> int:
    settings = parse_settings(Domain, args.set)
    answer = ask(args, "domain.add", name=args.name, settings=settings or None, dkim=not args.no_dkim)
    next_step = f"publish its records: echomox domain dnsrecords {answer['name']}"
    return show(args, answer, [f"domain {answer['name']} added", next_step])


def run_remove(args: argparse.Namespace) -> int:
    answer = ask(args, "domain.remove", name=args.name)
    return show(args, answer, [f"domain {answer['name']} removed"])


def run_set(args: argparse.Namespace) -> int:
    return _set(args, parse_settings(Domain, args.option))


def run_enable(args: argparse.Namespace) -> int:
    return _set(args, {"disabled": False})


def run_disable(args: argparse.Namespace) -> int:
    return _set(args, {"disabled": True})


def _set(args: argparse.Namespace, settings: dict[str, Any]) -> int:
    answer = ask(args, "domain.set", name=args.name, settings=settings)
    changed = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in settings.items()]
    return show(args, answer, [f"domain {answer['name']}: {line}" for line in changed])


def run_records(args: argparse.Namespace) -> int:
    answer = ask(args, "domain.dnsrecords", name=args.name)
    found = [Record(item["name"], item["type"], item["value"], item["note"]) for item in answer["records"]]
    reverse = [f"; reverse DNS, at the owner of the address: {note}" for note in answer["reverse"]]
    return show(args, answer, [*zone(found), *reverse, *placeholder_notes(found)])
