"""Text of parts, and the preview (RFC 2045 6, RFC 8970)."""

import pytest

from echomox.message.mime import parse
from echomox.message.text import decode_bytes, decode_part, texts


def message(header, body):
    data = header.replace("\n", "\r\n").encode() + b"\r\n" + body
    return parse(data), data


@pytest.mark.parametrize(
    "header, body, text",
    [
        ("", b"hello\r\n", "hello\r\n"),
        ("Content-Transfer-Encoding: quoted-printable\n", b"a=3Db=\r\nc =C3=A9 =XX =", "a=bc é =XX "),
        ("Content-Transfer-Encoding: BASE64\n", b"aGVs\r\nbG8=\r\n", "hello"),
        ("Content-Transfer-Encoding: base64\n", b"aGVsbG8", "hello"),
        ("Content-Transfer-Encoding: x-unknown\n", b"as it is", "as it is"),
        ("Content-Transfer-Encoding: binary\n", b"a\0b", "a\0b"),
        ("Content-Type: text/plain; charset=iso-8859-1\n", b"caf\xe9", "café"),
        ("Content-Type: text/plain; charset=utf-8\n", b"caf\xe9!", "caf\ufffd!"),
        ("Content-Type: text/plain; charset=koi8-r\n", b"\xf0\xd2\xc9\xd7\xc5\xd4", "Привет"),
        ("Content-Type: text/plain; charset=nonsense\n", b"caf\xc3\xa9", "café"),
        ("Content-Type: text/plain\n", b"caf\xe9", "café"),
        ("Content-Type: text/html\n", b"<meta charset=koi8-r>\xf0", "<meta charset=koi8-r>П"),
        ("Content-Type: text/html\n", b"<meta charset='utf-16'>\xc3\xa9", "<meta charset='utf-16'>é"),
        ("Content-Transfer-Encoding: x-uuencode\n", b"begin 644 x\r\n%:&5L;&\\ \r\n`\r\nend\r\n", "hello"),
        ("Content-Transfer-Encoding: uuencode\n", b"no begin", "no begin"),
    ],
)  # fmt: skip
def test_part_is_decoded(header, body, text):
    structure, data = message(header, body)
    assert decode_part(structure.parts[0], data) == text


@pytest.mark.parametrize("encoding", ["7bit", "base64", "quoted-printable", "x-uuencode"])
def test_decoding_is_bounded(encoding):
    structure, data = message(f"Content-Transfer-Encoding: {encoding}\n", b"YWJj" * 100_000)
    assert len(decode_bytes(structure.parts[0], data, 1000)) == 1000
    assert len(decode_part(structure.parts[0], data, 1000)) <= 1000


def test_cut_character_is_left_out():
    structure, data = message("Content-Type: text/plain; charset=utf-8\n", "é".encode() * 100)
    assert decode_part(structure.parts[0], data, 5) == "éé"


MIXED = b"""\
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/csv
Content-Disposition: attachment

a,b
--b
Content-Type: multipart/alternative; boundary=i

--i

plain
--i
Content-Type: text/html

<p>html
--i--
--b
Content-Type: image/png

x
--b
Content-Type: message/rfc822

Subject: in

inner
--b--
"""


def test_texts_are_those_shown_then_attachments():
    found = texts(parse(MIXED), MIXED)
    assert [(part.path, part.content_type, part.text, part.html) for part in found] == [
        ("2.1", "text/plain", "plain", False),
        ("2.2", "text/html", "<p>html", True),
        ("4.1", "text/plain", "inner", False),
        ("1", "text/csv", "a,b", False),
    ]


def test_texts_are_bounded_together():
    found = texts(parse(MIXED), MIXED, 8)
    assert [part.text for part in found] == ["plain", "<p>"]


@pytest.mark.parametrize(
    "header, body, shown",
    [
        ("", "Hello  there,\r\n\r\n\tthis is\r\nme.", "Hello there, this is me."),
        ("", "", ""),
        ("", "Text\r\n-- \r\nAlice\r\nExample Inc.", "Text"),
        ("", "-- \r\nonly a signature", "-- only a signature"[3:]),
        ("", "On Sunday, 22 November 2026, Bob wrote:\r\n> old\r\n> words\r\nNew words", "New words"),
        ("", "New\r\n> old", "New"),
        ("", "> only\r\n> old", "only old"),
        ("", "=====\r\nNews\r\n-----------\r\nThings", "News Things"),
        ("", "x" * 300, "x" * 199 + "…"),
        ("", "word " * 100, ("word " * 40).rstrip() + "…"),
        ("Content-Type: text/html\n", "<style>p{}</style><p>Hello <b>you</b></p><script>x</script>!", "Hello you !"),
        ("Content-Type: text/html\n", "<p style='display:none'>Line &zwnj;&nbsp;&zwnj;</p>Hello", "Line Hello"),
        ("Content-Type: image/png\n", "x", ""),
        ("Content-Type: text/plain\nContent-Disposition: attachment\n", "x", ""),
        ("", "a\x00b\x07c\u200b d", "a b c d"),
    ],
)  # fmt: skip
def test_preview(header, body, shown):
    structure, _ = message(header, body.encode())
    assert structure.preview == shown


def test_preview_prefers_plain_text_unless_it_is_empty():
    data = (
        b"Content-Type: multipart/alternative; boundary=i\n\n--i\n\n%b\n"
        b"--i\nContent-Type: text/html\n\n<p>html\n--i--\n"
    )
    assert parse(data % b"plain").preview == "plain"
    assert parse(data % b" ").preview == "html"


def test_preview_is_of_the_message_before_an_enclosed_one():
    head = b"Content-Type: multipart/mixed; boundary=b\n\n--b\n"
    inner = b"--b\nContent-Type: message/rfc822\n\nSubject: in\n\ninner\n--b--\n"
    assert parse(head + b"Content-Type: text/html\n\n<p>outer\n" + inner).preview == "outer"
    assert parse(head + b"Content-Type: image/png\n\nx\n" + inner).preview == "inner"


def test_preview_looks_behind_a_long_quotation():
    structure, _ = message("", b"> old words\r\n" * 1000 + b"New words\r\n")
    assert structure.preview == "New words"


@pytest.mark.parametrize("character", ["é", "日", "🎉", "a"])
def test_preview_is_never_too_long(character):
    """RFC 8970 3.3: at most 256 characters, 200 preferred."""
    structure, _ = message("Content-Type: text/plain; charset=utf-8\n", (character * 1000).encode())
    assert len(structure.preview) == 200
