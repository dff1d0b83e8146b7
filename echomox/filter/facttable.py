"""The facts by membrane, with what they say, and what collects them; see `facts`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from itertools import starmap
from types import MappingProxyType
from typing import NamedTuple

from echomox.reservoir.membrane import Object

Outside = Mapping[str, str | float | bool]
NOTHING: Outside = MappingProxyType({})
FACTS: Mapping[str, Mapping[str, str]] = {
    "content": {
        "html_only": "HTML without a plain text beside it",
        "plain_only": "plain text only",
        "image_only": "images, hardly a word",
        "remote_images": "images fetched from elsewhere; value: how many",
        "web_bug": "images of a few pixels, to see who reads",
        "hidden_text": "text that is not meant to be seen; value: hundreds of characters",
        "html_form": "a form to fill in",
        "html_script": "a script",
        "broken_words": "words broken by HTML comments; value: how many",
        "mostly_tags": "twenty times more HTML than text",
        "loud_colours": "large or coloured fonts; value: how many",
        "capitals": "a good part in capital letters",
        "exclamations": "exclamation marks; value: how many in the text",
        "dollars": "amounts of money or $$$; value: how many",
        "percents": "per cents; value: how many",
        "disguised_word": "a word of the lists written with digits or dots; value: how many",
        "run_file": "an attachment that can be run",
        "double_ending": "an attachment with two endings, the last one to run",
        "page_file": "an HTML page as attachment",
        "base64_text": "plain ASCII text in base64",
        "unnamed_charset": "8-bit text without a charset, or called US-ASCII",
        "broken_mime": "MIME structure that is broken",
        "phone": "a free phone number",
        "no_text": "nothing to read",
    },
    "ham_words": {
        "quoted": "quoted lines; value: how many",
        "signature": "a signature after '-- ', not of a list",
        "code": "a patch, code or a log",
        "pgp": "a PGP signature",
        "list_footer": "the footer of a mailing list",
        "attribution": "a line saying who wrote what is quoted",
        "long_text": "plain text of some length; value: thousands of characters",
    },
    "phishing_links": {
        "link_mismatch": "the text of a link is a domain, the target another",
        "link_ip": "a link to an IP address",
        "link_disguised": "a host written in per cent signs or as one number",
        "link_punycode": "a host with an encoded international label",
        "link_mixed": "a host in mixed scripts",
        "link_lookalike": "a host that looks like a well-known name",
        "link_brand": "a well-known name inside a host of someone else",
        "link_user": "a user name before the host",
        "link_port": "an odd port",
        "link_redirect": "a link inside a link",
        "link_short": "a shortener",
        "link_script": "javascript: or data: as a target",
        "link_hosts": "links to several domains; value: how many",
        "link_own": "links to the domain of the sender",
        "link_digits": "a host with many digits, or very long",
        "link_tagged": "a link that carries an address or a long key",
        "link_any": "links; value: how many",
    },
    "header": {
        "thread": "an answer: In-Reply-To or References",
        "fake_reply": "a subject with Re: that answers nothing",
        "list_mail": "a mailing list",
        "list_unsubscribe": "List-Unsubscribe without the other fields of a list",
        "bulk": "Precedence: bulk or junk without a list",
        "no_date": "no Date",
        "odd_date": "a Date that cannot be read or has no usual form",
        "far_date": "a Date more than two days off",
        "no_message_id": "no Message-ID",
        "odd_message_id": "a Message-ID without an @, or without a host",
        "no_to": "no To",
        "undisclosed": "no address in To",
        "many_recipients": "many addresses in To and Cc; value: how many",
        "no_subject": "no subject",
        "subject_capitals": "the subject in capital letters",
        "subject_marks": "exclamation or other marks in the subject; value: how many",
        "subject_gaps": "a subject of single letters with gaps, or disguised",
        "subject_tail": "a key at the end of the subject after a gap",
        "subject_label": "advertisement marked as such",
        "subject_name": "the subject calls the reader by the name of the mailbox",
        "subject_hidden": "a plain subject in an encoded word",
        "raw_header": "8-bit bytes in the header without encoding",
        "bulk_mailer": "a program for bulk mail",
        "own_mailer": "a program that people write with",
        "forged_mailer": "named as a program that leaves other traces",
        "own_fields": "fields that people and their programs add; value: how many",
        "urgent": "high priority",
        "mime_missing": "HTML or multipart without MIME-Version",
    },
    "sender": {
        "from_other": "the sender's name holds another address",
        "from_domain": "the sender's name is another domain",
        "from_brand": "the sender's name is a well-known name, its domain is not",
        "from_digits": "an address of letters with many digits",
        "from_nameless": "an address without a name",
        "from_broken": "no address in From",
        "reply_elsewhere": "answers go to another domain",
        "free_mail": "a free mail provider",
        "free_mail_elsewhere": "of a free mail provider, with a Message-ID made elsewhere",
        "id_own": "the Message-ID was made in the sender's domain",
        "reply_free": "answers go to a free mail provider, the sender is elsewhere",
        "to_self": "sender and recipient are the same",
        "known_sender": "the reader has written to the sender",
    },
    "auth_status": {
        "spf_pass": "SPF passes", "spf_fail": "SPF fails", "spf_soft": "SPF softfail",
        "dkim_pass": "a DKIM signature of the sender is good", "dkim_fail": "a DKIM signature is broken",
        "dmarc_pass": "DMARC passes", "dmarc_fail": "DMARC fails",
        "sender_differs": "the envelope's sender is of another domain than From",
    },
    "ip_reputation": {
        "good_past": "what came from there was good; value: how much",
        "bad_past": "what came from there was spam; value: how much",
        "helo_bare": "HELO without a domain", "helo_ip": "HELO with an address",
    },
}  # fmt: skip


class Box(NamedTuple):
    """An address field's first address. name: what stands beside it."""

    name: str
    local: str
    domain: str


class Collector:
    """Collects; a type once in each membrane."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, float]] = {}

    def add(self, membrane: str, kind: str, value: float = 1.0) -> None:
        if value > 0:
            kinds = self.found.setdefault(membrane, {})
            if value > kinds.get(kind, 0.0):
                kinds[kind] = float(value)

    def objects(self) -> dict[str, list[Object]]:
        return {home: list(starmap(_object, kinds.items())) for home, kinds in self.found.items()}


@lru_cache(maxsize=4096)
def _object(kind: str, value: float) -> Object:
    """Remembered: most values are small whole numbers; and what is the same object is soon found equal."""
    return Object(kind, value)
