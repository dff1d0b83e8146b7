"""Thunderbird, without a screen, with a new profile: first sync, new mail by IDLE, flags both ways, move, delete,
search on the server."""

from __future__ import annotations

import imaplib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.corpus import sample
from tests.interop.marionette import Thunderbird
from tests.interop.tools import need
from tests.process.harness import Server, wait_until

FIRST = 30
GATHER = """
    const box = folder("INBOX");
    box.updateFolder(null);
    await until(() => headers(box).length >= args[0], 120);
    return headers(box).map(header => [header.messageKey, header.messageId]);
"""


@pytest.fixture(scope="module")
def mailbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, imaplib.IMAP4]]:
    with Server.demo(tmp_path_factory.mktemp("bird") / "demo", "--accounts", "2", "--no-limits") as server:
        user = server.accounts[1]
        client = imaplib.IMAP4("127.0.0.1", server.ports["imap"])
        client.login(user["address"], user["password"])
        for number in range(FIRST):
            assert client.append("INBOX", "", None, sample.ham(number))[0] == "OK"  # type: ignore[arg-type]
        client.select("INBOX")
        yield server, client
        client.logout()


@pytest.fixture(scope="module")
def bird(mailbox: tuple[Server, imaplib.IMAP4], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Thunderbird]:
    program = need("thunderbird")
    server, _ = mailbox
    user = server.accounts[1]
    directory: Path = tmp_path_factory.mktemp("thunderbird")
    with Thunderbird(program, directory, server.ports["imap"], user["address"], user["password"]) as running:
        yield running


def idles(bird: Thunderbird) -> None:
    """Waits until Thunderbird does: what comes in the answer to another command it does not look at before its next
    check."""
    wait_until(lambda: bird.tap.idles(b'select "INBOX"'), what="IDLE in the Inbox")


def found(client: imaplib.IMAP4, box: str, *criteria: str) -> list[bytes]:
    client.select(box)
    _, answer = client.uid("SEARCH", *criteria)
    return answer[0].split()


def test_first_sync(bird: Thunderbird) -> None:
    got = bird.run(GATHER, FIRST)
    assert [key for key, _ in got] == list(range(1, FIRST + 1))
    assert {f"sample-{number}@peers.example" for number in range(FIRST)} == {name for _, name in got}
    folders = bird.run("return [...server.rootFolder.descendants].map(each => each.name.toLowerCase())")
    assert {"inbox", "archive", "drafts", "junk", "sent", "trash"} <= {name.split(" ")[0] for name in folders}


def test_new_mail_comes_by_idle(bird: Thunderbird, mailbox: tuple[Server, imaplib.IMAP4]) -> None:
    """Nothing is asked for: Thunderbird's own check comes every ten minutes only."""
    _, client = mailbox
    idles(bird)
    client.append("INBOX", "", None, sample.ham(1000))  # type: ignore[arg-type]
    count = bird.run(
        "const box = folder('INBOX'); await until(() => headers(box).length == args[0], 120);"
        "return headers(box).length",
        FIRST + 1,
    )
    assert count == FIRST + 1


def test_flags_both_ways(bird: Thunderbird, mailbox: tuple[Server, imaplib.IMAP4]) -> None:
    _, client = mailbox
    bird.run("const box = folder('INBOX'); box.markMessagesRead([box.GetMessageHeader(1)], true); return true")
    wait_until(lambda: b"1" in found(client, "INBOX", "SEEN"), what="\\Seen on the server")
    idles(bird)
    client.uid("STORE", "2", "+FLAGS", "(\\Flagged)")
    bird.run("const box = folder('INBOX'); await until(() => box.GetMessageHeader(2).isFlagged, 120); return true")


def test_move(bird: Thunderbird, mailbox: tuple[Server, imaplib.IMAP4]) -> None:
    _, client = mailbox
    bird.run(
        """
        const from = folder("INBOX");
        MailServices.copy.copyMessages(from, [3, 4].map(key => from.GetMessageHeader(key)), folder("Archive"), true,
          null, null, false);
        await until(() => headers(from).length == args[0], 120);
        return true
        """,
        FIRST - 1,
    )
    wait_until(lambda: len(found(client, "Archive", "ALL")) == 2, what="moved on the server")
    assert not {b"3", b"4"} & set(found(client, "INBOX", "ALL"))


def test_delete(bird: Thunderbird, mailbox: tuple[Server, imaplib.IMAP4]) -> None:
    """Into the trash, as users have it."""
    _, client = mailbox
    bird.run(
        """
        const box = folder("INBOX");
        box.deleteMessages([box.GetMessageHeader(5)], null, false, false, null, false);
        await until(() => headers(box).length == args[0], 120);
        return true
        """,
        FIRST - 2,
    )
    wait_until(lambda: b"5" not in found(client, "INBOX", "UNDELETED"), what="deleted on the server")
    assert len(found(client, "Trash", "ALL")) == 1


def test_another_expunges(bird: Thunderbird, mailbox: tuple[Server, imaplib.IMAP4]) -> None:
    _, client = mailbox
    idles(bird)
    client.select("INBOX")
    client.uid("STORE", "6:9", "+FLAGS.SILENT", "(\\Deleted)")
    client.expunge()
    keys = bird.run(
        "const box = folder('INBOX'); await until(() => headers(box).length == args[0], 120);"
        "return headers(box).map(each => each.messageKey)",
        FIRST - 6,
    )
    assert keys == [int(uid) for uid in found(client, "INBOX", "ALL")]


def test_search_on_the_server(bird: Thunderbird) -> None:
    hits = bird.run(
        """
        const session = Cc["@mozilla.org/messenger/searchSession;1"].createInstance(Ci.nsIMsgSearchSession);
        session.addScopeTerm(Ci.nsMsgSearchScope.onlineMail, folder("INBOX"));
        const term = session.createTerm();
        const value = term.value;
        value.attrib = Ci.nsMsgSearchAttrib.Sender;
        value.str = args[0];
        term.attrib = value.attrib;
        term.op = Ci.nsMsgSearchOp.Contains;
        term.booleanAnd = true;
        term.value = value;
        session.appendTerm(term);
        const hits = [];
        await new Promise(resolve => {
          session.registerListener({
            onSearchHit(header) { hits.push(header.messageId) },
            onSearchDone: resolve,
            onNewSearch() {},
            QueryInterface: ChromeUtils.generateQI(["nsIMsgSearchNotify"]),
          });
          session.search(null);
        });
        return hits
        """,
        "@",
    )
    assert len(hits) == FIRST - 6
