"""Whether this machine and its network are fit to be a mail server: quickstart's findings.

Each check ends within seconds and says what to do. Offline none of them asks the network. The check of
outgoing port 25 opens a connection to the first MX of PROBE_DOMAIN and closes it at the greeting.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from echomox.dns import Answer

RESOLV_CONF = Path("/etc/resolv.conf")
PROBE_DOMAIN = "gmail.com"
TIMEOUT = 5.0  # seconds of each question


class Finding(NamedTuple):
    """state: "ok", "warn" or "skip"."""

    state: str
    text: str


class NoAnswer(Exception):
    """A question of DNS that failed: no such name, no answer in time, no network."""


@dataclass(frozen=True, slots=True)
class Network:
    """What is asked of the world. query: (name, type) to (answers as text, validated by DNSSEC), raises NoAnswer;
    greeting: the first bytes of host:25, raises OSError; own: public addresses of this host."""

    query: Callable[[str, str], tuple[list[str], bool]]
    greeting: Callable[[str], bytes]
    own: tuple[str, ...]


def check_host(hostname: str, domain: str, network: Network | None) -> list[Finding]:
    """All findings, in order: ports, resolver, DNSSEC, names, the way out. network: None when offline."""
    findings = [_ports(), _resolver_present(RESOLV_CONF)]
    names = ("DNSSEC", "host name", "reverse DNS", "MX of the domain", "outgoing port 25")
    if network is None or findings[-1].state != "ok":
        reason = "offline" if network is None else "no resolver"
        return findings + [Finding("skip", f"{name}: not looked at ({reason})") for name in names]
    return findings + ask_network(hostname, domain, network)


def ask_network(hostname: str, domain: str, network: Network) -> list[Finding]:
    return [
        _validating(network),
        _resolves(hostname, network),
        _reverse(hostname, network),
        _free_of_mail(domain, hostname, network),
        _port_25(network),
    ]


def real_network() -> Network:
    return Network(_query, _greeting, tuple(own_addresses()))


def own_addresses() -> list[str]:
    """Public addresses of this host, found without sending anything: what a route to the world would use."""
    return [address for address in _routed() if ipaddress.ip_address(address).is_global]


def _routed() -> Iterator[str]:
    # Documentation addresses (RFC 5737, RFC 3849) are routed like any other; connecting UDP sends no packet.
    for family, target in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((target, 53))
                yield probe.getsockname()[0].partition("%")[0]
        except OSError:
            continue


def _ports() -> Finding:
    taken = []
    for port in (25, 465, 587, 143, 993):
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                taken.append(str(port))
    if taken:
        return Finding("warn", f"ports {', '.join(taken)} are in use: stop the other mail server first")
    return Finding("ok", "ports 25, 465, 587, 143 and 993 are free")


def _resolver_present(path: Path) -> Finding:
    try:
        lines = path.read_text(errors="replace").split("\n")
    except OSError as error:
        return Finding("warn", f"{path}: {error.strerror}; name a resolver there, best unbound on this host")
    servers = [line.split()[1] for line in lines if line.startswith("nameserver") and len(line.split()) > 1]
    if not servers:
        return Finding("warn", f"{path} names no resolver; install unbound and put `nameserver 127.0.0.1` there")
    return Finding("ok", f"resolver {', '.join(servers)}")


def _query(name: str, kind: str) -> tuple[list[str], bool]:
    """By the resolvers of this host, whose word on DNSSEC is taken: it is what is looked for."""
    from echomox.dns import DnsTemporary, Mx
    from echomox.dns.stub import StubResolver
    from echomox.dns.system import SystemServers

    async def ask() -> Answer:
        resolver = StubResolver(SystemServers(str(RESOLV_CONF)), trusted=True, timeout=TIMEOUT)
        try:
            return await resolver.lookup(name, kind)
        finally:
            await resolver.close()

    try:
        answer = asyncio.run(ask())
    except DnsTemporary as error:
        raise NoAnswer(error.reason) from None
    if not answer.exists:
        raise NoAnswer("no such name")
    texts = [f"{value.preference} {value.host}." if isinstance(value, Mx) else str(value) for value in answer.values]
    return texts, answer.secure


def _greeting(host: str) -> bytes:
    with socket.create_connection((host, 25), TIMEOUT) as peer:
        peer.settimeout(TIMEOUT)
        return peer.recv(200)


def _answers(network: Network, name: str, *kinds: str) -> list[str]:
    """All answers of some types; none for what has no answer."""
    found: list[str] = []
    for kind in kinds:
        try:
            found += network.query(name, kind)[0]
        except NoAnswer:
            continue
    return found


def _validating(network: Network) -> Finding:
    try:
        validated = network.query("org.", "SOA")[1]
    except NoAnswer:
        return Finding("warn", "DNSSEC: the resolver does not answer; is there a network?")
    if validated:
        return Finding("ok", "DNSSEC: the resolver validates")
    return Finding("warn", "DNSSEC: the resolver does not validate, so DANE cannot be used; unbound does")


def _resolves(hostname: str, network: Network) -> Finding:
    found = _answers(network, hostname, "A", "AAAA")
    if not found:
        return Finding("warn", f"{hostname} has no address in DNS yet: publish the A and AAAA records below")
    if network.own and not set(network.own) & set(found):
        text = f"{hostname} is {', '.join(found)} in DNS, but this host is {', '.join(network.own)}"
        return Finding("warn", text + " (right behind NAT; else correct the records)")
    return Finding("ok", f"{hostname} is {', '.join(found)}")


def _reverse(hostname: str, network: Network) -> Finding:
    if not network.own:
        return Finding("skip", "reverse DNS: this host has no public address of its own (NAT?)")
    wrong = []
    for address in network.own:
        names = _answers(network, ipaddress.ip_address(address).reverse_pointer + ".", "PTR")
        if hostname not in [name.rstrip(".").lower() for name in names]:
            wrong.append(f"{address} ({', '.join(names) or 'none'})")
    if wrong:
        return Finding("warn", f"reverse DNS of {'; '.join(wrong)} is not {hostname}: many servers refuse such mail")
    return Finding("ok", f"reverse DNS of {', '.join(network.own)} is {hostname}")


def _free_of_mail(domain: str, hostname: str, network: Network) -> Finding:
    hosts = [entry.split()[-1].rstrip(".").lower() for entry in _answers(network, domain, "MX")]
    if hosts and hostname not in hosts:
        return Finding("warn", f"mail for {domain} now goes to {', '.join(hosts)}; it will until its MX is changed")
    return Finding("ok", f"MX of {domain}: {'this host' if hosts else 'none yet'}")


def _port_25(network: Network) -> Finding:
    exchangers = sorted(_answers(network, PROBE_DOMAIN, "MX"), key=lambda entry: int(entry.split()[0]))
    if not exchangers:
        return Finding("skip", f"outgoing port 25: not looked at (no MX of {PROBE_DOMAIN} found)")
    try:
        greeting = network.greeting(exchangers[0].split()[-1].rstrip("."))
    except OSError:
        return Finding("warn", "outgoing port 25 is closed: ask your provider to open it, or mail cannot be sent")
    if greeting.startswith(b"220"):
        return Finding("ok", "outgoing port 25 is open")
    return Finding("warn", "outgoing port 25 leads to something that is no mail server: a filter on the way?")
