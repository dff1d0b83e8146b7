"""`echomox stats`: what the running server uses. Memory is the proportional set size (PSS): a page that processes share
counts once, divided among them; so the sum over all processes is what the server takes of the machine."""

from __future__ import annotations

import argparse
from typing import Any

from echomox.cli.console import Commands, ask, rows, show

MIB = 1 << 20


def configure(parser: argparse.ArgumentParser) -> None:
    Commands(parser).add("memory", run_memory, "memory by kind of process, and for each account and connection")


def run_memory(args: argparse.Namespace) -> int:
    status = ask(args, "status")
    accounts = len(ask(args, "account.list")["accounts"])
    answer = figures(status, accounts)
    lines = rows(
        ("processes", "count", "MiB", "connections", "KiB per connection"),
        (
            (one["service"], one["processes"], f"{one['memory'] / MIB:.1f}", one["connections"], kib(one))
            for one in answer["services"]
        ),
    )
    total = answer["memory"] / MIB
    lines.append(f"together {total:.1f} MiB; {total / max(accounts, 1):.2f} MiB for each of {accounts} accounts")
    return show(args, answer, lines)


def kib(service: dict[str, Any]) -> str:
    """Of everything that its processes hold, their code too: an upper bound."""
    return f"{service['memory'] / 1024 / service['connections']:.0f}" if service["connections"] else ""


def figures(status: dict[str, Any], accounts: int) -> dict[str, Any]:
    """status: as `echomox status --json`. memory: bytes, PSS."""
    services: dict[str, dict[str, Any]] = {
        "supervisor": {"service": "supervisor", "processes": 1, "memory": status["supervisor_memory"], "connections": 0}
    }
    for worker in status["workers"]:
        empty = {"service": worker["service"], "processes": 0, "memory": 0, "connections": 0}
        one = services.setdefault(worker["service"], empty)
        one["processes"] += 1
        one["memory"] += worker["memory"]
        one["connections"] += worker["connections"]
    return {"services": list(services.values()), "memory": status["memory"], "accounts": accounts}
