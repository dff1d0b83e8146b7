"""The public suffix list: which part of a name somebody registered (RFC 7489 3.2, publicsuffix.org).

    organisational_domain("mail.example.co.uk") -> "example.co.uk"
    is_public_suffix("co.uk") -> True

The list comes with the library publicsuffixlist and is read once (about 0.1 s): `load` does it before processes are
forked, so that they share its memory. Suffixes of both sections count (com, co.uk; github.io), and a top-level domain
that the list does not know is a suffix too. The list is only as new as the library; DMARC's tree walk (RFC 9989) does
without it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from echomox.dns.types import canonical_name

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList


@lru_cache(maxsize=1)
def load() -> PublicSuffixList:
    """The list; call it once before forking."""
    from publicsuffixlist import PublicSuffixList

    return PublicSuffixList(accept_unknown=True)


@lru_cache(maxsize=4096)
def organisational_domain(domain: str) -> str:
    """The registered name that `domain` is or is below; `domain` itself if it is a public suffix, a single label or no
    name at all. Answered in lower-case A-labels without a final dot.
    """
    name = canonical_name(domain)
    if name is None:
        return domain
    if _is_address(name):
        return name
    return load().privatesuffix(name) or name


@lru_cache(maxsize=4096)
def is_public_suffix(domain: str) -> bool:
    """Whether strangers register names directly below `domain`."""
    name = canonical_name(domain)
    return bool(name and not _is_address(name) and load().is_public(name))


def _is_address(name: str) -> bool:
    return name.replace(".", "").isdigit() or ":" in name
