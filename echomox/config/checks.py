"""What must hold between the values of a configuration, beyond each one's type and range.

Each check tells the reader what is wrong and where; the values come back normalised: domain names as
lower-case A-labels, file names absolute. Certificates are tried by loading them, the one way that is sure.
"""

from __future__ import annotations

import ipaddress
import re
import ssl
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from echomox.config.addresschecks import check_addresses
from echomox.config.names import (
    ACCOUNT_RULE,
    base_local,
    domain_key,
    host_name,
    is_account_name,
    split_address,
)
from echomox.config.outbound import check_mta_sts, check_outbound
from echomox.config.queuechecks import check_queue
from echomox.config.reportchecks import check_report_addresses, check_report_sender, check_reports
from echomox.config.schema import Account, Certificate, Domain, Dynamic, Listeners, MailAuth, Static, Tls
from echomox.config.schema_dynamic import FILTER_PARTS, MOST_WEIGHT
from echomox.config.senderlists import check_senders
from echomox.log import LEVELS

if TYPE_CHECKING:
    from echomox.config.load import Reader

SEPARATORS = "+-_.=#!~^"
NUMBER = re.compile("[0-9]{1,6}([.][0-9]{1,6})?")
FIELD_NAME = re.compile("[!-9<>-~]{1,76}")  # RFC 5322 3.6.8, without what would break a tag list


# -- echomox.toml -----------------------------------------------------------------


def check_static(reader: Reader, static: Static) -> Static:
    static = replace(static, hostname=_host(reader, "hostname", static.hostname))
    if static.filter.authserv_id:
        try:
            domain_key(static.filter.authserv_id)
        except ValueError as error:
            reader.problem(("filter", "authserv_id"), str(error))
    if static.filter.rules:  # what stands in it is looked at by the supervisor, before it gives it to the workers
        rules = str(reader.directory / static.filter.rules)
        if not Path(rules).is_file():
            reader.problem(("filter", "rules"), f"{rules}: no such file")
        static = replace(static, filter=replace(static.filter, rules=rules))
    _listeners(reader, static.listeners)
    _auth(reader, static)
    _resolver(reader, static.dns.resolver)
    static = replace(static, mailauth=_mailauth(reader, static.mailauth))
    for key in ("dnsbl", "dnswl"):
        for place, zone in enumerate(getattr(static.filter, key)):
            try:
                host_name(zone)
            except ValueError as error:
                reader.problem(("filter", key, place), f'"{zone}": {error}')
    check_reports(reader, static.reports)
    if static.user:
        _user(reader, static.user)
    if not static.queue.schedule:
        reader.problem(("queue", "schedule"), "has no pauses; at least the first one, 0")
    if static.postmaster and not is_account_name(static.postmaster):
        reader.problem(("postmaster",), f"not an account name; {ACCOUNT_RULE}")
    for package, level in static.logs.levels.items():
        if level not in LEVELS:
            reader.problem(("logs", "levels", package), f'"{level}" is no level; one of {", ".join(LEVELS)}')
    return replace(static, tls=_tls(reader, static), outbound=check_outbound(reader, static.outbound))


def _host(reader: Reader, key: str, name: str) -> str:
    if not name:
        reader.problem((key,), "missing; the full name of this host, as mail.example.com")
        return ""
    try:
        return host_name(name)
    except ValueError as error:
        reader.problem((key,), str(error))
        return ""


def parse_listener(text: str) -> tuple[str, int]:
    """("127.0.0.1", 25) of "127.0.0.1:25", ("::", 25) of "[::]:25"; raises ValueError."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or not 1 <= int(port[:6]) <= 65535:
        raise ValueError('"ADDRESS:PORT" with a port from 1 to 65535')
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ipaddress.ip_address(host[1:-1] if bracketed else host)
    except ValueError:
        raise ValueError('"ADDRESS:PORT" with an IP address, as "0.0.0.0:25" or "[::]:25"') from None
    if bracketed != (address.version == 6):
        raise ValueError("an IPv6 address stands in brackets, an IPv4 address does not")
    return str(address), int(port)


def _listeners(reader: Reader, listeners: Listeners) -> None:
    taken: dict[tuple[str, int], str] = {}
    for item in fields(Listeners):
        for place, text in enumerate(getattr(listeners, item.name)):
            path = ("listeners", item.name, place)
            try:
                endpoint = parse_listener(text)
            except ValueError as error:
                reader.problem(path, f'"{text}" is not allowed; {error}')
                continue
            if endpoint in taken:
                reader.problem(path, f'"{text}" is taken already by listeners.{taken[endpoint]}')
            taken.setdefault(endpoint, item.name)


def _auth(reader: Reader, static: Static) -> None:
    for place, net in enumerate(static.auth.plaintext_from):
        try:
            ipaddress.ip_network(net)
        except ValueError as error:
            reader.problem(("auth", "plaintext_from", place), f"not a network, as 127.0.0.0/8 or ::1/128: {error}")
    if len(set(static.auth.mechanisms)) != len(static.auth.mechanisms):
        reader.problem(("auth", "mechanisms"), "a mechanism is named twice")


def _resolver(reader: Reader, resolver: str) -> None:
    if resolver in ("system", "none"):
        return
    try:
        parse_listener(resolver)
    except ValueError as error:
        reader.problem(("dns", "resolver"), f'"{resolver}" is not allowed; "system", "none" or {error}')


def _mailauth(reader: Reader, mailauth: MailAuth) -> MailAuth:
    """Domains become A-labels; a forwarder is a network or a domain."""

    def clean(name: str, values: tuple[str, ...]) -> tuple[str, ...]:
        found = []
        for place, text in enumerate(values):
            network = name == "trusted_forwarders" and ("/" in text or ":" in text or text[-1:].isdigit())
            try:
                found.append(str(ipaddress.ip_network(text)) if network else domain_key(text))
            except ValueError as error:
                reader.problem(("mailauth", name, place), f'"{text}": {error}')
        return tuple(found)

    return replace(
        mailauth,
        trusted_forwarders=clean("trusted_forwarders", mailauth.trusted_forwarders),
        trusted_sealers=clean("trusted_sealers", mailauth.trusted_sealers),
    )


def _user(reader: Reader, user: str) -> None:
    import pwd

    try:
        pwd.getpwnam(user)
    except KeyError:
        reader.problem(("user",), f'no user "{user}" on this machine; make it first: useradd -r -M {user}')


def _tls(reader: Reader, static: Static) -> Tls:
    tls = static.tls
    if not tls.certificate and not tls.key:
        for name in ("submissions", "imaps"):
            if getattr(static.listeners, name):
                reader.problem(("listeners", name), "needs tls.certificate and tls.key, or an empty list")
        return tls
    if not tls.certificate or not tls.key:
        missing = "key" if tls.certificate else "certificate"
        reader.problem(("tls",), f"certificate and key belong together; tls.{missing} is missing")
        return tls
    tls = replace(
        tls,
        certificate=str(reader.directory / tls.certificate),
        key=str(reader.directory / tls.key),
    )
    for name in ("certificate", "key"):
        if trouble := _unreadable(getattr(tls, name)):
            reader.problem(("tls", name), trouble)
            return tls
    _pair(reader, ("tls",), tls)
    if tls.client_ca:
        tls = replace(tls, client_ca=str(reader.directory / tls.client_ca))
        _client_ca(reader, tls.client_ca)
    return replace(tls, names=_tls_names(reader, tls.names))


def _pair(reader: Reader, path: tuple[str, ...], pair: Tls | Certificate) -> None:
    try:
        # A password callback that gives nothing: an encrypted key is an error here, not a prompt.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(pair.certificate, pair.key, lambda: "")
    except ssl.SSLError as error:
        mismatch = error.reason == "KEY_VALUES_MISMATCH"
        key = "key" if mismatch else "certificate"
        other = f"no PEM certificate with key: {error}"
        text = f"{pair.key} is not the key of {pair.certificate}" if mismatch else other
        reader.problem((*path, key), text)
    except (OSError, ValueError) as error:
        reader.problem(path, f"not usable: {error}")


def _client_ca(reader: Reader, file: str) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(file)
    except (OSError, ValueError) as error:
        reader.problem(("tls", "client_ca"), f"{file}: no PEM certificates: {getattr(error, 'strerror', '') or error}")


def _tls_names(reader: Reader, names: dict[str, Certificate]) -> dict[str, Certificate]:
    """By A-labels, "*." kept."""
    found = {}
    for name, pair in names.items():
        path = ("tls", "names", name)
        star = "*." if name.startswith("*.") else ""
        try:
            key = star + domain_key(name.removeprefix("*."))
        except ValueError as error:
            reader.problem(path, str(error))
            continue
        missing = "certificate" if not pair.certificate else "key" if not pair.key else ""
        if missing:
            reader.problem(path, f"certificate and key belong together; {missing} is missing")
            continue
        pair = Certificate(str(reader.directory / pair.certificate), str(reader.directory / pair.key))
        troubles = [(part, _unreadable(getattr(pair, part))) for part in ("certificate", "key")]
        for part, trouble in troubles:
            if trouble:
                reader.problem((*path, part), trouble)
        if not any(trouble for _, trouble in troubles):
            _pair(reader, path, pair)
        found[key] = pair
    return found


def _unreadable(name: str) -> str:
    """Why a file cannot be read; "" if it can."""
    try:
        with open(name, "rb"):
            return ""
    except (OSError, ValueError) as error:
        return f"{name}: {getattr(error, 'strerror', None) or error}"


# -- domains.toml -----------------------------------------------------------------


def check_dynamic(reader: Reader, dynamic: Dynamic) -> Dynamic:
    domains: dict[str, Domain] = {}
    for name, domain in dynamic.domains.items():
        path: tuple[str | int, ...] = ("domains", name)
        try:
            key = domain_key(name)
        except ValueError as error:
            reader.problem(path, str(error))
            continue
        if key in domains:
            reader.problem(path, f"the same domain as {key}, which is there already")
        domains[key] = _domain(reader, path, domain)
    taken: dict[str, str] = {}
    for name, account in dynamic.accounts.items():
        if not is_account_name(name):
            reader.problem(("accounts", name), f"not an account name; {ACCOUNT_RULE}")
        _account(reader, name, account, domains, taken)
    checked = check_queue(reader, check_addresses(reader, replace(dynamic, domains=domains), taken))
    check_report_addresses(reader, checked, taken)
    check_senders(reader, checked)
    return checked


def _domain(reader: Reader, path: tuple[str | int, ...], domain: Domain) -> Domain:
    for place, separator in enumerate(domain.separators):
        if len(separator) != 1 or separator not in SEPARATORS:
            reader.problem((*path, "separators", place), f"one character of {SEPARATORS}")
    keys = []
    for place, dkim in enumerate(domain.dkim):
        here: tuple[str | int, ...] = (*path, "dkim", place)
        try:
            domain_key(dkim.selector)
        except ValueError:
            reader.problem((*here, "selector"), "missing or not a domain name's label, as 2026a")
        file = str(reader.directory / dkim.key)
        if not dkim.key:
            reader.problem((*here, "key"), "missing; the PEM file of the private key")
        elif trouble := _unreadable(file):
            reader.problem((*here, "key"), trouble)
        for name in ("headers", "oversign"):
            for number, header in enumerate(getattr(dkim, name)):
                if not FIELD_NAME.fullmatch(header):
                    reader.problem((*here, name, number), f'"{header}" is no name of a header field')
        keys.append(replace(dkim, key=file))
    if len({key.selector for key in keys}) != len(keys):
        reader.problem((*path, "dkim"), "two keys with the same selector")
    alias_of = domain.alias_of
    if alias_of:
        try:
            alias_of = domain_key(alias_of)
        except ValueError as error:
            reader.problem((*path, "alias_of"), str(error))
    mta_sts = check_mta_sts(reader, (*path, "mta_sts"), domain.mta_sts)
    return replace(domain, dkim=tuple(keys), alias_of=alias_of, mta_sts=mta_sts)


def weight_trouble(text: str) -> str:
    """What is wrong with an item of `junk_filter.weights`; "" for nothing."""
    part, _, weight = text.partition("=")
    if part in FILTER_PARTS and NUMBER.fullmatch(weight) and float(weight) <= MOST_WEIGHT:
        return ""
    return f'"{text}" is no weight, as "affect=0.1", from 0 to {MOST_WEIGHT:g}, of {", ".join(FILTER_PARTS)}'


def _account(reader: Reader, name: str, account: Account, domains: dict[str, Domain], taken: dict[str, str]) -> None:
    path = ("accounts", name)
    if account.junk_filter.junk > account.junk_filter.reject:
        reader.problem(
            (*path, "junk_filter"),
            f"junk ({account.junk_filter.junk}) may not be above reject ({account.junk_filter.reject})",
        )
    for place, text in enumerate(account.junk_filter.weights):
        if trouble := weight_trouble(text):
            reader.problem((*path, "junk_filter", "weights", place), trouble)
    for place, fingerprint in enumerate(account.client_certificates):
        here: tuple[str | int, ...] = (*path, "client_certificates", place)
        if len(fingerprint) != 64 or set(fingerprint) - set("0123456789abcdef"):
            reader.problem(here, "a SHA-256 fingerprint is 64 of 0-9 a-f")
        elif taken.setdefault(f"certificate {fingerprint}", name) != name:
            reader.problem(here, f"belongs to account {taken[f'certificate {fingerprint}']} already")
    for place, address in enumerate(account.addresses):
        here = (*path, "addresses", place)
        try:
            key, reason = address_key(address, domains)
        except ValueError as error:
            key, reason = "", f'"{address}" is not an address: {error}'
        if reason:
            reader.problem(here, reason)
        elif key in taken:
            owner = "this account" if taken[key] == name else f"account {taken[key]}"
            reader.problem(here, f'"{address}" belongs to {owner} already')
        else:
            taken[key] = name


def address_key(address: str, domains: dict[str, Domain]) -> tuple[str, str]:
    """(the form by which addresses are compared, "") or ("", what is wrong); raises ValueError."""
    local, key = split_address(address)
    domain = domains.get(key)
    if domain is None:
        return "", f'"{address}": domain {key} is not configured; `echomox domain add {key}` adds it'
    if base_local(local, domain.separators) != local:
        used = " ".join(domain.separators)
        return "", f'"{address}": has a separator of its domain ({used}) in it, so it would never be reached'
    return f"{local if domain.case_sensitive else local.lower()}@{key}", ""


# -- both ---------------------------------------------------------------------------


def check_together(reader: Reader, static: Static, dynamic: Dynamic) -> None:
    """reader: of echomox.toml."""
    if static.postmaster and static.postmaster not in dynamic.accounts:
        known = ", ".join(list(dynamic.accounts)[:10]) or "none"
        reader.problem(("postmaster",), f'no account "{static.postmaster}" in domains.toml; there are: {known}')
    check_report_sender(reader, static, dynamic)
