"""What the checks found, as it is written down: Authentication-Results (RFC 8601), Received-SPF (RFC 7208 9.1), and
pairs for the filter. Pure.

Authentication-Results properties are those of RFC 8601 2.7 and the registry: of DKIM header.d, header.s, header.a and
header.b (RFC 6008); of DMARC header.from and the policy found, polrec.p and polrec.domain. Text of strangers is ASCII
of one word by then.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from echomox.mailauth.check import AuthResults, MailFacts
from echomox.mailauth.spf import SpfResult
from echomox.message.authres import Result, format_authres
from echomox.message.proven import WATCHED, proven

LONGEST = 320
"""Characters of a value: RFC 5321 4.5.3.1 has 64 for a local part and 255 for a domain."""
_NOT_WORD = re.compile(r"[^!-~]|[;\"\\]")
_NOT_COMMENT = re.compile(r"[^ -~]|[()\\]")
_NOT_QUOTED = re.compile(r"[^ -~]|[\"\\]")
_ATOM = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+")
_SAYS: Mapping[str, str] = {
    "pass": "designates {ip} as permitted sender",
    "fail": "does not designate {ip} as permitted sender",
    "softfail": "does not designate {ip} as permitted sender, but is not sure",
    "neutral": "says nothing of {ip}",
    "none": "has no SPF record",
    "temperror": "could not be looked up",
    "permerror": "has an SPF record that cannot be used",
}


def authentication_results(authserv_id: str, results: AuthResults, mail: MailFacts) -> bytes:
    """The field with its line end."""
    return format_authres(authserv_id, rows(results, mail))


def rows(results: AuthResults, mail: MailFacts) -> list[Result]:
    """One per result: SPF, each DKIM signature, DMARC, ARC where there is a chain, iprev."""
    spf, dmarc, arc = results.spf, results.dmarc, results.arc
    found: list[Result] = [("spf", spf.result, _reason(spf.result, spf.reason), _sender(spf, mail))]
    for each in results.dkim:
        tags = (("d", each.domain), ("s", each.selector), ("a", each.algorithm), ("b", each.header_b))
        properties = {f"header.{tag}": _word(value) for tag, value in tags if value}
        found.append(("dkim", each.result, _clean(each.reason), properties))
    if not results.dkim:
        found.append(("dkim", "none", "", {}))
    policy = {"polrec.p": dmarc.record.p, "polrec.domain": _word(dmarc.domain)} if dmarc.record else {}
    author = {"header.from": _word(dmarc.from_domain)} if dmarc.from_domain else {}
    why = WATCHED if _watched(results) else _reason(dmarc.result, dmarc.reason)
    found.append(("dmarc", dmarc.result, why, author | policy))
    if arc.result != "none":
        seals = {"header.oldest-pass": "0"} if arc.result == "pass" else {}
        found.append(("arc", arc.result, _clean(arc.reason), seals | {"smtp.remote-ip": _word(mail.ip)}))
    found.append(("iprev", results.iprev.result, "", {"policy.iprev": _word(mail.ip)}))
    return found


def evidence(results: AuthResults) -> tuple[tuple[str, str], ...]:
    """(method, result) for `ipc.schema.Classify.auth`, in the order of the header field; then the names that are
    proven, see `message.proven`; last the name in EHLO, which no header field tells of. A DMARC failure that the
    domain's owner only watches (p=none) is "watched": forwarders and lists cause most of these."""
    found = [("spf", results.spf.result), *(("dkim", each.result) for each in results.dkim)]
    if not results.dkim:
        found.append(("dkim", "none"))
    found.append(("dmarc", "watched" if _watched(results) else results.dmarc.result))
    if results.arc.result != "none":
        found.append(("arc", results.arc.result))
    found.append(("iprev", results.iprev.result))
    spf = [results.spf.domain] if results.spf.result == "pass" else []
    dkim = [each.domain for each in results.dkim if each.result == "pass"]
    return (*found, *proven(spf, dkim), ("helo", results.helo))


def _watched(results: AuthResults) -> bool:
    return results.dmarc.result == "fail" and results.dmarc.requested == "none"


def received_spf(receiver: str, spf: SpfResult, mail: MailFacts) -> bytes:
    """The field with its line end. receiver: our host's name."""
    who = mail.mail_from if spf.identity == "mailfrom" else f"postmaster@{mail.helo}"
    says = _SAYS[spf.result].format(ip=mail.ip)
    comment = _NOT_COMMENT.sub("?", f"{receiver}: domain of {who} {says}"[:300])
    pairs = [
        ("client-ip", _quoted(mail.ip)),
        ("envelope-from", _quoted(mail.mail_from)),
        ("helo", _quoted(mail.helo)),
        ("identity", spf.identity),
        ("receiver", _quoted(receiver)),
    ]
    if spf.mechanism:
        pairs.append(("mechanism", _quoted(spf.mechanism)))
    if spf.reason and spf.result in ("temperror", "permerror"):
        pairs.append(("problem", _quoted(spf.reason)))
    lines = [f"Received-SPF: {spf.result}"]
    for word in (*f"({comment})".split(" "), *(f"{name}={value};" for name, value in pairs)):
        if len(lines[-1]) + 1 + len(word) > 78:
            lines.append("\t" + word)
        else:
            lines[-1] += " " + word
    return ("\r\n".join(lines).removesuffix(";") + "\r\n").encode("ascii")


def _sender(spf: SpfResult, mail: MailFacts) -> Mapping[str, str]:
    """MAIL FROM or the name in EHLO; the domain whole, and as it was asked for where it is not ASCII."""
    local, at, domain = mail.mail_from.rpartition("@") if spf.identity == "mailfrom" else ("", "", mail.helo)
    if spf.domain and not domain.isascii():
        domain = spf.domain
    text = _word(f"{local[: max(0, LONGEST - len(at + domain))]}{at}{domain}")
    return {f"smtp.{spf.identity}": text}


def _reason(result: str, reason: str) -> str:
    return _clean(reason) if result in ("temperror", "permerror") else ""


def _clean(text: str) -> str:
    """No "method=result" of its own may come into the field by a reason."""
    return _NOT_COMMENT.sub("?", text.replace(";", ",").replace('"', "'"))[:120]


def _word(text: str) -> str:
    return _NOT_WORD.sub("?", text[:LONGEST])


def _quoted(text: str) -> str:
    """RFC 7208 9.1: a dot-atom, or else a quoted string."""
    text = _NOT_QUOTED.sub("?", text[:LONGEST])
    return text if _ATOM.fullmatch(text) and not text.startswith(".") else f'"{text}"'
