"""Names as the configuration compares them: domains as lower-case A-labels, addresses split, accounts as
file names.

RFC 5890 (IDNA 2008, with the mappings of UTS 46), RFC 1035 2.3.4 (lengths), RFC 5321 4.1.2 (local parts).
Pure.
"""

from __future__ import annotations

import re
import unicodedata

from echomox.message.address import normalise_domain

_ATOM = re.compile(r"[^\s\x00-\x20\x7f()<>\[\]:;@\\,\"]+\Z")
_ACCOUNT = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}\Z")

ACCOUNT_RULE = "1 to 64 of a-z 0-9 . _ - beginning with a letter or digit"


def domain_key(name: str) -> str:
    """The form by which domains are compared: lower-case A-labels, no final dot. Raises ValueError."""
    if name.startswith("["):
        raise ValueError("not a domain name: an address in brackets")
    return normalise_domain(name)


def host_name(name: str) -> str:
    """A domain key with at least two labels, the last not a number; raises ValueError."""
    key = domain_key(name)
    if "." not in key or key.rpartition(".")[2].isdigit():
        raise ValueError("not a full host name, as mail.example.com")
    return key


def split_address(address: str) -> tuple[str, str]:
    """(local part without quotes, domain key); "@domain" gives an empty local part. Raises ValueError."""
    local, at, domain = address.rpartition("@")
    if not at:
        raise ValueError("no @ in it")
    if len(local) >= 2 and local[0] == local[-1] == '"':
        local = re.sub(r"\\(.)", r"\1", local[1:-1])
        if not local.isprintable():
            raise ValueError("control characters in the local part")
    elif local and (not all(map(_ATOM.match, local.split(".")))):
        raise ValueError("the local part has characters that need quotes, or a dot too many")
    if len(local.encode("utf-8", "replace")) > 64:  # RFC 5321 4.5.3.1.1
        raise ValueError("the local part is longer than 64 bytes")
    return unicodedata.normalize("NFC", local), domain_key(domain)


def base_local(local: str, separators: tuple[str, ...]) -> str:
    """The local part up to the first separator that is not its first character."""
    for separator in separators:
        cut = local.find(separator, 1)
        if cut > 0:
            local = local[:cut]
    return local


def is_account_name(name: str) -> bool:
    """Whether a name may be an account's, and so a directory's; see ACCOUNT_RULE."""
    return bool(_ACCOUNT.match(name)) and ".." not in name
