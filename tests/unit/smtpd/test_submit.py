"""Submission: who may send what, what goes into the queue and what to the mailboxes, limits, and halves that fail."""

import asyncio
import errno
from dataclasses import replace
from email import message_from_bytes
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from echomox.config.schema import Dkim
from echomox.config.snapshot import Snapshot
from echomox.delivery.incoming import Taken
from echomox.errors import Reply
from echomox.queue.model import FAILURE_AND_DELAY, NEVER, QueueFull
from echomox.smtpd.submit import Submit, compared, named
from echomox.store.memory.engine import FakeEngine
from tests.unit.net.support import DYNAMIC, Host
from tests.unit.smtpd.support import Talk, codes, script

ACCEPTED = Reply(250, "2.0.0", "Accepted")
HEADER = ("From: mjl@example.org", "Date: x", "Message-ID: <a@b>")


class Queue:
    def __init__(self) -> None:
        self.mail: list[Any] = []
        self.troubles: list[Exception | None] = []
        self.rung = 0

    async def add(self, mail: Any) -> list[int]:
        trouble = self.troubles.pop(0) if self.troubles else None
        if trouble is not None:
            raise trouble
        self.mail.append(mail)
        return list(range(len(self.mail) * 10, len(self.mail) * 10 + len(mail.recipients)))

    def ring(self) -> None:
        self.rung += 1


class Delivery:
    def __init__(self) -> None:
        self.mail: list[Any] = []
        self.reply = ACCEPTED

    async def take(self, mail: Any) -> Taken:
        self.mail.append((mail, mail.read()))
        return Taken(self.reply)


class World:
    """A submission service of account mjl. changes: of the account."""

    def __init__(self, tmp_path: Any, dkim: tuple[Dkim, ...] = (), **changes: Any) -> None:
        self.host = Host(tmp_path)
        accounts = {**DYNAMIC.accounts, "mjl": replace(DYNAMIC.accounts["mjl"], **changes)}
        domains = {**DYNAMIC.domains, "example.org": replace(DYNAMIC.domains["example.org"], dkim=dkim)}
        self.host._snapshot = Snapshot(replace(DYNAMIC, accounts=accounts, domains=domains), self.host.static, 2)
        self.engine = FakeEngine()
        self.queue = Queue()
        self.delivery = Delivery()
        self.spool = tmp_path / "spool"
        self.spool.mkdir()
        for account in ("mjl", "small", "rest"):
            self.engine.create(account)

    def send(self, *lines: str, tls: str = "", login: str = "mjl") -> bytes:
        async def run() -> bytes:
            role = Submit(self.host, self.engine, self.delivery, self.queue, self.queue.ring)
            one = Talk(spool=self.spool, role=role)
            one.session.login, one.session.tls = login, tls
            answer = await one.send(script("EHLO client.example", *lines))
            for _ in range(6000):  # large messages are signed in a thread
                if one.session.resting:
                    break
                await asyncio.sleep(0.01)
            role.close()
            return answer or one.wire.out

        return asyncio.run(run())


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def mail(*to: str, sender: str = "mjl@example.org", header: tuple[str, ...] = HEADER, more: str = "") -> list[str]:
    lines = [f"MAIL FROM:<{sender}>{more}"]
    return [*lines, *(f"RCPT TO:{one}" for one in to), "DATA", *header, "", "text", "."]


SUBMISSIONS = [
    # (MAIL FROM, RCPT TO, From header, codes of MAIL, RCPT and the message)
    ("mjl@example.org", "mjl@example.org", "mjl@example.org", [250, 250, 354, 250]),
    ("second@example.org", "anybody@example.org", "M <mjl@example.org>", [250, 250, 354, 250]),
    ("mjl+x@example.org", "mjl@example.org", "mjl+y@example.org", [250, 250, 354, 250]),
    ("", "mjl@example.org", "mjl@example.org", [250, 250, 354, 250]),
    ("mjl@example.org", "mjl@elsewhere.example", "mjl@example.org", [250, 250, 354, 250]),
    ("mjl@example.org", "mjl@[192.0.2.1]", "mjl@example.org", [250, 250, 354, 250]),
    ("mjl@example.org", "mjl@example.org", "small@example.org", [250, 250, 354, 550]),
    ("mjl@example.org", "mjl@example.org", "mjl@example.org, small@example.org", [250, 250, 354, 550]),
    ("mjl@example.org", "mjl@example.org", "mjl@elsewhere.example", [250, 250, 354, 550]),
    ("mjl@example.org", "mjl@example.org", "nobody", [250, 250, 354, 550]),
    ("mjl@example.org", "mjl@example.org", "", [250, 250, 354, 550]),
    ("mjl@example.org", "x@paused.example", "", [250, 450, 554]),
    ("mjl@example.org", "x@-a-.example", "", [250, 501, 554]),
    ("small@example.org", "", "", [553]),
    ("mjl@elsewhere.example", "", "", [553]),
]


@pytest.mark.parametrize("sender, recipient, header, expected", SUBMISSIONS)
def test_who_may_send_what(sender, recipient, header, expected, world):
    lines = [f"MAIL FROM:<{sender}>"]
    if recipient:
        lines += [f"RCPT TO:<{recipient}>", "DATA"]
    if 354 in expected:
        lines += [f"From: {header}", "", "text", "."]
    answer = world.send(*lines)
    assert codes(answer)[1:] == expected
    assert len(world.delivery.mail) + len(world.queue.mail) == (expected[-1] == 250)


def test_a_disabled_account_sends_no_more(tmp_path):
    assert codes(World(tmp_path, disabled=True).send("MAIL FROM:<>"))[1] == 550


def test_both_halves_get_what_was_put_right(world):
    answer = world.send(
        "MAIL FROM:<mjl@example.org> RET=HDRS ENVID=e1", "RCPT TO:<a@b.example> NOTIFY=SUCCESS ORCPT=rfc822;x@y",
        "RCPT TO:<small@example.org>", "RCPT TO:<c@d.example>", "RCPT TO:<e@f.example> NOTIFY=NEVER",
        "DATA", "From: mjl@example.org", "Bcc: secret@example.org", "X-EchoMox-Extra-Job: 17",
        "Subject: hi", "", "text", ".",
        tls="TLSv1.3 X",
    )  # fmt: skip
    assert b" queued as 10 and 2 more\r\n" in answer
    out = world.queue.mail[0]
    assert [(to.address, to.notify, to.orcpt) for to in out.recipients] == [
        ("a@b.example", frozenset({"success"}), "rfc822;x@y"),
        ("c@d.example", FAILURE_AND_DELAY, ""),
        ("e@f.example", NEVER, ""),
    ]
    assert (out.account, out.sender, out.ret, out.envid, out.kind) == (
        "mjl",
        "mjl@example.org",
        "hdrs",
        "e1",
        "submission",
    )
    assert (out.extra, out.subject, out.require_tls, out.tls, out.eightbit) == ({"job": "17"}, "hi", None, True, False)
    assert world.queue.rung == 1
    sent = message_from_bytes(out.prefix + out.body)
    assert sent.keys()[:3] == ["Received", "Message-ID", "Date"]
    assert "Bcc" not in sent and "X-EchoMox-Extra-Job" not in sent
    assert " with ESMTPSA " in " ".join(sent["Received"].split()) and "192.0.2.1" not in sent["Received"]
    assert sent["Message-ID"] == out.message_id and out.message_id.endswith("@example.org>")
    kept, source = world.delivery.mail[0]
    assert [one.address for one in kept.destinations] == ["small@example.org"]
    assert source == out.body == kept.source
    assert (kept.remote_ip, kept.helo, kept.protocol, kept.size) == ("", "", "ESMTPSA", len(source))
    assert set(world.engine.open("mjl").correspondents(["a@b.example", "small@example.org", "mjl@example.org"])) == {
        "a@b.example", "small@example.org",
    }  # fmt: skip


def test_the_client_is_shown_where_the_account_wants_it(tmp_path):
    world = World(tmp_path, show_ip=True)
    world.send(*mail("<a@b.example>", "<small@example.org>"))
    assert b"client.example ([192.0.2.1])" in world.queue.mail[0].prefix
    assert world.delivery.mail[0][0].remote_ip == "192.0.2.1"


def test_tls_required(world):
    world.send(*mail("<a@b.example>", header=(*HEADER, "TLS-Required: No")), tls="x")
    world.send(*mail("<a@b.example>", header=(*HEADER, "TLS-Required: No"), more=" REQUIRETLS"), tls="x")
    world.send(*mail("<a@b.example>"), tls="x")
    assert [out.require_tls for out in world.queue.mail] == [False, True, None]


def test_held_mail_waits_in_the_queue_for_everybody(world):
    world.send(*mail("<a@b.example>", "<small@example.org>", more=" HOLDFOR=3600"))
    assert [to.address for to in world.queue.mail[0].recipients] == ["a@b.example", "small@example.org"]
    assert world.queue.mail[0].hold_until > 1_700_000_000
    assert not world.delivery.mail


def test_unique_return_addresses(tmp_path):
    world = World(tmp_path, unique_return_addresses=True)
    for _ in range(2):
        world.send(*mail("<a@b.example>", "<small@example.org>"))
    world.send(*mail("<a@b.example>", sender=""))
    first, second, null = world.queue.mail
    assert first.sender == f"mjl+{first.from_id}@example.org" != second.sender
    assert isinstance(
        world.host.snapshot().recipient(first.sender), type(world.host.snapshot().recipient("mjl@example.org"))
    )
    assert (null.sender, null.from_id) == ("", "")
    assert world.delivery.mail[0][0].mail_from == "mjl@example.org"


@pytest.mark.parametrize(
    "changes, text",
    [
        ({"max_outgoing_messages_per_day": 2}, b"452 4.2.2 This account has sent as much"),
        ({"max_first_time_recipients_per_day": 2}, b"452 4.2.2 This account has written to as many"),
    ],
)
def test_limits_of_a_day(changes, text, tmp_path):
    world = World(tmp_path, **changes)
    assert codes(world.send(*mail("<a@b.example>", "<c@d.example>")))[-1] == 250
    answer = world.send(*mail("<e@f.example>", "<small@example.org>"))
    assert text in answer
    assert len(world.queue.mail) == 1 and not world.delivery.mail
    assert codes(world.send(*mail("<small@example.org>")))[-1] == 250
    repeated = codes(world.send(*mail("<A@B.example>")))[-1]
    assert repeated == (452 if "max_outgoing_messages_per_day" in changes else 250)


TROUBLES = [
    (QueueFull(), b"452 4.3.1 "),
    (OSError(errno.ENOSPC, "full"), b"452 4.3.1 "),
    (OSError(errno.EIO, "broken"), b"451 4.3.0 "),
    (RuntimeError("ours"), b"451 4.3.0 "),
]


@pytest.mark.parametrize("trouble, expected", TROUBLES)
def test_a_queue_that_refuses_leaves_nothing_behind(trouble, expected, world):
    world.queue.troubles = [trouble]
    assert b"\r\n" + expected in world.send(*mail("<a@b.example>", "<small@example.org>"))
    assert not world.delivery.mail


def test_mailboxes_that_fail_are_left_to_the_queue(world):
    world.delivery.reply = Reply(452, "4.3.1", "full")
    assert codes(world.send(*mail("<a@b.example>", "<small@example.org>")))[-1] == 250
    assert [[to.address for to in out.recipients] for out in world.queue.mail] == [
        ["a@b.example"],
        ["small@example.org"],
    ]


def test_mailboxes_that_fail_alone_are_told(world):
    world.delivery.reply = Reply(452, "4.3.1", "full")
    assert codes(world.send(*mail("<small@example.org>")))[-1] == 452
    assert not world.queue.mail


def signing_key(tmp_path) -> Dkim:
    file = tmp_path / "key.pem"
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(pem)
    return Dkim(selector="2026a", key=str(file))


def test_mail_to_others_is_signed(tmp_path):
    world = World(tmp_path, dkim=(signing_key(tmp_path),))
    world.send(*mail("<a@b.example>"))
    sent = message_from_bytes(world.queue.mail[0].prefix + world.queue.mail[0].body)
    assert sent.keys()[:2] == ["DKIM-Signature", "Received"]
    assert "d=example.org;" in sent["DKIM-Signature"] and "s=2026a;" in sent["DKIM-Signature"]


def test_large_mail_is_rewritten_and_signed_in_its_file(tmp_path):
    world = World(tmp_path, dkim=(signing_key(tmp_path),))
    text = ["x" * 70] * 3000
    lines = ["MAIL FROM:<mjl@example.org>", "RCPT TO:<a@b.example>", "RCPT TO:<small@example.org>", "DATA"]
    seen: list[bytes] = []
    add = world.queue.add

    async def look(one: Any) -> list[int]:
        with open(one.file, "rb") as source:
            seen.append(source.read())
        return await add(one)

    world.queue.add = look
    world.send(*lines, *HEADER, "Bcc: secret@example.org", "", *text, ".")
    out = world.queue.mail[0]
    assert out.body is None and b"DKIM-Signature" in out.prefix
    expected = "\r\n".join([*HEADER, "", *text, ""]).encode()
    assert seen == [expected]
    assert world.delivery.mail[0][1] == expected
    assert not list(world.spool.iterdir())


def test_a_key_that_cannot_be_read_keeps_mail_back(tmp_path):
    world = World(tmp_path, dkim=(Dkim(selector="a", key=str(tmp_path / "none.pem")),))
    assert b"451 4.3.5 " in world.send(*mail("<a@b.example>"))
    assert not world.queue.mail


def test_small_things():
    assert compared("A@B.Example") == compared("a@b.example") == "a@b.example"
    assert compared("a@bücher.example") == "a@xn--bcher-kva.example"
    assert [named(ids) for ids in ([], [7], [7, 8])] == ["", "7", "7 and 1 more"]
