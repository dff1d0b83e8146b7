"""Bytes in a charset as text. Never raises.

Charsets are a closed list: a name from a stranger is never handed to the codec registry, which would remember
it for ever. What is unknown, or not what it claims to be, is UTF-8 if it can be, else what `charsetguess` is sure of,
else windows-1252 (the Latin-1 that people mean).
"""

from __future__ import annotations

import re
from encodings.aliases import aliases

from echomox.message.charsetguess import ESCAPE, guess, is_iso2022_jp

# Codecs of the standard library that are charsets of mail: not the quadratic ones (punycode, idna), nor what is no
# charset.
_CODECS = frozenset(
    """
    ascii utf_8 utf_8_sig utf_7 utf_16 utf_16_le utf_16_be utf_32 utf_32_le utf_32_be latin_1 iso8859_2
    iso8859_3 iso8859_4 iso8859_5 iso8859_6 iso8859_7 iso8859_8 iso8859_9 iso8859_10 iso8859_11 iso8859_13
    iso8859_14 iso8859_15 iso8859_16 cp437 cp720 cp737 cp775 cp850 cp852 cp855 cp856 cp857 cp858 cp860
    cp861 cp862 cp863 cp864 cp865 cp866 cp869 cp874 cp932 cp949 cp950 cp1006 cp1125 cp1250 cp1251 cp1252
    cp1253 cp1254 cp1255 cp1256 cp1257 cp1258 koi8_r koi8_u koi8_t kz1048 mac_roman mac_cyrillic mac_greek
    mac_latin2 mac_turkish ptcp154 tis_620 big5 big5hkscs gb2312 gbk gb18030 hz euc_jp euc_jis_2004
    euc_jisx0213 euc_kr iso2022_jp iso2022_jp_1 iso2022_jp_2 iso2022_jp_3 iso2022_jp_ext iso2022_kr johab
    shift_jis shift_jis_2004 shift_jisx0213
    """.split()  # noqa: SIM905
)
_ALIASES = {
    # Smaller sets that senders name when they use the larger one (the choice of browsers too).
    "gb2312": "gb18030", "gbk": "gb18030", "x_gbk": "gb18030", "euc_kr": "cp949", "ks_c_5601_1987": "cp949",
    "ksc5601": "cp949", "ks_c_5601": "cp949", "shift_jis": "cp932", "x_sjis": "cp932", "tis_620": "cp874",
    "iso8859_9": "cp1254", "iso8859_11": "cp874",
    # Names the standard library does not know.
    "iso_8859_8_i": "iso8859_8", "iso_8859_8_e": "iso8859_8", "unicode_1_1_utf_7": "utf_7",
    "utf8mb4": "utf_8",
    "x_mac_roman": "mac_roman", "macintosh": "mac_roman", "x_mac_cyrillic": "mac_cyrillic",
    "x_cp1250": "cp1250", "x_cp1251": "cp1251", "x_cp1252": "cp1252", "win_1251": "cp1251",
    "win1251": "cp1251", "iso_2022_jp_ms": "iso2022_jp_ext", "cp_850": "cp850",
}  # fmt: skip
_NAME = re.compile(r"[^a-z0-9]+")
_ASCII_NAMES = frozenset({"", "us-ascii", "utf-8", "iso-8859-1", "US-ASCII", "UTF-8", "ISO-8859-1"})


def codec_for(charset: str) -> str:
    """The name of the codec for a MIME charset; "" if there is none."""
    if len(charset) > 64:
        return ""
    name = _NAME.sub("_", charset.strip("'\" \t").lower())
    name = _ALIASES.get(name, name)
    name = aliases.get(name, name)
    name = _ALIASES.get(name, name)
    return name if name in _CODECS else ""


def decode_charset(data: bytes, charset: str) -> str:
    """Bytes as text, whatever they are: no charset, an unknown one and us-ascii are as `decode_raw` says; bytes that
    do not fit the charset give U+FFFD."""
    if charset in _ASCII_NAMES and data.isascii() and ESCAPE not in data:
        return data.decode("ascii")
    codec = codec_for(charset)
    if codec in ("", "ascii"):
        return decode_raw(data)
    if codec == "latin_1":
        return _western(data)
    try:
        text = data.decode(codec)
    except UnicodeError:
        text = data.decode(codec, "replace")
    # UTF-7 can spell half a surrogate pair, which no UTF-8 can hold.
    return text.encode("utf-8", "replace").decode("utf-8") if codec == "utf_7" else text


def decode_raw(data: bytes) -> str:
    """Bytes without a charset: UTF-8 if they are, else as guessed, else windows-1252, its five holes as in Latin-1."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        codec = guess(data, error.start)
        return data.decode(codec, "replace") if codec else _western(data)
    return data.decode("iso2022_jp_ext", "replace") if is_iso2022_jp(data) else text


def decode_octets(data: bytes) -> str:
    """The same without a guess: an octet is read without the ones beside it, so that each ASCII one stays itself."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return _western(data)


def _western(data: bytes) -> str:
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError:
        return data.decode("latin-1")
