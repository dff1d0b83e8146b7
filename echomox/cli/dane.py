"""`echomox dane`: TLSA records of a host, tried against the certificate it shows (RFC 6698, 7671, 7672)."""

from __future__ import annotations

import argparse
import ipaddress
import time
from pathlib import Path

from cryptography import x509

from echomox.cli.console import CommandError, Commands, show
from echomox.cli.outbound import Outside, Steps, domain_name, options, run
from echomox.dns import Tlsa
from echomox.outbound.client import Session, TlsPlan, Trouble
from echomox.outbound.connections import Connections, Endpoint
from echomox.outbound.hosts import Addresses, Host, Undeliverable, find_addresses, find_tlsa
from echomox.outbound.security import Security, unverified_context
from echomox.tlspolicy import dane

IMPLICIT = (443, 465, 993, 995)  # ports where TLS begins with the first byte


def configure(parser: argparse.ArgumentParser) -> None:
    commands = Commands(parser)
    for name, text in (
        ("check", "connect to a host, STARTTLS included, and compare its certificate with its TLSA records"),
        ("dial", "the same, and fail unless DNSSEC vouches for the records, as a delivery would"),
    ):
        check = commands.add(name, run_check if name == "check" else run_dial, text)
        check.add_argument("host", metavar="HOST[:PORT]", help="port 25 unless given; 465, 993 and 443 are TLS at once")
        check.add_argument("--address", help="connect to this address, whatever DNS says")
        check.add_argument("--record", action="append", default=[], metavar="'3 1 1 HEX'", help="in place of DNS's")
        options(check)
    record = commands.add("makerecord", run_makerecord, "print the TLSA record (3 1 1) of a certificate")
    record.add_argument("certificate", help="PEM file; a DER file will do")
    record.add_argument("--host", default="", help="name of the host, for the record's own name")
    record.add_argument("--port", type=int, default=25)


def run_check(args: argparse.Namespace) -> int:
    return _checked(args, insist=False)


def run_dial(args: argparse.Namespace) -> int:
    return _checked(args, insist=True)


def _checked(args: argparse.Namespace, insist: bool) -> int:
    steps = Steps(args)
    good = run(args, lambda found: _check(found, args, steps, insist))
    show(args, {"ok": good, "steps": steps.lines}, [])
    return 0 if good else 1


async def _check(found: Outside, args: argparse.Namespace, steps: Steps, insist: bool) -> bool:
    name, port = _host_port(args.host)
    try:
        addresses = await _addresses(found, name, args.address)
        records, secure, base = await _records(found, name, port, addresses, args.record)
    except Undeliverable as error:
        steps.say(f"FAIL {error.reply}")
        return False
    for record in records:
        steps.say(f"_{port}._tcp.{base} TLSA {dane.describe(record)}")
    good = dane.usable(records)
    if not args.record:
        steps.say(f"DNSSEC: {'secure' if secure else 'NOT secure: other servers will not use these records'}")
    if not good:
        steps.say("FAIL no usable TLSA record" if records else "FAIL no TLSA record")
        return False
    fine = secure or not insist
    for ip in addresses.values:
        fine = await _handshake(found, Endpoint(name, ip, port, Security("plain")), good, (base, steps)) and fine
    return fine


def _host_port(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or "]" in port:
        host, port = text, "25"
    if not port.isascii() or not port.isdigit() or not 1 <= int(port[:6]) <= 65_535:
        raise CommandError(f"{text}: no port from 1 to 65535", 2)
    return domain_name(host), int(port)


async def _addresses(found: Outside, name: str, given: str | None) -> Addresses:
    if given:
        try:
            return Addresses((str(ipaddress.ip_address(given)),), True, name)
        except ValueError:
            raise CommandError(f"{given}: not an address", 2) from None
    return await find_addresses(found.resolver, Host(name), "any", "", found.remote().directory.rng)


async def _records(
    found: Outside, name: str, port: int, addresses: Addresses, given: list[str]
) -> tuple[tuple[Tlsa, ...], bool, str]:
    """(records, whether DNSSEC vouches for them and the addresses, the name they stand at)"""
    if given:
        return tuple(map(_record, given)), True, name
    tlsa = await find_tlsa(found.resolver, name, addresses, port)
    if tlsa.records:
        return tlsa.records, addresses.secure, tlsa.base
    answer = await found.resolver.lookup(f"_{port}._tcp.{name}", "TLSA")
    return tuple(answer.values), answer.secure and addresses.secure, name


def _record(text: str) -> Tlsa:
    parts = text.split()
    try:
        usage, selector, matching = map(int, parts[:3])
        return Tlsa(usage, selector, matching, bytes.fromhex("".join(parts[3:])))
    except ValueError:
        raise CommandError(f"{text}: a record is three numbers and a hexadecimal value", 2) from None


async def _handshake(
    found: Outside, endpoint: Endpoint, records: tuple[Tlsa, ...], way: tuple[str, Steps]
) -> bool:
    base, steps = way
    where = f"{endpoint.host} [{endpoint.ip}]:{endpoint.port}"
    try:
        chain, tls = await _chain(found, endpoint)
    except Trouble as trouble:
        steps.say(f"FAIL {where}: {trouble.reply}")
        return False
    verdict = dane.verify(records, chain, tuple(dict.fromkeys((base, endpoint.host))), time.time())
    for place, der in enumerate(chain):
        certificate = x509.load_der_x509_certificate(der)
        subject = certificate.subject.rfc4514_string()
        steps.say(f"{where} certificate {place}: {subject}, until {certificate.not_valid_after_utc:%Y-%m-%d}")
    steps.say(f"{where} {tls}: {'matches ' + verdict.reason if verdict else 'FAIL ' + verdict.reason}")
    return bool(verdict)


async def _chain(found: Outside, endpoint: Endpoint) -> tuple[list[bytes], str]:
    """The chain a host presents, and its version of TLS. Raises Trouble."""
    settings = found.static.outbound
    connections = Connections(settings, found.helo, found.contexts, lambda _: None)
    wire = await connections.connect(endpoint)
    presented: list[bytes] = []
    use = "implicit" if endpoint.port in IMPLICIT else "must"
    plan = TlsPlan(use, unverified_context(), endpoint.host, presented.extend)
    session = Session(wire, settings, endpoint.host, endpoint.ip)
    try:
        await session.open(found.helo, plan)
    except Trouble:
        if not presented:  # what comes after TLS need not be SMTP
            raise
    finally:
        wire.abort()
    return presented, session.tls


def run_makerecord(args: argparse.Namespace) -> int:
    data = Path(args.certificate).read_bytes()
    try:
        pem = b"-----BEGIN" in data
        certificate = x509.load_pem_x509_certificate(data) if pem else x509.load_der_x509_certificate(data)
    except ValueError:
        raise CommandError(f"{args.certificate}: no certificate in it") from None
    record = dane.make_record(certificate)
    host = domain_name(args.host) if args.host else (dane.certificate_names(certificate) or ["mail.example.org"])[0]
    line = f"_{args.port}._tcp.{host}. TLSA {dane.describe(record)}"
    return show(args, {"name": f"_{args.port}._tcp.{host}.", "value": dane.describe(record)}, [line])
