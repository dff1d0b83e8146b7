"""Delivery status notifications: what became of a message, to its sender (RFC 3461, 3464, 6522; 6533 with SMTPUTF8).

Pure: a Report in, a message for the queue out. multipart/report with a text for people, message/delivery-status for
programs, and the original: whole, when it failed, the sender did not ask for RET=HDRS and it is small; else its header
(RFC 3461 4.3). The null sender, so that no report ever causes another (RFC 5321 6.1). What a remote server said is
quoted without control characters; the lines of the original are never changed: where they are too long or have bare
CR or LF, only the header is returned, without the lines that are.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from echomox.message.compose import format_field, new_message_id
from echomox.message.date import format_date
from echomox.queue.model import NEVER, Fate, Outgoing, QueueRecipient, Report

LINE_LIMIT = 998  # RFC 5322 2.1.1
RECIPIENTS_IN_TEXT = 20
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,990}>")
_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")

SUBJECTS = {
    "failed": "Message not delivered",
    "delayed": "Message delayed, delivery is still being tried",
    "delivered": "Message delivered",
    "relayed": "Message handed on",
    "expanded": "Message distributed",
}
OPENINGS = {
    "failed": "Your message could not be delivered to the following recipients. It will not be tried again.",
    "delayed": "Your message has not been delivered to the following recipients yet. You need not send it again: "
    "this server goes on trying, and tells you if it gives up.",
    "delivered": "Your message was delivered to the following recipients, as you asked to be told.",
    "relayed": "Your message was handed on for the following recipients to a server that does not report deliveries; "
    "you may hear no more of it.",
    "expanded": "Your message was handed on to the members of the following lists.",
}
REASONS = (
    ("x.1.1", "There is no such mailbox at that domain. Look for a slip in the address."),
    ("x.1.2", "That domain does not exist, or takes no mail."),
    ("x.1.10", "That domain says that it takes no mail at all."),
    ("x.2.1", "The mailbox is switched off."),
    ("x.2.2", "The mailbox is full."),
    ("x.2.3", "The message is larger than the recipient takes."),
    ("x.3.4", "The message is larger than the other server takes."),
    ("x.4.1", "The other server did not answer."),
    ("x.4.3", "The name service had no answer for that domain."),
    ("x.4.4", "No way to that domain was found."),
    ("x.4.7", "The time for trying is over."),
    ("x.7.1", "The other server does not want this message."),
    ("x.7.26", "The other server could not verify that the message is really from you."),
    ("x.7.30", "The message asks for encryption all the way, which the other server does not offer."),
)
"""RFC 3463 codes in plain words, by class-less code."""


@dataclass(frozen=True, slots=True)
class Maker:
    """hostname: ASCII; the reporting server. random: of the Message-ID and the boundary. sign: gives the fields that
    sign a message (`signing.HostSigner`)."""

    hostname: str
    random: Random
    sign: Callable[[bytes, float], bytes] = lambda source, now: b""

    def compose(self, report: Report, now: float) -> Outgoing | None:
        """None when there is nobody to tell."""
        if not report.sender or not report.fates:
            return None
        utf8 = report.smtputf8 and not _all_ascii(report)
        secret = any(fate.require_tls for fate in report.fates)
        original, whole = _original(report, whole=not secret)  # RFC 8689 5: its body goes no way that was not asked for
        status = self._status(report, utf8)
        message_id = new_message_id(self.hostname, self.random)
        boundary = f"={self.random.getrandbits(96):024x}="
        subject = SUBJECTS[_worst(report.fates)]
        parts = (
            (b"text/plain; charset=utf-8", _human(report, self.hostname, now).encode("utf-8", "replace")),
            (b"message/global-delivery-status" if utf8 else b"message/delivery-status", status),
            (_original_type(whole, utf8), original),
        )
        head = self._head(report, (subject, message_id, boundary, now))
        body = head + b"".join(_part(boundary, kind, data) for kind, data in parts) + f"--{boundary}--\r\n".encode()
        return Outgoing(
            sender="", recipients=(QueueRecipient(report.sender, notify=NEVER),), body=body,
            prefix=self.sign(body, now), message_id=message_id,
            subject=subject, smtputf8=utf8, eightbit=not body.isascii(), require_tls=True if secret else None,
            kind="dsn", id=f"dsn{self.random.getrandbits(48):012x}",
        )  # fmt: skip

    def _head(self, report: Report, more: tuple[str, str, str, float]) -> bytes:
        subject, message_id, boundary, now = more
        lines = [
            f"From: Mail Delivery System <mailer-daemon@{self.hostname}>\r\n".encode(),
            f"To: <{_clean(report.sender)}>\r\n".encode(),
            format_field("Subject", subject),
            f"Date: {format_date(now)}\r\n".encode(),
            f"Message-ID: {message_id}\r\n".encode(),
        ]
        if _MESSAGE_ID.fullmatch(report.message_id):
            lines.append(f"In-Reply-To: {report.message_id}\r\nReferences: {report.message_id}\r\n".encode())
        lines += [
            b"Auto-Submitted: auto-replied\r\n",  # RFC 3834 5
            b"MIME-Version: 1.0\r\n",
            f'Content-Type: multipart/report; report-type=delivery-status;\r\n boundary="{boundary}"\r\n'.encode(),
            b"\r\nThis is a report in MIME format.\r\n\r\n",
        ]
        return b"".join(lines)

    def _status(self, report: Report, utf8: bool) -> bytes:
        """RFC 3464 2.2 and 2.3."""
        groups = [[("Reporting-MTA", f"dns; {self.hostname}")]]
        if report.envid:
            groups[0].insert(0, ("Original-Envelope-Id", report.envid))
        groups[0].append(("Arrival-Date", format_date(report.queued)))
        groups += [_group(fate, utf8) for fate in report.fates]
        text = "\r\n".join("".join(f"{name}: {_clean(value)}\r\n" for name, value in group) for group in groups)
        return text.encode("utf-8" if utf8 else "ascii", "replace")


def _group(fate: Fate, utf8: bool) -> list[tuple[str, str]]:
    fields = []
    if fate.orcpt:
        fields.append(("Original-Recipient", _typed(fate.orcpt, utf8)))
    fields.append(("Final-Recipient", f"{_type_of(fate.address)}; {_address(fate.address, utf8)}"))
    fields += [("Action", fate.action), ("Status", status_of(fate))]
    if fate.remote_mta:
        fields.append(("Remote-MTA", f"dns; {fate.remote_mta}"))
        fields.append(("Diagnostic-Code", f"smtp; {_said(fate)}"))
    elif fate.action in ("failed", "delayed"):
        fields.append(("Diagnostic-Code", f"X-EchoMox; {_said(fate)}"))
    if fate.when:
        fields.append(("Last-Attempt-Date", format_date(fate.when)))
    if fate.action == "delayed" and fate.until:
        fields.append(("Will-Retry-Until", format_date(fate.until)))
    return fields


def status_of(fate: Fate) -> str:
    """RFC 3464 2.3.4: the code, of the class that the action says."""
    wanted = {"failed": "5", "delayed": "4"}.get(fate.action, "2")
    if _ENHANCED.fullmatch(fate.enhanced):
        return wanted + fate.enhanced[1:]
    return f"{wanted}.0.0"


def _said(fate: Fate) -> str:
    return " ".join(filter(None, (str(fate.code or ""), fate.enhanced, fate.text)))


def _type_of(address: str) -> str:
    return "rfc822" if address.isascii() else "utf-8"


def _typed(orcpt: str, utf8: bool) -> str:
    kind, _, address = orcpt.partition(";")
    return f"{kind.strip()}; {_address(address.strip(), utf8)}"


def _address(address: str, utf8: bool) -> str:
    """RFC 6533 3: utf-8-addr-xtext where the report itself has to be ASCII."""
    if utf8 or address.isascii():
        return address
    return "".join(one if one.isascii() and one not in "\\+=" else f"\\x{{{ord(one):X}}}" for one in address)


def _clean(text: str) -> str:
    """One line of at most LINE_LIMIT bytes, without control characters."""
    line = _CONTROL.sub(" ", text).strip()
    return line.encode("utf-8", "replace")[: LINE_LIMIT - 100].decode("utf-8", "ignore")


def _all_ascii(report: Report) -> bool:
    words = [report.sender, *(word for fate in report.fates for word in (fate.address, fate.orcpt))]
    return all(word.isascii() for word in words) and report.header.isascii()


def _worst(fates: Sequence[Fate]) -> str:
    order = ("failed", "delayed", "relayed", "expanded", "delivered")
    return min((fate.action for fate in fates), key=order.index)


def _human(report: Report, hostname: str, now: float) -> str:
    """RFC 6522 3: what happened, for people."""
    action = _worst(report.fates)
    lines = [f"This is the mail server {hostname}.", "", *textwrap.wrap(OPENINGS[action], 76), ""]
    for fate in report.fates[:RECIPIENTS_IN_TEXT]:
        lines.append(f"  <{_clean(fate.address)}>")
        if fate.action not in ("delivered", "expanded"):
            who = f"{_clean(fate.remote_mta)} said: " if fate.remote_mta else ""
            lines += [f"    {line}" for line in textwrap.wrap(who + _clean(_said(fate)), 72)]
        if fate.action in ("failed", "delayed") and (reason := reason_of(fate.enhanced)):
            lines += [f"    {line}" for line in textwrap.wrap(reason, 72)]
        if fate.until:
            lines.append(f"    Delivery is tried until {format_date(fate.until)}.")
        lines.append("")
    if len(report.fates) > RECIPIENTS_IN_TEXT:
        lines += [f"  and {len(report.fates) - RECIPIENTS_IN_TEXT} more, in the part that follows.", ""]
    lines.append(f"Your message came to this server at {format_date(report.queued)}.")
    return "\r\n".join(lines) + "\r\n"


def reason_of(enhanced: str) -> str:
    """In plain words; "" when there are none for the code."""
    _, _, rest = enhanced.partition(".")
    return dict(REASONS).get(f"x.{rest}", "")


def _original(report: Report, whole: bool) -> tuple[bytes, bool]:
    """(bytes, whether they are the whole message)"""
    if whole and report.body and _is_clean(report.header) and _is_clean(report.body):
        return report.header + b"\r\n" + report.body, True
    lines = [line for line in report.header.split(b"\r\n") if line and _is_clean(line)]
    return b"".join(line + b"\r\n" for line in lines), False


def _is_clean(data: bytes) -> bool:
    """No line is too long, no CR or LF alone, no NUL."""
    if b"\0" in data or data.count(b"\n") != data.count(b"\r\n") or data.count(b"\r") != data.count(b"\r\n"):
        return False
    return len(data) <= LINE_LIMIT or all(len(line) <= LINE_LIMIT for line in data.split(b"\r\n"))


def _original_type(whole: bool, utf8: bool) -> bytes:
    if utf8:
        return b"message/global" if whole else b"message/global-headers"
    return b"message/rfc822" if whole else b"text/rfc822-headers"


def _part(boundary: str, kind: bytes, data: bytes) -> bytes:
    encoding = b"7bit" if data.isascii() else b"8bit"
    end = b"" if data.endswith(b"\r\n") else b"\r\n"
    return b"".join(
        (
            f"--{boundary}\r\n".encode(), b"Content-Type: ", kind, b"\r\nContent-Transfer-Encoding: ", encoding,
            b"\r\n\r\n", data, end, b"\r\n",
        )
    )  # fmt: skip
