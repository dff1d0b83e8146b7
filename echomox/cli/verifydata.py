"""`echomox verifydata`: databases, files, UIDs, counts and sizes of all accounts (T28), and the files
of the filter. Exit code 1 when faults are left.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict

from echomox.cli.console import CommandError, counted, find, rows, show

REPORTED_ONLY = ("database", "directory")
"""Kinds of faults that `--fix` leaves; so are all of the filter's files."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--account", help="of this account only")
    parser.add_argument("--fix", action="store_true", help="repair; what is strange goes to data/lost+found")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from echomox.config.files import become, owner_of
    from echomox.filter.verify import verify as verify_filter
    from echomox.store.engine import StoreError
    from echomox.store.verify import Fault, verify

    paths = find(args)
    become(owner_of(paths.data))
    try:
        faults = verify(paths, args.account, args.fix)
    except StoreError as error:
        raise CommandError(str(error)) from None
    repairable = any(not fault.fixed and fault.kind not in REPORTED_ONLY for fault in faults)
    for wrong in verify_filter(paths.data, paths.accounts, args.account):
        faults.append(Fault(wrong.account, "filter", wrong.detail, False))
    left = sum(not fault.fixed for fault in faults)
    heads = ("account", "kind", "fixed", "detail")
    table = rows(heads, ((fault.account, fault.kind, fault.fixed, fault.detail) for fault in faults))
    summary = f"{counted(faults, 'fault')}, {left} left" if faults else "no faults"
    hint = ["`echomox verifydata --fix` repairs what can be repaired"] if repairable and not args.fix else []
    show(
        args,
        {"faults": [asdict(fault) for fault in faults], "left": left},
        [*(table if faults else []), summary, *hint],
    )
    return 1 if left else 0
