"""The openspf test suite for RFC 7208 (tests/data/openspf, with its licence): all of its cases.

Zone data says TIMEOUT for a name or a type that does not answer, and NONE for a type that there is not; a name without
TXT has its SPF records as TXT, as the suite asks of its drivers.
"""

from __future__ import annotations

import asyncio
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from echomox.dns import Answer, DnsTemporary
from echomox.dns.fake import FakeResolver
from echomox.mailauth.spf import check_spf

FILE = Path(__file__).parents[2] / "data/openspf/rfc7208-tests.yml"
DIFFERENT: dict[str, str] = {}
"""Cases that do not come out as the suite wants, with the reason; there are none."""


class Zone(FakeResolver):
    def __init__(self, data: dict[str, list[Any]]) -> None:
        super().__init__()
        self.silent: set[str] = set()
        for name, records in data.items():
            self._add(name.lower().rstrip("."), records)

    def _add(self, name: str, records: list[Any]) -> None:
        found: dict[str, list[Any]] = {}
        for record in records:
            if record == "TIMEOUT":
                self.silent.add(name)
                continue
            for type, value in record.items():
                found.setdefault(type, []).append(value)
        if "TXT" not in found and "SPF" in found:
            found["TXT"] = found["SPF"]
        for type, values in found.items():
            if "TIMEOUT" in values:
                self.tables[name, type] = DnsTemporary("no answer in time")
            elif type in ("TXT", "SPF"):
                texts = ["".join(value) if isinstance(value, list) else value for value in values if value != "NONE"]
                if texts:
                    self.tables[name, type] = texts
            else:
                self.tables[name, type] = values

    async def lookup(self, name: str, type: str) -> Answer:
        if name in self.silent and (name, type) not in self.tables:
            raise DnsTemporary("no answer in time")
        return await super().lookup(name, type)


@lru_cache
def suite() -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    scenarios = yaml.load_all(FILE.read_text(encoding="utf-8"), loader)
    return {name: (case, one["zonedata"]) for one in scenarios for name, case in one["tests"].items()}


def test_the_suite_is_whole():
    assert len(suite()) == 203
    assert DIFFERENT.keys() <= suite().keys()


@pytest.mark.parametrize("name", sorted(suite().keys() - DIFFERENT.keys()))
def test_openspf(name):
    case, zone = suite()[name]
    found = asyncio.run(check_spf(Zone(zone), case["host"], case["mailfrom"], case["helo"]))
    wanted = case["result"] if isinstance(case["result"], list) else [case["result"]]
    assert found.result in wanted, (case.get("spec"), found)
    if "explanation" in case:
        assert (found.explanation or "DEFAULT") == case["explanation"], case.get("spec")
