"""People whom an account does not know, in a whole server: a token that passes the filter (F16), and a mailbox for
their mail (F14)."""

from __future__ import annotations

import re
import smtplib
import subprocess
from collections.abc import Iterator

import pytest

from tests.process.harness import ROOT, Server, command, wait_until
from tests.process.test_filter_mail import echomox, ham, imap, learnt, other, rows, spam

TRAINED = 30
STATIC = """
[workers]
classifier = 1
smtp = 1
imap = 1
submission = 1
[logs]
level = "trace"
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """u0 is trained with TRAINED mails of each kind and tells tokens; u1 knows nobody and has an introbox."""
    made = Server.demo(tmp_path_factory.mktemp("strangers") / "demo", "--no-limits")
    static = made.root / "config/echomox.toml"
    static.write_text(static.read_text() + STATIC)
    with made as server:
        echomox(server, "account", "set", "u0", "junk_filter.subject_pass_days=2")
        echomox(server, "account", "set", "u1", "introbox=New/People")
        with imap(server) as client:
            for number in range(TRAINED):
                client.append("Archive", "($NotJunk)", None, ham(number))
                client.append("Archive", "($Junk)", None, spam(number))
        learnt(server, 2 * TRAINED)
        yield server


def send(server: Server, mail: bytes, to: int, *more: int) -> tuple[int, str]:
    """The answer to DATA."""
    with smtplib.SMTP("127.0.0.1", server.ports["smtp"], timeout=60) as client:
        client.ehlo("far.example")
        client.mail("a@far.example")
        for account in (to, *more):
            client.rcpt(server.accounts[account]["address"])
        code, answer = client.data(mail)
        return code, answer.decode()


def with_subject(mail: bytes, words: str, number: int) -> bytes:
    """The same mail again, with more words in its subject."""
    again = re.sub(rb"Subject: (.*)\r\n", lambda found: found[0][:-2] + b" " + words.encode() + b"\r\n", mail, count=1)
    return re.sub(rb"Message-ID: <", f"Message-ID: <again{number}.".encode(), again)


def places(server: Server, mail: bytes, account: str) -> list[str]:
    return [row[0] for row in rows(server, mail, account)]


def test_mail_that_was_refused_is_let_in_with_the_token_of_the_reply(server: Server) -> None:
    mail = spam(700)
    code, answer = send(server, mail, 0)
    assert code == 550 and places(server, mail, "u0") == ["Rejects"]
    token = answer.rpartition(" ")[2]
    assert re.fullmatch("pass-[A-Z2-7]{24}", token) and len(answer) < 500
    (key,) = server.root.rglob("subjectpass.key")
    assert key.stat().st_mode & 0o777 == 0o600 and key.stat().st_uid == key.parent.stat().st_uid
    wrong = with_subject(mail, token[:-1] + ("A" if token[-1] != "A" else "B"), 1)
    assert send(server, wrong, 0)[0] == 550 and places(server, wrong, "u0") == ["Rejects"]
    good = with_subject(mail, f"({token.lower()})", 2)
    assert send(server, good, 0)[0] == 250 and places(server, good, "u0") == ["INBOX"]
    (row,) = rows(server, good, "u0")
    assert row[2]["reason"].startswith("above-reject,") and row[2]["reason"].endswith(",subject-pass")
    code, answer = send(server, with_subject(spam(701), token, 3), 0)
    assert code == 550 and token not in answer  # another author has another
    assert token.lower() not in server.log.lower() and "pass-***" in server.log


def test_an_account_without_the_option_tells_none(server: Server) -> None:
    echomox(server, "account", "set", "u0", "junk_filter.subject_pass_days=0")
    code, answer = send(server, spam(702), 0)
    assert code == 550 and "pass-" not in answer
    echomox(server, "account", "set", "u0", "junk_filter.subject_pass_days=2")
    assert "pass-" in send(server, spam(703), 0)[1]


def test_strangers_are_apart_until_the_user_moves_their_mail(server: Server) -> None:
    first, second, third = other(1), other(2), ham(1, "someone@else.example")
    assert send(server, first, 1)[0] == 250 and places(server, first, "u1") == ["New/People"]
    with imap(server, 1) as client:
        assert client.select('"New/People"')[1] == [b"1"]
        assert client.uid("MOVE", "1", "INBOX")[0] == "OK"
    learnt(server, 1, "u1")

    def known() -> bool:
        """A classifier reads what was learnt within moments."""
        mail = with_subject(second, "", next(numbers))
        assert send(server, mail, 1)[0] == 250
        return places(server, mail, "u1") == ["INBOX"]

    numbers = iter(range(10, 1000))
    wait_until(known, what="its author is known")
    assert send(server, third, 1)[0] == 250 and places(server, third, "u1") == ["New/People"]


def test_who_is_answered_is_no_stranger(server: Server) -> None:
    mail = ham(800, "asks@person.example")
    assert send(server, mail, 1)[0] == 250 and places(server, mail, "u1") == ["New/People"]
    echomox(server, "queue", "holdrules", "add", "--to-domain", "person.example")
    me = server.accounts[1]
    with smtplib.SMTP("127.0.0.1", server.ports["submission"], timeout=60) as client:
        client.login(me["address"], me["password"])
        client.sendmail(me["address"], ["asks@person.example"], f"From: {me['address']}\r\nSubject: re\r\n\r\nyes\r\n")
    again = ham(801, "asks@person.example")
    assert send(server, again, 1)[0] == 250 and places(server, again, "u1") == ["INBOX"]


def test_the_options_are_described_and_checked(server: Server) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        line = [*command("echomox"), "--config", str(server.root / "config"), *words]
        return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)

    described = run("config", "describe", "dynamic").stdout
    assert "#introbox = " in described and "#subject_pass_days = 0" in described
    for bad in ("introbox=Junk", "junk_filter.subject_pass_days=-1", "junk_filter.subject_pass_days=soon"):
        assert run("account", "set", "u1", bad).returncode != 0
    assert 'introbox = "New/People"' in (server.root / "config/domains.toml").read_text()
