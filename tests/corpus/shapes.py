"""A corpus of labelled mail in other shapes, to see what the filter makes of mail that is not like that one.

    python -m tests.corpus.shapes CORPUS OUT [SHAPE ...]     OUT/SHAPE: index.tsv and files, for `echomox filter eval`
    python -m tests.corpus.shapes --each N CORPUS OUT ...    of each N-th mail
    python -m tests.corpus.shapes --languages OUT [DIR]      OUT/zh-gb2312 ...: texts of installed programs as mail

CORPUS is one that `echomox filter eval` reads. Order and labels stay; every file is made of one message of the corpus,
without chance, but for the shapes "mostly-spam" and "mostly-ham", which leave mail of one kind out, and "runs", which
has other places for it. The languages are those of gettext's catalogues (DIR, else /usr/share/locale): texts of
one program are taken for ham, of another for spam, so what is tried is the reading of charsets and scripts.
"""

from __future__ import annotations

import base64
import gettext
import hashlib
import random
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

from echomox.filter.features import Features, read
from echomox.filter.tokens import field_name
from echomox.filter.tools.corpus import Mail, load
from echomox.message.header import end_of_header, split_fields

START = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
SHORT = 160
PER_KIND = 150
_TOKEN = re.compile(r"\w+|[^\w\s]")
_CONTENT = ("content-", "mime-version")

Shaped = Callable[[Mail, bytes, Features, int], bytes]
"""(mail, its bytes, read, its number) -> the file."""


def shown(features: Features) -> str:
    """The text that a reader sees."""
    return "\n".join(html.text if html else part.text for part, html in features.parts).replace("\r\n", "\n")


def tokenised(text: str) -> str:
    """As collections are given away: lower case, a space between words and marks."""
    return "\n".join(" ".join(_TOKEN.findall(line)) for line in text.lower().split("\n"))


def _subject(mail: Mail, data: bytes, features: Features, number: int) -> bytes:
    return f"Subject: {features.structure.subject}\n\n{shown(features)}\n".encode()


def _subject_line(mail: Mail, data: bytes, features: Features, number: int) -> bytes:
    """Of Enron-Spam's: no empty line, all in small letters."""
    return f"Subject: {tokenised(features.structure.subject)}\n{tokenised(shown(features))}\n".encode()


def _words(mail: Mail, data: bytes, features: Features, number: int) -> bytes:
    lines = [line for line in tokenised(shown(features)).split("\n") if line]
    return "\n".join(lines).encode()


def _short(mail: Mail, data: bytes, features: Features, number: int) -> bytes:
    """As a short message of a telephone, one line."""
    return " ".join(shown(features).split())[:SHORT].encode()


def _mbox(mail: Mail, data: bytes, features: Features, number: int) -> bytes:
    return b"From someone@peers.example  Mon Jan  5 08:00:00 2026\n" + data.replace(b"\r\n", b"\n")


def _fields(data: bytes, wanted: Callable[[str], bool]) -> bytes:
    end = end_of_header(data)
    kept = [data[f.start : f.end] for f in split_fields(data, 0, end) if wanted(f.name.lower())]
    return b"".join(kept) + b"\r\n" + data[end:]


def _sent(mail: Mail, data: bytes, features: Features, number: int) -> bytes:
    """Without what receivers added."""
    return _fields(data, lambda name: field_name(name.encode("latin-1", "replace")).sent)


def _site(mail: Mail, data: bytes, features: Features, number: int) -> bytes:
    """All through one server, which wrote Date and Message-ID too."""
    date = format_datetime(START + timedelta(minutes=number))
    mark = hashlib.sha256(data).hexdigest()[:16]
    ours = (
        f"Return-Path: <list@site.example>\r\nReceived: from relay.site.example (relay.site.example [192.0.2.7])\r\n"
        f"\tby mx.site.example with ESMTP id {mark}; {date}\r\nDate: {date}\r\nMessage-ID: <{mark}@site.example>\r\n"
    )
    own = {"date", "message-id", "received", "return-path", "in-reply-to", "references"}
    return ours.encode() + _fields(data, lambda name: name not in own)


def _ends(mail: Mail, data: bytes, features: Features, number: int) -> bytes:
    """Line ends of three kinds, by turns; and text without a charset, as it was."""
    end = (b"\r\n", b"\n", b"\r")[number % 3]
    return _fields(data, lambda name: not name.startswith(_CONTENT)).replace(b"\r\n", end)


def _utf8(mail: Mail, data: bytes, features: Features, number: int) -> bytes:
    """As a program keeps it: header in clear, UTF-8, all text in one part."""
    head = [
        f"{name.title()}: {value.decode('latin-1')}"
        for name, value in features.sender
        if not name.startswith(_CONTENT) and name != "subject"
    ]
    return "\n".join([*head, f"Subject: {features.structure.subject}", "", shown(features)]).encode("utf-8", "replace")


SHAPES: dict[str, Shaped] = {
    "subject": _subject,
    "subject-line": _subject_line,
    "words": _words,
    "short": _short,
    "mbox": _mbox,
    "sent": _sent,
    "site": _site,
    "ends": _ends,
    "utf8": _utf8,
}


def _every(mails: Sequence[Mail], spam: int, ham: int) -> list[Mail]:
    """One of so many of each kind."""
    seen, kept = [0, 0], []
    for mail in mails:
        if seen[mail.spam] % (spam if mail.spam else ham) == 0:
            kept.append(mail)
        seen[mail.spam] += 1
    return kept


def _runs(mails: Sequence[Mail], length: int = 250) -> list[Mail]:
    """Long runs of one kind: each kind in its order, so many at once, as long as both are there."""
    kinds = [[mail for mail in mails if mail.spam == kind] for kind in (False, True)]
    out: list[Mail] = []
    while any(kinds):
        for kind in kinds:
            out += kind[:length]
            del kind[:length]
    return out


PLACES: dict[str, Callable[[Sequence[Mail]], list[Mail]]] = {
    "mostly-spam": lambda mails: _every(mails, 1, 9),
    "mostly-ham": lambda mails: _every(mails, 4, 1),
    "runs": _runs,
}


def _write(out: Path, made: Iterable[tuple[bool, bytes]]) -> int:
    out.mkdir(parents=True)
    lines = []
    for number, (spam, data) in enumerate(made):
        name = f"{number // 1000:03}/{number:06}.eml"
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_bytes(data)
        lines.append(f"{'spam' if spam else 'ham'}\t{name}\t{(START + timedelta(minutes=number)).isoformat()}\n")
    (out / "index.tsv").write_text("".join(lines))
    return len(lines)


def shaped(mails: Sequence[Mail], shape: str) -> Iterable[tuple[bool, bytes]]:
    if shape in PLACES:
        return ((mail.spam, mail.read()) for mail in PLACES[shape](mails))
    return ((mail.spam, SHAPES[shape](mail, data := mail.read(), read(data), at)) for at, mail in enumerate(mails))


# -- languages -------------------------------------------------------------------

LANGUAGES = {
    "zh-gb2312": ("zh_CN", "gb18030", "gb2312", ("git", "coreutils"), ("gtk20-properties", "gnupg2")),
    "zh-raw": ("zh_CN", "gb18030", "", ("git", "coreutils"), ("gtk20-properties", "gnupg2")),
    "zh-big5": ("zh_TW", "big5", "big5", ("git", "coreutils"), ("gtk20-properties", "gnupg2")),
    "ja-iso-2022-jp": ("ja", "iso2022_jp", "iso-2022-jp", ("coreutils", "bash"), ("gtk20-properties", "gnupg2")),
    "ko-euc-kr": ("ko", "euc_kr", "euc-kr", ("git", "coreutils"), ("gtk20-properties", "libc")),
    "ru-koi8-r": ("ru", "koi8_r", "koi8-r", ("git", "coreutils"), ("gtk20-properties", "gnupg2")),
    "ru-koi8-raw": ("ru", "koi8_r", "", ("git", "coreutils"), ("gtk20-properties", "gnupg2")),
    "ru-raw": ("ru", "cp1251", "", ("git", "coreutils"), ("gtk20-properties", "gnupg2")),
    "ar-utf-8": ("ar", "utf_8", "utf-8", ("glib20", "gtk30"), ("gtk20-properties",)),
}
"""name -> (catalogue, codec, charset as it is named or "", programs of ham, programs of spam)"""


def _texts(directory: Path, language: str, programs: Sequence[str], codec: str) -> list[str]:
    """The translations that the charset can write, about 300 characters each."""
    texts: list[str] = []
    for program in programs:
        path = directory / language / "LC_MESSAGES" / f"{program}.mo"
        if not path.is_file():
            continue
        with open(path, "rb") as file:
            found = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
        text = ""
        for original, translation in sorted((str(key), str(value)) for key, value in found.items() if key):
            if translation == original or translation.isascii():
                continue
            text += translation + "\n"
            if len(text) > 300:
                texts.append(text.encode(codec, "ignore").decode(codec))
                text = ""
    return texts


def _composed(text: str, number: int, codec: str, charset: str) -> bytes:
    subject = " ".join(text.split())[:30].encode(codec)
    name = base64.b64encode(subject)
    shown_subject = b"=?%b?B?%b?=" % (charset.encode(), name) if charset else subject
    kind = b"MIME-Version: 1.0\nContent-Type: text/plain; charset=%b\n" % charset.encode() if charset else b""
    date = format_datetime(START + timedelta(minutes=number)).encode()
    head = b"From: sender%d@peers.example\nTo: you@example.test\nSubject: %b\n" % (number % 17, shown_subject)
    head += b"Date: %b\nMessage-ID: <%d@peers.example>\n" % (date, number)
    return head + kind + b"\n" + text.encode(codec)


def languages(out: Path, directory: Path) -> None:
    for name, (language, codec, charset, *programs) in LANGUAGES.items():
        rng = random.Random(name)
        mails = []
        for spam, of in enumerate(programs):
            texts = _texts(directory, language, of, codec)
            mails += [(bool(spam), text) for text in rng.sample(texts, min(PER_KIND, len(texts)))]
        rng.shuffle(mails)
        made = [(spam, _composed(text, at, codec, charset)) for at, (spam, text) in enumerate(mails)]
        print(name, _write(out / name, made))


def main(arguments: Sequence[str]) -> int:
    if len(arguments) >= 2 and arguments[0] == "--languages":
        languages(Path(arguments[1]), Path(arguments[2] if len(arguments) > 2 else "/usr/share/locale"))
        return 0
    each = 1
    if len(arguments) >= 2 and arguments[0] == "--each" and arguments[1].isdigit():
        each, arguments = max(1, int(arguments[1])), arguments[2:]
    if len(arguments) < 2 or not {*arguments[2:]} <= {*SHAPES, *PLACES}:
        print(__doc__, "\nSHAPE:", *SHAPES, *PLACES, file=sys.stderr)
        return 2
    mails = load(Path(arguments[0]))[::each]
    for shape in arguments[2:] or [*SHAPES, *PLACES]:
        print(shape, _write(Path(arguments[1]) / shape, shaped(mails, shape)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
