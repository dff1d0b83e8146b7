"""Where a message can go, one address after the other, and how safe the way there must be.

    direct      MX hosts of the domain (RFC 5321 5.1), each with what DANE (RFC 7672), MTA-STS (RFC 8461) and REQUIRETLS
                (RFC 8689) ask for; through a SOCKS5 proxy if the transport is one
    relay       the one host of a transport, with its TLS and login; of kind smtp, DANE for that host's name

DANE goes before MTA-STS (RFC 8461 2). "TLS-Required: No" (RFC 8689 5) switches both off. Hosts are looked up as they
are needed: those behind one that takes the message cost nothing.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

from echomox.config.schema import Outbound, Transport
from echomox.dns.types import Resolver
from echomox.errors import Reply
from echomox.outbound.client import Login
from echomox.outbound.connections import Endpoint, Proxy
from echomox.outbound.hosts import Addresses, Host, Hosts, Undeliverable, find_addresses, find_hosts, find_tlsa
from echomox.outbound.security import Security
from echomox.outbound.tlsrecord import Peer, TlsRecord
from echomox.queue.outcome import Job
from echomox.tlspolicy.dane import usable
from echomox.tlspolicy.mtasts import Policy
from echomox.tlspolicy.policies import Policies

RELAYS = {"smtp": 25, "submission": 587, "submissions": 465}
SOCKS_PORT = 1080
PLAIN = Security("plain")
OPPORTUNISTIC = Security("opportunistic", policy="opportunistic")


@dataclass(frozen=True, slots=True)
class Target:
    """One address. ladder: endpoints to try there, each when TLS failed with the one before. counted: whether its TLS
    session goes into the reports."""

    ladder: tuple[Endpoint, ...]
    peer: Peer
    counted: bool = True


@dataclass(frozen=True, slots=True)
class Missed:
    """A host that cannot be used. reply: 4xx if waiting may help."""

    host: str
    reply: Reply
    ip: str = ""


@dataclass(frozen=True, slots=True)
class Directory:
    """What targets are found with. own: our host's name. base: directory that password files start from."""

    settings: Outbound
    own: str
    resolver: Resolver
    policies: Policies | None
    record: TlsRecord
    base: Path
    rng: random.Random

    async def targets(self, job: Job) -> AsyncGenerator[Target | Missed, None]:
        """Raises Undeliverable when the domain as a whole cannot get mail."""
        transport = job.transport
        found = self._relay(job, transport) if transport and transport.kind in RELAYS else self._direct(job)
        async for item in found:
            yield item

    # relays

    async def _relay(self, job: Job, transport: Transport) -> AsyncGenerator[Target | Missed, None]:
        port = transport.port or RELAYS[transport.kind]
        try:
            addresses = await self._host_addresses(transport.host, transport.family, job.last_ip)
            security = await self._relay_security(job, transport, addresses, port)
            login = self._login(transport)
        except (Undeliverable, OSError) as error:
            yield Missed(transport.host, _for_administrator(error))
            return
        ladder = (security, PLAIN) if security.level == "opportunistic" else (security,)
        for ip in addresses.values[: self.settings.addresses]:
            endpoints = tuple(Endpoint(transport.host, ip, port, step, login) for step in ladder)
            yield Target(endpoints, Peer(transport.host, None, transport.host, ip), counted=False)

    async def _relay_security(self, job: Job, transport: Transport, addresses: Addresses, port: int) -> Security:
        """DANE by the host's own name, which the configuration vouches for (RFC 7672 2.2.2), where the transport leaves
        TLS to us. MTA-STS is of domains, by their MX records, and says nothing of a fixed host. Raises Undeliverable.
        """
        said = _relay_security(transport, demands_tls(job))
        if transport.kind != "smtp" or transport.tls != "default" or not addresses.secure or _ignores_policies(job):
            return said
        dane = await self._dane(transport.host, addresses, port)
        if dane is None or (dane.level != "dane" and said.level == "pkix"):
            return said
        return dane

    async def _host_addresses(self, name: str, family: str, last_ip: str) -> Addresses:
        """Of a host of ours, named or given as an address."""
        text = name.strip("[]").removeprefix("IPv6:")
        try:
            host = Host(name, literal=str(ipaddress.ip_address(text)))
        except ValueError:
            host = Host(name)
        return await find_addresses(self.resolver, host, family, last_ip, self.rng)

    def _login(self, transport: Transport) -> Login | None:
        if not transport.user:
            return None
        return Login(transport.user, self._password(transport), exposed=transport.tls == "none")

    def _password(self, transport: Transport) -> str:
        if not transport.password_file:
            return ""
        with (self.base / transport.password_file).open(encoding="utf-8", errors="surrogateescape") as file:
            return file.readline(4096).rstrip("\r\n")

    async def _proxy(self, transport: Transport) -> Proxy:
        addresses = await self._host_addresses(transport.host, "any", "")
        return Proxy(addresses.values[0], transport.port or SOCKS_PORT, transport.user, self._password(transport))

    # direct

    async def _direct(self, job: Job) -> AsyncGenerator[Target | Missed, None]:
        transport = job.transport
        proxy = None
        if transport is not None and transport.kind == "socks":
            try:
                proxy = await self._proxy(transport)
            except (Undeliverable, OSError) as error:
                yield Missed(transport.host, _for_administrator(error))
                return
        family = transport.family if transport and transport.family != "any" else self.settings.family
        hosts = await find_hosts(self.resolver, job.domain, self.own, self.rng)
        sts = await self._sts(job)
        per_host = max(2, self.settings.addresses // len(hosts.hosts))
        for host in hosts.hosts:
            try:
                addresses = await find_addresses(self.resolver, host, family, job.last_ip, self.rng)
                way = await self._way(job, hosts, host, addresses, sts)
            except Undeliverable as error:
                if error.result and _is_reported(job):
                    self.record.unproved(Peer(job.domain, sts, host.name), error.result, str(error.reply))
                yield Missed(host.name, error.reply)
                continue
            if isinstance(way, Missed):
                yield way
                continue
            ladder, counted = way
            for ip in addresses.values[:per_host]:
                endpoints = tuple(
                    Endpoint(host.name, ip, self.settings.port, security, None, proxy) for security in ladder
                )
                yield Target(endpoints, Peer(job.domain, sts, host.name, ip), counted and _is_reported(job))

    async def _sts(self, job: Job) -> Policy | None:
        """The MTA-STS policy that holds for this message."""
        if self.policies is None or job.domain.startswith("[") or _ignores_policies(job):
            return None
        found = await self.policies.find(job.domain)
        if found.result and _is_reported(job):
            self.record.no_policy(job.domain, found.result, found.error)
        return found.policy

    async def _way(
        self, job: Job, hosts: Hosts, host: Host, addresses: Addresses, sts: Policy | None
    ) -> tuple[tuple[Security, ...], bool] | Missed:
        """The ladder for a host, and whether it goes into reports. Raises Undeliverable."""
        if job.transport is not None and job.transport.tls == "none" and not demands_tls(job):
            return (PLAIN,), False
        dane = None
        if hosts.secure and addresses.secure and not _ignores_policies(job):
            dane = await self._dane(host.name, addresses, self.settings.port, job.domain)
        if dane is not None and (dane.level == "dane" or sts is None or sts.mode != "enforce"):
            return self._demanded(job, hosts, host, (dane,)), True
        if sts is None:
            return self._demanded(job, hosts, host, (OPPORTUNISTIC, PLAIN)), True
        pkix = Security("pkix", host.name, policy="mta-sts")
        if not sts.allows(host.name):
            text = f"{host.name} is not an MX host of the MTA-STS policy of {job.domain}"
            if _is_reported(job):
                peer = Peer(job.domain, sts, host.name)
                self.record.met(peer, pkix, trouble=("validation-failure", text))
            if sts.mode == "enforce":
                return Missed(host.name, Reply(451, "4.7.5", text))
            return self._demanded(job, hosts, host, (OPPORTUNISTIC, PLAIN)), False
        if sts.mode == "enforce":
            return (pkix,), True
        return self._demanded(job, hosts, host, (pkix, OPPORTUNISTIC, PLAIN)), True

    async def _dane(self, host: str, addresses: Addresses, port: int, *domain: str) -> Security | None:
        """domain: the next-hop domain, where it is another name than the host's."""
        found = await find_tlsa(self.resolver, host, addresses, port)
        if not found.records:
            return None
        names = tuple(dict.fromkeys((found.base, host, *domain)))  # RFC 7672 3.2.2
        if records := usable(found.records):
            return Security("dane", found.base, names, records, policy="dane")
        return Security("encrypt", found.base, (), found.records, policy="dane")

    @staticmethod
    def _demanded(job: Job, hosts: Hosts, host: Host, ladder: tuple[Security, ...]) -> tuple[Security, ...]:
        """What the message or the transport asks for besides. Raises Undeliverable."""
        if ladder[0].level == "dane":
            return ladder
        if demands_tls(job):
            # RFC 8689 4.2.1: the host's name must be vouched for by DNSSEC or MTA-STS, its certificate verified.
            if ladder[0].level != "pkix" and not hosts.secure:
                text = f"REQUIRETLS: neither DNSSEC nor MTA-STS vouches for {host.name}"
                raise Undeliverable(Reply(550, "5.7.10", text))
            return (Security("pkix", host.name, policy="requiretls"),)
        if job.transport is not None and job.transport.tls == "required":
            return (Security("pkix", host.name),)
        return ladder


def demands_tls(job: Job) -> bool:
    """REQUIRETLS holds; for a bounce it is only passed on (RFC 8689 4.2.1 and 5)."""
    return job.require_tls is True and job.sender != ""


def _is_reported(job: Job) -> bool:
    """Reports are not reported about: two servers would go on with that for ever."""
    return job.kind != "report"


def _ignores_policies(job: Job) -> bool:
    """RFC 8689 4.2.2: "TLS-Required: No"; what must not make it fail is not looked at."""
    return job.require_tls is False


def _relay_security(transport: Transport, require_tls: bool) -> Security:
    verified = Security("pkix", transport.host.strip("[]"), implicit=transport.kind == "submissions")
    if require_tls or transport.tls == "required":
        return verified
    if transport.tls == "none":
        return PLAIN
    return OPPORTUNISTIC if transport.kind == "smtp" else verified


def _for_administrator(error: Exception) -> Reply:
    """Trouble with a host or file that we configured: mail waits until it is mended."""
    if isinstance(error, Undeliverable):
        return Reply(451, "4.4.4", f"transport: {error.reply.text}")
    if isinstance(error, OSError):
        return Reply(451, "4.3.5", f"transport: password file: {error.strerror or error}")
    raise error
