"""A signed zone on loopback, served by Knot, with Unbound as the validating resolver before it: what our stub resolver,
SPF, DMARC and the commands make of true, broken and missing signatures.

Everything runs on free high ports in a temporary directory, without root's configuration, and is stopped by its pid.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from echomox.dns import DnsBogus, DnsTemporary, Mx, Tlsa
from echomox.dns.stub import StubResolver
from echomox.mailauth.dmarc import check_dmarc
from echomox.mailauth.spf import check_spf
from tests.interop.tools import need, run
from tests.process.harness import free_port

ZONE = """\
$TTL 300
@ SOA ns.good.test. admin.good.test. 1 3600 600 86400 60
@ NS ns
@ MX 10 mx
@ TXT "v=spf1 mx include:_spf.good.test -all"
_spf TXT "v=spf1 ip4:203.0.113.0/24 ~all"
_dmarc TXT "v=DMARC1; p=reject; np=reject"
ns A 127.0.0.1
mx A 192.0.2.1
mx AAAA 2001:db8::1
_25._tcp.mx TLSA 3 1 1 {tlsa}
www CNAME mx
out CNAME mx.plain.test.
big TXT {big}
"""
PLAIN = """\
$TTL 300
@ SOA ns.plain.test. admin.plain.test. 1 3600 600 86400 60
@ NS ns.plain.test.
@ MX 0 .
ns A 127.0.0.1
mx A 192.0.2.2
"""
BIG = " ".join(f'"{number:0250}"' for number in range(20))
KNOT = """\
server:
  listen: 127.0.0.1@{port}
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
  - domain: good.test
    dnssec-signing: on
    dnssec-policy: test
    zonefile-sync: -1
    zonefile-load: difference
    journal-content: all
  - domain: bogus.test
  - domain: plain.test
"""
UNBOUND = """\
server:
  directory: "{directory}"
  chroot: ""
  username: ""
  pidfile: "{directory}/unbound.pid"
  interface: 127.0.0.1@{port}
  access-control: 127.0.0.0/8 allow
  do-not-query-localhost: no
  do-daemonize: no
  use-syslog: no
  logfile: ""
  verbosity: 1
  num-threads: 1
  ede: yes
  val-log-level: 2
  minimal-responses: yes
  module-config: "validator iterator"
  domain-insecure: "plain.test"
  local-zone: "test." nodefault
  trust-anchor: "{anchor}"
  trust-anchor: "{bogus}"
remote-control:
  control-enable: no
""" + "".join(
    f'stub-zone:\n  name: "{zone}.test"\n  stub-addr: 127.0.0.1@{{upstream}}\n' for zone in ("good", "bogus", "plain")
)  # fmt: skip


class Daemon:
    """A program in the foreground, stopped by its pid."""

    def __init__(self, *command: str, log: Path) -> None:
        self.log = log
        self.file = log.open("wb")
        self.process = subprocess.Popen(command, stdout=self.file, stderr=self.file, stdin=subprocess.DEVNULL)

    def wait_for(self, port: int, *question: str, seconds: float = 120, server: str = "127.0.0.1") -> str:
        """Until the server answers a question with something."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            done = subprocess.run(
                [need("kdig"), f"@{server}", "-p", str(port), "+short", "+timeout=1", "+retry=0", *question],
                capture_output=True, timeout=60,
            )  # fmt: skip
            text = done.stdout.decode().strip()
            if text and not text.startswith(";"):
                return text
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise AssertionError(f"{self.process.args!r} does not answer:\n{self.log.read_text()}")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(60)
        self.file.close()


class World:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.upstream = free_port()
        self.daemons: list[Daemon] = []

    def start(self) -> None:
        directory = self.directory
        (directory / "db").mkdir()
        (directory / "good.test.zone").write_text(ZONE.format(tlsa="0f" * 32, big=BIG))
        (directory / "bogus.test.zone").write_text(PLAIN.replace("plain.test", "bogus.test"))
        (directory / "plain.test.zone").write_text(PLAIN)
        (directory / "knot.conf").write_text(KNOT.format(port=self.upstream, directory=directory))
        knot = Daemon(need("knotd"), "-c", str(directory / "knot.conf"), log=directory / "knot.log")
        self.daemons.append(knot)
        key = knot.wait_for(self.upstream, "good.test", "DNSKEY").splitlines()[0]
        # bogus.test is not signed at all, though its parent, here the trust anchor, says that it is.
        anchors = {"anchor": f"good.test. DNSKEY {key}", "bogus": f"bogus.test. DNSKEY {key}"}
        text = UNBOUND.format(directory=directory, port=self.port, upstream=self.upstream, **anchors)
        (directory / "unbound.conf").write_text(text)
        unbound = Daemon(need("unbound"), "-c", str(directory / "unbound.conf"), "-d", log=directory / "unbound.log")
        self.daemons.append(unbound)
        unbound.wait_for(self.port, "good.test", "MX")

    def stop(self) -> None:
        for daemon in reversed(self.daemons):
            daemon.stop()

    def resolver(self, **how: Any) -> StubResolver:
        return StubResolver(lambda: [("127.0.0.1", self.port)], **{"timeout": 60, **how})

    def look(self, name: str, type: str) -> Any:
        async def look() -> Any:
            resolver = self.resolver()
            try:
                return await resolver.lookup(name, type)
            finally:
                await resolver.close()

        return asyncio.run(look())

    def echomox(self, *arguments: str, code: int = 0) -> Any:
        program = [sys.executable, "-m", "echomox.cli.main", "--json", *arguments]
        if arguments[:2] != ("spf", "parse"):
            program += ["--resolver", f"127.0.0.1:{self.port}"]
        done = subprocess.run(program, capture_output=True, timeout=60)
        assert done.returncode == code, (done.stdout + done.stderr).decode()
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    for program in ("knotd", "unbound", "kdig"):
        need(program)
    made = World(tmp_path_factory.mktemp("dns"))
    try:
        made.start()
        yield made
    finally:
        made.stop()


def test_a_signed_zone_is_secure(world):
    mx = world.look("GOOD.test", "MX")
    assert (mx.values, mx.secure) == ((Mx(10, "mx.good.test"),), True)
    tlsa = world.look("_25._tcp.mx.good.test", "TLSA")
    assert (tlsa.values, tlsa.secure) == ((Tlsa(3, 1, 1, b"\x0f" * 32),), True)
    assert world.look("www.good.test", "A").canonical == "mx.good.test"
    assert world.look("mx.good.test", "AAAA").values == ("2001:db8::1",)


def test_so_is_what_is_not_there(world):
    nodata = world.look("mx.good.test", "TLSA")
    assert (nodata.exists, nodata.values, nodata.secure) == (True, (), True)
    nothing = world.look("nix.good.test", "A")
    assert (nothing.values, nothing.secure) == ((), True)
    assert 0 < nothing.ttl <= 60, "of the SOA's minimum"


def test_an_unsigned_zone_is_not_secure(world):
    null = world.look("plain.test", "MX")
    assert (null.values, null.secure) == ((Mx(0, ""),), False)
    assert not world.look("out.good.test", "A").secure, "a chain is as secure as its weakest part"
    assert world.look("out.good.test", "A").values == ("192.0.2.2",)


def test_a_zone_whose_signatures_are_missing_is_bogus(world):
    with pytest.raises(DnsBogus) as caught:
        world.look("mx.bogus.test", "A")
    assert caught.value.reason.startswith(f"127.0.0.1:{world.port}: SERVFAIL: "), caught.value.reason


def test_a_large_answer_comes_over_tcp(world):
    big = world.look("big.good.test", "TXT")
    assert big.values == (b"".join(f"{number:0250}".encode() for number in range(20)),)
    assert big.secure


def test_spf_and_dmarc_over_it(world):
    async def check() -> Any:
        resolver = world.resolver()
        try:
            spf = await check_spf(resolver, "203.0.113.5", "joe@good.test", "mx.good.test")
            forged = await check_spf(resolver, "198.51.100.5", "joe@good.test", "mx.good.test")
            bogus = await check_spf(resolver, "203.0.113.5", "joe@bogus.test", "mx.good.test")
            verdicts = [
                await check_dmarc(resolver, name, forged, []) for name in ("good.test", "a.good.test", "bogus.test")
            ]
            return spf, forged, bogus, verdicts
        finally:
            await resolver.close()

    spf, forged, bogus, verdicts = asyncio.run(check())
    assert (spf.result, spf.mechanism, spf.secure) == ("pass", "include:_spf.good.test", True)
    assert (forged.result, bogus.result) == ("fail", "temperror")
    assert [(one.result, one.policy) for one in verdicts] == [
        ("fail", "reject"),
        ("fail", "reject"),
        ("temperror", "none"),
    ]


def test_the_commands(world):
    found = world.echomox("dns", "lookup", "good.test", "mx")
    assert found["values"] == [{"preference": 10, "host": "mx.good.test"}] and found["secure"] is True
    assert "10 mx.good.test (secure" in found["steps"][1]
    assert world.echomox("dns", "lookup", "mx.bogus.test", "A", code=1)["bogus"] is True
    spf = world.echomox("spf", "check", "203.0.113.5", "joe@good.test")
    assert (spf["result"], spf["mechanism"]) == ("pass", "include:_spf.good.test")
    assert world.echomox("spf", "check", "198.51.100.1", "joe@good.test", "h.test", code=1)["result"] == "fail"
    assert world.echomox("spf", "parse", "v=spf1 a -all")["valid"] is True
    assert world.echomox("dmarc", "lookup", "x.good.test")["record"]["p"] == "reject"
    assert world.echomox("dmarc", "check", "good.test", "--dkim", "mail.good.test")["aligned_dkim"] is True
    refused = world.echomox("dmarc", "check", "good.test", "--ip", "198.51.100.1", "--mail-from", "a@good.test", code=1)
    assert (refused["result"], refused["policy"], refused["spf"]) == ("fail", "reject", "fail")
    assert world.echomox("dnsbl", "check", "192.0.2.1", "bl.good.test", code=1)["zones"][0]["well"] is False


def test_trouble_is_temporary_and_in_time(world):
    async def check() -> None:
        resolver = StubResolver(lambda: [("127.0.0.1", free_port()), ("127.0.0.1", world.port)], timeout=60)
        assert (await resolver.lookup("good.test", "MX")).secure
        await resolver.close()
        alone = StubResolver(lambda: [("127.0.0.1", free_port())], timeout=1)
        with pytest.raises(DnsTemporary):
            await alone.lookup("good.test", "MX")
        await alone.close()

    asyncio.run(check())


def test_the_answers_are_those_of_another_client(world):
    """kdig of the Knot project sees the same."""
    for name, type in (
        ("good.test", "MX"),
        ("good.test", "TXT"),
        ("mx.good.test", "A"),
        ("_25._tcp.mx.good.test", "TLSA"),
    ):
        text = run([need("kdig"), "@127.0.0.1", "-p", str(world.port), "+short", name, type]).strip()
        assert text.replace(" ", "") == shown(world.look(name, type).values[0]).replace(" ", "")


def shown(value: Any) -> str:
    """As kdig prints it."""
    if isinstance(value, Mx):
        return f"{value.preference} {value.host}."
    if isinstance(value, Tlsa):
        return f"{value.usage} {value.selector} {value.matching} {value.data.hex().upper()}"
    return f'"{value.decode()}"' if isinstance(value, bytes) else str(value)
