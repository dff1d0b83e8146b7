"""DSN, CHUNKING, REQUIRETLS, FUTURERELEASE, LIMITS: their parameters, what the transaction notes, and refusals."""

import asyncio
from dataclasses import replace

import pytest

from echomox.clock import FakeClock
from echomox.smtpd.ext import futurerelease
from echomox.smtpd.ext.dsn import original_recipient, utf8_decode, xtext_decode
from tests.unit.smtpd.support import GREETING, NO_LIMITS, Recorder, Talk, bytewise, codes, script, talk

HELLO = "EHLO client.example"
NOW = 1_000_000_000.0  # 2001-09-09T01:46:40Z

# (what follows MAIL FROM:<a@b.c>, code)
MAIL = [
    ("RET=FULL", 250),
    ("RET=hdrs ENVID=QQ314159", 250),
    ("RET=NONE", 501),
    ("RET", 501),
    ("RET=FULL RET=HDRS", 501),
    ("ENVID=" + "x" * 100, 250),
    ("ENVID=" + "x" * 101, 501),
    ("ENVID", 501),
    ("ENVID=a+2Bb", 250),
    ("ENVID=a+2bb", 501),
    ("ENVID=a+b", 501),
    ("ENVID=a+0Ab", 501),
    ("REQUIRETLS", 530),
    ("REQUIRETLS=yes", 501),
]
# (what follows RCPT TO:<u@example.org>, code)
RCPT = [
    ("NOTIFY=NEVER", 250),
    ("NOTIFY=SUCCESS,FAILURE,DELAY", 250),
    ("NOTIFY=delay", 250),
    ("NOTIFY=NEVER,SUCCESS", 501),
    ("NOTIFY=SUCCESS,SUCCESS", 501),
    ("NOTIFY=SOMETIMES", 501),
    ("NOTIFY=SUCCESS,", 501),
    ("NOTIFY", 501),
    ("ORCPT=rfc822;Bob@Example.org", 250),
    ("ORCPT=rfc822;a+20b@example.org", 250),
    ("ORCPT=rfc822", 501),
    ("ORCPT=;x", 501),
    ("ORCPT=rfc822;", 501),
    ("ORCPT=rfc822;" + "x" * 494, 501),
    ("ORCPT=rfc822;a+0D+0Ab", 501),
    ("ORCPT=utf-8;b\\x{FC}b@example.org", 250),
    ("ORCPT=utf-8;büb@example.org", 501),
    ("ORCPT", 501),
]


@pytest.mark.parametrize("text, code", MAIL)
def test_parameters_of_mail(text, code):
    assert codes(talk(script(HELLO, f"MAIL FROM:<a@b.c> {text}")))[1] == code


@pytest.mark.parametrize("text, code", RCPT)
def test_parameters_of_rcpt(text, code):
    answer = talk(script(HELLO, "MAIL FROM:<a@b.c>", f"RCPT TO:<u@example.org> {text}"))
    assert codes(answer)[2] == code
    assert code == 250 or b"501 5.5.4" in answer


def test_parameters_need_ehlo():
    lines = ("HELO x", "MAIL FROM:<a@b.c> RET=FULL", "MAIL FROM:<a@b.c>", "RCPT TO:<u@example.org> NOTIFY=NEVER")
    assert codes(talk(script(*lines))) == [250, 555, 250, 555]


def test_xtext_as_in_rfc3461():
    assert xtext_decode("abc+20def+2B") == "abc def+"
    assert original_recipient("RFC822;Bob+2Bx@Example.org", False) == "rfc822;Bob+x@Example.org"
    assert utf8_decode("b\\x{FC}b@example.org") == "büb@example.org"
    assert original_recipient("utf-8;büb@example.org", True) == "utf-8;büb@example.org"
    for bad in ("", "a b", "a=b", "a+", "a+2", "a+GG", "ü"):
        with pytest.raises(ValueError):
            xtext_decode(bad)


def test_the_transaction_knows_what_was_asked():
    async def run():
        one = Talk()
        await one.send(
            script(
                HELLO, "MAIL FROM:<a@b.c> RET=HDRS ENVID=a+2Bb", "RCPT TO:<u@example.org> NOTIFY=SUCCESS,DELAY",
                "RCPT TO:<u@elsewhere.example> NOTIFY=NEVER", "RCPT TO:<v@example.org> ORCPT=rfc822;x@y",
            )
        )  # fmt: skip
        envelope = one.session.envelope
        assert (envelope.ret, envelope.envid, envelope.rcpt_tos) == ("hdrs", "a+b", ["u@example.org", "v@example.org"])
        assert [(asked.notify, asked.orcpt) for asked in envelope.wanted] == [
            (frozenset({"success", "delay"}), ""),
            (frozenset(), "rfc822;x@y"),
        ]
        await one.send(script("RSET"))
        assert (one.session.envelope.ret, one.session.envelope.wanted) == ("", [])

    asyncio.run(run())


# FUTURERELEASE: (parameters, code, hold_until)
HOLDS = [
    ("HOLDFOR=60", 250, NOW + 60),
    ("HOLDFOR=5184000", 250, NOW + 5184000),
    ("HOLDFOR=5184001", 501, 0),
    ("HOLDFOR=0", 501, 0),
    ("HOLDFOR=-1", 501, 0),
    ("HOLDFOR", 501, 0),
    ("HOLDFOR=9999999999", 501, 0),
    ("HOLDUNTIL=2001-09-09T01:47:40Z", 250, NOW + 60),
    ("HOLDUNTIL=2001-09-09T03:47:40+02:00", 250, NOW + 60),
    ("HOLDUNTIL=2001-09-08T20:17:40-05:30", 250, NOW + 60),
    ("HOLDUNTIL=2000-01-01T00:00:00Z", 250, 946684800.0),
    ("HOLDUNTIL=2001-12-09T01:46:40Z", 501, 0),
    ("HOLDUNTIL=9999-12-31T23:59:59-23:59", 501, 0),
    ("HOLDUNTIL=2001-13-09T01:46:40Z", 501, 0),
    ("HOLDUNTIL=tomorrow", 501, 0),
    ("HOLDFOR=60 HOLDUNTIL=2001-09-09T01:47:40Z", 501, 0),
]


@pytest.mark.parametrize("text, code, until", HOLDS)
def test_future_release(text, code, until):
    async def run():
        role = Recorder(login=True)
        one = Talk(role=role)
        one.service.clock = FakeClock(NOW)
        one.session.login = "u"
        answer = await one.send(script(HELLO, f"MAIL FROM:<a@b.c> {text}"))
        assert codes(answer)[1] == code
        assert b"FUTURERELEASE 5184000 2001-11-08T00:00:00Z\r\n" in answer
        assert one.session.envelope.hold_until == until

    asyncio.run(run())


def test_the_announced_date_is_one_that_is_taken():
    day = futurerelease.parse_time("2001-11-08T00:00:00Z")
    assert NOW + futurerelease.LONGEST - 86_400 <= day <= NOW + futurerelease.LONGEST


# CHUNKING

BEGIN = script(HELLO, "MAIL FROM:<a@b.c>", "RCPT TO:<u@example.org>")
TEXT = b"From: a@b.c\r\n\r\n.dot\r\n..\r\n.\r\ntext\r\n"


def chunk(data, last=False):
    return b"BDAT %d%s\r\n%s" % (len(data), b" LAST" if last else b"", data)


# (bytes after BEGIN, codes, messages)
BDATS = [
    (chunk(TEXT, True), [250], [TEXT]),
    (chunk(TEXT) + chunk(b"", True), [250, 250], [TEXT]),
    (chunk(TEXT[:10]) + chunk(TEXT[10:12]) + chunk(TEXT[12:], True), [250, 250, 250], [TEXT]),
    (chunk(TEXT[:12]) + chunk(TEXT[12:], True) + b"NOOP\r\n", [250, 250, 250], [TEXT]),
    (chunk(b"From: a", True), [250], [b"From: a\r\n"]),
    (chunk(b"", True), [250], [b""]),
    (b"bdat 4 last\r\nab\r\n", [250], [b"ab\r\n"]),
    # not both
    (chunk(TEXT) + b"DATA\r\n" + chunk(b"x\r\n", True), [250, 503, 250], [TEXT + b"x\r\n"]),
    (chunk(TEXT) + b"RCPT TO:<v@example.org>\r\n" + chunk(b"", True), [250, 503, 250], [TEXT]),
    (chunk(TEXT) + b"MAIL FROM:<a@b.c>\r\n" + chunk(b"", True), [250, 503, 250], [TEXT]),
    (chunk(TEXT) + b"RSET\r\n" + chunk(b"x\r\n", True), [250, 250, 503], []),
    (chunk(TEXT) + b"EHLO x\r\n" + chunk(b"x\r\n", True), [250, 250, 503], []),
    # refused chunks are read, and the rest of the pipeline too
    (chunk(b"a\nb\r\n") + chunk(b"QUIT\r\n") + chunk(b"x", True) + b"NOOP\r\n", [550, 503, 503, 250], []),
    (chunk(b"a\rb\r\n", True) + b"NOOP\r\n", [550, 250], []),
    (chunk(b"a\0b\r\n", True) + b"NOOP\r\n", [550, 250], []),
    (chunk(b"a\r") + chunk(b"b", True) + b"NOOP\r\n", [250, 550, 250], []),
    (chunk(b"a\r", True) + b"NOOP\r\n", [550, 250], []),
    # commands that cannot be followed
    (b"BDAT\r\nNOOP\r\n", [501], []),
    (b"BDAT x LAST\r\n", [501], []),
    (b"BDAT 5 FIRST\r\n", [501], []),
    (b"BDAT -1\r\n", [501], []),
    (b"BDAT 99999999999999999999\r\n", [501], []),
]


@pytest.mark.parametrize("data, expected, messages", BDATS)
@pytest.mark.parametrize("pieces", [False, True])
def test_bdat(data, expected, messages, pieces):
    role = Recorder()
    answer = talk(*(bytewise(BEGIN + data) if pieces else [BEGIN + data]), role=role)
    assert codes(answer)[3:] == expected
    assert [text for _, _, text in role.mail] == messages


def test_bdat_before_its_time_is_read_and_refused():
    assert codes(talk(chunk(b"QUIT\r\n") + b"NOOP\r\n")) == [503, 250]
    hello = script(HELLO)
    assert codes(talk(hello + chunk(b"QUIT\r\n") + b"NOOP\r\n")) == [250, 503, 250]
    assert codes(talk(hello + b"MAIL FROM:<a@b.c>\r\n" + chunk(b"QUIT\r\n") + b"NOOP\r\n")) == [250, 250, 554, 250]


def test_bdat_is_bounded():
    big = chunk(b"x" * 998 + b"\r\n") * 66
    role = Recorder()
    answer = talk(BEGIN + big + b"NOOP\r\n", role=role, message_size=65_536)
    assert codes(answer)[3:] == [250] * 65 + [552, 250]
    long = chunk(b"x" * 2000) + chunk(b"\r\n", True) + b"NOOP\r\n"
    assert codes(talk(BEGIN + long, line_length=1000))[3:] == [554, 503, 250]


def test_a_large_chunked_message_goes_through_a_file(tmp_path):
    async def run():
        one = Talk(spool=tmp_path)
        text = b"0123456789abcdef" * 4 + b"\r\n"
        await one.send(BEGIN)
        for _ in range(40):
            answer = await one.send(chunk(text * 50))
            assert codes(answer) == [250]
        assert len(list(tmp_path.iterdir())) == 1
        await one.send(chunk(b"", True))
        assert one.role.mail[0][2] == text * 2000
        assert not list(tmp_path.iterdir())
        await one.send(BEGIN + chunk(text * 2000))
        assert len(list(tmp_path.iterdir())) == 1
        one.wire.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not list(tmp_path.iterdir())

    asyncio.run(run())


# early talkers


def test_a_client_that_speaks_before_the_greeting_is_refused():
    async def run():
        one = Talk(limits=replace(NO_LIMITS, greeting_delay=60))
        assert one.wire.out == b""
        await one.send(script(HELLO))
        assert one.wire.out.startswith(b"554 5.5.1 ")
        assert one.wire.closed
        assert one.counts["smtp_early_talkers"] == 1

    asyncio.run(run())


def test_a_client_that_waits_is_greeted():
    async def run():
        one = Talk(limits=replace(NO_LIMITS, greeting_delay=0.01))
        while not one.wire.out:
            await asyncio.sleep(0.005)
        assert one.wire.out == GREETING
        assert codes(await one.send(script(HELLO))) == [250]

    asyncio.run(run())


def test_submission_greets_at_once():
    async def run():
        assert Talk(limits=replace(NO_LIMITS, greeting_delay=5), role=Recorder(login=True)).wire.out == GREETING

    asyncio.run(run())


def test_long_lines_of_mail_and_rcpt_are_taken():
    orcpt = "rfc822;" + "x" * 480
    lines = (HELLO, "MAIL FROM:<a@b.c> ENVID=" + "y" * 100, f"RCPT TO:<u@example.org> NOTIFY=SUCCESS ORCPT={orcpt}")
    assert codes(talk(script(*lines))) == [250, 250, 250]
