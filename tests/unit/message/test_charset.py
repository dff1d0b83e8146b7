"""Text that names no charset: who is recognised, who is left alone, and what it may cost."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echomox.filter import identities
from echomox.filter.features import read
from echomox.message.charset import decode_charset, decode_octets, decode_raw
from echomox.message.charsetguess import LOOK, guess, is_iso2022_jp
from echomox.message.encoded import decode_words
from echomox.message.mime import parse
from echomox.message.text import preview
from echomox.store.text.match import header_text, part_text
from echomox.store.text.words import fold

CHINESE = "您好！我公司有多种优惠产品，价格合理，质量保证，欢迎来电咨询。如需进一步了解，请与我们联系。"
TAIWAN = "您好！本公司提供各種優惠商品，價格合理，品質保證，歡迎來電洽詢。如果您不想再收到此信，請通知我們。"
KOREAN = "안녕하세요. 이번 달에만 드리는 특별한 혜택을 놓치지 마세요. 지금 바로 신청하시면 무료로 보내 드립니다."
JAPANESE = "はじめまして。今月だけの特別なご案内です。詳しくは下のページをご覧ください。お申し込みは無料です。"
RUSSIAN = (
    "Здравствуйте! Приглашаем Вас на семинар по налогам для бухгалтеров. Стоимость участия можно узнать по телефону."
)
UKRAINIAN = "Вітаємо! Запрошуємо вас на зустріч, яка відбудеться наступного тижня у Києві. Її тема ще не відома."
GREEK = "Καλημέρα σας, σας στέλνουμε τον νέο κατάλογο με τις τιμές των προϊόντων μας για αυτόν τον μήνα."
HEBREW = "שלום רב, אנחנו שמחים להזמין אתכם למפגש השנתי שלנו שיתקיים בשבוע הבא בתל אביב"

GUESSED = [
    ("gb2312", CHINESE),
    ("big5", TAIWAN),
    ("euc_kr", KOREAN),
    ("euc_jp", JAPANESE),
    ("shift_jis", JAPANESE),
    ("koi8_r", RUSSIAN),
    ("cp1251", RUSSIAN),
    ("koi8_u", UKRAINIAN),
    ("cp1251", UKRAINIAN),
    ("iso8859_7", GREEK),
    ("cp1255", HEBREW),
    ("gb2312", "优惠的价格"),
    ("gb2312", "公司业务合作"),
    ("big5", "優惠的價格"),
    ("euc_kr", "안녕하세요"),
    ("shift_jis", "お申し込みは無料"),
    ("euc_jp", "ご案内です"),
    ("koi8_r", "Привет всем"),
    ("cp1251", "Привет всем"),
    ("cp1251", "Как уменьшить налоги"),
    ("cp1251", RUSSIAN.upper()),
    ("koi8_r", RUSSIAN.upper()),
]

LATIN = [
    ("cp1252", "Où êtes-vous passé cet été ? L'élève a été reçu à l'école."),
    ("cp1252", "À l'été, une créée"),
    ("cp1252", "ÉCOLE FRANÇAISE À GENÈVE"),
    ("cp1252", "Größe und Maße: schöne Grüße für Ärzte, Ämter, Änderungen"),
    ("cp1252", "ÄNDERUNGEN FÜR ÄRZTE UND ÄMTER ÜBER ÖSTERREICH"),
    ("cp1252", "Grüße"),
    ("cp1252", "El niño mañana irá al jardín con su compañía. ¡Qué ilusión! ¿Cuándo?"),
    ("cp1252", "A situação não está fácil; as informações são públicas"),
    ("cp1252", "Perché non è più così? La città è già là"),
    ("cp1252", "Räksmörgås på ön, blåbärssoppa är gott"),
    ("cp1252", "It\x92s free! Don\x92t wait \x96 you\x92ve won \x80500".encode("latin-1").decode("cp1252")),
    ("latin_1", "\xa0\xa0\xa0\xa0 Copyright \xa9 2003 \xa0\xa0\xa0 \xbb\xbb more \xab\xab"),
    ("cp1250", "Zażółć gęślą jaźń, proszę o świeże źródła łączności"),
    ("iso8859_2", "Zażółć gęślą jaźń"),
    ("cp1250", "Příliš žluťoučký kůň úpěl ďábelské ódy"),
    ("cp1250", "Árvíztűrő tükörfúrógép"),
    ("cp1254", "Işığı söndürüp çıktığınız için teşekkürler, değiştirildiği"),
    ("cp1254", "ışığı"),
    ("cp1252", "é"),
    ("cp1252", "à ö ü"),
    ("cp1252", "····· \xb7\xb7 °°"),
]


@pytest.mark.parametrize("codec, text", GUESSED)
def test_undeclared_text_of_other_scripts_is_read(codec, text):
    assert decode_raw(text.encode(codec)) == text
    assert decode_charset(text.encode(codec), "us-ascii") == text


@pytest.mark.parametrize("codec, text", LATIN)
def test_latin_text_stays_windows_1252(codec, text):
    data = text.encode(codec)
    for size in range(len(data) + 1):
        assert guess(data[:size]) == ""
    assert decode_raw(data) == decode_octets(data)


@pytest.mark.parametrize("codec, text", [(codec, text) for codec, text in GUESSED if len(text) > 40])
def test_a_beginning_is_never_read_in_the_script_of_another(codec, text):
    data = text.encode(codec)
    same = {"gb2312": "gb18030", "euc_kr": "cp949", "shift_jis": "cp932", "koi8_r": "koi8_u"}
    for size in range(len(data)):
        assert guess(data[:size]) in ("", same.get(codec, codec))


@pytest.mark.parametrize("codec, text", [(codec, text) for codec, text in GUESSED if len(text) > 40])
def test_it_is_read_between_the_tags_and_after_much_ascii(codec, text):
    page = f"<html><!-- {'x' * 3 * LOOK} --><td class=a><b>{text}</b></td>" * 3
    assert decode_raw(page.encode(codec)) == page


def test_valid_utf8_is_never_guessed():
    for _, text in GUESSED + LATIN:
        assert decode_raw(text.encode()) == text


def test_a_declared_charset_is_believed():
    data = RUSSIAN.encode("koi8_r")
    assert decode_charset(data, "windows-1251") == data.decode("cp1251")
    assert decode_charset(data, "iso-8859-1") == decode_octets(data)


def test_iso_2022_jp_is_known_by_its_escapes():
    data = f"Re: {JAPANESE}".encode("iso2022_jp")
    assert data.isascii() and is_iso2022_jp(data)
    assert decode_raw(data) == decode_charset(data, "") == decode_words(data) == f"Re: {JAPANESE}"
    assert decode_charset(data, "utf-8") == data.decode("ascii")  # named: believed
    for other in (b"\x1b$", b"\x1b$B", b"\x1b$B!", b"\x1b[1m\x1b$B\x1b(B", b"plain"):
        assert decode_raw(other) == other.decode("ascii")


@pytest.mark.parametrize("codec", ["koi8_r", "cp1251"])
def test_filter_search_and_preview_read_the_same(codec):
    head = b"From: a@peers.example\r\nSubject: %b\r\n" % "Как уменьшить налоги".encode(codec)
    data = head + b"\r\n" + RUSSIAN.encode(codec) + b"\r\n"
    features = read(data)
    assert features.structure.subject == "Как уменьшить налоги"
    assert features.parts[0][0].text.strip() == RUSSIAN
    assert preview(features.structure.parts, data) == RUSSIAN
    assert "уменьшить" in header_text(head)
    assert "бухгалтеров" in part_text(features.structure.parts[0], lambda start, size: data[start : start + size])


def test_the_envelope_keeps_the_octets():
    subject = "Как уменьшить налоги".encode("koi8_r")
    assert subject in parse(b"From: a@peers.example\r\nSubject: %b\r\n\r\ntext\r\n" % subject).envelope


def test_the_address_of_a_sender_is_read_octet_by_octet():
    # In Big5 the second octet of the first character is an @, which a guess would take into the name.
    name = "一二三四五六七八九十".encode("big5")
    assert b"@" in name
    value = b'"%b" <a@peers.example>' % name
    assert identities.sender([("from", value)]) == "a@peers.example"
    assert decode_octets(value)[1:].startswith("\xa4@")


def test_search_reads_undeclared_iso_2022_jp():
    data = b"Subject: %b\r\n\r\n%b\r\n" % ("ご案内".encode("iso2022_jp"), JAPANESE.encode("iso2022_jp"))
    part = read(data).structure.parts[0]
    assert fold("ご案内") in header_text(data[: part.offset])
    assert fold("今月だけ") in part_text(part, lambda start, size: data[start : start + size])


def test_no_more_than_the_beginning_is_looked_at():
    data = b"x " * 5 + CHINESE.encode("gb2312") * 100
    assert guess(data) == guess(data[: LOOK * 2]) == guess(data + b"\xff" * 1000) == "gb18030"


@settings(deadline=None)
@given(
    st.binary(max_size=400)
    | st.text(alphabet=st.characters(min_codepoint=128, max_codepoint=255)).map(lambda text: text.encode("latin-1"))
)
def test_any_octets_are_text(data):
    text = decode_raw(data)
    assert text == decode_raw(data)
    text.encode()
    assert len(text) <= len(data)
    assert guess(data, len(data)) == guess(data, len(data))


@settings(deadline=None)
@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz ABC.,", max_size=60), st.sampled_from("äöüßéèàçñóåøæ"))
def test_one_accent_between_letters_is_latin(text, accent):
    data = text.replace("a", accent + "n").encode("cp1252")
    assert decode_raw(data) == data.decode("cp1252")
