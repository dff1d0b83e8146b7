"""What the header says by its form, what the sender's address says, and what the server found out. See `facts`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from echomox.dns.psl import organisational_domain as organisation
from echomox.filter.factlinks import BRANDS
from echomox.filter.facttable import Box, Collector, Outside
from echomox.filter.features import Features
from echomox.filter.tokens import is_shouted, words_of
from echomox.message.charset import decode_raw

_FREE = frozenset(
    [
        "gmail.com",
        "googlemail.com",
        "yahoo.com",
        "hotmail.com",
        "outlook.com",
        "live.com",
        "msn.com",
        "aol.com",
        "mail.com",
        "gmx.net",
        "gmx.de",
        "gmx.com",
        "web.de",
        "mail.ru",
        "yandex.ru",
        "yandex.com",
        "rambler.ru",
        "qq.com",
        "163.com",
        "126.com",
        "sina.com",
        "lycos.com",
        "excite.com",
        "netscape.net",
        "zoho.com",
        "protonmail.com",
        "proton.me",
        "icloud.com",
        "free.fr",
        "laposte.net",
        "libero.it",
        "virgilio.it",
        "terra.es",
        "yahoo.co.uk",
        "yahoo.fr",
        "yahoo.de",
        "hotmail.fr",
        "hotmail.co.uk",
        "juno.com",
        "usa.net",
        "eudoramail.com",
    ]
)
_OWN_FIELDS = frozenset(
    {
        "organization",
        "x-operating-system",
        "x-url",
        "x-face",
        "face",
        "x-accept-language",
        "mail-followup-to",
        "openpgp",
        "x-pgp-key",
        "x-pgp-fingerprint",
        "x-gpg-fingerprint",
        "x-gpg-key",
        "x-uptime",
        "x-homepage",
        "x-home-page",
        "x-attribution",
        "x-newsreader",
        "nntp-posting-host",
        "newsgroups",
        "mail-copies-to",
        "x-x-sender",
        "thread-topic",
        "user-agent",
        "x-archive",
        "x-attestation",
        "jabber-id",
        "autocrypt",
    }
)
_OWN = re.compile(
    r"mutt|\bpine\b|alpine|evolution|kmail|thunderbird|mozilla/5|gnus|apple mail|sylpheed|claws|\bexmh|\bmew\b|"
    r"wanderlust|\bvm \d|xemacs|emacs|ximian|k-9|roundcube|squirrelmail|horde|internet messaging program|mh-e|\bnmh|"
    r"elm \[|aerc|neomutt|fairemail|iphone mail|ipad mail|git-send-email|entourage|lotus notes",
    re.I,
)  # fmt: skip
_BULK_WARE = re.compile(
    r"group ?mail|mass ?mail|bulk|advanced direct|dynamailer|mailking|stealth|e-?mailer pro|emailer platinum|"
    r"worldmerge|desktop server|prospect mailer|ultimate mailer|power ?mailer|fastmailer|direct email|dark ?mailer|"
    r"sendblaster|atomic mail|turbo ?mailer|mail ?bomber|aristotle|\bphpmailer\b|gamut|extractor|achi-kochi|opt-?in|"
    r"leaf ?mailer|\bmultimailer|diffondi|jixing|foxmail 4|dm mailer|gosub|mail ?sender",
    re.I,
)  # fmt: skip
_ADDRESS = re.compile(r"([^\s<>\"'(),:;@]{1,64})@([\w.-]{1,253})")
_DOMAIN_IN_NAME = re.compile(r"(?:[\w-]{2,63}\.)+(?:com|net|org|de|fr|uk|it|es|nl|ch|at|ru|info|biz)\b", re.I)
_GAPPY = re.compile(r"(?:\b\w[ ._*-]{1,2}){4,}\w\b")
_KEY = re.compile(r"\s{3,}\S+$")
_REPLY = re.compile(r"(?:re|aw|sv|antw|antwort|rif|odp|回复|答复)(?:\[\d+\])?\s?:", re.I)
_LABEL = re.compile(r"\W{0,3}(?:adv|advertisement|anzeige|werbung|publicidad|pub|广告|【广告】)\b\W{0,3}", re.I)
_USUAL_DATE = re.compile(
    r"\s*(?:[A-Z][a-z]{2}, ?)?[ \d]\d? [A-Z][a-z]{2} \d{4} \d\d:\d\d(?::\d\d)? ?(?:[+-]\d{4}|GMT|UTC?|[A-Z]{3,4})"
    r"(?:\s*\(.*\))?\s*"
)
DAYS = 2 * 86400.0
SUBJECT_CHARS = 300
NAME_CHARS = 500
REPEATED = 200
"""Characters of a program's name that is remembered."""
MOST_BYTES = 2000
"""Of one field."""


def box_of(raw: str, text: str) -> Box:
    """From the decoded text of the field, "Name <a@b>, ..."."""
    return _known_box((text or raw)[:NAME_CHARS])


@lru_cache(maxsize=1024)
def _known_box(text: str) -> Box:
    """Remembered: people write again."""
    matches = _ADDRESS.findall(text)
    if not matches:
        return Box(text, "", "")
    at = text.rfind("<")
    local, domain = next((m for m in matches if at >= 0 and f"<{m[0]}@{m[1]}>" in text), matches[0])
    name = text[:at] if at > 0 else ""
    return Box(name.strip(' "'), local.lower(), domain.lower().rstrip("."))


def is_list(head: Mapping[str, str]) -> bool:
    """Mail of a discussion list (RFC 2919, RFC 2369 List-Post), by its own fields."""
    return "list-id" in head or "list-post" in head or "mailing-list" in head or "x-mailing-list" in head


def header_facts(found: Collector, features: Features, head: Mapping[str, str], sender: Box) -> None:
    """The header's form and the sender's address."""
    listed = is_list(head)
    _header(found, features, head, listed)
    _subject(found, features, head, sender)
    _sender(found, features, head, sender)


def _header(found: Collector, features: Features, head: Mapping[str, str], listed: bool) -> None:
    structure = features.structure
    if structure.in_reply_to or structure.references:
        found.add("header", "thread", 1 + bool(structure.in_reply_to and structure.references))
    if listed:
        found.add("header", "list_mail")
    elif "list-unsubscribe" in head:
        found.add("header", "list_unsubscribe")
    elif head.get("precedence", "").strip().lower() in ("bulk", "junk", "list"):
        found.add("header", "bulk")
    date = head.get("date")
    if date is None:
        found.add("header", "no_date")
    elif not structure.sent_day or not _USUAL_DATE.fullmatch(date):
        found.add("header", "odd_date")
    if "message-id" not in head:
        found.add("header", "no_message_id")
    else:
        local, _, host = structure.message_id.strip("<> ").rpartition("@")
        if not local or not host or len(local) < 4 or " " in local:
            found.add("header", "odd_message_id")
    if "to" not in head:
        found.add("header", "no_to" if "cc" not in head else "undisclosed")
    elif "@" not in head["to"]:
        found.add("header", "undisclosed")
    number = head.get("to", "").count("@") + head.get("cc", "").count("@")
    found.add("header", "many_recipients", number if number > 4 else 0)
    urgency = (
        f"{head.get('x-priority', '')[:2].strip()} {head.get('importance', '')} {head.get('x-msmail-priority', '')}"
    )
    if urgency[:1] in ("1", "2") or "high" in urgency.lower():
        found.add("header", "urgent")
    kind = head.get("content-type", "").lstrip().lower()
    if "mime-version" not in head and kind.startswith(("text/html", "multipart/")):
        found.add("header", "mime_missing")
    _mailer(found, head, structure.message_id)
    found.add("header", "own_fields", len(_OWN_FIELDS & head.keys()))


def _program(mailer: str, agent: str) -> tuple[bool, bool]:
    """Whether it is one that people write with; else whether it is one for bulk mail."""
    own = _OWN.search(f"{mailer} {agent}") is not None
    return own, not own and _BULK_WARE.search(mailer) is not None


_known_program = lru_cache(maxsize=1024)(_program)
"""Programs come again."""


def _mailer(found: Collector, head: Mapping[str, str], message_id: str) -> None:
    mailer = head.get("x-mailer", "")
    agent = head.get("user-agent", "")
    kind = _known_program if len(mailer) + len(agent) <= REPEATED else _program
    own, bulk = kind(mailer, agent)
    if own or "pine." in message_id.lower():
        found.add("header", "own_mailer")
    elif bulk:
        found.add("header", "bulk_mailer")
    elif "Outlook Express" in mailer:
        if "x-mimeole" not in head or "$" not in message_id:
            found.add("header", "forged_mailer")
    elif (
        ("Microsoft Outlook" in mailer and "x-mimeole" not in head and "thread-index" not in head)
        or (mailer and not any(c.isdigit() for c in mailer) and len(mailer) < 12)
        or ("x-msmail-priority" in head and not mailer and "x-mimeole" not in head)
    ):
        found.add("header", "forged_mailer")


def _subject(found: Collector, features: Features, head: Mapping[str, str], sender: Box) -> None:
    structure = features.structure
    subject, raw = structure.subject[:SUBJECT_CHARS], head.get("subject", "")
    if not subject.strip():
        found.add("header", "no_subject")
    if is_shouted(subject, 7):
        found.add("header", "subject_capitals")
    found.add(
        "header",
        "subject_marks",
        subject.count("!") + subject.count("$") + subject.count("*") // 2 + subject.count("%"),
    )
    if _GAPPY.search(subject):
        found.add("header", "subject_gaps")
    if len(subject) > 12 and _KEY.search(subject):
        found.add("header", "subject_tail")
    if _LABEL.match(subject):
        found.add("header", "subject_label")
    if _REPLY.match(subject) and not structure.in_reply_to and not structure.references:
        found.add("header", "fake_reply")
    if raw.startswith("=?") and subject.isascii() and subject:
        found.add("header", "subject_hidden")
    if not raw.isascii() or not head.get("from", "").isascii():
        found.add("header", "raw_header")
    first = _ADDRESS.search(head.get("to", ""))
    if first and len(first[1]) > 3 and first[1].lower() in subject.lower() and not is_list(head):
        found.add("header", "subject_name")
    if first and sender.local and f"{first[1]}@{first[2]}".lower() == f"{sender.local}@{sender.domain}":
        found.add("sender", "to_self")


@lru_cache(maxsize=1024)
def _manner(sender: Box) -> tuple[str, ...]:
    """What name and address say by themselves. Remembered: people write again."""
    name, local, domain = sender
    kinds = []
    lowered, own = name.lower(), organisation(domain)
    other = _ADDRESS.search(lowered)
    if other and organisation(other[2]) != own:
        kinds.append("from_other")
    elif not other and (shown := _DOMAIN_IN_NAME.search(lowered)) and organisation(shown[0]) != own:
        kinds.append("from_domain")
    if not name:
        kinds.append("from_nameless")
    elif any(word in BRANDS and len(word) > 3 for word in words_of(lowered)) and own.split(".")[0] not in BRANDS:
        kinds.append("from_brand")
    if local.isalnum() and not local.isdigit() and sum(map(local.count, "0123456789")) > 2:
        kinds.append("from_digits")
    return tuple(kinds)


def _sender(found: Collector, features: Features, head: Mapping[str, str], sender: Box) -> None:
    domain = sender.domain
    if not domain:
        found.add("sender", "from_broken")
        return
    own = organisation(domain)
    for kind in _manner(sender):
        found.add("sender", kind)
    reply = _ADDRESS.search(head.get("reply-to", "").lower())
    if reply and not is_list(head) and organisation(reply[2].rstrip(".")) != own:
        found.add("sender", "reply_elsewhere")
        if reply[2] in _FREE:
            found.add("sender", "reply_free")
    host = organisation(features.structure.message_id.strip("<> ").rpartition("@")[2].lower())
    if host == own:
        found.add("sender", "id_own")
    if domain in _FREE:
        found.add("sender", "free_mail")
        if host != own and not is_list(head):
            found.add("sender", "free_mail_elsewhere")


def outside_facts(found: Collector, features: Features, sender: Box, outside: Outside) -> None:
    """What the server knows."""
    for method in ("spf", "dkim", "dmarc"):
        result = str(outside.get(method, ""))
        if result == "pass":
            found.add("auth_status", f"{method}_pass")
        elif result in ("fail", "permerror") and (method != "dkim" or result == "fail"):
            found.add("auth_status", f"{method}_fail")
        elif result == "softfail":
            found.add("auth_status", "spf_soft")
    envelope = features.envelope
    _, _, domain = envelope.mail_from.lower().rpartition("@")
    if domain and sender.domain and organisation(domain) != organisation(sender.domain):
        found.add("auth_status", "sender_differs")
    received = float(outside.get("received", 0.0))
    sent = features.structure.sent
    if received and sent and abs(sent - received) > DAYS:
        found.add("header", "far_date")
    past = float(outside.get("reputation", 0.0))
    found.add("ip_reputation", "good_past" if past > 0 else "bad_past", min(1.0, abs(past)))
    if outside.get("known"):
        found.add("sender", "known_sender")
    if envelope.helo:
        if envelope.helo.startswith("[") or envelope.helo.replace(".", "").isdigit():
            found.add("ip_reputation", "helo_ip")
        elif "." not in envelope.helo and ":" not in envelope.helo:
            found.add("ip_reputation", "helo_bare")


def head_of(sender: Iterable[tuple[str, bytes]]) -> dict[str, str]:
    """`Features.sender` as text by name, for `facts`; of several fields of one name the first."""
    out: dict[str, str] = {}
    for name, value in sender:
        if name not in out:
            out[name] = value[:MOST_BYTES].decode("ascii") if value.isascii() else decode_raw(value[:MOST_BYTES])
    return out
