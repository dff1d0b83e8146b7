"""IMAP clients that log in and then ask for too much, too often, or do not read what they asked for."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from tests.process.harness import wait_until
from tests.process.test_hostile import (
    calm,
    login,
    memory,
    prepare,
    reset,
    rest,
    run,
    send,
    served,
    spooled,
    status,
    transmit,
    verify,
    workers,
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with prepare(tmp_path_factory.mktemp("hostile") / "demo") as server:
        yield server
        verify(server)
        assert spooled(server) == []


COMMANDS = (
    (b"x SEARCH " + b"(" * 30_000, b"x BAD"),
    (b"x SEARCH " + b"NOT " * 15_000 + b"ALL", b"x BAD"),
    (b"x SEARCH " + b"OR ALL " * 8000 + b"ALL", b"x BAD"),
    (b"x SEARCH " + b" ".join(b"TEXT a%d" % n for n in range(5000)), b"x BAD"),
    (b"x FETCH 1:* (" + b"BODY[] " * 9000 + b"UID)", b"x BAD"),
    (b"x FETCH 1 BODY[" + b"1." * 30_000 + b"1]", b"x BAD"),
    (b"x FETCH 1:* BODY.PEEK[]<4294967295.4294967295>", b"x OK"),
    (b"x FETCH " + b"1:*," * 15_000 + b"1 FLAGS", b"x OK"),
    (b"x UID FETCH " + b",".join(b"%d:4294967295" % n for n in range(1, 3000)) + b" UID", b"x OK"),
    (b"x UID STORE " + b"*," * 30_000 + b"* +FLAGS (x)", b"x BAD"),
    (b"x STORE 1 FLAGS (" + b" ".join(b"k%d" % n for n in range(8000)) + b")", b"x NO"),
    (b'x LIST "" "' + b"*%a" * 20_000 + b'"', b"x OK"),
    (b"x CREATE " + b"a/" * 30_000 + b"b", b"x NO"),
    (b"x SELECT {1000000+}\r\n" + b"n" * 1_000_000, b"x NO"),
    (b"x APPEND INBOX {4294967295+}", b"x NO [TOOBIG]"),
    (b"x APPEND INBOX {99999999999999999999999999}", b"x NO [TOOBIG]"),
    (b"x NOOP {2000000}", b"x NO [TOOBIG]"),
    (b"x ENABLE" + b" X" * 30_000, b"x OK"),
)


@pytest.fixture(scope="module")
def mailbox(server):
    """u0's INBOX with 40 MB of mail."""
    data = b"Subject: big\r\n\r\n" + (b"y" * 998 + b"\r\n") * 1000
    for _ in range(40):
        assert transmit(server, data).startswith(b"250 ")
    return server


def test_extravagant_commands_get_their_answer_and_no_more(mailbox):
    with calm(mailbox):
        for line, answer in COMMANDS:
            with login(mailbox) as peer, served(mailbox, line[:40]):
                assert answer in run(peer, line)[:2_000_000], line[:40]


def test_ten_thousand_pipelined_commands_are_all_answered(mailbox):
    with calm(mailbox), login(mailbox) as peer:
        kinds = (b"NOOP", b"FETCH 1:* FLAGS", b"STATUS INBOX (MESSAGES)", b"STORE 1 +FLAGS (\\Seen)", b"NONSENSE a")
        lines = b"".join(b"t%d %b\r\n" % (number, kinds[number % 5]) for number in range(10_000)) + b"z LOGOUT\r\n"
        threading.Thread(target=send, args=(peer, lines), daemon=True).start()
        answers = [line for line in rest(peer).split(b"\r\n") if line.startswith(b"t")]
        assert [line.split()[0] for line in answers] == [b"t%d" % number for number in range(10_000)]


def test_clients_that_do_not_read_or_go_away_hold_no_memory(mailbox):
    with calm(mailbox):
        peers = [login(mailbox) for _ in range(20)]
        for peer in peers:
            peer.sendall(b"a FETCH 1:* (FLAGS BODY.PEEK[])\r\n" * 20 + b"b IDLE\r\n")
        time.sleep(1)
        for peer in peers:
            reset(peer)
        for _ in range(20):
            with login(mailbox) as peer:
                peer.sendall(b"a FETCH 1:* (FLAGS BODY.PEEK[])\r\n")
                peer.recv(1000)
        for _ in range(30):
            peer = login(mailbox)
            peer.sendall(b"a IDLE\r\n")
            (reset if _ % 2 else socket.socket.close)(peer)
        wait_until(lambda: status(mailbox)["counters"]["imap_idle"] == 0, what="no IDLE is left")


def test_clients_that_never_read_hold_little_memory(mailbox):
    """Each asks for 1.6 GB and reads nothing: what waits for it is the kernel's buffer and a bounded piece."""
    worker = workers(status(mailbox))["imap.0"][0]
    with calm(mailbox):
        before = memory(worker)
        peers = [login(mailbox) for _ in range(40)]
        for peer in peers:
            peer.sendall(b"a FETCH 1:* (FLAGS BODY.PEEK[])\r\n" * 40)
        time.sleep(3)
        assert memory(worker) - before < len(peers), "MB"
        for peer in peers:
            reset(peer)


@pytest.mark.parametrize("command", [b"x APPEND INBOX", b"x NOOP", b"x SELECT"])
def test_a_literal_of_a_gigabyte_is_not_read(mailbox, command):
    """Waiting for leave, it gets a NO; sent at once, the connection ends within the first megabytes."""
    with calm(mailbox, most=16):
        with login(mailbox) as peer:
            assert b"x NO [TOOBIG]" in run(peer, command + b" {1000000000}")
        with login(mailbox) as peer:
            assert send(peer, command + b" {1000000000+}\r\n")
            sent, piece = 0, b"y" * (1 << 20)
            while sent < 1 << 30 and send(peer, piece):
                sent += len(piece)
            assert sent < 64 << 20
    assert spooled(mailbox) == []


def test_logging_in_and_out_in_a_loop_harms_nobody(mailbox):
    with calm(mailbox):
        end = time.monotonic() + 5
        threads = [threading.Thread(target=in_and_out, args=(mailbox, end), daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)


def in_and_out(server, end):
    while time.monotonic() < end:
        with login(server) as peer:
            send(peer, b"a SELECT INBOX\r\nb LOGOUT\r\n")
            rest(peer)


def test_an_upload_that_is_dropped_leaves_nothing(mailbox):
    with calm(mailbox, most=16):
        peer = login(mailbox)
        assert run(peer, b"n STATUS INBOX (MESSAGES)") and send(peer, b"x APPEND INBOX {1999999}\r\n")
        assert peer.recv(100) == b"+ OK\r\n"
        for _ in range(18):
            peer.sendall(b"y" * 100_000)
        wait_until(lambda: spooled(mailbox), what="streamed to a file")
        reset(peer)
        wait_until(lambda: not spooled(mailbox), what="file removed")


def test_a_search_through_much_text_lets_others_run(mailbox):
    with calm(mailbox), login(mailbox) as peer:
        program = b" ".join(b"NOT BODY q%d" % number for number in range(50))
        assert b"x OK" in run(peer, b"x SEARCH " + program)
