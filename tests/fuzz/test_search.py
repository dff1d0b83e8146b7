"""What strangers and clients give to the search: programs, envelopes, documents, references."""

from __future__ import annotations

import io
import zipfile
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echomox.imap import multisearch, searching, sorting, threads
from echomox.imap.lexer import Bad, Parser
from echomox.message.structure import Part
from echomox.store import sortkeys
from echomox.store.text import attachments, fuzzy
from echomox.store.text.words import fold

WORDS = (
    b" ", b"(", b")", b"RETURN", b"PARTIAL", b"1:2", b"-1:-5", b"UPDATE", b"CONTEXT", b"ALL", b"REVERSE", b"DATE",
    b"SUBJECT", b"UTF-8", b"FUZZY", b"FILTER", b"x", b"NOT", b"OR", b"EMAILID", b'"a"', b"IN", b"selected", b"subtree",
    b"REFERENCES", b"{1}\na", b"$", b"1,*", b"\xff",
)  # fmt: skip
PROGRAM = st.lists(st.sampled_from(WORDS), max_size=25).map(b"".join) | st.binary(max_size=60)
PARSERS = (sorting.sort, sorting.thread, sorting.cancel_update, multisearch.esearch, searching.search)


@pytest.mark.parametrize("parse", PARSERS)
@given(text=PROGRAM)
def test_programs(parse, text):  # type: ignore[no-untyped-def]
    with suppress(Bad):
        parse(Parser(b" " + text))


@given(
    st.lists(st.sampled_from((b"(", b")", b"NIL", b'"a"', b'"\\""', b"{2}\r\n((", b"{99}\r\nx", b" "))).map(b"".join)
)
def test_envelopes(envelope: bytes) -> None:
    found = sortkeys.first_addresses(envelope)
    assert set(found) == {2, 5, 6}


@given(st.text(max_size=300))
def test_collation_and_words(text: str) -> None:
    sortkeys.collated(text).encode()
    for one in fuzzy.asked_words(text):
        assert one.pattern.search(b"\n" + one.text + b"\n")
    fold(text)


DOCX = Part(
    "1", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", "", "", "", "", 0, 0, 0, 0, 0, 0
)


def zipped(name: str, data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return out.getvalue()


@given(st.binary(max_size=300), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=8))
def test_documents(data: bytes, changes: list[tuple[int, int]]) -> None:
    made = bytearray(zipped("word/document.xml", b"<w:t>hello</w:t>" + data))
    for place, value in changes:
        made[place % len(made)] = value
    for source in (data, bytes(made)):
        attachments.document_text(DOCX, source)


def test_a_bomb_is_not_unpacked() -> None:
    bomb = zipped("word/document.xml", b"<w:t>" + b"a" * (50 << 20))
    assert len(attachments.document_text(DOCX, bomb)) <= attachments.LONGEST


IDS = st.sampled_from(["", "a", "b", "c", "d", "e", "f", "g"])
ITEM = st.tuples(
    IDS, st.lists(IDS.filter(bool), max_size=4), st.sampled_from(["", "S", "T"]), st.booleans(), st.integers(0, 3)
)


@given(st.lists(ITEM, max_size=12), st.sampled_from(sorted(threads.ALGORITHMS)))
def test_threads(rows: list[tuple[str, list[str], str, bool, int]], name: str) -> None:
    """Whatever they refer to, loops and themselves: every message stands in the answer once."""
    items = [threads.Item(n, row[0], row[1], row[2], row[3], row[4]) for n, row in enumerate(rows, 1)]
    steps = threads.ALGORITHMS[name](threads.columns(items))
    while True:
        try:
            next(steps)
        except StopIteration as end:
            text: bytes = end.value
            break
    assert sorted(map(int, text.replace(b"(", b" ").replace(b")", b" ").split())) == list(range(1, len(rows) + 1))
    assert text.count(b"(") == text.count(b")") and b"()" not in text and b"( " not in text
