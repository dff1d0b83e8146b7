"""The full-text index changes no answer: with it, without it, with half of it, and when it is broken."""

from __future__ import annotations

import base64
import os
import sqlite3
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from echomox.config.paths import Paths
from echomox.imap.search import And, Body, Fuzzy, HasFlag, Header, Key, Not, Or, Text, When
from echomox.store import search
from echomox.store.engine import AccountStore, Target
from echomox.store.sqlite import SqliteEngine
from echomox.store.text import fill, fulltext
from echomox.store.verify import verify
from tests.contract.stores import ALICE, BOB, add_all, addition, message

QP = "Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n"
B64 = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n"
UTF8 = "Content-Type: text/plain; charset=utf-8\r\n"
HTML = "Content-Type: text/html; charset=utf-8\r\n"


def b64(text: str) -> str:
    return base64.encodebytes(text.encode()).decode().replace("\n", "\r\n")


MIXED = 'Content-Type: multipart/mixed; boundary="b"\r\n'
PARTS = (
    "--b\r\nContent-Type: text/plain\r\n\r\nfirst part\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
    "Subject: enclosed =?utf-8?Q?=C3=9Cber?=\r\nX-Inner: yes\r\n\r\ninner words\r\n--b\r\n"
    "Content-Type: application/pdf\r\n\r\nhidden words\r\n--b--\r\n"
)
SOURCES = [
    message(
        "plain one", "Some Words, here: foo_bar-baz.\r\nThe second line\r\n", "X-Spice: Cinnamon and\r\n\tclove\r\n"
    ),
    message("quoted", "Gr=FC=DFe aus K=F6ln, soft=\r\nened =E4=F6=FC\r\n", QP),
    message("base", b64("Grüße Aus Wien, STRASSE Straße, ΟΔΟΣ οδος Σίσυφος"), B64),
    message("=?utf-8?Q?Gr=C3=BC=C3=9Fe?= =?iso-8859-1?Q?_d=E9j=E0?=", "x" * 3000 + "\r\n"),
    message("中文", "你好，世界。我们明天见面 abc中文def\r\nカタカナとひらがな 한국어 문장입니다\r\n", UTF8),
    message("arabic", "السلام عليكم، كيف حالك؟ مَرْحَبًا\r\nשלום עולם हिन्दी में ไทยไม่มีช่องว่าง\r\n", UTF8),
    message("html", "<p class=x>Bo<b>ld</b> &amp; K\u00f6ln</p><!-- secret -->\r\n", HTML),
    message("parts", PARTS, MIXED),
    message("Zeta", "nothing\r\n", "Cc: Carol Ümläut <carol@example.net>\r\nList-Id: <list.example.org>\r\n"),
    message("emoji", "party 🎉🎉 time, İstanbul \u212aelvin ﬁne e\u0301t\u00e9\r\n", UTF8),
    message("empty", ""),
    b"Subject: broken\r\nContent-Type: text/plain; charset=utf-16\r\n\r\n" + "wide words".encode("utf-16"),
    b"X-Raw: J\xf6rg\r\nSubject:tight\r\nnot a field\r\n\r\nbare\nlines \xff\xfe\r\n",
    message(
        "phrases of the",
        "one of the best of  the rest, oof therein -- at\r\nthe end of the day !!! " + "=" * 90 + "\r\n",
    ),
    message(
        "marks",
        "\u201cof the\u201d \u2014 it \u201cis\u201d so\u2026 of\r\nthe; (a b) is it -- \u00e9t\u00e9 la\r\n",
        UTF8,
    ),
]
STRINGS = """some words|WORDS|word|ords, h|s, here|foo_bar|o_b|bar-baz|baz.|here: foo|the second|.|\r\n|line\r\n|-|1
e|ab|grü|GRÜSSE|Grüße|öln|softened|äöü|wien|strasse|straße|ßE|οδοσ|ΟΔΟΣ|σίσυφος|ς|déjà|dé|xxxx|x
你好|世界|你|好，世|我们明天见面|明天见|天|c中|文d|abc中文def|カナ|ひらがな|と|국|문장|문장입|。
السلام|سلام|كيف حالك|، |مَرْحَبًا|رحب|שלום|ולם|हिन्दी|न्दी|ไทย|ไม่มี|ย
<p class|bold|<b>ld</b>|&amp;|köln</p|secret|-->|bo<b
first part|part|enclosed|enclosed Über|über|x-inner: yes|inner words|hidden
carol|ümläut|carol@example|list-id|list.example|nothing|nothing here|subject: zeta|subject: z|zeta message
🎉|🎉🎉 t|party 🎉|istanbul|i̇stanbul|kelvin|elvin|fine|ﬁne|été|e\u0301t|wide words|jörg
tight|:tight|subject:tight|not a field|bare
of the|of  the|oof the|of there|one of the|of the best|the end of the day|of the day|at the|the rest|a b|(a b)
b) is|is it|“of the”|“of the|of the”|it “is|is” so|so… of|é la|été la| of the |, |--|!!!| -- |==========| !!! =|(|”
— |… |of the rest|it is
delivered-to: alice|alice|to: bob|bob <bob|message-id|nov 2026|10:00:00 +0100|no such text|q|plain onemessage|oneMessage
and clove|cinnamon and clove|\u00a0|\x00|\x01|   |10|2026 10|example.org|exam""".replace("\n", "|").replace(
    "\r|", "\r\n|"
)
VALUES = [text for text in STRINGS.split("|") if text]
NAMES = ("subject", "from", "to", "cc", "bcc", "message-id", "x-spice", "list-id", "delivered-to", "x-raw")
OTHERS: list[Key] = [
    *(Header(name, "") for name in (*NAMES, "x-nothing")),
    *(When("sent", relation, date(2026, 11, day)) for relation in ("before", "on", "since") for day in (1, 2)),
    And((Text("words"), Not(Body("some")))),
    Or(Body("köln"), Header("subject", "zeta")),
    Not(Text("e")),
    And((HasFlag("\\Seen"), Body("grü"), Text("wien"))),
    Not(Or(Header("from", "ann"), Body("x"))),
]
KEYS: list[Key] = [
    *(kind(value) for value in VALUES for kind in (Body, Text)),
    *(Header(name, value) for value in VALUES for name in NAMES),
    *OTHERS,
]


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """The index is asked in a small mailbox too."""
    monkeypatch.setattr(search, "FEW", 0)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[SqliteEngine]:
    made = SqliteEngine(Paths.home(tmp_path))
    made.recover()
    made.create(ALICE)
    made.create(BOB)
    put(made, SOURCES)
    yield made
    made.close()


def put(engine: SqliteEngine, sources: list[bytes], mailbox: str = "INBOX") -> None:
    prefix = b"Delivered-To: alice\r\n"
    add_all(engine, [addition(one, [Target(ALICE, mailbox, prefix, n % 2)]) for n, one in enumerate(sources)])


def index(engine: SqliteEngine, least: int = 1) -> int:
    done = 0
    while count := engine.open(ALICE).index_texts(least, lambda: False):
        done += count
    return done


def answers(engine: SqliteEngine, keys: list[Key], mailbox: str = "INBOX") -> list[list[int]]:
    store = engine.open(ALICE)
    box = store.mailbox(mailbox).id
    uids = store.select(box, False).uids
    return [store.search(box, key, uids) for key in keys]


def scanned(engine: SqliteEngine, keys: list[Key], mailbox: str = "INBOX") -> list[list[int]]:
    """By reading every message."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fulltext, "opened", lambda database: None)
        return answers(engine, keys, mailbox)


def assert_same(engine: SqliteEngine, keys: list[Key], mailbox: str = "INBOX") -> None:
    got, expected = answers(engine, keys, mailbox), scanned(engine, keys, mailbox)
    wrong = {repr(key): (a, b) for key, a, b in zip(keys, got, expected) if a != b}
    assert not wrong


def test_the_scan_is_right(engine: SqliteEngine) -> None:
    """The reference itself."""
    table = {
        "ords, h": [1],
        "cinnamon and clove": [1],
        "äöü": [2],
        "οδοσ": [3],
        "ΟΔΟΣ": [3],
        "déjà": [4],
        "天见": [5],
        "c中": [5],
        "سلام": [6],
        "<b>ld": [7],
        "enclosed über": [8],
        "hidden": [],
        "🎉 t": [10],
        "kelvin": [10],
        "wide words": [12],
        "jörg": [13],
        "plain onemessage": [],
    }
    found = scanned(engine, [Text(value) for value in table])
    assert dict(zip(table, found)) == table


def test_the_index_is_used(engine: SqliteEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert index(engine) == len(SOURCES)
    monkeypatch.setattr(search, "messages", lambda view, uids: pytest.fail("read"))
    table: list[tuple[Key, list[int]]] = [
        (Text("kelvin"), [10]),
        (Body("天"), [5]),
        (Header("subject", "a o"), []),
        (Header("list-id", ""), [9]),
        (Text("of the"), [14, 15]),
        (Body("is it"), [15]),
        (Text("the rest of"), []),
        (Body("--"), [7, 14, 15]),
        (Body("="), [7, 14]),
    ]
    assert answers(engine, [key for key, _ in table]) == [uids for _, uids in table]


FUZZY: list[tuple[Key, list[int]]] = [
    (Text("kelvn"), [10]),
    (Body("wrods"), [1, 8, 12]),
    (Body("softend"), [2]),
    (Header("subject", "qutoed"), [2]),
    (Text("carl"), [9]),
    (Header("cc", "crol"), [9]),
    (Text("some wrods nowhere"), [1]),  # two of three
    (And((Body("words"), Not(Body("some")))), [8, 12]),
    (Or(Body("partyy"), HasFlag("\\Flagged")), [10]),
    (Body("世界"), [5]),
]


def test_fuzzy(engine: SqliteEngine) -> None:
    """The same from the index and from the messages, with the same scores."""
    keys: list[Key] = [Fuzzy(key) for key, _ in FUZZY]
    expected = dict(zip(map(repr, keys), [uids for _, uids in FUZZY]))
    assert dict(zip(map(repr, keys), scanned(engine, keys))) == expected
    store = engine.open(ALICE)
    inbox = store.mailbox("INBOX").id
    before = [scores(store, inbox, key) for key in keys]
    index(engine)
    assert dict(zip(map(repr, keys), answers(engine, keys))) == expected
    assert [scores(store, inbox, key) for key in keys] == before
    assert before[0] == {10: 52} and before[3] == {2: 65} and before[7][8] == 90


def scores(store: AccountStore, mailbox_id: int, key: Key) -> dict[int, int]:
    uids = store.search(mailbox_id, key, store.select(mailbox_id, False).uids)
    steps = store.scoring(mailbox_id, key, uids)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: dict[int, int] = end.value
            return found


def test_all_of_it_half_of_it_and_copies(engine: SqliteEngine) -> None:
    index(engine)
    assert_same(engine, KEYS)
    store = engine.open(ALICE)
    inbox, archive = store.mailbox("INBOX").id, store.mailbox("Archive").id
    store.copy(inbox, [1, 3, 5], archive)
    store.remove(inbox, [3, 4])
    store.move(inbox, [8], archive)
    put(engine, SOURCES[:7])
    assert_same(engine, KEYS)
    assert_same(engine, KEYS, "Archive")
    assert index(engine, least=8) == 0
    assert index(engine, least=7) == 7
    assert_same(engine, KEYS)


def test_many_segments_are_merged_and_what_is_gone_is_left_out(
    engine: SqliteEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fill, "FAN", 3)
    monkeypatch.setattr(fill, "BATCH", 2)
    keys = KEYS[::7]
    for n in range(4):
        put(engine, SOURCES[n : n + 5])
        index(engine)
        assert_same(engine, keys)
    store = engine.open(ALICE)
    inbox = store.mailbox("INBOX").id
    store.remove(inbox, list(range(1, 14)))
    store.tidy_texts(lambda: False)
    assert_same(engine, keys)
    reader = fulltext.opened(store.database)
    assert reader is not None
    segments = reader.segments
    reader.close()
    assert len(segments) < 10
    assert sum(segment.documents for segment in segments) < len(SOURCES) + 20


def test_texts_beyond_the_limits_are_asked(engine: SqliteEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, limit in (("BODY_LIMIT", 60), ("HEADER_LIMIT", 120), ("VALUE_LIMIT", 12)):
        monkeypatch.setattr(fill, name, limit)
    index(engine)
    assert_same(engine, KEYS)


def test_a_message_without_its_file(engine: SqliteEngine) -> None:
    store = engine.open(ALICE)
    os.unlink(store.database.file(2))
    index(engine)
    assert_same(engine, KEYS)


def spoil_middle(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for place in range(4096, len(data), 97):
        data[place] ^= 0x55
    path.write_bytes(data)


DAMAGES: list[tuple[str, Callable[[Path], object]]] = [
    ("no database", lambda path: path.write_bytes(b"not a database at all" * 999)),
    ("empty", lambda path: path.write_bytes(b"")),
    ("cut", lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])),
    ("spoilt", spoil_middle),
    ("gone", lambda path: path.unlink()),
    ("other account", lambda path: _execute(path, "UPDATE meta SET instance = 'x'")),
    ("other format", lambda path: _execute(path, "UPDATE meta SET format = 'x'")),
    ("ahead", lambda path: _execute(path, "UPDATE meta SET watermark = 1000000")),
    ("postings", lambda path: _execute(path, "UPDATE block SET postings = x'00'")),
    ("terms", lambda path: _execute(path, "UPDATE block SET terms = x'0a'")),
    ("no meta", lambda path: _execute(path, "DELETE FROM meta")),
    ("no table", lambda path: _execute(path, "DROP TABLE block")),
]


def _execute(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(statement)
    connection.close()


@pytest.mark.parametrize("name, damage", DAMAGES, ids=[name for name, _ in DAMAGES])
def test_a_damaged_index_changes_no_answer_and_is_made_anew(
    engine: SqliteEngine, name: str, damage: Callable[[Path], object]
) -> None:
    index(engine)
    path = Path(fulltext.path(engine.open(ALICE).database))
    for extra in ("-wal", "-shm"):
        path.with_name(path.name + extra).unlink(missing_ok=True)
    damage(path)
    keys = KEYS[::9]
    assert_same(engine, keys)
    index(engine)
    put(engine, SOURCES[:1])
    index(engine)
    assert_same(engine, keys)
    assert fulltext.verify(engine.open(ALICE).database) == ""
    reader = fulltext.opened(engine.open(ALICE).database)
    assert reader is not None and reader.watermark >= len(SOURCES)
    reader.close()


def test_verify_finds_it_and_fix_gives_it_up(engine: SqliteEngine, tmp_path: Path) -> None:
    index(engine)
    paths = Paths.home(tmp_path)
    assert verify(paths) == []
    _execute(Path(fulltext.path(engine.open(ALICE).database)), "UPDATE segment SET documents = documents + 1")
    assert [(fault.kind, fault.fixed) for fault in verify(paths)] == [("search", False)]
    assert [(fault.kind, fault.fixed) for fault in verify(paths, fix=True)] == [("search", True)]
    assert verify(paths) == []
    assert index(engine) == len(SOURCES)
    assert verify(paths) == []


def test_an_index_that_is_being_made_is_no_fault(engine: SqliteEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks at it before any statement of its making finds none: neither a fault nor damage."""
    put(engine, SOURCES[:1])
    database = engine.open(ALICE).database
    connect, found = fill.Filler._connect, []

    def look(statement: str) -> None:
        found.append((fulltext.verify(database), fulltext.opened(database), os.path.exists(fulltext.marker(database))))

    def connect_and_look(self: fill.Filler) -> sqlite3.Connection:
        connection = connect(self)
        connection.set_trace_callback(look)
        return connection

    monkeypatch.setattr(fill.Filler, "_connect", connect_and_look)
    fill.Filler(database).close()
    assert len(found) > 5 and set(found) == {("", None, False)}


def test_one_whose_making_was_cut_short_is_no_fault_and_is_made_anew(engine: SqliteEngine) -> None:
    database = engine.open(ALICE).database
    Path(fulltext.path(database)).touch(0o600)
    assert fulltext.verify(database) == ""
    index(engine)
    assert fulltext.verify(database) == "" and fulltext.opened(database) is not None


PIECES = st.text(st.sampled_from("abcABC äÄßσς.,-_@ \r\n漢字か한ก\u0301🎉x1"), max_size=30)
WORD = st.text(st.sampled_from("abcABCäßσ漢字か한x1._ "), min_size=1, max_size=5)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(PIECES, PIECES, st.booleans()), min_size=1, max_size=6),
    st.lists(WORD, max_size=8),
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 29), st.integers(1, 9)), max_size=8),
)
def test_any_text_any_part_of_it(
    tmp_path_factory: pytest.TempPathFactory,
    texts: list[tuple[str, str, bool]],
    words: list[str],
    cuts: list[tuple[int, int, int]],
) -> None:
    engine = SqliteEngine(Paths.home(tmp_path_factory.mktemp("any")))
    engine.recover()
    engine.create(ALICE)
    sources = []
    for subject, body, encoded in texts:
        line = " ".join(subject.split())
        sources.append(message(line, b64(body) if encoded else body, B64 if encoded else UTF8))
    put(engine, sources)
    parts = [texts[n % len(texts)][1][start : start + size] for n, start, size in cuts]
    asked = [one for one in words + parts if one]
    keys: list[Key] = [kind(one) for one in asked for kind in (Text, Body)]
    keys += [Header("subject", one) for one in asked]
    index(engine)
    assert_same(engine, keys)
    engine.close()


FIELDS = (
    "X-Short: one two\r\nX-Short: three",
    f"X-Short: {'long ' * 60}needle",
    "X-SHORT : =?utf-8?q?Gr=C3=BCn?= und\r\n blau",
    "X-Other: x-short",
    "X-Short:\r\nX-Other: needle",
    "".join(f"X-Many: {n}\r\n" for n in range(1200)) + "X-Short: beyond",
)


@pytest.mark.parametrize(
    "value", ["short", "x", "-", "one two", "two three", "needle", "GRÜN UND", "n b", "beyond", "ong l"]
)
def test_fields_of_any_name(engine: SqliteEngine, value: str) -> None:
    """The index has values of fields with their names; long ones, and what is beyond the limits, are asked."""
    put(engine, [message(str(n), headers=f"{one}\r\n") for n, one in enumerate(FIELDS)])
    index(engine)
    assert_same(engine, [Header(name, value) for name in ("x-short", "x-other", "x-many", "x-sho")])


def test_a_field_is_found_without_its_message(engine: SqliteEngine) -> None:
    put(engine, [message("0", headers="X-Short: one two\r\n")])
    index(engine)
    ((path,),) = [list(Path(engine.data).glob(f"accounts/{ALICE}/msg/00000/{len(SOURCES) + 1}"))]
    path.unlink()
    assert answers(engine, [Header("x-short", "e TW")]) == [[len(SOURCES) + 1]]
