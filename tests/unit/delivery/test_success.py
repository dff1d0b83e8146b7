"""Who may be told of success, what copies that are sent on ask for, and the signatures of what the server writes."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from echomox.delivery.bounce import Maker
from echomox.delivery.forward import Forwarder
from echomox.delivery.signing import HostSigner
from echomox.delivery.srs import Srs
from echomox.delivery.success import may_tell, without_success
from echomox.dns.fake import FakeResolver
from echomox.mailauth.dkim import verify_dkim
from echomox.mailauth.dmarc import DmarcResult
from echomox.queue.model import Fate, Outgoing, Report
from tests.unit.delivery.world import auth, facts, snapshot, to
from tests.unit.smtpd.support import QUIET

NOW = 1_700_000_000.0
LIST = """
[aliases."team@a.test"]
members = ["ann@a.test", "eve@far.example"]
[accounts.own]
addresses = ["own@a.test"]
forward = ["own@far.example"]
"""

PROOFS = [
    # (result of SPF, its domain, its identity, result of DMARC, author's domain, sender) -> may be told
    ("pass", "b.example", "mailfrom", "none", "", "x@b.example", True),
    ("pass", "b.example", "mailfrom", "none", "", "x@B.Example", True),
    ("softfail", "b.example", "mailfrom", "none", "", "x@b.example", False),
    ("pass", "mx.b.example", "helo", "none", "", "x@b.example", False),
    ("pass", "other.example", "mailfrom", "none", "", "x@b.example", False),
    ("fail", "b.example", "mailfrom", "pass", "b.example", "x@b.example", True),
    ("fail", "b.example", "mailfrom", "pass", "b.example", "x@news.b.example", True),
    ("none", "", "mailfrom", "pass", "evil.example", "x@b.example", False),
    ("none", "", "mailfrom", "fail", "b.example", "x@b.example", False),
    ("none", "", "mailfrom", "none", "", "", False),
    ("none", "", "mailfrom", "pass", "", "bad..name@..", False),
]


@pytest.mark.parametrize("spf, domain, identity, dmarc, author, sender, expected", PROOFS)
def test_who_may_be_told(spf, domain, identity, dmarc, author, sender, expected):
    checked = auth()
    checked = replace(
        checked,
        spf=replace(checked.spf, result=spf, domain=domain, identity=identity),
        dmarc=DmarcResult(dmarc, from_domain=author),
    )
    found = snapshot("")
    seen = facts(found, to(found, "ann@a.test"), checked=checked, mail_from=sender)
    assert may_tell(seen) is expected
    assert may_tell(replace(seen, auth=None)) is False
    assert may_tell(replace(seen, auth=None, mail=replace(seen.mail, login="ann"))) is True


@pytest.mark.parametrize(
    "notify, left",
    [
        ({"success"}, {"never"}),
        ({"success", "failure"}, {"failure"}),
        ({"never"}, {"never"}),
        ({"delay"}, {"delay"}),
        (set(), set()),
    ],
)
def test_without_success(notify, left):
    assert without_success(frozenset(notify)) == left


class Queue:
    def __init__(self) -> None:
        self.mail: list[Outgoing] = []

    async def add(self, mail: Outgoing) -> list[int]:
        self.mail.append(mail)
        return [1]


def forwarded(address: str, notify: set[str], **more: Any) -> Outgoing:
    found = snapshot(LIST)
    wanted = [replace(one, notify=frozenset(notify)) for one in to(found, address)]
    queue = Queue()
    forwarder = Forwarder(queue, Srs((b"k" * 32,)), None, QUIET)
    asyncio.run(forwarder.send(facts(found, wanted, **more), [one for one in wanted if one.relay]))
    (mail,) = queue.mail
    return mail


@pytest.mark.parametrize(
    "address, proved, notify",
    [
        ("team@a.test", True, {"success", "delay"}),
        ("team@a.test", False, {"delay"}),
        ("own@a.test", True, {"delay"}),  # beside a copy in the mailbox
    ],
)
def test_copies_elsewhere_do_not_report_to_strangers(address, proved, notify):
    mail = forwarded(address, {"success", "delay"}, checked=auth(spf="b.example" if proved else "far.example"))
    assert [one.notify for one in mail.recipients] == [notify]


def test_copies_of_our_users_posts_carry_their_signature():
    mail = forwarded("team@a.test", set(), login="ann", mail_from="ann@a.test", signature=b"DKIM-Signature: x\r\n")
    assert mail.prefix == b"Delivered-To: team@a.test\r\nReceived: here\r\nDKIM-Signature: x\r\n"


REPORT = Report(
    sender="x@b.example", account="", envid="", ret="hdrs", smtputf8=False, queued=NOW, message_id="<1@b>",
    header=b"From: x@b.example\r\n", body=b"",
    fates=(Fate("ann@a.test", "", "failed", 550, "5.1.1", "no", "", NOW),),
)  # fmt: skip


@pytest.fixture
def key(tmp_path):
    made = Ed25519PrivateKey.generate()
    path = tmp_path / "k.pem"
    path.write_bytes(made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = made.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    record = b"v=DKIM1; k=ed25519; p=" + base64.b64encode(public)
    return SimpleNamespace(path=path, record=record)


def with_key(path: Any, domain: str = "a.test") -> Any:
    rows = f'[[domains."{domain}".dkim]]\nselector = "s"\nkey = "{path}"\n'
    base = f'[accounts.ann]\naddresses = ["ann@{domain}"]\n'
    return snapshot(f'[domains."{domain}"]\n' + base + rows, base="")


@pytest.mark.parametrize("domain", ["a.test", "mail.a.test"])
def test_reports_are_signed_by_the_host_or_the_domain_above_it(key, domain):
    found = with_key(key.path, domain)
    mail = Maker("mail.a.test", Random(1), HostSigner("mail.a.test", lambda: found, QUIET)).compose(REPORT, NOW)
    assert mail is not None and mail.prefix.startswith(b"DKIM-Signature:")
    resolver = FakeResolver({(f"s._domainkey.{domain}", "TXT"): [key.record]})
    (result,) = asyncio.run(verify_dkim(resolver, mail.prefix + (mail.body or b""), now=NOW, timeout=5))
    assert (result.result, result.domain) == ("pass", domain)


def test_without_a_key_or_with_a_broken_one_reports_go_unsigned(key):
    broken = with_key(key.path)
    for found in (snapshot(""), with_key(key.path, "other.test"), broken):
        if found is broken:
            key.path.write_text("no key")
        signer = HostSigner("mail.a.test", lambda found=found: found, QUIET)
        mail = Maker("mail.a.test", Random(1), signer).compose(REPORT, NOW)
        assert mail is not None and mail.prefix == b"" and mail.body
    key.path.unlink()
    assert HostSigner("mail.a.test", lambda: broken, QUIET)(b"From: x\r\n\r\n", NOW) == b""
