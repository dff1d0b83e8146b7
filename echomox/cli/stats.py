"""`echomox stats`: what the running server uses, and what its accounts take on disk.

Memory is the proportional set size (PSS): a page that processes share counts once, divided among them; so the sum over
all processes is what the server takes of the machine. On disk, a message of several recipients is one file with a name
in each account: it counts in each, and once in the sum. `storage` reads the directories, with or without a server.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from echomox.cli.console import CommandError, Commands, ask, find, rows, show

MIB = 1 << 20
LOOKED_AT = 100
"""Accounts of which the largest read-out is looked for."""
KINDS = {"index.db": "index", "fts.db": "full_text", "junk.db": "filter", "words.map": "filter"}
"""What the files of an account's directory are; those behind a database (-wal, -shm) count with it."""


def configure(parser: argparse.ArgumentParser) -> None:
    commands = Commands(parser)
    commands.add("memory", run_memory, "memory by kind of process, and for each account and connection")
    storage = commands.add("storage", run_storage, "mail, index, full text and filter on disk, by account")
    storage.add_argument("account", nargs="?", help="this one only")


def run_memory(args: argparse.Namespace) -> int:
    status = ask(args, "status")
    names = [one["name"] for one in ask(args, "account.list")["accounts"]]
    accounts = len(names)
    answer = figures(status, accounts) | {"reservoir": _reservoir(args, names[:LOOKED_AT])}
    lines = rows(
        ("processes", "count", "MiB", "connections", "KiB per connection"),
        (
            (one["service"], one["processes"], f"{one['memory'] / MIB:.1f}", one["connections"], kib(one))
            for one in answer["services"]
        ),
    )
    total = answer["memory"] / MIB
    lines.append(f"together {total:.1f} MiB; {total / max(accounts, 1):.2f} MiB for each of {accounts} accounts")
    lines.append(
        f"of it the reservoir: {answer['reservoir']['weights'] / 1024:.1f} KiB of weights once for all, and in a "
        f"classifier {answer['reservoir']['account'] / 1024:.1f} KiB for an account at most"
    )
    return show(args, answer, lines)


def _reservoir(args: argparse.Namespace, names: Sequence[str]) -> dict[str, int]:
    """Bytes. weights: what all processes share; account: the largest read-out of these accounts."""
    from echomox.filter.weights import DIRECTORY, WEIGHTS

    file = find(args).data / DIRECTORY / WEIGHTS
    sizes = [ask(args, "filter.stats", account=name)["reservoir"]["ReadOutBytes"] for name in names]
    return {"weights": file.stat().st_size if file.exists() else 0, "account": max(sizes, default=0)}


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


def run_storage(args: argparse.Namespace) -> int:
    from echomox.config.files import become, owner_of

    paths = find(args)
    become(owner_of(paths.data))
    names = sorted(entry.name for entry in _entries(paths.accounts) if not entry.name.startswith("."))
    if args.account and args.account not in names:
        raise CommandError(f"no account {args.account} in {paths.accounts}")
    files: dict[int, int] = {}
    found = [used(paths.accounts, name, files) for name in names if name == (args.account or name)]
    mail = sum(files.values())
    answer = {"accounts": found, "messages": len(files), "mail": mail}
    lines = rows(
        ("account", "messages", "mail MiB", "index MiB", "of mail", "full text MiB", "filter MiB"),
        (
            (one["account"], one["messages"], *(_mib(one[kind]) for kind in ("mail", "index")), _share(one),
             *(_mib(one[kind]) for kind in ("full_text", "filter")))
            for one in found
        ),
    )  # fmt: skip
    lines.append(f"together {_mib(mail)} MiB of mail in {len(files)} files")
    return show(args, answer, lines)


def used(accounts: Path, name: str, files: dict[int, int]) -> dict[str, Any]:
    """Bytes of an account by kind. messages: files of messages, whose sizes go into `files` by inode."""
    one: dict[str, Any] = {"account": name, "messages": 0, "mail": 0, "index": 0, "full_text": 0, "filter": 0}
    for entry in _entries(accounts / name):
        kind = KINDS.get(entry.name.removesuffix("-wal").removesuffix("-shm"))
        if kind:
            with suppress(FileNotFoundError):  # gone with the last connection
                one[kind] += entry.stat().st_size
    for directory in _entries(accounts / name / "msg"):
        for entry in _entries(Path(directory.path)):
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:  # removed meanwhile
                continue
            one["messages"] += 1
            one["mail"] += status.st_size
            files[status.st_ino] = status.st_size
    return one


def _entries(directory: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as found:
            yield from found
    except (FileNotFoundError, NotADirectoryError):
        return


def _mib(size: int) -> str:
    return f"{size / MIB:.1f}"


def _share(one: dict[str, Any]) -> str:
    # Of hardly any mail it is the size of empty tables.
    return f"{100 * one['index'] / one['mail']:.0f} %" if one["mail"] >= 1 << 20 else ""
