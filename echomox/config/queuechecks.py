"""What must hold for transports and routes. Called by `checks.check_dynamic`."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import TYPE_CHECKING

from echomox.config.names import host_name
from echomox.config.schema import Dynamic, Route, Transport

if TYPE_CHECKING:
    from echomox.config.load import Reader

Place = tuple[str | int, ...]
WITH_HOST = ("smtp", "submission", "submissions", "socks")
NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")


def check_queue(reader: Reader, dynamic: Dynamic) -> Dynamic:
    """With password files made absolute."""
    transports = {name: _transport(reader, name, one) for name, one in dynamic.transports.items()}
    known = set(transports)
    _routes(reader, ("routes",), dynamic.routes, known)
    for name, domain in dynamic.domains.items():
        _routes(reader, ("domains", name, "routes"), domain.routes, known)
    for name, account in dynamic.accounts.items():
        _routes(reader, ("accounts", name, "routes"), account.routes, known)
    return replace(dynamic, transports=transports)


def _transport(reader: Reader, name: str, transport: Transport) -> Transport:
    path: Place = ("transports", name)
    if not name or set(name) - NAME or len(name) > 60:
        reader.problem(path, "a transport's name is of letters, digits and -_. and at most 60 long")
    if transport.kind in WITH_HOST and not transport.host:
        reader.problem((*path, "host"), f"missing; {transport.kind} needs one")
    if transport.kind not in WITH_HOST and (transport.host or transport.port):
        reader.problem((*path, "host"), f"{transport.kind} has neither host nor port")
    if transport.host and not _is_host(transport.host):
        reader.problem((*path, "host"), f'"{transport.host}" is neither a host name nor an address')
    if transport.user and not transport.password_file:
        reader.problem((*path, "password_file"), "missing; the file with the password of `user`")
    if transport.password_file and not transport.user:
        reader.problem((*path, "user"), "missing; whose password is in password_file?")
    if not transport.password_file:
        return transport
    file = str(reader.directory / transport.password_file)
    try:
        with open(file, "rb"):
            pass
    except (OSError, ValueError) as error:
        reader.problem((*path, "password_file"), f"{file}: {getattr(error, 'strerror', None) or error}")
    return replace(transport, password_file=file)


def _is_host(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
        return True
    except ValueError:
        pass
    try:
        host_name(name)
        return True
    except ValueError:
        return name == "localhost"


def _routes(reader: Reader, path: Place, routes: tuple[Route, ...], known: set[str]) -> None:
    for number, route in enumerate(routes):
        here = (*path, number)
        if route.transport not in known:
            listed = ", ".join(sorted(known)) or "none"
            reader.problem((*here, "transport"), f'no transport "{route.transport}"; there are: {listed}')
        for key in ("from_domains", "to_domains"):
            for place, pattern in enumerate(getattr(route, key)):
                if pattern != "*" and not _is_pattern(pattern):
                    reader.problem((*here, key, place), f'"{pattern}": a domain, or one with a "." before it, or "*"')


def _is_pattern(pattern: str) -> bool:
    name = pattern.removeprefix(".")
    return bool(name) and len(name) <= 253 and all(name.split(".")) and not set(name.lower()) - NAME
