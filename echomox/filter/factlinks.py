"""What links say by their shape, in any language (F19): texts that name another domain than the target, hosts
that hide or imitate. See `facts`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache
from urllib.parse import unquote

from echomox.dns.psl import organisational_domain as organisation
from echomox.filter.facttable import Box, Collector
from echomox.message.html import HtmlText

MOST_LINKS = 60
BRANDS = frozenset(
    [
        "paypal",
        "ebay",
        "amazon",
        "apple",
        "icloud",
        "microsoft",
        "outlook",
        "office365",
        "google",
        "gmail",
        "facebook",
        "instagram",
        "whatsapp",
        "netflix",
        "linkedin",
        "twitter",
        "dropbox",
        "docusign",
        "adobe",
        "yahoo",
        "citibank",
        "wellsfargo",
        "bankofamerica",
        "hsbc",
        "barclays",
        "santander",
        "natwest",
        "lloydsbank",
        "sparkasse",
        "volksbank",
        "postbank",
        "commerzbank",
        "deutschebank",
        "ing",
        "rabobank",
        "postfinance",
        "bnpparibas",
        "creditagricole",
        "unicredit",
        "intesasanpaolo",
        "bbva",
        "caixabank",
        "mastercard",
        "americanexpress",
        "westernunion",
        "dhl",
        "fedex",
        "usps",
        "deutschepost",
        "royalmail",
        "binance",
        "coinbase",
        "blockchain",
        "metamask",
        "steam",
        "spotify",
        "telekom",
        "vodafone",
        "att",
        "verizon",
        "comcast",
    ]
)
_SHORT = frozenset(
    "bit.ly tinyurl.com goo.gl t.co ow.ly is.gd buff.ly rebrand.ly cutt.ly t.ly rb.gy tiny.cc shorturl.at s.id v.gd bl.ink lnkd.in".split()  # noqa: SIM905, E501
)
_HOST = re.compile(
    r"(?:[a-z][a-z0-9+.-]{1,10}:)?//(?:([^\s/@\"'<>?#]{0,100})@)?([^\s/\"'<>:?#)\]\\]{1,253})(?::(\d{1,5}))?", re.I
)
_PLAIN_LINK = re.compile(r"https?://[^\s\"'<>)\]]{3,400}")
_SHOWN = re.compile(
    r"(?:(https?://)|(www\d?\.))?((?:[\w-]{1,63}\.)+([^\W\d_]{2,24}|xn--[a-z0-9-]{2,59}))(?:[/:?#]\S*)?", re.I
)
_COMMON = frozenset("com net org info biz gov edu mil int shop online site xyz top app bank".split())  # noqa: SIM905
_FILES = frozenset("py pl cc rs md sh ps js ai so am pm la tf in st".split())  # noqa: SIM905
_TAGGED = re.compile(r"[?&=/]\S{0,60}(?:@|%40)|[?&/=][A-Za-z0-9_-]{28,}")
_CONFUSABLE = str.maketrans("аеорсухіјѕԁԛ01358αεοικνρτυω", "aeopcyxijsdqoleseaeoiknptuw")


def link_facts(found: Collector, pages: Sequence[tuple[str, HtmlText]], text: str, sender: Box) -> None:
    targets: dict[str, str] = {}
    for _, html in pages:
        for link in html.links[:MOST_LINKS]:
            targets.setdefault(link.href, link.text)
    if not pages and "//" in text:
        for url in _PLAIN_LINK.findall(text)[:MOST_LINKS]:
            targets.setdefault(url.rstrip(".,;"), "")
    own, domains, number = organisation(sender.domain), set(), 0
    for href, shown in list(targets.items())[:MOST_LINKS]:
        match = _HOST.match(href)
        if match is None:
            if href[:11].lower().startswith(("javascript:", "data:", "vbscript:")):
                found.add("phishing_links", "link_script")
            continue
        number += 1
        user, raw, port = match.groups()
        if user:
            found.add("phishing_links", "link_user")
        if port and port not in ("80", "443", "8080"):
            found.add("phishing_links", "link_port")
        _, domain, kinds = host_facts(raw)
        domains.add(domain)
        for kind in kinds:
            found.add("phishing_links", kind)
        _target(found, href, match.end())
        if shown and "." in shown:
            _mismatch(found, href, shown, domain)
    if own in domains:
        found.add("phishing_links", "link_own")
    found.add("phishing_links", "link_any", number)
    found.add("phishing_links", "link_hosts", len(domains) if len(domains) > 1 else 0)


@lru_cache(maxsize=4096)
def host_facts(raw: str) -> tuple[str, str, tuple[str, ...]]:
    """(host, organisation, facts) of a host as it stands in a link. Remembered: hosts come again."""
    host, kinds = raw.lower().rstrip("."), []
    if "%" in host:
        host = unquote(host)
        kinds.append("link_disguised")
    squeezed = host.replace(".", "")
    if squeezed.isdigit() or squeezed.startswith("0x"):
        kinds.append("link_ip" if host.count(".") == 3 else "link_disguised")
        return host, host, tuple(kinds)
    if host in _SHORT:
        kinds.append("link_short")
    elif "xn--" in host:
        kinds.append("link_punycode")
    elif sum(map(host.count, "0123456789")) > 5 or len(host) > 60 or host.count("-") > 3:
        kinds.append("link_digits")
    return host, organisation(host), (*kinds, *_names(_decoded(host)))


def _decoded(host: str) -> str:
    out = []
    for label in host.split("."):
        try:
            out.append(label[4:].encode("ascii").decode("punycode") if label.startswith("xn--") else label)
        except (ValueError, IndexError):
            out.append(label)
    return ".".join(out)


def _names(host: str) -> list[str]:
    """Well-known names: imitated, or used by someone else."""
    labels, kinds = host.split("."), []
    owner = organisation(host).split(".")[0]
    if not host.isascii() and any(_mixed(label) for label in labels):
        kinds.append("link_mixed")
    if owner in BRANDS:
        return kinds
    if looks_like(owner):
        kinds.append("link_lookalike")
    elif any(brand in BRANDS for label in labels for brand in label.split("-")):
        kinds.append("link_brand")
    return kinds


def _mixed(label: str) -> bool:
    """Letters of more than one script (the first word of a character's name, Japanese taken as one)."""
    scripts = {unicodedata.name(c, "?").split(" ")[0] for c in label if c.isalpha()}
    return len(scripts - {"CJK", "HIRAGANA", "KATAKANA"}) > 1


def looks_like(label: str) -> str:
    """The well-known name that a label imitates by similar characters or one letter of difference; "" for none.
    Short names only by similar characters."""
    folded = unicodedata.normalize("NFKD", label).translate(_CONFUSABLE)
    folded = "".join([c for c in folded if not unicodedata.combining(c)]) if not folded.isascii() else folded
    for form in (
        folded,
        folded.replace("rn", "m").replace("vv", "w"),
        folded.replace("i", "l"),
        folded.replace("l", "i"),
    ):
        if form in BRANDS and form != label:
            return form
    if len(label) >= 6:
        for brand in _near(label, len(label)):
            if sum(a != b for a, b in zip(label, brand)) == 1 or _swapped(label, brand):
                return brand
        for size in (len(label) - 1, len(label) + 1):
            for brand in _near(label, size):
                if _inserted(label, brand):
                    return brand
    return ""


_BY_SIZE: Mapping[int, tuple[str, ...]] = {
    size: tuple(sorted(name for name in BRANDS if len(name) == size)) for size in range(6, 20)
}


def _near(label: str, size: int) -> list[str]:
    """Names of that size with the first or the last two letters of the label: one slip leaves those or these."""
    head, tail = label[:2], label[-2:]
    return [name for name in _BY_SIZE.get(size, ()) if name.startswith(head) or name.endswith(tail)]


def _swapped(one: str, other: str) -> bool:
    """Two letters changed places."""
    at = [place for place, (a, b) in enumerate(zip(one, other)) if a != b]
    return len(at) == 2 and at[1] == at[0] + 1 and one[at[0]] == other[at[1]] and one[at[1]] == other[at[0]]


def _inserted(one: str, other: str) -> bool:
    """One letter more on one side; an "s" at the end is no imitation."""
    short, long = sorted((one, other), key=len)
    if long == short + "s":
        return False
    at = next((place for place, (a, b) in enumerate(zip(short, long)) if a != b), len(short))
    return short[at:] == long[at + 1 :]


def _target(found: Collector, href: str, after: int) -> None:
    rest = href[after : after + 300]
    if rest and ("http" in rest or "HTTP" in rest or "%3A%2F%2F" in rest):
        found.add("phishing_links", "link_redirect")
    if len(rest) > 12 and _TAGGED.search(rest):
        found.add("phishing_links", "link_tagged")


def _mismatch(found: Collector, href: str, shown: str, domain: str) -> None:
    """A text that reads as another domain than the target's (F19)."""
    match = _SHOWN.fullmatch(shown.strip(" <>[]()\"'.,")[:300])
    if match is None:
        return
    scheme, www, host, ending = match.groups()
    ending = ending.lower()
    if not (scheme or www) and ending not in _COMMON and (len(ending) != 2 or ending in _FILES):
        return
    named = organisation(host.lower())
    if named == domain:
        return
    if named in href.lower():
        found.add("phishing_links", "link_redirect")
    else:
        found.add("phishing_links", "link_mismatch")
