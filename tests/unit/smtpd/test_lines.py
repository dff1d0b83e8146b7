"""Lines and data: the smuggling matrix, transparency, limits, and that cutting changes nothing."""

import pytest

from echomox.smtpd.lines import DataReader, LineInput, Trouble

LINES = [
    (b"NOOP\r\n", [b"NOOP"]),
    (b"\r\n", [b""]),
    (b"a\r\nb\r\n", [b"a", b"b"]),
    (b"a\nb\r\n", [Trouble.BARE, b"b"]),
    (b"a\rb\r\n", [Trouble.BARE]),
    (b"a\r\r\n", [Trouble.BARE]),
    (b"a\0b\r\n", [Trouble.BARE]),
    (b"x" * 18 + b"\r\n", [b"x" * 18]),
    (b"x" * 19 + b"\r\nok\r\n", [Trouble.LONG, b"ok"]),
    (b"x" * 100 + b"\n\r\n", [Trouble.LONG, b""]),
    (b"half", []),
    (b"\n", [Trouble.BARE]),
    (b"\n\n\r\n", [Trouble.BARE, Trouble.BARE, b""]),
]


def lines(data: list[bytes], limit: int = 20) -> list[bytes | Trouble]:
    source = LineInput(limit)
    found = []
    for chunk in data:
        source.feed(chunk)
        while (line := source.line()) is not None:
            found.append(line)
    return found


@pytest.mark.parametrize("data, expected", LINES)
def test_only_crlf_ends_a_command(data, expected):
    assert lines([data]) == expected


@pytest.mark.parametrize("data, expected", LINES)
def test_a_command_may_come_byte_by_byte(data, expected):
    assert lines([data[i : i + 1] for i in range(len(data))]) == expected


def test_a_line_that_does_not_end_is_not_kept():
    source = LineInput(100)
    for _ in range(50):
        source.feed(b"x" * 1000)
        assert source.line() is None
        assert source.pending <= 1000


# (what is sent after DATA, text received, trouble, rest); rest None: the end has not come.
DATA = [
    (b".\r\n", b"", None, b""),
    (b"a\r\n.\r\n", b"a\r\n", None, b""),
    (b"a\r\n.\r\nQUIT\r\n", b"a\r\n", None, b"QUIT\r\n"),
    (b"..\r\n.\r\n", b".\r\n", None, b""),
    (b".a\r\n..b\r\n...\r\n.\r\n", b"a\r\n.b\r\n..\r\n", None, b""),
    (b"\r\n\r\n.\r\n", b"\r\n\r\n", None, b""),
    # The matrix of SMTP smuggling: none of these ends the data, all make it unacceptable.
    (b"a\n.\nMAIL\r\n.\r\n", None, Trouble.BARE, b""),
    (b"a\n.\r\nMAIL\r\n.\r\n", None, Trouble.BARE, b""),
    (b"a\r\n.\nMAIL\r\n.\r\n", None, Trouble.BARE, b""),
    (b"a\r.\rMAIL\r\n.\r\n", None, Trouble.BARE, b""),
    (b"a\r.\r\nMAIL\r\n.\r\n", None, Trouble.BARE, b""),
    (b"a\r\n.\rMAIL\r\n.\r\n", None, Trouble.BARE, b""),
    (b"a\r\r\n.\r\n", None, Trouble.BARE, b""),
    (b"a\n\n.\r\n.\r\n", None, Trouble.BARE, b""),
    (b"\n.\r\n\r\n.\r\n", None, Trouble.BARE, b""),
    (b"\r.\r\n\r\n.\r\n", None, Trouble.BARE, b""),
    (b".\nx\r\n.\r\n", None, Trouble.BARE, b""),
    (b".\r\r\n.\r\n", None, Trouble.BARE, b""),
    (b"a\r\n\0.\r\n.\r\n", None, Trouble.NUL, b""),
    (b"a\0\nb\r\n.\r\n", None, Trouble.BARE, b""),
    # Not ended yet.
    (b"a\r\n.", b"a", None, None),
    (b"a\r\n.\r", b"a", None, None),
    (b"a\n.\n", None, Trouble.BARE, None),
    # Lines of 50 octets are allowed here.
    (b"x" * 48 + b"\r\n.\r\n", b"x" * 48 + b"\r\n", None, b""),
    (b"x" * 49 + b"\r\n.\r\n", None, Trouble.LONG, b""),
    (b"y\r\n" * 40 + b"x" * 49 + b"\r\n" + b"y\r\n" * 40 + b".\r\n", None, Trouble.LONG, b""),
    (b"x" * 200 + b"\r\n.\r\n", None, Trouble.LONG, b""),
    (b"x" * 200 + b"\na\r\n.\r\n", None, Trouble.BARE, b""),
]


def read(chunks: list[bytes]) -> tuple[bytes, Trouble | None, bytes | None]:
    reader = DataReader(50)
    text, rest = b"", None
    for chunk in chunks:
        if rest is not None:
            rest += chunk
            continue
        piece, rest = reader.feed(chunk)
        text += piece
    return text, reader.trouble, rest


@pytest.mark.parametrize("data, text, trouble, rest", DATA)
@pytest.mark.parametrize("step", [1, 2, 3, 5, 1000])
def test_data_ends_at_crlf_dot_crlf_only(data, text, trouble, rest, step):
    found, why, after = read([data[i : i + step] for i in range(0, len(data), step)])
    assert (why, after) == (trouble, rest)
    if trouble is None:
        assert found == text


def test_a_long_message_costs_one_copy_per_block():
    block = (b"x" * 76 + b"\r\n") * 1000
    reader = DataReader(65_536)
    total = sum(len(reader.feed(block)[0]) for _ in range(50))
    assert total == 50 * len(block) - 2  # the last CRLF may be the beginning of the end
    assert reader.feed(b".\r\n") == (b"\r\n", b"")
    assert reader.trouble is None
