"""Checks of DNS, SPF, DMARC and DNS lists by hand (P26): what is asked, what comes back, what follows from it.

Each answer has `steps`, lines for people in the order of what happened, and the result in fields. They need nothing of
a server but `static.dns`, so commands run them in their own process, with or without a configuration.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, replace
from typing import Any, Protocol, TypeVar

from echomox.config.schema import Dns, Static
from echomox.dns import Answer, DnsTemporary, Resolver, open_resolver
from echomox.dns.types import canonical_name, plain_address
from workers.refused import Refused

Fields = Mapping[str, Any]
T = TypeVar("T")
TIME = 30.0  # seconds for all of one operation
SHOWN = 20  # values of one answer in a step


class HasStatic(Protocol):
    def static(self) -> Static: ...


class Steps:
    """A resolver that writes down what it is asked and what it answers."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self.lines: list[str] = []

    def add(self, line: str) -> None:
        self.lines.append(line)

    async def lookup(self, name: str, type: str) -> Answer:
        try:
            answer = await self._resolver.lookup(name, type)
        except DnsTemporary as error:
            self.add(f"ask {name} {type}: trouble: {error.reason}")
            raise
        self.add(f"ask {name} {type}: {_said(answer)}")
        return answer

    async def close(self) -> None:
        await self._resolver.close()


def dns_lookup(site: HasStatic, fields: Fields) -> dict[str, Any]:
    """One question. Trouble is in `error`, with the other fields empty."""

    async def look(resolver: Steps) -> dict[str, Any]:
        try:
            answer = await resolver.lookup(fields["name"], fields["type"].upper())
        except DnsTemporary as error:
            return {"error": error.reason, "bogus": type(error).__name__ == "DnsBogus", "values": []}
        found = {name: getattr(answer, name) for name in ("name", "type", "exists", "secure", "ttl", "canonical")}
        return {**found, "values": [_plain(value) for value in answer.values]}

    return _run(site, fields, look)


def spf_check(site: HasStatic, fields: Fields) -> dict[str, Any]:
    from echomox.mailauth.spf import check_spf

    ip = _address(fields["ip"])

    async def look(resolver: Steps) -> dict[str, Any]:
        found = asdict(await check_spf(resolver, ip, fields["mail_from"], fields.get("helo", "")))
        found["asked"] = len(found["asked"])
        resolver.add(f"SPF of {found['domain'] or 'nobody'} ({found['identity']}) for {ip}: {found['result']}")
        return found

    return _run(site, fields, look)


def spf_parse(site: HasStatic, fields: Fields) -> dict[str, Any]:
    """The terms of a record, without DNS."""
    from echomox.mailauth.spf import explain_record

    record = " ".join(fields["record"].split())
    terms = [{"term": term, "error": wrong} for term, wrong in explain_record(record)]
    lines = [f"{one['term']}: {one['error'] or 'good'}" for one in terms]
    return {"record": record, "valid": not any(one["error"] for one in terms), "terms": terms, "steps": lines}


def dmarc_lookup(site: HasStatic, fields: Fields) -> dict[str, Any]:
    from echomox.mailauth.dmarc import find_record, verify_report_destination

    async def look(resolver: Steps) -> dict[str, Any]:
        try:
            found = await find_record(resolver, _domain(fields["domain"]), tree_walk=fields.get("tree_walk", False))
            if found.record is None:
                resolver.add(f"no policy; the organisational domain is {found.organisation}")
                return {"record": None, "domain": "", "organisation": found.organisation}
            resolver.add(f"policy p={found.record.p} sp={found.record.sp} np={found.record.np} at {found.domain}")
            for uri in found.record.rua:
                if uri.domain:
                    target = await verify_report_destination(resolver, found.domain, uri.domain)
                    resolver.add(f"reports to {uri.address}: {'yes' if target.allowed else 'no'}, {target.reason}")
            return asdict(found)
        except DnsTemporary as error:
            return {"error": error.reason, "record": None}

    return _run(site, fields, look)


def dmarc_check(site: HasStatic, fields: Fields) -> dict[str, Any]:
    """SPF is checked if an address is given; DKIM domains are taken as passed."""
    from echomox.mailauth.dmarc import check_dmarc
    from echomox.mailauth.spf import SpfResult, check_spf

    ip = _address(fields["ip"]) if fields.get("ip") else ""

    async def look(resolver: Steps) -> dict[str, Any]:
        spf = SpfResult("none")
        if ip:
            spf = await check_spf(resolver, ip, fields.get("mail_from", ""), fields.get("helo", ""))
            resolver.add(f"SPF of {spf.domain or 'nobody'}: {spf.result}")
        signed = [SpfResult("pass", _domain(domain)) for domain in fields.get("dkim", [])]
        tree_walk = fields.get("tree_walk", False)
        found = await check_dmarc(resolver, _domain(fields["domain"]), spf, signed, tree_walk=tree_walk)
        resolver.add(f"aligned: SPF {_yes(found.aligned_spf)}, DKIM {_yes(found.aligned_dkim)}")
        resolver.add(f"DMARC of {found.from_domain}: {found.result}; what to do: {found.policy}")
        return {**asdict(found), "spf": spf.result}

    return _run(site, fields, look)


def dnsbl_check(site: HasStatic, fields: Fields) -> dict[str, Any]:
    """An address in some lists, or without one the health of the lists."""
    from echomox.delivery.dnsbl import DnsLists

    ip = _address(fields["ip"]) if fields.get("ip") else ""
    zones = [_domain(zone) for zone in fields["zones"]]

    async def look(resolver: Steps) -> dict[str, Any]:
        lists, found = DnsLists(resolver), []
        for zone in zones:
            health = await lists.health(zone, plain_address(ip).version if ip else 4)
            resolver.add(f"{zone}: {'well' if health.well else health.why}")
            listing = await lists.ask(ip, zone) if ip else None
            if ip:
                said = f"{', '.join(listing.codes)} {listing.text}".rstrip() if listing else "not listed"
                resolver.add(f"{zone}: {ip}: {said}")
            codes, text = (list(listing.codes), listing.text) if listing else ([], "")
            found.append({"zone": zone, "well": health.well, "why": health.why, "codes": codes, "text": text})
        return {"ip": ip, "zones": found}

    return _run(site, fields, look)


def _run(site: HasStatic, fields: Fields, look: Callable[[Steps], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    settings = site.static().dns
    if fields.get("resolver"):
        settings = replace(settings, resolver=fields["resolver"])
    try:
        return asyncio.run(_looked(settings, look))
    except TimeoutError:
        raise Refused(f"DNS did not answer within {TIME:g} s") from None
    except ValueError as error:
        raise Refused(str(error)) from None


async def _looked(settings: Dns, look: Callable[[Steps], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    resolver = Steps(open_resolver(settings))
    resolver.add(f"resolver: {settings.resolver}")
    try:
        async with asyncio.timeout(TIME):
            answer = await look(resolver)
    finally:
        await resolver.close()
    return {**answer, "steps": resolver.lines}


def _address(text: str) -> str:
    try:
        return str(plain_address(text))
    except ValueError:
        raise Refused(f"{text!r} is no IP address") from None


def _domain(text: object) -> str:
    name = canonical_name(text) if isinstance(text, str) else None
    if not name:
        raise Refused(f"{text!r} is no domain name")
    return name


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _said(answer: Answer) -> str:
    if not answer.values:
        what = "no such records" if answer.exists else "no such name"
    else:
        what = ", ".join(_text(value) for value in answer.values[:SHOWN])
        what += f" and {len(answer.values) - SHOWN} more" if len(answer.values) > SHOWN else ""
    by = f" by {answer.canonical}" if answer.canonical not in ("", answer.name) else ""
    return f"{what}{by} ({'secure' if answer.secure else 'not secure'}, {answer.ttl} s)"


def _text(value: Any) -> str:
    plain = _plain(value)
    if isinstance(plain, dict):
        return " ".join(str(part) if part != "" else "." for part in plain.values())
    return repr(plain) if isinstance(value, bytes) else str(plain)


def _plain(value: Any) -> Any:
    """As JSON: bytes of TXT and CAA as text, of TLSA in hexadecimal."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if hasattr(value, "_asdict"):
        return {name: part.hex() if name == "data" else _plain(part) for name, part in value._asdict().items()}
    return value
