"""The filter over SMTP and IMAP, end to end: what its parts do together, what a move teaches, the same bits for the
same mail, mailboxes that speak by their names, people written to, own rules, and classifiers that are killed."""

from __future__ import annotations

import contextlib
import imaplib
import json
import os
import random
import re
import signal
import smtplib
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from echomox.store.rows import compact
from tests.process.harness import ROOT, Server, command, wait_until

TRAINED = 30
CLASSIFIERS = ("classifier.0", "classifier.1")
STATIC = "\n[workers]\nclassifier = 2\nsmtp = 1\nimap = 1\nsubmission = 1\n"
FILTER = "\n[accounts.{0}.junk_filter]\nmode = \"junk-only\"\n"
BY_NAME = 'junk_mailbox = "^spam"\nneutral_mailbox = "^inbox$"\nnotjunk_mailbox = "^lists"\n'
DATE = "Date: Mon, 1 Jan 2024 10:00:00 +0000\r\n"


def vocabulary(seed: int) -> list[str]:
    known = random.Random(seed)
    pieces = [a + b for a in "bcdfghjklmnprstvw" for b in "aeiou"]
    return ["".join(known.choice(pieces) for _ in range(known.randint(2, 4))) for _ in range(60)]


GOOD, BAD, OTHER = vocabulary(1), vocabulary(2), vocabulary(3)


def text(known: random.Random, words: list[str], number: int) -> str:
    return " ".join(known.choice(words) for _ in range(number))


def ham(number: int, sender: str = "") -> bytes:
    known = random.Random(1000 + number)
    sender = sender or f"friend{number % 4}@good.example"
    return (
        f"From: Friend <{sender}>\r\nTo: u0@example.test\r\nSubject: {text(known, GOOD, 3)}\r\n"
        f"Message-ID: <h{number}@good.example>\r\n{DATE}\r\n{text(known, GOOD, 60)}\r\n"
    ).encode()


def spam(number: int, padding: int = 0, sender: str = "") -> bytes:
    """padding: words of ham behind it."""
    known = random.Random(5000 + number)
    sender = sender or f"shop{number}@s{number}.example"
    link = f'<a href="http://10.1.2.{number % 250}/{known.randrange(10**8)}">http://www.bank.example/login</a>'
    return (
        f"From: Shop <{sender}>\r\nTo: u0@example.test\r\nSubject: {text(known, BAD, 3)}\r\n"
        f"Message-ID: <s{number}@s{number}.example>\r\n{DATE}MIME-Version: 1.0\r\n"
        f"Content-Type: text/html; charset=utf-8\r\n\r\n<html><body><p>{text(known, BAD, 30)} {link}</p>"
        f"<p>{text(known, GOOD, padding)}</p></body></html>\r\n"
    ).encode()


def other(number: int) -> bytes:
    """A newsletter: in words that the account does not know yet."""
    known = random.Random(9000 + number)
    return (
        f"From: News <news@letters.example>\r\nTo: u0@example.test\r\nSubject: {text(known, OTHER, 3)}\r\n"
        f"Message-ID: <n{number}@letters.example>\r\n{DATE}\r\n{text(known, OTHER, 60)}\r\n"
    ).encode()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """u0 is trained with TRAINED mails of each kind; u1 with none, its mailboxes speak."""
    made = Server.demo(tmp_path_factory.mktemp("mail"), "--no-limits")
    static, dynamic = made.root / "config/echomox.toml", made.root / "config/domains.toml"
    static.write_text(static.read_text() + STATIC)
    named = dynamic.read_text().replace("[accounts.u1]\n", "[accounts.u1]\n" + BY_NAME)
    dynamic.write_text(named + FILTER.format("u0") + FILTER.format("u1"))
    with made as server:
        with imap(server) as client:
            for number in range(TRAINED):
                client.append("Archive", "($NotJunk)", None, ham(number))
                client.append("Archive", "($Junk)", None, spam(number))
        learnt(server, 2 * TRAINED)
        yield server


@contextlib.contextmanager
def imap(server: Server, account: int = 0) -> Iterator[imaplib.IMAP4]:
    with imaplib.IMAP4("127.0.0.1", server.ports["imap"], timeout=60) as client:
        client.login(server.accounts[account]["address"], server.accounts[account]["password"])
        yield client


def echomox(server: Server, *argv: str) -> Any:
    line = [*command("echomox"), "--config", str(server.root / "config"), "--json", *argv]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def learnt(server: Server, number: int, account: str = "u0") -> None:
    wait_until(lambda: echomox(server, "filter", "stats", account)["MessageTotal"] == number, what="learnt")


def deliver(server: Server, mail: bytes, to: int = 0, sender: str = "a@far.example") -> bytes:
    """The answer to DATA."""
    with smtplib.SMTP("127.0.0.1", server.ports["smtp"], timeout=60) as client:
        client.ehlo("far.example")
        client.mail(sender)
        client.rcpt(server.accounts[to]["address"])
        code, answer = client.data(mail)
        assert code == 250, answer
        return answer


def rows(server: Server, mail: bytes, account: str = "u0") -> list[tuple[str, int, dict[str, Any]]]:
    """(mailbox, flags, verdict) of each delivery of a mail, in their order."""
    (identity,) = re.findall(rb"Message-ID: <(.*?)>", mail)
    (path,) = server.root.rglob(f"accounts/{account}/index.db")
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        query = """SELECT mailbox.name, flags, content.id FROM message JOIN content ON content.id = content
                   JOIN mailbox ON mailbox.id = mailbox_id WHERE content.message_id LIKE ? ORDER BY message.id"""
        found = connection.execute(query, (f"%{identity.decode()}%",)).fetchall()
        verdicts = [compact.trace(connection.execute, content)[1] for _, _, content in found]
    return [(row[0], row[1], json.loads(verdict) if verdict else {}) for row, verdict in zip(found, verdicts)]


def judged(server: Server, mail: bytes, account: str = "u0") -> tuple[str, dict[str, Any], dict[str, float]]:
    """Delivers it: mailbox, verdict, and what each part with an opinion said."""
    deliver(server, mail, int(account[1:]))
    mailbox, _, verdict = rows(server, mail, account)[-1]
    assert verdict["parts"] == "all"
    said = {item["stage"]: item["probability"] for item in verdict["evidence"] if item["weight"] > 0}
    return mailbox, verdict, said


def test_what_bayes_gets_wrong_and_the_whole_gets_right_lands_in_junk(server: Server) -> None:
    mailbox, verdict, said = judged(server, spam(900, 100))
    assert said["bayes"] < 0.24 < 0.3 < verdict["probability"]
    assert mailbox == "Junk"
    assert {"bayes", "ngrams", "esn", "membranes"} <= set(said)
    mailbox, verdict, said = judged(server, ham(900))
    assert (mailbox, verdict["probability"] < 0.1) == ("INBOX", True)


def test_the_same_mail_gets_the_same_bits_also_after_a_restart(server: Server) -> None:
    mails = [spam(901, 100), ham(901), other(901)]
    before = [judged(server, mail)[1] for mail in mails]
    again = [judged(server, mail)[1] for mail in mails * 3]  # by both classifiers
    assert again == before * 3
    server.stop()
    server.start()
    assert [judged(server, mail)[1] for mail in mails] == before
    with imap(server) as client:
        client.select("INBOX", readonly=True)
        _, found = client.search(None, "HEADER", "Message-ID", "n901@letters.example")
        heads = [
            client.fetch(number.decode(), "(BODY.PEEK[HEADER.FIELDS (X-EchoMox-Verdict)])")[1][0][1]
            for number in found[0].split()
        ]
    assert len(heads) == 5 and len(set(heads)) == 1 and b"X-EchoMox-Verdict" in heads[0]


def test_moves_over_imap_change_the_next_verdict(server: Server) -> None:
    total = echomox(server, "filter", "stats", "u0")["MessageTotal"]
    mailbox, before, _ = judged(server, other(1))
    assert mailbox == "INBOX"
    for number in range(2, 7):
        deliver(server, other(number))
    with imap(server) as client:
        client.select("INBOX")
        _, found = client.search(None, "FROM", "news@letters.example")
        numbers = b",".join(found[0].split()).decode()
        assert client._simple_command("MOVE", numbers, "Junk")[0] == "OK"
    moved = len(found[0].split())
    learnt(server, total + moved)
    mailbox, after, _ = judged(server, other(50))
    assert (mailbox, after["probability"] > before["probability"] + 0.3) == ("Junk", True)
    with imap(server) as client:
        client.select("Junk")
        _, found = client.search(None, "FROM", "news@letters.example", "KEYWORD", "$Junk")
        numbers = b",".join(found[0].split()).decode()
        assert client._simple_command("MOVE", numbers, "INBOX")[0] == "OK"
    learnt(server, total)
    again = judged(server, other(1))[1]
    assert (again["probability"], again["evidence"]) == (before["probability"], before["evidence"])


def test_mailboxes_teach_by_their_names(server: Server) -> None:
    junk, notjunk = "$Junk", "$NotJunk"
    with imap(server, 1) as client:
        for name in ("Spam", "Lists"):
            client.create(name)
        for number, mailbox in enumerate(("Spam", "Lists", "INBOX", "Archive")):
            client.append(mailbox, None, None, other(100 + number))
        learnt(server, 2, "u1")

        def keywords(mailbox: str) -> bytes:
            client.select(mailbox, readonly=True)
            return b" ".join(client.fetch("1:*", "(FLAGS)")[1])

        assert junk.encode() in keywords("Spam") and notjunk.encode() in keywords("Lists")
        assert b"Junk" not in keywords("INBOX") and b"Junk" not in keywords("Archive")
        client.select("Spam")
        assert client._simple_command("MOVE", "1", "INBOX")[0] == "OK"
        learnt(server, 1, "u1")
        assert b"Junk" not in keywords("INBOX")
    deliver(server, other(110), 1)
    assert rows(server, other(110), "u1")[0][0] == "INBOX"
    time.sleep(1.5)  # a look of the trainer later nothing was learnt of it
    learnt(server, 1, "u1")


def test_whom_the_account_wrote_to_is_known(server: Server) -> None:
    u0, u1 = (one["address"] for one in server.accounts[:2])
    mail = ham(950, u1)
    _, _, said = judged(server, mail)
    assert "reputation" not in said
    with smtplib.SMTP("127.0.0.1", server.ports["submission"], timeout=60) as client:
        client.starttls()
        client.login(u0, server.accounts[0]["password"])
        client.sendmail(u0, [u1], f"From: {u0}\r\nTo: {u1}\r\nSubject: hello\r\n\r\nhello\r\n")
    _, verdict, said = judged(server, ham(951, u1))
    (reasons,) = [item["reasons"] for item in verdict["evidence"] if item["stage"] == "reputation"]
    assert said["reputation"] < 0.1 and reasons == [f"written to {u1} 0/0"]
    (reasons,) = [item["reasons"] for item in verdict["evidence"] if item["stage"] == "membranes"]
    assert any(reason.startswith("acquaintance") for reason in reasons)


def test_what_one_account_is_taught_changes_no_bit_of_another(server: Server) -> None:
    mails = [spam(970), ham(970), other(970)]
    before = [judged(server, mail, "u1")[1] for mail in mails]
    total = echomox(server, "filter", "stats", "u0")["MessageTotal"]
    with imap(server) as client:
        for number in range(12):
            client.append("Archive", "($Junk)", None, other(300 + number))
        learnt(server, total + 12)
        assert [judged(server, mail, "u1")[1] for mail in mails] == before
        client.select("Archive")
        _, found = client.search(None, "FROM", "news@letters.example")
        client.store(b",".join(found[0].split()).decode(), "-FLAGS.SILENT", "($Junk)")
    learnt(server, total)


@contextlib.contextmanager
def settings(server: Server, lines: str) -> Iterator[None]:
    """Of u0's filter, for a while."""
    dynamic = server.root / "config/domains.toml"
    before = dynamic.read_text()
    assert before.count(FILTER.format("u0")) == 1
    dynamic.write_text(before.replace(FILTER.format("u0"), f"\n[accounts.u0.junk_filter]\n{lines}\n"))
    assert reload(server).returncode == 0
    yield
    dynamic.write_text(before)
    assert reload(server).returncode == 0


def test_shadow_mode_judges_and_delivers_to_the_inbox(server: Server) -> None:
    with settings(server, "shadow = true"):
        mailbox, verdict, _ = judged(server, spam(975))
    assert mailbox == "INBOX" and verdict["probability"] > 0.8 and verdict["reason"].startswith("shadow-reject")


def test_the_users_lists_decide_alone(server: Server) -> None:
    lists = 'mode = "junk-only"\nallow = ["@s976.example"]\nblock = ["friend1@good.example"]'
    with settings(server, lists):
        for mail, place, reason in (
            (spam(976), "INBOX", "allow list shop976@s976.example"),
            (ham(977), "Junk", "block list friend1@good.example"),
        ):
            mailbox, verdict, _ = judged(server, mail)
            said = [item["reasons"] for item in verdict["evidence"] if item["stage"] == "reputation"]
            assert (mailbox, said) == (place, [[reason]])


def test_weights_of_the_settings_are_those_of_the_verdict(server: Server) -> None:
    with settings(server, 'mode = "junk-only"\nweights = ["ngrams=0", "esn=0"]'):
        _, verdict, said = judged(server, spam(978))
    weights = {item["stage"]: item["weight"] for item in verdict["evidence"]}
    assert weights["ngrams"] == weights["esn"] == 0.0 < weights["bayes"] and "ngrams" not in said


def test_kill_9_of_everything_keeps_what_was_learnt_to_the_bit(server: Server) -> None:
    mails = [spam(980, 100), ham(980), other(980)]
    (directory,) = server.root.rglob("data/reservoir")

    def known() -> tuple[Any, ...]:
        tables = [echomox(server, "filter", what, "u0") for what in ("state", "stats")]
        return *tables, [judged(server, mail)[1] for mail in mails], (directory / "weights.dat").read_bytes()

    before = known()
    for pid in [server.pid, *server.workers().values()]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    server.kill()
    server.start()
    assert known() == before
    assert echomox(server, "verifydata")["faults"] == []
    assert len(before[0]["states"]) == 100 and before[0]["reservoir"]["Trained"]


def states(server: Server) -> dict[str, str]:
    return {worker["name"]: worker["state"] for worker in echomox(server, "status")["workers"]}


def reload(server: Server) -> subprocess.CompletedProcess[str]:
    line = [*command("echomox-supervisor"), "reload", "--config", str(server.root)]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)


def test_the_rules_of_the_server_are_those_of_its_file(server: Server) -> None:
    default = files("echomox.filter").joinpath("data/membranes.rules").read_text("utf-8")
    own = default.replace("rule deceit in", "rule our_own_rule in")
    assert own != default
    rules, static = server.root / "config/our.rules", server.root / "config/echomox.toml"
    plain = static.read_text()

    def reasons(number: int) -> list[str]:
        found = judged(server, spam(number))[1]["evidence"]
        return [reason for item in found if item["stage"] == "membranes" for reason in item["reasons"]]

    assert any(reason.startswith("deceit") for reason in reasons(960))
    static.write_text(plain.replace("[filter]\n", '[filter]\nrules = "our.rules"\n'))
    assert reload(server).returncode != 0  # there is no such file
    rules.write_text(own)
    assert echomox(server, "filter", "rules", "check", str(rules))["warnings"] == []
    assert reload(server).returncode == 0
    assert any(reason.startswith("our_own_rule") for reason in reasons(961))
    file = server.root / "mail"
    file.write_bytes(spam(962))
    found = echomox(server, "filter", "explain", str(file), "--membranes")["membranes"]["events"]
    assert "our_own_rule" in {event["rule"] for event in found}
    rules.write_text(own + "\nrule broken in nowhere: -> \n")
    line = own.count("\n") + 2
    assert reload(server).returncode != 0 and f"{rules}: line {line}:" in server.log
    done = subprocess.run(
        [*command("echomox"), "--config", str(server.root / "config"), "config", "check"],
        capture_output=True, text=True, timeout=60, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode != 0 and f"{rules}: line {line}:" in done.stderr
    victim = server.workers()["classifier.0"]
    os.kill(victim, signal.SIGKILL)  # the next one has the good rules still
    wait_until(lambda: server.workers().get("classifier.0") not in (None, victim), what="a new classifier")
    wait_until(lambda: set(states(server).values()) == {"READY"}, what="all are at work")
    assert any(reason.startswith("our_own_rule") for reason in reasons(963))
    rules.write_text(default)
    assert reload(server).returncode == 0  # only what is in the file has changed
    assert any(reason.startswith("deceit") for reason in reasons(964))
    static.write_text(plain)
    assert reload(server).returncode == 0


def test_killing_all_classifiers_while_mail_comes_loses_nothing(server: Server) -> None:
    accepted: list[int] = []
    over = threading.Event()

    def load(first: int) -> None:
        for number in range(first, first + 200):
            if over.is_set():
                return
            deliver(server, other(number))
            accepted.append(number)

    loads = [threading.Thread(target=load, args=(first,)) for first in (10_000, 20_000)]
    for one in loads:
        one.start()
    try:
        for turn in range(3):
            wait_until(lambda turn=turn: len(accepted) > 10 * (turn + 1), what="mail is taken")
            for name in CLASSIFIERS:
                with contextlib.suppress(KeyError, ProcessLookupError):
                    os.kill(server.workers()[name], signal.SIGKILL)
    finally:
        over.set()
        for one in loads:
            one.join(60)
    assert len(accepted) > 20
    assert all(len(rows(server, other(number))) == 1 for number in accepted)

    def whole() -> bool:
        number = random.randrange(10**6, 10**9)
        deliver(server, other(number))
        return bool(rows(server, other(number))[0][2].get("parts") == "all")

    wait_until(whole, what="classifiers at work again")


def test_a_server_does_not_start_with_rules_that_are_none(tmp_path: Path) -> None:
    """A server does not start with rules that cannot be used, and says where they are wrong."""
    server = Server.demo(tmp_path / "demo", "--no-limits")
    static = server.root / "config/echomox.toml"
    (server.root / "config/bad.rules").write_bytes(b"\xff\xfe nonsense")
    static.write_text(static.read_text().replace("[filter]\n", '[filter]\nrules = "bad.rules"\n'))
    line = [*server.start_command, "--foreground"] if "--foreground" in server.start_command else server.start_command
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    assert done.returncode != 0 and "bad.rules" in done.stdout + done.stderr
