"""Quickstart: what to write for a first address, whether this machine is fit for it, and the writing.

`plan` decides (user, host name, directories), `checks` looks at the machine and the network, `write` makes
the files and never replaces any. Passwords exist only in the plan; on disk are their hashes.
"""

from __future__ import annotations

import datetime
import os
import pwd
import shlex
import socket
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import bcrypt

from echomox.config import unit
from echomox.config.describe import dynamic_text, static_text
from echomox.config.dnsrecords import PLACEHOLDERS, Facts, Record, placeholder_notes, records, reverse_notes, zone
from echomox.config.files import Owner, give, make_directories, write_atomic
from echomox.config.hostcheck import Finding, check_host, own_addresses, real_network
from echomox.config.keys import dkim_public, new_dkim_key, new_password, self_signed
from echomox.config.names import host_name, is_account_name, split_address
from echomox.config.outbound import own_policy_id
from echomox.config.paths import Paths
from echomox.config.schema import Account, Dkim, Domain, Dynamic, ReportAddress, Static, Tls
from echomox.errors import ConfigError

SERVICE_USER = "echomox"
ADMIN_PASSWORD = "adminpasswd"  # noqa: S105 - a file name
REPORTED = Domain(dmarc_reports=ReportAddress("dmarc-reports"), tls_reports=ReportAddress("tls-reports"))
"""A new domain: reports about it have addresses of their own."""
KEYS = (("a", "ed25519"), ("b", "rsa"))
"""Selectors are the year and a letter: the next pair takes the next year or the next letters."""


@dataclass(frozen=True, slots=True)
class Request:
    address: str
    directory: Path | None = None
    layout: str = "home"
    hostname: str | None = None
    user: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """All that will be written. static and dynamic hold names relative to the configuration directory."""

    paths: Paths
    owner: Owner
    user: str
    account: str
    address: str
    domain: str
    static: Static
    dynamic: Dynamic
    password: str
    admin_password: str
    now: datetime.datetime

    def text(self, published: list[Record]) -> list[str]:
        """What to tell the person, passwords included: shown once."""
        facts = facts_of(self, ())
        reverse = [f"; reverse DNS, at the owner of the address: {note}" for note in reverse_notes(facts)]
        return [
            f"configuration   {self.paths.config}",
            f"data            {self.paths.data}",
            f"runs as         {self.user}",
            "",
            f"account         {self.address}",
            f"password        {self.password}",
            f"admin password  {self.admin_password}  (for web pages, which this version does not have yet)",
            "These passwords are not shown again; only their hashes are kept.",
            "",
            f"Publish these records for {self.domain}:",
            "",
            *zone(published),
            *reverse,
            *placeholder_notes(published),
            "",
            *self._next_steps(),
        ]

    def _next_steps(self) -> list[str]:
        config, tls, host = self.paths.config, self.static.tls, self.static.hostname
        there = config == Path("/etc/echomox")
        typed = shlex.quote(str(config))
        unit_file = shlex.quote(str(config / unit.NAME))
        where = [] if there else [f"   export ECHOMOX_CONFIG={typed}", "   for all commands from here on"]
        return [
            "What next:",
            *where,
            f"1. publish the records; `echomox domain dnsrecords {self.domain}` prints them again",
            "2. start it, with systemd as root:",
            f"     cp {unit_file} /etc/systemd/system/ && systemctl enable --now echomox",
            f"   or by hand: echomox-supervisor start --daemon --config {typed}",
            f"   `echomox-supervisor status` shows it, {self.paths.logs / 'echomox.log'} tells what it does",
            "3. the certificate is self-signed for now: clients will warn, other servers will not mind. Put one of an",
            f"   authority, and its key, in the place of {config / tls.certificate} and {Path(tls.key).name},",
            "   then `echomox-supervisor reload`",
            f"4. in a mail program: user {self.address}, IMAP {host} port 993, SMTP {host} port 465, both with TLS",
            f"5. `echomox account add ann ann@{self.domain}` makes more accounts; `echomox --help` lists all commands",
        ]


def plan(request: Request) -> Plan:
    """Decides everything; raises ConfigError with what to give when it cannot."""
    try:
        local, domain = split_address(request.address)
    except ValueError as error:
        raise ConfigError(f"{request.address}: {error}; give an address as you@example.com") from None
    if "." not in domain:
        raise ConfigError(f"{request.address}: {domain} is no full domain name; give one as you@example.com")
    account = local.lower()
    if not is_account_name(account):
        raise ConfigError(f"{local} cannot be an account's name; begin with an address of letters and digits")
    hostname = _hostname(request, domain)
    paths = _paths(request)
    for path in (paths.static, paths.dynamic):
        if path.exists():
            raise ConfigError(f"{path} is there already and is never overwritten; change it, or give another --dir")
    user, owner = _user(request, paths)
    year = datetime.datetime.now(datetime.UTC).year
    dkim = tuple(Dkim(f"{year}{letter}", kind, f"dkim/{domain}.{year}{letter}.pem") for letter, kind in KEYS)
    tls = Tls(f"tls/{hostname}.crt", f"tls/{hostname}.key")
    return Plan(
        paths=paths,
        owner=owner,
        user=user,
        account=account,
        address=f"{local}@{domain}",
        domain=domain,
        static=Static(hostname=hostname, user=user if os.geteuid() == 0 else "", postmaster=account, tls=tls),
        dynamic=Dynamic({domain: replace(REPORTED, dkim=dkim)}, {account: Account(addresses=(f"{local}@{domain}",))}),
        password=new_password(),
        admin_password=new_password(),
        now=datetime.datetime.now(datetime.UTC),
    )


def _hostname(request: Request, domain: str) -> str:
    given = request.hostname or socket.getfqdn()
    try:
        name = host_name(given)
    except ValueError as error:
        if request.hostname:
            raise ConfigError(f"--hostname {given}: {error}") from None
        return f"mail.{domain}"
    return name if request.hostname or not name.endswith((".localdomain", ".local", ".arpa")) else f"mail.{domain}"


def _paths(request: Request) -> Paths:
    if request.layout == "fhs":
        return Paths.fhs(request.directory or Path("/"))
    return Paths.home(request.directory or Path.cwd())


def _user(request: Request, paths: Paths) -> tuple[str, Owner]:
    """Root gives the rights to a user of its own; anyone else keeps theirs."""
    if os.geteuid() != 0:
        name = pwd.getpwuid(os.geteuid()).pw_name
        if request.user and request.user != name:
            raise ConfigError(f"--user {request.user}: only root may set up for another user; you are {name}")
        return name, Owner.current()
    name = request.user or SERVICE_USER
    try:
        pwd.getpwnam(name)
    except KeyError:
        home = paths.data.parent if request.layout == "home" else paths.data
        line = f"useradd -r -M -d {shlex.quote(str(home))} -s /usr/sbin/nologin {name}"
        raise ConfigError(
            f'no user "{name}" on this machine; make it first: {line}, or name another with --user'
        ) from None
    return name, Owner.of(name)


def checks(plan: Plan, offline: bool) -> list[Finding]:
    """How fit this machine is; nothing here prevents the writing."""
    return check_host(plan.static.hostname, plan.domain, None if offline else real_network())


def facts_of(plan: Plan, dkim: tuple[tuple[str, str, str], ...]) -> Facts:
    return Facts(
        domain=plan.domain,
        hostname=plan.static.hostname,
        addresses=tuple(own_addresses()) or PLACEHOLDERS,
        dkim=dkim,
        policy_id=own_policy_id(plan.dynamic.domains[plan.domain], plan.static.hostname),
        reports=f"{REPORTED.dmarc_reports.local_part}@{plan.domain}",
        tls_reports=f"{REPORTED.tls_reports.local_part}@{plan.domain}",
    )


def write(plan: Plan) -> list[Record]:
    """Directories, keys, certificate, unit and both files, all the owner's; returns the records to publish."""
    paths, owner, config = plan.paths, plan.owner, plan.paths.config
    make_directories(paths, owner)
    certificate, key = self_signed([plan.static.hostname, *_service_names(plan.domain)], plan.now)
    _new(config / plan.static.tls.certificate, certificate, owner)
    _new(config / plan.static.tls.key, key, owner)
    public = []
    for dkim in plan.dynamic.domains[plan.domain].dkim:
        pem = new_dkim_key(dkim.algorithm)
        _new(config / dkim.key, pem, owner)
        public.append((dkim.selector, *dkim_public(pem)))
    hashed = bcrypt.hashpw(plan.admin_password.encode(), bcrypt.gensalt(plan.static.auth.bcrypt_cost))
    _new(config / ADMIN_PASSWORD, hashed + b"\n", owner)
    supervisor = Path(sys.executable).with_name("echomox-supervisor")
    unit_file = unit.unit_text(paths, plan.user, supervisor, plan.static.workers.stop_time)
    _new(config / unit.NAME, unit_file.encode(), owner)
    _new(paths.dynamic, dynamic_text(plan.dynamic).encode(), owner)
    _new(paths.static, static_text(plan.static).encode(), owner)  # last: with it the configuration exists
    return records(facts_of(plan, tuple(public)))


def _service_names(domain: str) -> list[str]:
    return [f"{name}.{domain}" for name in ("mta-sts", "autoconfig")]


def _new(path: Path, data: bytes, owner: Owner) -> None:
    if path.exists():
        raise ConfigError(f"{path} is there already and is never overwritten; take it away, or give another --dir")
    write_atomic(path, data, 0o600, owner)
    give(path, owner)
