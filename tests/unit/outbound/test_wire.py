"""Replies, dots and envelope parameters: bytes in, values out."""

import pytest

from echomox.outbound.outgoing import BLOCK, Stuffer, blocks, needs_utf8, orcpt, unitext, xtext
from echomox.outbound.wire import LINES_LIMIT, PeerError, ReplyParser


def parse(data):
    parser = ReplyParser()
    parser.feed(data)
    return parser.next()


REPLIES = [
    (b"250 ok\r\n", (250, "", ("ok",))),
    (b"250\r\n", (250, "", ("",))),
    (b"250 2.1.5 ok\r\n", (250, "2.1.5", ("ok",))),
    (b"550 2.1.5 no\r\n", (550, "", ("2.1.5 no",))),
    (b"550-5.7.1 a\r\n550-5.7.1 b\r\n550 c\r\n", (550, "5.7.1", ("a", "b", "c"))),
    (b"250 ok\n", (250, "", ("ok",))),
    (b"550 5.1.1\r\n", (550, "5.1.1", ("",))),
    (b"550 x\x1b[31m\xff\r\n", (550, "", ("x?[31m\ufffd",))),
    (b"250-not yet\r\n", None),
    (b"250 o", None),
]


@pytest.mark.parametrize("data, expected", REPLIES)
def test_replies(data, expected):
    assert parse(data) == expected


@pytest.mark.parametrize(
    "data",
    [b"hello\r\n", b"25 x\r\n", b"2500 x\r\n", b"150 x\r\n", b"650 x\r\n", b"250-a\r\n251 b\r\n", b"\r\n", b"250x\r\n",
     b"250 " + b"x" * 5000 + b"\r\n", b"x" * 5000, b"250-a\r\n" * (LINES_LIMIT + 1)],
)  # fmt: skip
def test_what_is_no_reply(data):
    with pytest.raises(PeerError):
        parse(data)


def stuffed(*pieces):
    one = Stuffer()
    return b"".join(map(one.feed, pieces)) + one.end()


MESSAGES = [
    (b"a\r\n.b\r\n..c\r\n", b"a\r\n..b\r\n...c\r\n.\r\n"),
    (b".a", b"..a\r\n.\r\n"),
    (b"a", b"a\r\n.\r\n"),
    (b"", b".\r\n"),
    (b"a\r\n.\r\nb\r\n", b"a\r\n..\r\nb\r\n.\r\n"),
    (b"a\n.\nb\r\n", b"a\r\n..\r\nb\r\n.\r\n"),
    (b"a\r.\rb", b"a\r\n..\r\nb\r\n.\r\n"),
    (b"a\r\r\n.\r\n", b"a\r\n\r\n..\r\n.\r\n"),
    (b"a\r\n\r", b"a\r\n\r\n.\r\n"),
]


@pytest.mark.parametrize("message, expected", MESSAGES)
def test_dots_and_line_ends_however_they_are_cut(message, expected):
    assert stuffed(message) == expected
    assert stuffed(*(message[n : n + 1] for n in range(len(message)))) == expected
    for cut in range(len(message)):
        assert stuffed(message[:cut], message[cut:]) == expected


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK])
def test_blocks_are_the_message(tmp_path, size):
    body = bytes(range(256)) * (size // 256 + 1)
    body = body[:size]
    (tmp_path / "m").write_bytes(body)
    for pieces in (list(blocks(b"p", body, None)), list(blocks(b"p", None, tmp_path / "m"))):
        assert b"".join(pieces) == b"p" + body
        assert all(len(piece) <= BLOCK + 1 for piece in pieces)


def test_xtext_and_unitext():
    # RFC 3461 4, RFC 6533 3
    assert xtext("a+b=c d") == "a+2Bb+3Dc+20d"
    assert orcpt("rfc822;a+b@c.d", False) == "rfc822;a+2Bb@c.d"
    assert unitext("ü+@x") == "ü\\x{2B}@x"
    assert orcpt("utf-8;ü@x", True) == "utf-8;ü@x"
    assert orcpt("utf-8;ü@x", False) == "utf-8;\\x{FC}@x"


@pytest.mark.parametrize(
    "header, address, expected",
    [(b"A: b\r\n\r\n\xc3\xbc", "a@b.c", False), (b"A: \xc3\xbc\r\n\r\n", "a@b.c", True),
     (b"", "ü@b.c", True), (b"", "a@ü.example", False)],
)  # fmt: skip
def test_whether_smtputf8_is_needed(header, address, expected):
    assert needs_utf8(header, address) is expected
