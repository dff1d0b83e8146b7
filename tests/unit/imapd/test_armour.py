"""imapd.armour: NUL becomes base64 where it may, and nothing else changes."""

from __future__ import annotations

import pytest

from echomox.imapd.armour import armoured
from echomox.message.mime import parse
from echomox.message.text import decode_bytes

SINGLE = b"Subject: x\r\nContent-transfer-encoding: binary\r\n\r\n%b"
FOLDED = b"Content-Transfer-Encoding:\r\n binary\r\nContent-Type: image/x; name=a\r\n\r\n%b"
BARE = b"Subject: x\n\n%b"
MIXED = (
    b"Content-Type: multipart/mixed; boundary=x\r\nContent-Transfer-Encoding: binary\r\n\r\npreamble\r\n"
    b"--x\r\nContent-Type: text/plain\r\n\r\nas it is\r\n"
    b"--x\r\nContent-Type: image/x\r\nContent-Transfer-Encoding: binary\r\n\r\n%b\r\n"
    b"--x\r\n\r\n%b\r\n"
    b"--x\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\n%b\r\n"
    b"--x--\r\nepilogue\r\n"
)
NUL = b"a\0b\r\n\0\xff\r\n" * 30


def bodies(data: bytes) -> list[bytes]:
    """Of the leaves, decoded."""
    parts = parse(data).parts
    return [decode_bytes(part, data) for part in parts if not part.content_type.startswith(("multipart/", "message/"))]


@pytest.mark.parametrize(
    "form, values",
    [
        (SINGLE, (NUL,)),
        (FOLDED, (NUL,)),
        (BARE, (b"\0",)),
        (MIXED, (NUL, b"plain", b"inner text")),
        (MIXED, (NUL, b"\0", NUL)),
        (MIXED, (b"", b"no", b"\0")),
    ],
)
def test_parts_keep_their_octets_and_the_message_has_no_nul(form: bytes, values: tuple[bytes, ...]) -> None:
    sent = form % values
    kept = armoured(sent, parse(sent).parts)
    assert b"\0" not in kept
    assert bodies(kept) == bodies(sent)
    assert [part.path for part in parse(kept).parts] == [part.path for part in parse(sent).parts]
    assert max(map(len, kept.splitlines())) <= 76


def test_what_has_no_nul_stays_as_it_is() -> None:
    sent = MIXED % (NUL, b"plain", b"inner text")
    kept = armoured(sent, parse(sent).parts)
    before, after = sent.index(b"--x\r\nContent-Type: image"), sent.index(b"--x\r\n\r\n")
    assert kept.startswith(sent[:before])
    assert kept.endswith(sent[after:])


def test_a_field_is_replaced_and_not_added_to() -> None:
    sent = FOLDED % NUL
    kept = armoured(sent, parse(sent).parts)
    header = b"Content-Type: image/x; name=a\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    assert kept.startswith(header)


@pytest.mark.parametrize(
    "sent",
    [
        b"Subject: \0\r\n\r\ntext\r\n",
        b"Content-Type: message/delivery-status\r\n\r\nStatus: \0\r\n",
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\n\0\r\n--x\r\n\r\ntext\r\n--x--\r\n",
        b"\0",
        b"",
    ],
)
def test_what_no_encoding_is_for_stays(sent: bytes) -> None:
    assert armoured(sent, parse(sent).parts).replace(b"\0", b"") == sent.replace(b"\0", b"")
