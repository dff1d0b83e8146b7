"""Arguments of SORT, THREAD, ESEARCH and CANCELUPDATE; the new keys and options of SEARCH."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from echomox.imap import multisearch, searching, sorting
from echomox.imap.lexer import Bad, Parser
from echomox.imap.multisearch import SELECTED, MultiSearch, Source
from echomox.imap.search import All, And, Body, Filter, Fuzzy, HasFlag, Header, Not, ObjectId, Text
from echomox.imap.searching import BadCharset, Search
from echomox.imap.sorting import Criterion, Sort, Thread

UNSEEN = Not(HasFlag("\\Seen"))


def read(parse: Callable[[Parser], Any], text: bytes) -> Any:
    return parse(Parser(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b" (SUBJECT) UTF-8 ALL", Sort((Criterion("SUBJECT"),), Search(All(), None, "UTF-8"))),
        (
            b" (subject reverse Date) us-ascii UNSEEN",
            Sort((Criterion("SUBJECT"), Criterion("DATE", True)), Search(UNSEEN, None, "US-ASCII")),
        ),
        (
            b" RETURN (PARTIAL 1:10 COUNT) (REVERSE RELEVANCY DISPLAYFROM) UTF-8 FUZZY TEXT x",
            Sort(
                (Criterion("RELEVANCY", True), Criterion("DISPLAYFROM")),
                Search(Fuzzy(Text("x")), ("PARTIAL", "COUNT"), "UTF-8", partial=(1, 10)),
            ),
        ),
        (b" RETURN () (DATE) UTF-8 ALL", Sort((Criterion("DATE"),), Search(All(), ("ALL",), "UTF-8"))),
        (b" (DATE) UTF-8 RETURN () ALL", Sort((Criterion("DATE"),), Search(All(), ("ALL",), "UTF-8"))),
    ],
)
def test_sort(text: bytes, expected: Sort) -> None:
    assert read(sorting.sort, text) == expected


def test_thread() -> None:
    expected = Thread("REFERENCES", Search(And((UNSEEN, Body("x"))), None, "UTF-8"))
    assert read(sorting.thread, b" references utf-8 UNSEEN BODY x") == expected
    assert read(sorting.cancel_update, b' "A 1" B2') == (b"A 1", b"B2")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b" unseen", MultiSearch((SELECTED,), Search(UNSEEN, ("ALL",)))),
        (
            b' IN (mailboxes "folder1" subtree (a b)) RETURN (MIN) CHARSET UTF-8 ALL',
            MultiSearch(
                (Source("MAILBOXES", ("folder1",)), Source("SUBTREE", ("a", "b"))), Search(All(), ("MIN",), "UTF-8")
            ),
        ),
        (
            b" IN (selected personal subtree-one x) ALL",
            MultiSearch((SELECTED, Source("PERSONAL"), Source("SUBTREE-ONE", ("x",))), Search(All(), ("ALL",))),
        ),
        (b" IN (selected) RETURN (SAVE) ALL", MultiSearch((SELECTED,), Search(All(), ("SAVE",)))),
    ],
)
def test_esearch(text: bytes, expected: MultiSearch) -> None:
    assert read(multisearch.esearch, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b" FUZZY (SUBJECT a NOT BODY b)", Fuzzy(And((Header("subject", "a"), Not(Body("b")))))),
        (b" FILTER on-the-road", Filter("on-the-road")),
        (b" EMAILID M1-2", ObjectId("content", "M1-2")),
        (b' THREADID "T1"', ObjectId("thread", "T1")),
    ],
)
def test_keys(text: bytes, expected: object) -> None:
    assert read(searching.search, text).key == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b" RETURN (CONTEXT COUNT) ALL", ("CONTEXT", "COUNT")),
        (b" RETURN (CONTEXT) ALL", ("CONTEXT", "ALL")),
        (b" RETURN (UPDATE) ALL", ("UPDATE", "ALL")),
        (b" RETURN (SAVE) ALL", ("SAVE",)),
        (b" RETURN (RELEVANCY ALL) ALL", ("RELEVANCY", "ALL")),
    ],
)
def test_options(text: bytes, expected: tuple[str, ...]) -> None:
    assert read(searching.search, text).returning == expected


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (sorting.sort, b""),
        (sorting.sort, b" (SUBJECT)"),
        (sorting.sort, b" SUBJECT UTF-8 ALL"),
        (sorting.sort, b" () UTF-8 ALL"),
        (sorting.sort, b" (REVERSE) UTF-8 ALL"),
        (sorting.sort, b" (REVERSE REVERSE DATE) UTF-8 ALL"),
        (sorting.sort, b" (" + b" ".join([b"DATE"] * 40) + b") UTF-8 ALL"),
        (sorting.sort, b" (DATE) UTF-8"),
        (sorting.sort, b" RETURN (ALL PARTIAL 1:2) (DATE) UTF-8 ALL"),
        (sorting.thread, b" JWZ UTF-8 ALL"),
        (sorting.thread, b" REFS UTF-8"),
        (sorting.cancel_update, b""),
        (sorting.cancel_update, b" "),
        (multisearch.esearch, b" IN () ALL"),
        (multisearch.esearch, b" IN (selected-delayed) ALL"),
        (multisearch.esearch, b" IN (subtree) ALL"),
        (multisearch.esearch, b" IN (personal (depth 1)) ALL"),
        (multisearch.esearch, b" IN (personal) RETURN (SAVE) ALL"),
        (multisearch.esearch, b" IN (selected personal) RETURN (UPDATE) ALL"),
        (multisearch.esearch, b" IN (" + b" ".join([b"personal"] * 101) + b") ALL"),
        (searching.search, b" FUZZY"),
        (searching.search, b" FILTER a/b"),
        (searching.search, b" FILTER (x)"),
        (searching.search, b" FUZZY " * 60 + b" ALL"),
    ],
)
def test_refused(parse: Callable[[Parser], Any], text: bytes) -> None:
    with pytest.raises(Bad):
        read(parse, text)


def test_charsets() -> None:
    for parse, text in ((sorting.sort, b" (DATE) KLINGON ALL"), (sorting.thread, b" REFS ALL")):
        with pytest.raises(BadCharset):
            read(parse, text)
