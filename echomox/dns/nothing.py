"""The resolver "none": nothing is asked, and no name exists. For servers without DNS, and for demos and loads."""

from __future__ import annotations

from echomox.dns.codec import type_number
from echomox.dns.types import Answer, canonical_name


class NoResolver:
    async def lookup(self, name: str, type: str) -> Answer:
        type = type.upper()
        type_number(type)
        asked = canonical_name(name)
        asked = name if asked is None else asked
        return Answer(asked, type, exists=False, canonical=asked)

    async def close(self) -> None:
        """Nothing is open."""
