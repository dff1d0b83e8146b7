"""domains.toml as workers use it: an immutable picture with a generation; each question is a dictionary
look-up.

RFC 5321 2.4 (case of local parts is the domain's business: `case_sensitive`), 4.5.1 (postmaster in any case,
also without a domain), RFC 5890 (domains are compared as A-labels), RFC 5233 (separators). An address is
looked for without what follows a separator among the accounts', then among the aliases, then as the domain's
catch-all ("@domain"), which takes all but what its account refuses. An address at a domain that is another's
(`alias_of`) is the same one there. A domain's addresses for reports (S28) come before all of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from echomox.config.checks import address_key, check_together
from echomox.config.files import write_atomic
from echomox.config.load import ConfigProblems, Reader, load_dynamic, parse_dynamic
from echomox.config.names import base_local, domain_key, split_address
from echomox.config.paths import Paths
from echomox.config.schema import Account, Alias, Domain, Dynamic, Static


@dataclass(frozen=True, slots=True)
class Recipient:
    """A local destination. address: as it was given, its domain normalised. reports: the kinds of reports that the
    address takes, of "dmarc" and "tls"."""

    account: str
    address: str
    mailbox: str = "INBOX"
    reports: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """An alias or list. address: as it was given, its domain normalised. name: its key in `Dynamic.aliases`."""

    name: str
    address: str
    alias: Alias


@dataclass(frozen=True, slots=True)
class Unknown:
    """reason: "domain" (not ours), "user" (no such address), "disabled" (the domain is, for now)."""

    reason: str


_NOT_OURS, _NO_USER, _DISABLED = Unknown("domain"), Unknown("user"), Unknown("disabled")
_HOST_USERS = frozenset({"postmaster", "mailer-daemon"})
"""Of the host's own name."""


class Snapshot:
    """Answers about domains, addresses and accounts; see the module's text for how an address is looked
    for.
    """

    __slots__ = (
        "_addresses", "_known", "_logins", "_reports", "dynamic", "generation", "hostname", "postmaster",
        "reports_from",
    )  # fmt: skip

    def __init__(self, dynamic: Dynamic, static: Static, generation: int) -> None:
        """dynamic: as `load_dynamic` gives it, checked."""
        self.generation = generation
        self.dynamic = dynamic
        self.hostname = static.hostname
        self.postmaster = static.postmaster or _first_account(dynamic)
        self._addresses: dict[str, str] = {}  # comparison form -> account; catch-all as "@domain"
        self._known: dict[str, Recipient | Group | Unknown] = {}  # address as usually given -> ready answer
        self._logins: dict[str, str] = {}
        domains = dict(dynamic.domains)
        for name, account in dynamic.accounts.items():
            for address in account.addresses:
                key, _ = address_key(address, domains)
                self._addresses[key] = name
                if not key.startswith("@"):
                    disabled = domains[key.rpartition("@")[2]].disabled
                    self._known[key] = _DISABLED if disabled else Recipient(name, key)
            if not account.disabled:
                self._logins[name] = name
        for key, alias in dynamic.aliases.items():
            disabled = domains[key.rpartition("@")[2]].disabled
            self._known[key] = _DISABLED if disabled else Group(key, key, alias)
        self._reports = {key: one for key, one in report_addresses(dynamic, self.postmaster).items() if one.account}
        self._known.update(
            (key, _DISABLED if domains[key.rpartition("@")[2]].disabled else one) for key, one in self._reports.items()
        )
        self.reports_from = report_sender(dynamic, static)

    def recipient(self, address: str) -> Recipient | Group | Unknown:
        """Where mail to an address goes (without <>). Never raises: what is no address is "user" or
        "domain".
        """
        ready = self._known.get(address)
        if ready is not None:
            return ready
        if "@" not in address:
            # RFC 5321 4.5.1: <postmaster> without a domain is ours.
            found = self.postmaster if address.lower() == "postmaster" else ""
            return Recipient(found, address) if found else _NO_USER
        return self._resolve(address)

    def _resolve(self, address: str) -> Recipient | Group | Unknown:
        domains = self.dynamic.domains
        try:
            local, key = _split(address, domains)
        except ValueError:
            return _NO_USER if self.is_local_domain(address.rpartition("@")[2]) else _NOT_OURS
        domain = domains.get(key)
        if domain is None:
            ours = key == self.hostname and local.lower() in _HOST_USERS and self.postmaster
            return Recipient(self.postmaster, f"{local}@{key}") if ours else _NOT_OURS
        if domain.disabled:
            return _DISABLED
        if domain.alias_of:
            key, domain = domain.alias_of, domains[domain.alias_of]
        if not local:
            return _NO_USER
        given = f"{address.rpartition('@')[0]}@{key}"
        if self._reports and (report := self._reports.get(_base(local, domain) + "@" + key)) is not None:
            return replace(report, address=given)
        found = self._found_at(local, key, domain)
        return Group(found.name, given, found.alias) if isinstance(found, Group) else _answer(found, given)

    def _found_at(self, local: str, key: str, domain: Domain) -> str | Group:
        """The account, "" for none, or the alias."""
        addresses = self._addresses
        lower = local.lower()
        whole = local if domain.case_sensitive else lower
        base = base_local(whole, domain.separators)
        if account := addresses.get(f"{base}@{key}"):
            return account
        name = f"{base}@{key}"
        if (alias := self.dynamic.aliases.get(name)) is not None:
            return Group(name, name, alias)
        if lower.startswith("postmaster") and base_local(lower, domain.separators) == "postmaster":
            return addresses.get(f"postmaster@{key}", self.postmaster)
        account = addresses.get("@" + key, "")
        if account:
            refused = self.dynamic.accounts[account].refuse
            if refused and (f"{whole}@{key}" in refused or name in refused):
                return ""
        return account

    def is_local_domain(self, domain: str) -> bool:
        return self.domain(domain) is not None

    def domain(self, name: str) -> Domain | None:
        """A configured domain, disabled or not, by any spelling of its name."""
        found = self.dynamic.domains.get(name)
        if found is not None:
            return found
        try:
            return self.dynamic.domains.get(domain_key(name))
        except ValueError:
            return None

    def login_account(self, name: str) -> str | None:
        """The account of an address or account name; None if there is none, or it is disabled."""
        found = self._logins.get(name)
        if found is not None:
            return found
        if "@" not in name:
            return self._logins.get(name.lower())
        try:
            local, key = _split(name, self.dynamic.domains)
        except ValueError:
            return None
        domain = self.dynamic.domains.get(key)
        if domain is None or not local:
            return None
        if domain.alias_of:
            key, domain = domain.alias_of, self.dynamic.domains[domain.alias_of]
        account = self._addresses.get(f"{local if domain.case_sensitive else local.lower()}@{key}")
        return self._logins.get(account) if account else None

    def account(self, name: str) -> Account:
        """Raises KeyError for an account that is not configured."""
        return self.dynamic.accounts[name]

    @property
    def accounts(self) -> Mapping[str, Account]:
        return MappingProxyType(dict(self.dynamic.accounts))

    def may_send_as(self, account: str, address: str) -> bool:
        """Whether mail to that address would come to this account, so that it may send in its name; of an alias,
        whether that lets its members."""
        found = self.recipient(address)
        if isinstance(found, Group):
            return found.alias.allow_send_as and account in self.members(found)[0]
        return isinstance(found, Recipient) and found.account == account

    def members(self, group: Group) -> tuple[dict[str, Recipient], list[str]]:
        """(members here, by account, each once; addresses elsewhere), members of aliases among the members
        included. An alias that is reached a second time adds nothing, so circles end."""
        here: dict[str, Recipient] = {}
        elsewhere: dict[str, None] = {}
        seen = {group.name}
        waiting = [group]
        while waiting:
            for address in waiting.pop().alias.members:
                found = self.recipient(address)
                if isinstance(found, Recipient):
                    here.setdefault(found.account, found)
                elif isinstance(found, Unknown):
                    if found.reason == "domain":
                        elsewhere.setdefault(address)
                elif found.name not in seen:
                    seen.add(found.name)
                    waiting.append(found)
        return here, list(elsewhere)


def _answer(account: str, address: str) -> Recipient | Unknown:
    return Recipient(account, address) if account else _NO_USER


def _base(local: str, domain: Domain) -> str:
    return base_local(local if domain.case_sensitive else local.lower(), domain.separators)


def report_addresses(dynamic: Dynamic, postmaster: str) -> dict[str, Recipient]:
    """Where reports about our domains come to, by address as it is compared. dynamic: with domains by key."""
    found: dict[str, Recipient] = {}
    for name, domain in dynamic.domains.items():
        for kind, settings in (("dmarc", domain.dmarc_reports), ("tls", domain.tls_reports)):
            if not settings.local_part or domain.alias_of:
                continue
            key = f"{_base(settings.local_part, domain)}@{name}"
            kinds = (*found[key].reports, kind) if key in found else (kind,)
            found[key] = Recipient(settings.account or postmaster, key, settings.mailbox, kinds)
    return found


def report_sender(dynamic: Dynamic, static: Static) -> str:
    """The address that our reports to others come from; "" when none of our domains can sign them."""
    if static.reports.address:
        local, _, domain = static.reports.address.rpartition("@")
        return f"{local}@{domain_key(domain)}"
    able = [name for name, one in dynamic.domains.items() if not one.alias_of and any(key.sign for key in one.dkim)]
    host = static.hostname
    near = [name for name in able if host == name or host.endswith("." + name)]
    domain = max(near, key=len) if near else next(iter(able), "")
    return f"postmaster@{domain}" if domain else ""


def _split(address: str, domains: Mapping[str, Domain]) -> tuple[str, str]:
    """As names.split_address, without its detours for a plain local part at one of `domains`."""
    local, _, domain = address.rpartition("@")
    if local.isascii() and local.isidentifier():
        key = domain.lower()
        return local, key if key in domains else domain_key(domain)
    return split_address(address)


def _first_account(dynamic: Dynamic) -> str:
    """Who is postmaster when nobody is named: the first administrator, else the first account, else ""."""
    admins = (name for name, account in dynamic.accounts.items() if account.admin)
    return next(admins, next(iter(dynamic.accounts), ""))


def load_snapshot(paths: Paths, static: Static, generation: int) -> Snapshot:
    """The picture to work by: domains.toml, or while that is broken, what was last accepted.

    A worker that starts between a slip in an editor and its correction must not refuse mail. Raises
    ConfigProblems when nothing was ever accepted.
    """
    try:
        return read_snapshot(paths, static, generation)
    except ConfigProblems:
        try:
            return read_snapshot(paths, static, generation, accepted_file(paths).read_bytes())
        except (OSError, ConfigProblems):
            pass
        raise


def read_snapshot(paths: Paths, static: Static, generation: int, data: bytes | None = None) -> Snapshot:
    """domains.toml as it stands, or `data` in its place. Raises ConfigProblems, also when it does not fit to the
    static part.
    """
    dynamic = load_dynamic(paths.dynamic) if data is None else parse_dynamic(paths.dynamic, data)
    reader = Reader(paths.dynamic, b"")
    check_together(reader, static, dynamic)
    reader.finish()
    return Snapshot(dynamic, static, generation)


def accepted_file(paths: Paths) -> Path:
    """The copy of the domains.toml that was last found good, for `load_snapshot`."""
    return paths.run / "domains.accepted.toml"


def accept(paths: Paths, static: Static) -> None:
    """Remembers domains.toml as it stands, if it is good; raises ConfigProblems or OSError, and then remembers what
    it did before."""
    try:
        data = paths.dynamic.read_bytes()
    except OSError as error:
        raise ConfigProblems([(str(paths.dynamic), 1, "", f"not readable: {error.strerror}")]) from None
    read_snapshot(paths, static, 0, data)
    write_atomic(accepted_file(paths), data)


def is_accepted(paths: Paths) -> bool:
    """Whether domains.toml is, byte for byte, what was last found good."""
    try:
        return paths.dynamic.read_bytes() == accepted_file(paths).read_bytes()
    except OSError:
        return False
