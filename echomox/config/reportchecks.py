"""What must hold for addresses of reports: those that take reports about our domains, and the one that ours come from.
Problems go to the Reader.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from echomox.config.names import base_local, split_address
from echomox.config.schema import Domain, Dynamic, ReportAddress, Reports, Static

if TYPE_CHECKING:
    from echomox.config.load import Reader

Place = tuple[str | int, ...]
TEXT = 300


def check_reports(reader: Reader, reports: Reports) -> None:
    """reader: of echomox.toml."""
    if reports.address:
        try:
            local, _ = split_address(reports.address)
            if not local or not reports.address.isascii():
                raise ValueError("a whole address in ASCII, as postmaster@example.com")
        except ValueError as error:
            reader.problem(("reports", "address"), f'"{reports.address}": {error}')
    for key in ("organisation", "contact"):
        text = getattr(reports, key)
        if len(text) > TEXT or not text.isprintable():
            reader.problem(("reports", key), f"one line of at most {TEXT} characters")


def check_report_sender(reader: Reader, static: Static, dynamic: Dynamic) -> None:
    """reader: of echomox.toml."""
    if not static.reports.address:
        return
    domain = split_address(static.reports.address)[1]
    if domain not in dynamic.domains:
        reader.problem(("reports", "address"), f"{domain} is no domain in domains.toml")


def check_report_addresses(reader: Reader, dynamic: Dynamic, taken: Mapping[str, str]) -> None:
    """reader: of domains.toml. taken: account by address, as compared."""
    for name, domain in dynamic.domains.items():
        for key, settings in (("dmarc_reports", domain.dmarc_reports), ("tls_reports", domain.tls_reports)):
            if settings.local_part:
                _address(reader, ("domains", name, key), (name, domain, settings), (dynamic, taken))
            elif settings.account:
                reader.problem(("domains", name, key, "local_part"), "missing; the address, as dmarc-reports")


def _address(
    reader: Reader, path: Place, of: tuple[str, Domain, ReportAddress], known: tuple[Dynamic, Mapping[str, str]]
) -> None:
    (name, domain, settings), (dynamic, taken) = of, known
    local = settings.local_part
    try:
        plain, _ = split_address(f"{local}@{name}")
        if "@" in local or not plain or not plain.isascii():
            raise ValueError("what stands before the @, in ASCII")
    except ValueError as error:
        reader.problem((*path, "local_part"), f'"{local}": {error}')
        return
    trouble = ""
    key = f"{plain if domain.case_sensitive else plain.lower()}@{name}"
    if base_local(plain, domain.separators) != plain:
        used = " ".join(domain.separators)
        trouble = f'"{local}": has a separator of its domain ({used}) in it'
    elif domain.alias_of:
        trouble = "the domain has no addresses of its own (alias_of)"
    elif key in dynamic.aliases:
        trouble = f"{key} is an alias"
    elif key in taken and taken[key] != settings.account:
        trouble = f"{key} is an address of account {taken[key]}; take it from there, or name that account here"
    if trouble:
        reader.problem((*path, "local_part"), trouble)
    if settings.account and settings.account not in dynamic.accounts:
        reader.problem((*path, "account"), f"no account {settings.account}")
    mailbox = settings.mailbox
    if not mailbox or len(mailbox.encode("utf-8", "replace")) > 500 or "" in mailbox.split("/"):
        reader.problem((*path, "mailbox"), f'"{mailbox[:80]}": a mailbox is named as "Reports" or "Reports/DMARC"')
