"""The DMARC record: text in, values out. RFC 7489 6.3 and 6.4, RFC 9091 (np), RFC 9989 4.7 and 4.8 (psd, t). Pure.

Unknown tags are ignored, and a bad value counts as its default, but for the policies themselves: a record with a bad or
missing `p`, or a bad `sp` or `np`, is one with p=none if somebody is to get reports, and no record otherwise
(RFC 7489 6.6.3, step 6).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote, urlsplit

POLICIES = ("none", "quarantine", "reject")  # in order of strictness
RECORD = 8192  # bytes
URIS = 20  # of one tag
INTERVAL = 86_400  # seconds
_BEGIN = re.compile(rb"[vV][ \t]*=[ \t]*DMARC1[ \t]*(?:;|$)")
_SIZE = re.compile(r"!([0-9]{1,15})([kmgt]?)$", re.I)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_TAG = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_LOCAL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+")
_DOMAIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class ReportUri:
    """Where reports go. uri: without the size. address: of a mailto, "" for another scheme (which is not sent to).
    size: bytes of the largest report that is wanted, 0 for no limit (RFC 7489 6.4).
    """

    uri: str
    address: str = ""
    size: int = 0

    @property
    def domain(self) -> str:
        return self.address.rpartition("@")[2].lower()


@dataclass(frozen=True, slots=True)
class DmarcRecord:
    """p, sp, np: of POLICIES, sp and np with what they default to filled in. adkim, aspf: "r" or "s". pct: 0 to 100.
    fo: of "0", "1", "d", "s". ri: seconds. psd: "y", "n" or "u". testing: t=y. text: the record as printable text.
    """

    p: str = "none"
    sp: str = "none"
    np: str = "none"
    adkim: str = "r"
    aspf: str = "r"
    pct: int = 100
    fo: tuple[str, ...] = ("0",)
    rf: tuple[str, ...] = ("afrf",)
    ri: int = INTERVAL
    rua: tuple[ReportUri, ...] = ()
    ruf: tuple[ReportUri, ...] = ()
    psd: str = "u"
    testing: bool = False
    text: str = ""


def is_dmarc(record: bytes) -> bool:
    """Whether a TXT record is meant as a DMARC record: `v=DMARC1` is its first tag, in these letters."""
    return _BEGIN.match(record) is not None


def parse_record(record: bytes) -> DmarcRecord | None:
    """The record's values; None for what is no DMARC record, or one whose policy cannot be used."""
    return _parsed(record) if len(record) <= RECORD and is_dmarc(record) else None


@lru_cache(1024)  # the same text says the same, whoever publishes it
def _parsed(record: bytes) -> DmarcRecord | None:
    tags = tag_list(record)
    rua = report_uris(tags.get("rua", ""))
    policies = {name: tags[name].lower() for name in ("p", "sp", "np") if name in tags}
    if "p" not in policies or not all(value in POLICIES for value in policies.values()):
        if not rua:
            return None
        policies = {"p": "none"}
    p = policies["p"]
    sp = policies.get("sp", p)
    return DmarcRecord(
        p=p,
        sp=sp,
        np=policies.get("np", sp),
        adkim=_choice(tags, "adkim", ("r", "s")),
        aspf=_choice(tags, "aspf", ("r", "s")),
        pct=_number(tags, "pct", 100, 100),
        fo=_list(tags, "fo", ("0", "1", "d", "s"), ("0",)),
        rf=_list(tags, "rf", ("afrf",), ("afrf",)),
        ri=_number(tags, "ri", INTERVAL, 0xFFFFFFFF),
        rua=rua,
        ruf=report_uris(tags.get("ruf", "")),
        psd=_choice(tags, "psd", ("u", "y", "n")),
        testing=_choice(tags, "t", ("n", "y")) == "y",
        text="".join(c if " " <= c <= "~" else "?" for c in record.decode("ascii", "replace")),
    )


def psd_of(record: bytes) -> str:
    """The psd tag of a DMARC record, whatever its policy is worth: "y", "n" or "u" (RFC 9989 4.7)."""
    return _choice(tag_list(record[:RECORD]), "psd", ("u", "y", "n"))


def report_uris(text: str) -> tuple[ReportUri, ...]:
    """The URIs of a rua or ruf tag (RFC 7489 6.2); bad ones are left out."""
    found: list[ReportUri] = []
    for part in text.split(",")[:URIS]:
        uri, size = part.strip(), 0
        if match := _SIZE.search(uri):
            uri, size = uri[: match.start()], int(match[1]) * _UNITS[match[2].lower()]
        made = _uri(uri, size)
        if made is not None and made.uri not in [other.uri for other in found]:
            found.append(made)
    return tuple(found)


def _uri(uri: str, size: int) -> ReportUri | None:
    if not uri.isascii() or not uri.isprintable() or " " in uri:
        return None
    try:
        parts = urlsplit(uri)
    except ValueError:
        return None
    scheme = parts.scheme.lower()
    if scheme == "mailto":
        address = unquote(parts.path)
        local, _, domain = address.rpartition("@")
        if not _LOCAL.fullmatch(local) or not _DOMAIN.fullmatch(domain) or len(address) > 254:
            return None
        return ReportUri(uri, address, size)
    return ReportUri(uri, "", size) if scheme in ("http", "https") and parts.netloc else None


def tag_list(record: bytes) -> dict[str, str]:
    """name -> value; of a tag that is there twice the first counts. Text that is no tag is ignored."""
    found: dict[str, str] = {}
    for part in record.decode("utf-8", "replace").split(";"):
        name, equals, value = part.partition("=")
        name = name.strip().lower()
        if equals and _TAG.fullmatch(name):
            found.setdefault(name, value.strip())
    return found


def _choice(tags: dict[str, str], name: str, choices: tuple[str, ...]) -> str:
    """The first choice is the default."""
    value = tags.get(name, "").lower()
    return value if value in choices else choices[0]


def _number(tags: dict[str, str], name: str, default: int, high: int) -> int:
    text = tags.get(name, "")
    if not text.isascii() or not text.isdigit() or len(text) > 10 or int(text) > high:
        return default
    return int(text)


def _list(
    tags: dict[str, str], name: str, choices: tuple[str, ...], default: tuple[str, ...]
) -> tuple[str, ...]:
    """The known values of a colon-separated list."""
    values = (value.strip().lower() for value in tags.get(name, "").split(":"))
    return tuple(dict.fromkeys(value for value in values if value in choices)) or default
