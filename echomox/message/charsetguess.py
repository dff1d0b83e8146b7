"""The charset of 8-bit text that names none: a guess, made only where it is sure.

Much mail of the years before UTF-8 is raw GB2312, Big5, EUC-KR, Shift_JIS, EUC-JP, KOI8-R or windows-1251. Every
candidate that could have written the text says how many bits it takes to write it: a charset of two octets by the
rows of common characters and by its most common ones, a script of one octet by its letters from common to rare, a Latin
one by how few the 8-bit octets are and how much alone they stand between letters. The cheapest is taken if it is far
enough from the next and the text long enough; otherwise "" (the caller reads windows-1252, which is also what Latin
text of windows-1250 or 1254 becomes). ISO-2022-JP, of 7 bits, is known by its escape sequences.

Only `LOOK` octets from the first 8-bit one on are looked at. Deterministic, never raises, no state. That languages are
told by frequent characters and by what is no valid sequence is the idea of Mozilla's detector of charsets (Li and
Momoi, A composite approach to language/encoding detection, 2001). Not guessed: other sets of these scripts, UTF-16.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

LOOK = 2048
ESCAPE = 27
ENOUGH = 640  # octets of text without much ASCII
SURE = 8.0  # bits between the best and the next
FEWEST_PAIRS = 3
FEWEST_LETTERS = 4
BROKEN = 16.0  # bits of an octet that cannot be
_BROKEN_SHARE = 0.04
_COMMON = 8.0  # bits of one of the most common characters
_MOST_OF_PAIR = 14.0  # a character, on average; in the right charset it is nine to twelve
_UNIT = 8  # cost tables hold eighths of a bit

_ASCII = bytes(range(128))
_MARKS = b"\x81\xa1\xa2\xa3"  # first octets of what is no letter
_HIGH = re.compile(rb"[\x80-\xff]")
_TOUCHING = re.compile(rb"[A-Za-z](?=[\x80-\xff])|[\x80-\xff](?=[A-Za-z])")
_LATIN_RUN = re.compile(rb"[\x80-\xff]+")
_ESCAPED = re.compile(rb"\x1b\$[@B](?:[\x21-\x7e]{2})+\x1b\([BJ]")


def is_iso2022_jp(data: bytes) -> bool:
    """Whether 7-bit text has a whole run of kanji between its escape sequences (RFC 1468)."""
    return ESCAPE in data and _ESCAPED.search(data) is not None


def guess(data: bytes, near: int = 0) -> str:
    """The codec of `data`, "" when not sure. near: where to look, as where it ceased to be UTF-8."""
    start = max(0, near - LOOK)
    first = _HIGH.search(data, start, near + LOOK)
    if first is None:
        return ""
    begin = max(start, first.start() - 1)  # and what stands before it
    sample = data[begin : begin + LOOK]
    high = sample.translate(None, _ASCII)
    if len(high) > ENOUGH:
        sample = sample[:ENOUGH]
        high = sample.translate(None, _ASCII)
    if len(high) < FEWEST_LETTERS:
        return ""
    runs = _LATIN_RUN.findall(sample)
    kinds = set(high)
    if max(map(len, runs)) < 2 or 2 * len(kinds) < min(len(high), 12):
        return ""
    if 5 * max(map(high.count, kinds)) > 4 * len(high):  # lines and ornaments
        return ""
    costs = [(_latin(runs), "")]
    costs += [(cost, pair.codec) for pair in _PAIRS if (cost := _pair_cost(pair, sample, high)) is not None]
    if _stands_alone(sample, high):
        costs += [(cost, one.codec) for one in _LETTERS if (cost := _letter_cost(one, sample, high)) is not None]
    if len(costs) == 1:
        return ""
    costs.sort()
    best, codec = costs[0]
    few = len(high) < _FEWEST_CASELESS and codec in _CASELESS
    return codec if costs[1][0] - best >= SURE and not few else ""


def _latin(runs: Sequence[bytes]) -> float:
    """Of Western, Central European and Turkish text: one octet alone, seldom two, hardly more."""
    return float(sum([6.0 if (size := len(run)) == 1 else 8.0 * size if size == 2 else 11.0 * size for run in runs]))


# -- two octets a character --------------------------------------------------------


class Pair(NamedTuple):
    """character: one of two octets (or of one). again: several together. leads: bits by the first octet (256, in
    units). common: the most common characters. needed: characters of which a share must be, None for any.
    touching: beside a Latin letter, which few are; None where the second octet may be one."""

    codec: str
    character: re.Pattern[bytes]
    again: re.Pattern[bytes]
    leads: bytes
    common: frozenset[bytes]
    needed: re.Pattern[bytes] | None = None
    touching: re.Pattern[bytes] | None = None


def _pair_cost(pair: Pair, sample: bytes, high: bytes) -> float | None:
    found = pair.character.findall(sample)
    if sum([one[0] not in _MARKS for one in found]) < FEWEST_PAIRS:
        return None
    joined = b"".join(found)
    broken: float = len(high) - len(joined.translate(None, _ASCII))
    if broken > 1 and broken > _BROKEN_SHARE * len(high):
        return None
    if sum(map(len, pair.again.findall(sample))) < 0.6 * len(joined):
        return None
    if pair.needed is not None and 5 * sum([pair.needed.match(one) is not None for one in found]) < len(found):
        return None
    rare = [one for one in found if one not in pair.common]
    leads = b"".join([one[:1] for one in rare]).translate(pair.leads)
    cost = _COMMON * (len(found) - len(rare)) + sum(leads) / _UNIT
    if pair.touching is not None:
        broken += len(pair.touching.findall(sample)) / 2
    return cost + BROKEN * broken if cost <= _MOST_OF_PAIR * len(found) else None


def _rows(*rows: tuple[int, int, float]) -> bytes:
    """(first lead, last, bits of a character there); others are as good as broken."""
    table = bytearray([int(20 * _UNIT)] * 256)
    for first, last, bits in rows:
        table[first : last + 1] = bytes([int(bits * _UNIT)]) * (last + 1 - first)
    return bytes(table)


def _pair(codec: str, character: bytes, leads: bytes, common: str, needed: bytes | None = None) -> Pair:
    return Pair(
        codec,
        re.compile(character),
        re.compile(b"(?:" + character + b"){2,}"),
        leads,
        frozenset([one.encode(codec) for one in common]),
        None if needed is None else re.compile(needed),
        _TOUCHING if codec in ("gb18030", "cp949", "euc_jp") else None,
    )


_HANZI = (
    "的一是不了在人有我他这中大来上国个到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可里后小么心多天而能好都"
    "然没日于起还发成事只作当想看文无开手用主行方又如前所本见经头面公同已老从动两长知样现分将外但身些与高意进把法此实回二"
    "三月您信请网品价电机业务司件免费"
)  # fmt: skip
_HANZI_OLD = (
    "的一是不了在人有我他這中大來上國個到說們為子和你地出道也時年得就那要下以生會自著去之過家學對可里後小麼心多天而能好都"
    "然沒日於起還發成事只作當想看文無開手用主行方又如前所本見經頭面公同已老從動兩長知樣現分將外但身些與高意進把法此實回二"
    "三月您信請網品價電機業務司件免費"
)  # fmt: skip
_HANGUL = (
    "이다는을에의가하고지로한기사도서은를리어시아자대인니나해그수만있정보일제들라부없것전과니까여면게으스성상안주무장오원"
    "회신요광습합입세모바로우마진공구용동드비선된했었"
)  # fmt: skip
_KANJI = "日本人年大国会中時出一上行者社分事生東月的場定方手前業自法理今新部化問者同様件名無料送登録"

_PAIRS = (
    _pair(
        "gb18030",
        rb"[\x81-\xfe][\x40-\x7e\x80-\xfe]",
        _rows((0x81, 0xA0, 20), (0xA1, 0xA1, 9), (0xA3, 0xA3, 11), (0xB0, 0xD7, 12.7), (0xD8, 0xF7, 17)),
        _HANZI + "，。、！？：（）",
    ),
    _pair(
        "big5",
        rb"[\xa1-\xf9][\x40-\x7e\xa1-\xfe]",
        _rows((0xA1, 0xA1, 9), (0xA2, 0xA3, 12), (0xA4, 0xC6, 13.2), (0xC9, 0xF9, 18)),
        _HANZI_OLD + "，。、！？：（）",
    ),
    _pair(
        "cp949",
        rb"[\xa1-\xfe][\xa1-\xfe]|[\x81-\xc6][\x41-\x5a\x61-\x7a\x81-\xa0]",
        _rows((0xA1, 0xA3, 11), (0xB0, 0xC8, 12.3), (0xCA, 0xFD, 17.5)),
        _HANGUL,
    ),
    _pair(
        "euc_jp",
        rb"[\xa1-\xfe][\xa1-\xfe]|\x8e[\xa1-\xdf]",
        _rows(
            (0xA1, 0xA1, 8.5), (0xA3, 0xA3, 12), (0xA4, 0xA4, 7.5), (0xA5, 0xA5, 9.5), (0xB0, 0xCF, 13),
            (0xD0, 0xF4, 18),
        ),
        _KANJI,
        rb"\xa4[\xa1-\xf3]|\xa5[\xa1-\xf6]",
    ),
    _pair(
        "cp932",
        rb"[\x81-\x9f\xe0-\xfc][\x40-\x7e\x80-\xfc]|[\xa1-\xdf]",
        _rows(
            (0x81, 0x81, 8.5), (0x82, 0x82, 7.5), (0x83, 0x83, 9.5), (0x88, 0x97, 13), (0x98, 0x9F, 18),
            (0xA1, 0xDF, 11), (0xE0, 0xEA, 18),
        ),
        _KANJI,
        rb"\x82[\x9f-\xf1]|\x83[\x40-\x96]",
    ),
)  # fmt: skip


# -- one octet a letter ------------------------------------------------------------


class Letters(NamedTuple):
    """octets: bits by octet (256, in units). turned: a small letter before a capital one; capitals: a run of them;
    None without cases."""

    codec: str
    octets: bytes
    turned: re.Pattern[bytes] | None
    capitals: re.Pattern[bytes] | None


_WORD = re.compile(rb"(?<![A-Za-z\x80-\xff])[\x80-\xff]{3,}(?![A-Za-z\x80-\xff])")
_MOST_BITS = 6.0  # a letter, on average; in the right charset it is four to five
_CAPITAL = 0.25
_CAPITALS = 3.0  # a run of them, and no more than that many: then all is in capitals
_MOST_CAPITALS = 4
_TURNED = 6.0
_FEWEST_CASELESS = 8  # letters of a script whose words look like characters of two octets


def _stands_alone(sample: bytes, high: bytes) -> bool:
    """Whether words are 8-bit octets and nothing else, as they are where the whole alphabet is above ASCII."""
    words = _WORD.findall(sample)
    if 8 * len(_TOUCHING.findall(sample)) > len(high):
        return False
    return bool(words) and max(map(len, words)) >= FEWEST_LETTERS and 10 * sum(map(len, words)) >= 6 * len(high)


def _letter_cost(one: Letters, sample: bytes, high: bytes) -> float | None:
    cost = sum(high.translate(one.octets)) / _UNIT
    if one.turned is not None and one.capitals is not None:
        runs = min(_MOST_CAPITALS, len(one.capitals.findall(sample)))
        cost += _TURNED * len(one.turned.findall(sample)) + _CAPITALS * runs
    return cost if cost <= _MOST_BITS * len(high) else None


def _letters(codec: str, alphabet: str) -> Letters:
    """alphabet: its small letters from the most common to the rarest."""
    table = bytearray([int(13 * _UNIT)] * 256)
    for mark in "\xa0«»–—“”„№":
        octet = mark.encode(codec, "ignore")
        if len(octet) == 1:
            table[octet[0]] = int(8 * _UNIT)
    small: set[int] = set()
    capital: set[int] = set()
    for rank, letter in enumerate(alphabet):
        bits = 3.1 + 5.4 * rank / len(alphabet)
        for written, among, more in ((letter, small, 0.0), (letter.upper(), capital, _CAPITAL)):
            octet = written.encode(codec, "ignore")  # a script without cases has the same for both
            if len(octet) == 1 and octet[0] >= 128 and octet[0] not in small:
                table[octet[0]] = int((bits + more) * _UNIT)
                among.add(octet[0])
    if not capital:
        return Letters(codec, bytes(table), None, None)
    lower, upper = (b"[" + re.escape(bytes(sorted(octets))) + b"]" for octets in (small, capital))
    return Letters(codec, bytes(table), re.compile(lower + upper), re.compile(upper + b"+"))


_RUSSIAN = "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфіїєъё"
_LETTERS = (
    _letters("koi8_u", _RUSSIAN),
    _letters("cp1251", _RUSSIAN),
    _letters("iso8859_7", "αοιετσνηυρπκμλςίόάγέήδωχύθφβώξζψ"),
    _letters("cp1255", "יוהלארמתבשנעדםחקפטצגכזןסךףץ"),
    _letters("cp1256", "اليمنرتبودعةفسهكقحجشصطخأذضزثئىغءظإؤآ"),
    _letters("cp874", "านรอก่เง้มยิลัวดีทสตะปบ์คหุแจพืช็ขใไูโผถซำณศธภญฐฉษึๆ"),
)
_CASELESS = frozenset([one.codec for one in _LETTERS if one.capitals is None])
