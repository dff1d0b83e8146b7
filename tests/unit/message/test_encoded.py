"""Encoded words (RFC 2047), extended parameters (RFC 2231), charsets."""

import pytest

from echomox.message.charset import codec_for, decode_charset
from echomox.message.encoded import (
    decode_base64,
    decode_extended,
    decode_parameter,
    decode_words,
    encode_parameter,
    encode_words,
)
from echomox.message.parameters import parse_type, parse_value, token

RFC2047_8 = [
    ("=?US-ASCII?Q?Keith_Moore?= <moore@cs.utk.edu>", "Keith Moore <moore@cs.utk.edu>"),
    ("=?ISO-8859-1?Q?Keld_J=F8rn_Simonsen?= <keld@dkuug.dk>", "Keld Jørn Simonsen <keld@dkuug.dk>"),
    ("=?ISO-8859-1?Q?Andr=E9?= Pirard", "André Pirard"),
    (
        "=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?=\r\n =?ISO-8859-2?B?dSB1bmRlcnN0YW5kIHRoZSBleGFtcGxlLg==?=",
        "If you can read this you understand the example.",
    ),
    ("=?ISO-8859-1?Q?Patrik_F=E4ltstr=F6m?=", "Patrik Fältström"),
    ("(=?iso-8859-8?b?7eXs+SDv4SDp7Oj08A==?=)", "(םולש ןב ילטפנ)"),
    ("(=?ISO-8859-1?Q?a?=)", "(a)"),
    ("(=?ISO-8859-1?Q?a?= b)", "(a b)"),
    ("(=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=)", "(ab)"),
    ("(=?ISO-8859-1?Q?a?=  =?ISO-8859-1?Q?b?=)", "(ab)"),
    ("(=?ISO-8859-1?Q?a?=\r\n    =?ISO-8859-1?Q?b?=)", "(ab)"),
    ("(=?ISO-8859-1?Q?a_b?=)", "(a b)"),
    ("(=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=)", "(a b)"),
    # RFC 2231 5: with a language
    ("=?US-ASCII*EN?Q?Keith_Moore?= <moore@cs.utk.edu>", "Keith Moore <moore@cs.utk.edu>"),
]


@pytest.mark.parametrize("text, expected", RFC2047_8)
def test_encoded_words_are_displayed_as_in_rfc2047_8(text, expected):
    assert decode_words(text.encode("ascii")) == expected


@pytest.mark.parametrize(
    "raw, expected",
    [
        (b"plain", "plain"),
        (b"caf\xc3\xa9", "café"),
        (b"caf\xe9 \x93x\x94", "café “x”"),
        (b"\x81\xe9", "\x81é"),
        (b"=?utf-8?q?=C3?= =?utf-8?q?=A9?=", "é"),  # a character split between two words
        (b"=?utf-8?b?w6k?=", "é"),  # missing padding
        (b"=?utf-8?q?a b?=", "a b"),  # a raw space
        (b"=?utf-8?q?what?_now?=", "what? now"),
        (b"=?no-such-charset?q?=C3=A9?=", "é"),
        (b"=?utf-8?x?abc?=", "=?utf-8?x?abc?="),
        (b"=?utf-8?q?abc", "=?utf-8?q?abc"),
        (b"=?utf-8?q?lost =?utf-8?q?found?=", "=?utf-8?q?lost found"),
        (b"=?utf-8?q??=", ""),
        (b"a=?utf-8?q?b?=c", "abc"),
        (b"=?utf-8?q?a=0D=0Ab=00?=", "a  b "),  # no line end gets out of a word
        (b"=?utf-8?q?=FF=FE?= x", "\ufffd\ufffd x"),
        (b"=?gb2312?B?1tDOxA==?=", "中文"),
        (b"=?iso-2022-jp?b?GyRCRnxLXBsoQg==?=", "日本"),
    ],
)
def test_words_of_the_real_world(raw, expected):
    assert decode_words(raw) == expected


def test_hostile_words_stay_as_written():
    """Each start is looked at once: the loop moves on by find and rfind, never back."""
    for text in ("=?x" * 350_000, "=?utf-8?q?" * 100_000, "?=" * 500_000, "=?=?" * 250_000):
        assert decode_words(text) == text
    assert decode_words("=?a?q?" * 100_000 + "?=") == "=?a?q?" * 99_999


@pytest.mark.parametrize(
    "name, codec",
    [
        ("UTF-8", "utf_8"),
        ("utf8", "utf_8"),
        ("ISO-8859-1", "latin_1"),
        ("latin1", "latin_1"),
        ("windows-1252", "cp1252"),
        ("ks_c_5601-1987", "cp949"),
        ("GB2312", "gb18030"),
        ("Shift_JIS", "cp932"),
        ("iso-8859-15", "iso8859_15"),
        ("koi8-r", "koi8_r"),
        ("unicode-1-1-utf-7", "utf_7"),
        ("idna", ""),
        ("punycode", ""),
        ("unicode_escape", ""),
        ("zlib", ""),
        ("rot13", ""),
        ("x" * 1000, ""),
        ("../../etc", ""),
    ],
)
def test_charsets_are_a_closed_list(name, codec):
    assert codec_for(name) == codec


def test_no_text_has_half_a_surrogate_pair():
    assert decode_charset(b"+2AA-", "utf-7").encode("utf-8")


@pytest.mark.parametrize(
    "data, expected",
    [
        (b"aGVsbG8=", b"hello"),
        (b"aGVs\r\nbG8=\r\n", b"hello"),
        (b"aGVsbG8", b"hello"),
        (b"aGVsbG8==", b"hello"),
        (b"aGVsbG8=aGVsbG8=", b"hellohello"),
        (b"a*G-V s!bG8", b"hello"),
        (b"aGVsbG8a1", b"hello\x1a"),
        (b"a", b""),
        (b"", b""),
        (b"====", b""),
    ],
)
def test_base64_is_read_with_patience(data, expected):
    assert decode_base64(data) == expected


@pytest.mark.parametrize(
    "field, name, expected",
    [
        # RFC 2231 3
        (
            b'message/external-body; access-type=URL;\r\n URL*0="ftp://";\r\n URL*1="cs.utk.edu/pub/moore"',
            "url",
            "ftp://cs.utk.edu/pub/moore",
        ),
        # RFC 2231 4
        (
            b"application/x-stuff;\r\n title*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A",
            "title",
            "This is ***fun***",
        ),
        # RFC 2231 4.1 (with the semicolons that the RFC's print lost)
        (
            b"application/x-stuff;\r\n title*0*=us-ascii'en'This%20is%20even%20more%20;\r\n"
            b' title*1*=%2A%2A%2Afun%2A%2A%2A%20;\r\n title*2="isn\'t it!"',
            "title",
            "This is even more ***fun*** isn't it!",
        ),
        (b"a/b; x*1=b; x*0=a; x*3=d", "x", "ab"),  # any order; a gap ends it
        (b"a/b; x*=utf-8''%C3%A9; x=e", "x", "é"),
        (b"a/b; x*=%C3%A9", "x", "é"),
        (b"a/b; x*0*=''50%25; x*1=%25", "x", "50%%25"),
        (b"a/b; name==?utf-8?q?=C3=A9.pdf?=", "name", "é.pdf"),
        (b'a/b; name="=?utf-8?b?w6k=?=.pdf"', "name", "é.pdf"),
        (b'a/b; name="caf\xc3\xa9"', "name", "café"),
        (b"a/b", "name", None),
    ],
)
def test_parameters_are_joined_and_decoded_as_in_rfc2231(field, name, expected):
    parsed = parse_type(field)
    assert parsed is not None
    assert decode_parameter(name, parsed[2]) == expected


@pytest.mark.parametrize(
    "field, expected",
    [
        # RFC 2045 5.1
        (b"text/plain; charset=us-ascii (Plain text)", (b"text", b"plain", [(b"charset", b"us-ascii")])),
        (b'text/plain; charset="us-ascii"', (b"text", b"plain", [(b"charset", b"us-ascii")])),
        (b' TEXT / Html ;CHARSET = "x y"; ; a=b;', (b"TEXT", b"Html", [(b"charset", b"x y"), (b"a", b"b")])),
        (b'multipart/mixed; boundary="a;b\\"c"; x', (b"multipart", b"mixed", [(b"boundary", b'a;b"c')])),
        (b"multipart/mixed;boundary=----=_(x)", (b"multipart", b"mixed", [(b"boundary", b"----=_(x)")])),
        (b'text/plain; (a ; b="c") charset=utf-8', (b"text", b"plain", [(b"charset", b"utf-8")])),
        (b'text/plain; name="unended', (b"text", b"plain", [(b"name", b"unended")])),
        (b"text/plain charset=utf-8", (b"text", b"plain", [])),
        (b"text", None),
        (b"", None),
        (b"/plain", None),
        (b"text/", None),
    ],
)
def test_content_type_is_read_with_patience(field, expected):
    assert parse_type(field) == expected


@pytest.mark.parametrize(
    "field, expected",
    [
        (b" attachment; filename=x.pdf\r", (b"attachment", [(b"filename", b"x.pdf")])),
        (b"inline", (b"inline", [])),
        (b'; filename="a b.txt"', (b"", [(b"filename", b"a b.txt")])),
        (b"", (b"", [])),
    ],
)
def test_disposition(field, expected):
    assert parse_value(field) == expected


@pytest.mark.parametrize(
    "field, expected",
    [(b" base64\r", b"base64"), (b"(x) 7bit (y)", b"7bit"), (b'"8bit"', b"8bit"), (b"", b""), (b"7bit;", b"7bit")],
)
def test_token(field, expected):
    assert token(field) == expected


def test_number_of_parameters_is_bounded():
    parsed = parse_type(b"a/b" + b"; x=y" * 10_000)
    assert parsed is not None and len(parsed[2]) == 100


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "café",
        "日本語のとても長い件名" * 20,
        "a =?b?= c",
        "x" * 300,
        "word " * 60,
        "é" * 100 + "abc",
        "🎉" * 50,
        "",
    ],
)
def test_encoding_comes_back_and_keeps_to_the_line(text):
    encoded = encode_words(text, len("Subject: "))
    assert decode_words(encoded.encode("ascii").replace(b"\r\n", b"")) == text
    lines = ("Subject: " + encoded).split("\r\n ")
    assert all(len(line) <= 76 for line in lines)


def test_encoding_lets_no_line_end_through():
    assert "\r" not in encode_words("a\r\nBcc: x") and "\n" not in encode_words("a\r\nBcc: x")


@pytest.mark.parametrize("value", ["a.pdf", "a b.pdf", 'quo"te\\', "é.pdf", "a\r\nb", "100%é'"])
def test_parameter_encoding_comes_back(value):
    parsed = parse_type(f"a/b; {encode_parameter('name', value)}".encode("ascii"))
    assert parsed is not None
    assert decode_parameter("name", parsed[2]) == value.replace("\r", " ").replace("\n", " ")


def test_extended_value_tells_its_charset():
    assert decode_extended(b"iso-8859-1'en'%A3%20rates") == ("£ rates", "iso-8859-1")
