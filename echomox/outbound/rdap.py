"""RDAP: what the registry says of a domain: since when, how long, by whom. RFC 7480 (HTTP), RFC 9082 (queries),
RFC 9083 (answers), RFC 9224 (which server: the bootstrap file of IANA).

The bootstrap file is kept for a day in the data directory, and longer while it cannot be got anew. What registries say
is strangers' text: every field is taken only in the form that RFC 9083 gives it, short, and without control characters.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echomox.config.files import owner_of, write_atomic
from echomox.outbound.https import GetError, Getter, Got, split

BOOTSTRAP = "https://data.iana.org/rdap/dns.json"
BOOTSTRAP_LIMIT = 4 << 20
ANSWER_LIMIT = 1 << 20
ACCEPT = "application/rdap+json, application/json;q=0.5"  # RFC 7480 4.2
KEPT = 86_400.0  # seconds that the bootstrap file holds
FILE = "rdap.json"
SERVERS = 3  # of one registry that are asked
MOST = 50  # statuses, name servers
TEXT = 200
EARLIEST, LATEST = -1e10, 2.5e11  # of dates: years 1653 and 9892, in which UTC has them too
Services = list[tuple[tuple[str, ...], tuple[str, ...]]]
"""(labels of the domains, addresses of the servers)"""


class RdapError(Exception):
    """Nothing is known of the domain. str() says why."""


@dataclass(frozen=True, slots=True)
class Registration:
    """Dates: RFC 3339, in UTC, "" when the registry does not say. age_days, days_left: None without the date; days_left
    is negative once the registration has run out. signed: whether the registry has DS records; None: it does not say.
    """

    domain: str
    handle: str = ""
    registered: str = ""
    expires: str = ""
    changed: str = ""
    age_days: int | None = None
    days_left: int | None = None
    registrar: str = ""
    registrar_id: str = ""
    status: tuple[str, ...] = ()
    nameservers: tuple[str, ...] = ()
    signed: bool | None = None


# -- which server ---------------------------------------------------------------


def parse_bootstrap(data: bytes) -> Services:
    """RFC 9224 3. Raises RdapError."""
    table = _json(data)
    rows = table.get("services")
    if not isinstance(rows, list):
        raise RdapError("the bootstrap file has no services")
    found: Services = []
    for row in rows:
        if not (isinstance(row, list) and len(row) >= 2 and all(isinstance(part, list) for part in row[:2])):
            continue
        names = tuple(str(name).lower().strip(".") for name in row[0])
        found.append((names, tuple(_usable(row[1]))))
    if not found:
        raise RdapError("the bootstrap file has no services")
    return found


def _usable(urls: Iterable[Any]) -> Iterator[str]:
    """Those with TLS (RFC 9224 3: https is preferred), with the slash at their end."""
    for url in urls:
        try:
            split(str(url))
        except GetError:
            continue
        yield str(url).rstrip("/") + "/"


def servers_for(services: Services, domain: str) -> tuple[str, ...]:
    """Of the registry whose entry has most of the labels of the domain (RFC 9224 4)."""
    labels = domain.split(".")
    best = -1
    servers: tuple[str, ...] = ()
    for names, urls in services:
        for name in names:
            wanted = name.split(".") if name else []
            if len(wanted) > best and labels[len(labels) - len(wanted) :] == wanted and len(wanted) <= len(labels):
                best, servers = len(wanted), urls
    return servers


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """getter: asks. url: of the file. cache: where it is kept; None: it is not."""

    getter: Getter
    url: str = BOOTSTRAP
    cache: Path | None = None

    async def services(self, now: float) -> tuple[Services, str]:
        """(services, where they are from). now: seconds since 1970. Raises RdapError."""
        kept = self._kept()
        if kept is not None and 0 <= now - kept[0] < KEPT:
            return kept[1], f"{self.url}, got {_age(now - kept[0])} ago"
        try:
            got = await self.getter.get(self.url, "application/json", BOOTSTRAP_LIMIT)
            if got.status != 200:
                raise RdapError(f"status {got.status}")
            services = parse_bootstrap(got.body)
        except (GetError, RdapError) as error:
            if kept is None:
                raise RdapError(f"the bootstrap file {self.url}: {error}") from None
            return kept[1], f"{self.url}, got {_age(now - kept[0])} ago; not got anew: {error}"
        return services, self.url + self._keep(now, got.body)

    def _kept(self) -> tuple[float, Services] | None:
        """(when it was got, its services); None without a file that can be used."""
        if self.cache is None:
            return None
        try:
            with self.cache.open("rb") as file:
                table = _json(file.read(2 * BOOTSTRAP_LIMIT))
            if table.get("url") != self.url:
                return None
            return float(table["got"]), parse_bootstrap(str(table["body"]).encode())
        except (OSError, RdapError, KeyError, TypeError, ValueError):
            return None

    def _keep(self, now: float, body: bytes) -> str:
        """What to say if it cannot be kept; it is only asked for again the next time."""
        if self.cache is None:
            return ""
        text = json.dumps({"url": self.url, "got": now, "body": body.decode("utf-8", "replace")})
        try:
            write_atomic(self.cache, text.encode(), owner=owner_of(self.cache.parent))
        except OSError as error:
            return f" (not kept: {self.cache}: {error.strerror})"
        return ""


def _age(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if abs(seconds) < 2 * KEPT else f"{seconds / 86_400:.0f} days"


# -- the answer -----------------------------------------------------------------


async def ask(getter: Getter, server: str, domain: str, now: float) -> Registration | None:
    """None: the registry does not have the domain (RFC 7480 5.3). Raises RdapError."""
    try:
        got = await getter.get(f"{server}domain/{domain}", ACCEPT, ANSWER_LIMIT)
    except GetError as error:
        raise RdapError(str(error)) from None
    if got.status == 404:
        return None
    if got.status != 200:
        raise RdapError(f"{server}: {_refusal(got)}")
    return parse_domain(got.body, domain, now)


def _refusal(got: Got) -> str:
    """RFC 9083 6, RFC 7480 5.5 (429)."""
    said = f"status {got.status}"
    try:
        table = _json(got.body)
        words = [_text(table.get("title")), *(_text(line) for line in _list(table.get("description")))]
        said += "".join(f"; {word}" for word in words[:3] if word)
    except RdapError:
        pass
    after = got.fields.get(b"retry-after", b"").decode("latin-1")
    return said + (f"; asked too often, again after {_text(after)} s" if got.status == 429 and after else "")


def parse_domain(data: bytes, domain: str, now: float) -> Registration:
    """RFC 9083 5.3. Raises RdapError for what is no domain object."""
    table = _json(data)
    if table.get("objectClassName", "domain") != "domain" or not ("ldhName" in table or "events" in table):
        raise RdapError("the answer is not about a domain")
    dates = _dates(table)
    registered, expires = dates.get("registration"), dates.get("expiration")
    registrar = next((one for one in _objects(table.get("entities")) if "registrar" in _list(one.get("roles"))), {})
    secure = table.get("secureDNS")
    signed = secure.get("delegationSigned") if isinstance(secure, dict) else None
    return Registration(
        domain=_text(table.get("ldhName")).lower().rstrip(".") or domain,
        handle=_text(table.get("handle")),
        registered=_shown(registered),
        expires=_shown(expires),
        changed=_shown(dates.get("last changed")),
        age_days=None if registered is None else _days(now - registered),
        days_left=None if expires is None else _days(expires - now),
        registrar=_name(registrar) or _text(registrar.get("handle")),
        registrar_id=next((_text(one.get("identifier")) for one in _objects(registrar.get("publicIds"))), ""),
        status=tuple(_text(word) for word in _list(table.get("status"))[:MOST]),
        nameservers=tuple(
            _text(one.get("ldhName")).lower().rstrip(".") for one in _objects(table.get("nameservers"))[:MOST]
        ),
        signed=signed if isinstance(signed, bool) else None,
    )


def _dates(table: dict[str, Any]) -> dict[str, float]:
    """action -> seconds since 1970 (RFC 9083 4.5); of one that is there twice the first."""
    found: dict[str, float] = {}
    for event in _objects(table.get("events")):
        try:
            when = datetime.datetime.fromisoformat(_text(event.get("eventDate")))
            seconds = (when if when.tzinfo else when.replace(tzinfo=datetime.UTC)).timestamp()
        except (ValueError, OverflowError):
            continue
        if EARLIEST < seconds < LATEST:
            found.setdefault(_text(event.get("eventAction")), seconds)
    return found


def _shown(when: float | None) -> str:
    if when is None:
        return ""
    return datetime.datetime.fromtimestamp(when, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _days(seconds: float) -> int:
    return int(seconds // 86_400)


def _name(entity: dict[str, Any]) -> str:
    """The formatted name of a jCard (RFC 7095 3.3): ["vcard", [["fn", {}, "text", "The Registrar"], …]]."""
    card = _list(entity.get("vcardArray"))
    for item in _list(card[1]) if len(card) > 1 else []:
        if isinstance(item, list) and len(item) > 3 and item[0] == "fn":
            return _text(item[3])
    return ""


def _json(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise RdapError("the answer is not JSON") from None
    if not isinstance(found, dict):
        raise RdapError("the answer is no JSON object")
    return found


def _text(value: object) -> str:
    return "".join(c if c.isprintable() else " " for c in value[:TEXT]).strip() if isinstance(value, str) else ""


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _objects(value: object) -> list[dict[str, Any]]:
    return [one for one in _list(value) if isinstance(one, dict)]
