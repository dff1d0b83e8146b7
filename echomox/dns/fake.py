"""A resolver of plain tables, for tests: no sockets, no waiting.

    FakeResolver({
        ("example.org", "MX"): [(10, "mx.example.org")],
        ("example.org", "TXT"): ["v=spf1 mx -all"],
        ("mx.example.org", "A"): "192.0.2.1",
        ("www.example.org", "CNAME"): "mx.example.org",
        ("slow.example.org", "TXT"): DnsTemporary("no answer in time"),
    }, secure=["mx.example.org"], fail=["down.example"])

As in DNS: a name with records of another type, and a name above one that has records, exists (NODATA, RFC 8020);
CNAMEs are followed, at most 16; a secure chain needs every name of it secure.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

from echomox.dns.types import Answer, Caa, DnsTemporary, Mx, Soa, Srv, Tlsa, canonical_name

CHAIN = 16
_SHAPES: dict[str, Any] = {"MX": Mx, "TLSA": Tlsa, "SRV": Srv, "SOA": Soa, "CAA": Caa}
_NAMES = frozenset(["CNAME", "NS", "PTR"])


class FakeResolver:
    """tables: by (name, type) a value, a list or tuple of values, or an exception to raise. MX and the like may be
    plain tuples, TXT str or bytes. secure: all, none or these names. fail: names (with those below them) of which every
    question raises DnsTemporary. ttl: of every answer.

    `asked` lists the questions in their order; `tables`, `secure` and `fail` may be changed between questions.
    """

    def __init__(
        self,
        tables: Mapping[tuple[str, str], Any] | None = None,
        *,
        secure: bool | Collection[str] = False,
        fail: Collection[str] = (),
        ttl: int = 300,
    ) -> None:
        self.tables: dict[tuple[str, str], Any] = {}
        for (name, type), values in (tables or {}).items():
            self.tables[_key(name), type.upper()] = values
        self.secure = secure
        self.fail = list(fail)
        self.ttl = ttl
        self.asked: list[tuple[str, str]] = []
        self.closed = False

    async def lookup(self, name: str, type: str) -> Answer:
        type = type.upper()
        asked = canonical_name(name)
        if asked is None:
            return Answer(name, type, exists=False, canonical=name)
        self.asked.append((asked, type))
        await asyncio.sleep(0)  # as a real one: others run meanwhile
        at, secure = asked, True
        for _ in range(CHAIN):
            if any(at == _key(down) or at.endswith("." + _key(down)) for down in self.fail):
                raise DnsTemporary("SERVFAIL", at, type)
            secure = secure and self._is_secure(at)
            values = self._values(at, type)
            target = () if values or type == "CNAME" else self._values(at, "CNAME")
            if not target:
                exists = bool(values) or self._exists(at)
                return Answer(asked, type, values, exists, secure, self.ttl, at)
            at = target[0]
        raise DnsTemporary("too many CNAMEs", asked, type)

    async def close(self) -> None:
        self.closed = True

    def _values(self, name: str, type: str) -> tuple[Any, ...]:
        found = self.tables.get((name, type), ())
        if isinstance(found, BaseException):
            raise found
        many = isinstance(found, (list, set, frozenset)) or (
            isinstance(found, tuple) and (type not in _SHAPES or not found or isinstance(found[0], tuple))
        )
        return tuple(_shaped(value, type) for value in (found if many else [found]))

    def _exists(self, name: str) -> bool:
        return any(known == name or known.endswith("." + name) or not name for known, _ in self.tables)

    def _is_secure(self, name: str) -> bool:
        if isinstance(self.secure, bool):
            return self.secure
        return any(name == _key(known) for known in self.secure)


def _key(name: str) -> str:
    found = canonical_name(name)
    return name.lower() if found is None else found


def _shaped(value: Any, type: str) -> Any:
    if type == "TXT":
        return value.encode() if isinstance(value, str) else bytes(value)
    if type == "MX":
        return Mx(int(value[0]), canonical_name(value[1]) or "")
    if type == "SRV":
        return Srv(value[0], value[1], value[2], canonical_name(value[3]) or "")
    if type in _SHAPES:
        return _SHAPES[type](*value)
    return _key(value) if type in _NAMES else value
