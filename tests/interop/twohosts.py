"""Two hosts with a network between them and names that are signed, for tests between two servers.

Each Host is a network namespace of its own, joined to the other by a cable of two virtual interfaces; where the machine
does not allow that (it takes root), the hosts are two addresses of loopback. `Names` serves one signed zone with Knot
on the first host, and runs a validating Unbound on each host's loopback.

A missing program is a skip, and under CI=true a failure. That there are no namespaces is shown as a warning.
"""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import os
import signal
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path

from tests.interop.test_dns import Daemon
from tests.interop.tools import need, run
from tests.process.harness import free_port

CLONE_NEWNET = 0x40000000
ADDRESSES = ("192.0.2.1", "192.0.2.2")  # RFC 5737: nobody has them, and they never leave the cable
LOOPBACK = ("127.0.1.1", "127.0.2.1")

KNOT = """\
server:
  listen: {address}@{port}
  rundir: {directory}
  pidfile: {directory}/knot.pid
database:
  storage: {directory}/db
log:
  - target: stderr
    any: warning
policy:
  - id: test
    algorithm: ecdsap256sha256
    single-type-signing: on
template:
  - id: default
    storage: {directory}
    file: "%s.zone"
zone:
  - domain: test
    dnssec-signing: on
    dnssec-policy: test
    zonefile-sync: -1
    zonefile-load: difference-no-serial
    serial-policy: increment
    journal-content: all
  - domain: {reverse}
"""
UNBOUND = """\
server:
  directory: "{directory}"
  chroot: ""
  username: ""
  pidfile: "{directory}/unbound-{port}.pid"
  interface: 127.0.0.1@{port}
  access-control: 127.0.0.0/8 allow
  do-not-query-localhost: no
  do-daemonize: no
  use-syslog: no
  logfile: ""
  num-threads: 1
  ede: yes
  module-config: "validator iterator"
  domain-insecure: "{reverse}"
  local-zone: "test." nodefault
  local-zone: "{reverse}." nodefault
  trust-anchor: "test. DNSKEY {key}"
remote-control:
  control-enable: no
stub-zone:
  name: "test"
  stub-addr: {address}@{upstream}
stub-zone:
  name: "{reverse}"
  stub-addr: {address}@{upstream}
"""
START = """\
$TTL 300
@ SOA ns.test. admin.test. 1 3600 600 86400 60
@ NS ns.test.
"""


class Host:
    """netns: name of its namespace, "" where it has none."""

    def __init__(self, address: str, netns: str = "") -> None:
        self.address = address
        self.netns = netns
        self.resolver_port = free_port()

    @property
    def prefix(self) -> list[str]:
        """What a command begins with that is to run on this host."""
        return [need("ip"), "netns", "exec", self.netns] if self.netns else []

    @property
    def resolver(self) -> str:
        return f"127.0.0.1:{self.resolver_port}"

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Sockets that this thread makes meanwhile are sockets of this host, and stay so."""
        if not self.netns:
            yield
            return
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        away = os.open(f"/run/netns/{self.netns}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(away)
            try:
                yield
            finally:
                _enter(home)
        finally:
            os.close(away)
            os.close(home)


def _enter(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


@contextlib.contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Both, with the cable; they are gone afterwards."""
    ip = need("ip")
    names = [f"echomox{os.getpid()}{letter}" for letter in "ab"]
    made = []
    try:
        for name in names:
            done = subprocess.run([ip, "netns", "add", name], capture_output=True, timeout=60)
            if done.returncode:
                warnings.warn(f"two addresses of loopback, no namespaces: {done.stderr.decode()}", stacklevel=1)
                yield Host(LOOPBACK[0]), Host(LOOPBACK[1])
                return
            made.append(name)
        run([ip, "link", "add", "cable", "netns", names[0], "type", "veth", "peer", "name", "cable", "netns", names[1]])
        for name, address in zip(names, ADDRESSES):
            run([ip, "-n", name, "link", "set", "lo", "up"])
            run([ip, "-n", name, "address", "add", f"{address}/24", "dev", "cable"])
            run([ip, "-n", name, "link", "set", "cable", "up"])
        yield Host(ADDRESSES[0], names[0]), Host(ADDRESSES[1], names[1])
    finally:
        for name in made:
            subprocess.run([ip, "netns", "delete", name], capture_output=True, timeout=60)


class Names:
    """The zone `test`, which may have any names below it. lines: records with absolute names."""

    def __init__(self, directory: Path, hosts: tuple[Host, Host], lines: str, pointers: dict[str, str]) -> None:
        """pointers: names by address, for reverse look-ups."""
        self.directory = directory
        self.hosts = hosts
        self.port = free_port()
        self.reverse = ipaddress.ip_address(hosts[0].address).reverse_pointer.split(".", 1)[1]
        if hosts[0].address.startswith("127."):
            self.reverse = "127.in-addr.arpa"
        (directory / "db").mkdir(parents=True)
        self._write(lines)
        reverse = START + "".join(
            f"{ipaddress.ip_address(address).reverse_pointer}. PTR {name}.\n" for address, name in pointers.items()
        )
        (directory / f"{self.reverse}.zone").write_text(reverse)
        self.daemons: list[Daemon] = []

    def _write(self, lines: str) -> None:
        (self.directory / "test.zone").write_text(f"{START}ns A {self.hosts[0].address}\n{lines}")

    def start(self) -> None:
        directory, first = self.directory, self.hosts[0]
        common = {"directory": directory, "reverse": self.reverse, "address": first.address}
        (directory / "knot.conf").write_text(KNOT.format(port=self.port, **common))
        knot = Daemon(
            *first.prefix, need("knotd"), "-c", str(directory / "knot.conf"), log=directory / "knot.log"
        )  # fmt: skip
        self.daemons.append(knot)
        key = _wait(knot, first, f"{first.address}@{self.port}", "test", "DNSKEY").splitlines()[0]
        for host in self.hosts:
            facts = {"port": host.resolver_port, "upstream": self.port, "key": key, **common}
            file = directory / f"unbound-{host.resolver_port}.conf"
            file.write_text(UNBOUND.format(**facts))
            daemon = Daemon(*host.prefix, need("unbound"), "-c", str(file), "-d", log=file.with_suffix(".log"))
            self.daemons.append(daemon)
            _wait(daemon, host, f"127.0.0.1@{host.resolver_port}", "test", "SOA")

    def change(self, lines: str) -> None:
        """Other records than before, signed and served; what resolvers remember they may keep for its time to live."""
        self._write(lines)
        self.daemons[0].process.send_signal(signal.SIGHUP)  # Knot reads its zones again

    def answer(self, host: int, *question: str) -> str:
        """What a host's resolver says."""
        one = self.hosts[host]
        return _wait(self.daemons[1 + host], one, f"127.0.0.1@{one.resolver_port}", *question)

    def stop(self) -> None:
        for daemon in reversed(self.daemons):
            daemon.stop()


def _wait(daemon: Daemon, host: Host, server: str, *question: str) -> str:
    """The first answer."""
    address, _, port = server.partition("@")
    with host.inside():
        return daemon.wait_for(int(port), *question, server=address)
