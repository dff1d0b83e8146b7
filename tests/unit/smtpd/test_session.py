"""Dialogues of a session: order of commands, replies, pipelining, limits, ends."""

import asyncio
from dataclasses import replace

import pytest

from echomox.config.schema import Limits
from echomox.errors import Reply
from echomox.smtpd import session as session_module
from echomox.smtpd.session import SmtpSession
from tests.unit.smtpd.support import GREETING, NO_LIMITS, Recorder, Talk, bytewise, codes, script, talk

HELLO = "EHLO client.example"
START = (HELLO, "MAIL FROM:<a@b.example>", "RCPT TO:<u@example.org>")
MESSAGE = (*START, "DATA", "From: a@b.example", "", "text", ".")

# (lines, codes of their replies)
DIALOGUES = [
    (("EHLO x",), [250]),
    (("HELO x",), [250]),
    (("ehlo x", "mail from:<a@b.c>", "rcpt to:<u@EXAMPLE.org>".replace("EXAMPLE", "example")), [250, 250, 250]),
    (("EHLO",), [501]),
    (("EHLO a b",), [501]),
    (("MAIL FROM:<a@b.c>",), [503]),
    ((HELLO, "RCPT TO:<u@example.org>"), [250, 503]),
    ((HELLO, "DATA"), [250, 503]),
    ((HELLO, "MAIL FROM:<a@b.c>", "MAIL FROM:<a@b.c>"), [250, 250, 503]),
    ((HELLO, "MAIL FROM:<a@b.c>", "DATA"), [250, 250, 554]),
    ((HELLO, "MAIL FROM:<>", "RCPT TO:<postmaster>"), [250, 250, 250]),
    ((HELLO, "MAIL FROM: <a@b.c>", "RCPT TO: <u@example.org>"), [250, 250, 250]),
    ((HELLO, "MAIL FROM:a@b.c", "MAIL TO:<a@b.c>", "MAIL"), [250, 501, 501, 501]),
    ((HELLO, "MAIL FROM:<a@b.c>", "RCPT TO:<>", "RCPT TO:u@example.org", "RCPT TO:<u>"), [250, 250, 501, 501, 501]),
    ((HELLO, "MAIL FROM:<a@b.c>", "RCPT TO:<u@elsewhere.example>", "DATA"), [250, 250, 550, 554]),
    ((*START, "RSET", "DATA"), [250, 250, 250, 250, 503]),
    ((*START, "EHLO again", "DATA"), [250, 250, 250, 250, 503]),
    ((*START, "DATA now"), [250, 250, 250, 501]),
    (("NOOP", "NOOP with text", "RSET", "RSET x", "VRFY u", "VRFY", "EXPN list", "HELP"),
     [250, 250, 250, 501, 252, 501, 502, 214]),
    (("FOO", "BDAX 5", "", "EHLOx"), [500, 500, 500, 500]),
    (("QUIT", "NOOP"), [221]),
    (MESSAGE, [250, 250, 250, 354, 250]),
    ((*MESSAGE, *MESSAGE[1:]), [250, 250, 250, 354, 250, 250, 250, 354, 250]),
    ((HELLO, "MAIL FROM:<a@b.c> SIZE=1000 BODY=8BITMIME SMTPUTF8"), [250, 250]),
    ((HELLO, "MAIL FROM:<a@b.c> SIZE=999999999999"), [250, 552]),
    ((HELLO, "MAIL FROM:<a@b.c> SIZE=x", "MAIL FROM:<a@b.c> SIZE", "MAIL FROM:<a@b.c> SIZE=-1"), [250, 501, 501, 501]),
    ((HELLO, "MAIL FROM:<a@b.c> BODY=BINARYMIME", "MAIL FROM:<a@b.c> SMTPUTF8=1"), [250, 501, 501]),
    ((HELLO, "MAIL FROM:<a@b.c> FOO=HDRS", "MAIL FROM:<a@b.c> AUTH=<>"), [250, 555, 555]),
    ((HELLO, "MAIL FROM:<a@b.c> HOLDFOR=60", "MAIL FROM:<a@b.c> HOLDUNTIL=2030-01-01T00:00:00Z"), [250, 555, 555]),
    ((HELLO, "MAIL FROM:<a@b.c>", "RCPT TO:<u@example.org> FOO=NEVER"), [250, 250, 555]),
    (("HELO x", "MAIL FROM:<a@b.c> SIZE=1"), [250, 555]),
    ((HELLO, "MAIL FROM:<ü@b.c>", "MAIL FROM:<ü@b.c> SMTPUTF8"), [250, 553, 250]),
    ((HELLO, "MAIL FROM:<a@b.c>", "RCPT TO:<ü@example.org>"), [250, 250, 553]),
    ((HELLO, "MAIL FROM:<a@b.c> SMTPUTF8", "RCPT TO:<ü@example.org>"), [250, 250, 250]),
    (("STARTTLS", "AUTH PLAIN"), [502, 503]),
    ((HELLO, "AUTH PLAIN AHUAcA=="), [250, 502]),
    (("GET / HTTP/1.1", "Host: x"), [554]),
    (("POST / HTTP/1.1",), [554]),
]  # fmt: skip


@pytest.mark.parametrize("lines, expected", DIALOGUES)
def test_dialogue(lines, expected):
    assert codes(talk(script(*lines))) == expected


@pytest.mark.parametrize("lines, expected", DIALOGUES)
def test_dialogue_byte_by_byte_gives_the_same_replies(lines, expected):
    data = script(*lines)
    assert talk(*bytewise(data)) == talk(data)


@pytest.mark.parametrize("lines, expected", DIALOGUES)
def test_giving_way_after_each_command_gives_the_same_replies(lines, expected, monkeypatch):
    data = script(*lines)
    whole = talk(data)
    monkeypatch.setattr(session_module, "TURN", -1.0)
    assert talk(data) == whole
    assert talk(*bytewise(data)) == whole


@pytest.fixture
def no_turns(monkeypatch):
    """However slow this machine is just now."""
    monkeypatch.setattr(session_module, "TURN", 60.0)


def test_ehlo_lists_what_is_there():
    answer = talk(script(HELLO))
    assert answer == (
        b"250-mx.example.org\r\n250-PIPELINING\r\n250-SIZE 104857600\r\n250-DSN\r\n250-ENHANCEDSTATUSCODES\r\n"
        b"250-8BITMIME\r\n250-SMTPUTF8\r\n250-LIMITS RCPTMAX=1000\r\n250 CHUNKING\r\n"
    )
    assert talk(script("HELO x")) == b"250 mx.example.org\r\n"


def test_every_reply_but_ehlo_and_354_has_an_enhanced_code():
    answer = talk(script(*MESSAGE, "FOO", "QUIT"))
    for line in answer.split(b"250 CHUNKING\r\n")[1].split(b"\r\n")[:-1]:
        assert line.startswith(b"354") or line[4:6] in (b"2.", b"5."), line


def test_a_message_arrives_as_it_was_sent_without_the_dots():
    role = Recorder()
    talk(script(*START, "RCPT TO:<v@example.org>", "DATA", "From: x", "", "..a", ".b", "", "."), role=role)
    assert role.mail == [
        ("a@b.example", ["u@example.org", "v@example.org"], b"From: x\r\n\r\n.a\r\nb\r\n\r\n")
    ]


SMUGGLING = [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"a\0b", b"\r\r\n.\r\r\n"]
INNER = b"MAIL FROM:<evil@b.example>\r\nRCPT TO:<u@example.org>\r\nDATA\r\nFrom: evil\r\n"


@pytest.mark.parametrize("end", SMUGGLING)
@pytest.mark.parametrize("pieces", [False, True])
def test_nothing_can_be_smuggled(end, pieces):
    """S19: one message refused, nothing of its text taken for commands."""
    role = Recorder()
    data = script(*START, "DATA") + b"From: a\r\n\r\nx" + end + INNER + b"\r\n.\r\nNOOP\r\n"
    answer = talk(*(bytewise(data) if pieces else [data]), role=role)
    assert codes(answer) == [250, 250, 250, 354, 550, 250]
    assert b"550 5.6.11 " in answer
    assert role.mail == []
    if b"\0" not in end:
        assert b"smuggling" in answer


@pytest.mark.parametrize("line", [b"NOOP\n", b"NO\rOP\r\n", b"NOOP\r\r\n", b"NO\0OP\r\n", b"\n"])
def test_commands_end_in_crlf_only(line):
    assert codes(talk(line + b"NOOP\r\n")) == [500, 250]


def test_pipelined_commands_are_answered_in_order_and_in_one_write(no_turns):
    async def run() -> None:
        one = Talk()
        writes = []
        write = one.wire.write
        one.wire.write = lambda data: (writes.append(data), write(data))[1]
        await one.send(script(*START, "DATA"))
        assert len(writes) == 1
        assert codes(writes[0]) == [250, 250, 250, 354]

    asyncio.run(run())


def test_input_waits_while_a_message_is_being_stored():
    class Slow(Recorder):
        async def message(self, session, body):
            await gate.wait()
            return await super().message(session, body)

    async def run() -> None:
        nonlocal gate
        gate = asyncio.Event()
        one = Talk(role=Slow())
        one.session.data_received(script(*MESSAGE, "NOOP", "QUIT"))
        for _ in range(10):
            await asyncio.sleep(0)
        assert codes(one.wire.out)[-1] == 354
        one.session.data_received(b"x" * 100_000)
        assert not one.wire.reading
        gate.set()
        await one.settle()
        assert codes(one.wire.out)[-3:] == [250, 250, 221]

    gate = asyncio.Event()
    asyncio.run(run())


@pytest.mark.parametrize("declared", [False, True])
def test_a_message_over_the_limit_is_refused(declared, tmp_path):
    limits = replace(NO_LIMITS, message_size=65_536)

    async def run() -> None:
        one = Talk(tmp_path, limits)
        size = " SIZE=65537" if declared else ""
        first = await one.send(script(HELLO, f"MAIL FROM:<a@b.c>{size}"))
        assert codes(first) == ([250, 552] if declared else [250, 250])
        if not declared:
            await one.send(script("RCPT TO:<u@example.org>", "DATA"))
            answer = await one.send(b"x" * 60 + b"\r\n", *[(b"y" * 76 + b"\r\n") * 500] * 3, b".\r\nNOOP\r\n")
            assert codes(answer) == [552, 250]
            assert one.role.mail == []
            assert list(tmp_path.iterdir()) == []

    asyncio.run(run())


def test_a_large_message_is_spooled_and_its_file_removed(tmp_path):
    async def run() -> None:
        one = Talk(tmp_path)
        seen = []

        class Look(Recorder):
            async def message(self, session, body):
                assert body.source is None
                seen.append((body.spool_id, [entry.name for entry in tmp_path.iterdir()]))
                return await super().message(session, body)

        one.service.role = one.role = Look()
        text = (b"y" * 76 + b"\r\n") * 2000
        await one.send(script(*START, "DATA"), text[:50_000], text[50_000:], b".\r\n")
        assert one.role.mail[0][2] == text
        assert seen[0][0] == f"{tmp_path.name}/{seen[0][1][0]}"
        assert list(tmp_path.iterdir()) == []

    asyncio.run(run())


def test_a_connection_lost_within_data_leaves_nothing(tmp_path):
    async def run() -> None:
        one = Talk(tmp_path)
        await one.send(script(*START, "DATA"), (b"y" * 76 + b"\r\n") * 2000)
        assert len(list(tmp_path.iterdir())) == 1
        one.session.connection_lost(None)
        assert list(tmp_path.iterdir()) == []
        assert one.role.mail == []
        assert not one.service.sessions

    asyncio.run(run())


def test_a_disk_that_cannot_be_written_is_452(tmp_path):
    async def run() -> None:
        one = Talk(tmp_path / "missing")
        await one.send(script(*START, "DATA"))
        assert await one.send((b"y" * 76 + b"\r\n") * 2000 + b".\r\n") == (
            b"452 4.3.1 Insufficient system storage, try again later\r\n"
        )

    asyncio.run(run())


def test_long_lines_of_real_mail_are_taken_and_longer_ones_refused():
    role = Recorder()
    line = "x" * 60_000
    assert codes(talk(script(*START, "DATA", line, "."), role=role))[-1] == 250
    assert codes(talk(script(*START, "DATA", line, "."), line_length=50_000))[-1] == 554


def test_recipients_are_limited():
    lines = [f"RCPT TO:<u{n}@example.org>" for n in range(101)]
    answer = codes(talk(script(HELLO, "MAIL FROM:<a@b.c>", *lines), recipients=100))
    assert answer.count(250) == 102
    assert answer[-1] == 452


def test_a_search_for_addresses_ends_the_connection():
    class Nobody(Recorder):
        def recipient(self, session, address):
            return Reply(550, "5.1.1", "No such mailbox here")

    lines = [f"RCPT TO:<u{n}@example.org>" for n in range(150)]
    answer = codes(talk(script(HELLO, "MAIL FROM:<a@b.c>", *lines), role=Nobody()))
    assert answer.count(550) == 100
    assert answer[-1] == 421


def test_commands_that_are_not_understood_end_the_connection():
    answer = talk(script(*["FOO"] * 20))
    assert codes(answer) == [500] * 10 + [421]


@pytest.mark.parametrize(
    "line, code",
    [(b"NOOP " + b"x" * 505, 250), (b"NOOP " + b"x" * 506, 500), (b"x" * 5000, 500)],
)
def test_command_lines_are_limited(line, code):
    assert codes(talk(line + b"\r\nNOOP\r\n")) == [code, 250]


def test_mail_and_rcpt_have_longer_lines():
    address = "l" * 64 + "@" + ".".join(["d" * 60] * 3)
    line = f"MAIL FROM:<{'@x.example,' * 40}@y:{address}>"
    assert 512 < len(line) < 998
    assert codes(talk(script(HELLO, line))) == [250, 250]


def test_an_exception_is_451_and_says_nothing():
    class Broken(Recorder):
        def sender(self, session, address):
            raise KeyError("secret detail")

        async def message(self, session, body):
            raise ValueError("secret detail")

    async def run() -> None:
        one = Talk(role=Broken())
        answer = await one.send(script(HELLO, "MAIL FROM:<a@b.c>"))
        assert answer.endswith(b"451 4.3.0 Local error, try again later\r\n")
        one.service.role.sender = lambda session, address: None
        answer = await one.send(script("MAIL FROM:<a@b.c>", "RCPT TO:<u@example.org>", "DATA", ".", "NOOP"))
        assert codes(answer) == [250, 250, 354, 451, 250]
        assert b"secret" not in one.wire.out
        assert one.counts["exceptions"] == 2

    asyncio.run(run())


def test_connections_are_limited_and_released():
    limits = Limits(connections_per_ip=2, connection_rate_per_ip=0)

    async def run() -> None:
        first = Talk(limits=limits)
        second = Talk(service=first.service)
        third = Talk(service=first.service)
        assert third.wire.closed
        assert third.wire.out.startswith(b"421 4.7.0 ")
        other = Talk(service=first.service, ip="2001:db8::1")
        assert other.wire.out == GREETING
        second.wire.close()
        await asyncio.sleep(0)
        assert Talk(service=first.service).wire.out == GREETING
        assert first.counts["smtp_refused_connections"] == 1

    asyncio.run(run())


def test_silence_ends_the_connection_but_not_while_we_work():
    async def run() -> None:
        one = Talk()
        one.session._arm(-1)
        one.session._tick()
        assert one.wire.out.endswith(b"421 4.4.2 Timeout, closing connection\r\n")
        two = Talk()
        two.session._arm(-1)
        two.session._task = asyncio.current_task()
        two.session._tick()
        assert two.wire.out == GREETING

    asyncio.run(run())


def test_data_has_a_limit_for_silence_and_one_for_the_whole_message():
    async def run() -> None:
        one = Talk(limits=replace(NO_LIMITS, data_timeout=20, message_timeout=60))
        await one.send(script(*START, "DATA"))
        now = one.service.loop.time()
        await one.send(b"text\r\n")
        assert 15 < one.session._deadline - now < 25
        one.session._text.until = now + 5
        await one.send(b"text\r\n")
        assert one.session._deadline - now < 6

    asyncio.run(run())


def test_draining_ends_idle_sessions_at_once_and_others_after_their_transaction():
    async def run() -> None:
        busy = Talk()
        idle = Talk(service=busy.service)
        await busy.send(script(*START))
        done = asyncio.create_task(busy.service.drain(600, at_once=True))
        await asyncio.sleep(0)
        assert idle.wire.out.endswith(b"421 4.3.2 Server is shutting down, try again later\r\n")
        assert not busy.wire.closed
        answer = await busy.send(script("DATA", "text", "."))
        assert codes(answer) == [354, 250, 421]
        await asyncio.wait_for(done, 60)

    asyncio.run(run())


def test_after_a_reload_sessions_go_on_until_the_time_is_up():
    async def run() -> None:
        one = Talk()
        done = asyncio.create_task(one.service.drain(600, at_once=False))
        await asyncio.sleep(0)
        assert codes(await one.send(script(*MESSAGE))) == [250, 250, 250, 354, 250]
        assert not one.wire.closed
        one.wire.close()
        await asyncio.wait_for(done, 60)
        two = Talk()
        await two.send(script(*START))
        await two.service.drain(0, at_once=True)
        assert codes(two.wire.out)[-1] == 421

    asyncio.run(run())


def test_a_client_that_does_not_read_is_not_read_from(no_turns):
    async def run() -> None:
        one = Talk()
        one.session.pause_writing()
        assert not one.wire.reading
        assert await one.send(script("NOOP")) == b""
        one.session.resume_writing()
        assert codes(one.wire.out) == [220, 250]
        assert one.wire.reading

    asyncio.run(run())


def test_a_client_that_closes_its_half_gets_its_answers():
    async def run() -> None:
        one = Talk()
        one.session.data_received(script(*MESSAGE))
        assert one.session.eof_received() is True
        await one.settle()
        assert codes(one.wire.out)[-1] == 250
        assert one.wire.closed
        two = Talk()
        assert two.session.eof_received() is False

    asyncio.run(run())


def test_replies_cannot_be_split_by_what_they_hold():
    class Odd(Recorder):
        def sender(self, session: SmtpSession, address: str) -> Reply | None:
            return Reply(550, "5.7.1", "a\r\n250 b\x00")

    assert talk(script(HELLO, "MAIL FROM:<a@b.c>"), role=Odd()).endswith(b"550 5.7.1 a??250 b?\r\n")
