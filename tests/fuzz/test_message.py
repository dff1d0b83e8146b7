"""Any bytes give a Structure whose offsets lie inside the data and never an exception.

With HYPOTHESIS_PROFILE=long in the environment the run is long.
"""

import os

from hypothesis import given, settings
from hypothesis import strategies as st

from echomox.message.address import address_text, display, envelope_list, parse_addresses
from echomox.message.date import parse_date
from echomox.message.encoded import decode_words
from echomox.message.header import Limits
from echomox.message.mime import parse
from echomox.message.parameters import parse_type, parse_value
from echomox.message.text import html_to_text, texts

EXAMPLES = 20_000 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 300
SMALL = Limits(fields=5, field_size=60, header_size=200, addresses=3, depth=3, parts=8, text=100)

FRAGMENTS = st.sampled_from(
    [
        b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\n\n", b"--", b"--b", b"--b--", b"--bb", b"--bb--",
        b"\r\n--b\r\n", b"\r\n--b--\r\n", b"\n--bb\n", b"Content-Type: ", b"multipart/mixed",
        b"multipart/digest", b"message/rfc822", b"message/global", b"text/plain", b"text/html", b"; boundary=b",
        b'; boundary="bb"', b"; boundary=", b"; charset=utf-8", b"; charset=utf-7", b"; name*0*=utf-8''%C3",
        b"; name*1=x", b"Content-Transfer-Encoding: base64\r\n",
        b"Content-Transfer-Encoding: quoted-printable\r\n", b"Content-Transfer-Encoding: x-uuencode\r\n",
        b"Content-Disposition: attachment; filename=x\r\n", b"From: ", b"To: ", b"Subject: ", b"Date: ",
        b"Message-ID: ", b"References: <a@b>", b"a@x.test", b"<a@x.test>", b'"q', b"(", b")", b"<", b">", b":",
        b";", b",", b"@", b"\\", b"=?utf-8?q?=C3=A9?=", b"=?utf-8?b?w6k", b"=?", b"?=", b"begin 644 x\n",
        b"<p>", b"<div style='display:none'>", b"</div>", b"\x00", b"\xff", b"\xc3\xa9", b" ", b"\t", b"text",
        b"Sun, 22 Nov 2026 07:40:46 +0000",
    ]
)  # fmt: skip
MESSAGES = st.binary(max_size=200) | st.lists(FRAGMENTS | st.binary(max_size=5), max_size=60).map(b"".join)


def check(data, limits):
    structure = parse(data, limits)
    size = len(data)
    assert structure.size == size
    assert 0 <= structure.header_size <= size
    assert 1 <= len(structure.parts) <= max(limits.parts, 1)
    paths = [part.path for part in structure.parts]
    assert len(set(paths)) == len(paths)
    for part in structure.parts:
        assert 0 <= part.header_offset <= part.offset <= part.offset + part.size <= size
        assert part.header_offset + part.header_size == part.offset
        assert 0 <= part.inner_header_size <= part.size
        assert 0 <= part.lines <= part.size
    inside(structure)
    for value in (structure.envelope, structure.body, structure.bodystructure):
        assert well_formed(value)
    for text in (structure.subject, structure.from_text, structure.to_text, structure.message_id, structure.preview):
        text.encode("utf-8")
        assert "\r" not in text and "\n" not in text and "\0" not in text
    assert len(structure.preview) <= 200
    return structure


def inside(structure):
    """A part lies inside the part that its number names."""
    found = {part.path: part for part in structure.parts}
    for path, part in found.items():
        outer = found.get(path.rpartition(".")[0]) if "." in path else found.get("")
        if outer is not None and outer is not part:
            assert outer.offset <= part.header_offset
            assert part.offset + part.size <= outer.offset + outer.size


def well_formed(value):
    """Balanced lists of NIL, numbers, quoted strings and literals, without NUL; CR and LF in literals only."""
    depth = position = 0
    while position < len(value):
        byte = value[position : position + 1]
        position += 1
        if byte == b'"':
            while value[position] != 0x22:
                assert value[position] not in b"\r\n\0" and value[position] < 128
                position += 2 if value[position] == 0x5C else 1
            position += 1
        elif byte == b"{":
            end = value.index(b"}\r\n", position)
            position = end + 3 + int(value[position:end])
            assert position <= len(value)
        else:
            depth += (byte == b"(") - (byte == b")")
            assert depth >= 0 and byte in b"() NIL0123456789"
    return depth == 0 and b"\0" not in value


@settings(max_examples=EXAMPLES, deadline=None)
@given(MESSAGES)
def test_any_bytes_give_a_structure(data):
    structure = check(data, Limits())
    for part in texts(structure, data):
        part.text.encode("utf-8")
        if part.html:
            html_to_text(part.text)


@settings(max_examples=EXAMPLES, deadline=None)
@given(MESSAGES)
def test_any_bytes_keep_to_small_limits(data):
    structure = check(data, SMALL)
    assert max(part.path.count(".") for part in structure.parts) <= SMALL.depth


@settings(max_examples=EXAMPLES, deadline=None)
@given(MESSAGES)
def test_any_value_of_a_field_is_read(data):
    decode_words(data).encode("utf-8")
    parse_value(data)
    parse_type(data)
    parse_date(data.decode("latin-1"))
    addresses = parse_addresses(address_text(data))
    assert well_formed(envelope_list(addresses))
    display(addresses).encode("utf-8")


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.text(st.sampled_from("<>/='\"! -abpdivstyle:no;#f&\n") | st.characters(), max_size=200))
def test_any_html_is_text(html):
    found = html_to_text(html)
    found.text.encode("utf-8", "surrogatepass")
