"""RFC 5256 3: the threading algorithms, on trees worked out by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from echomox.imap import threads
from echomox.imap.threads import ALGORITHMS, Item, Items, Steps
from echomox.message.subject import base_subject


def run(algorithm: Callable[[Items], Steps], rows: Sequence[Item]) -> bytes:
    steps = algorithm(threads.columns(rows))
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: bytes = end.value
            return found


def references(rows: Sequence[Item]) -> bytes:
    return run(threads.references, rows)


def refs(rows: Sequence[Item]) -> bytes:
    return run(threads.refs, rows)


def ordered_subject(rows: Sequence[Item]) -> bytes:
    return run(threads.ordered_subject, rows)


def items(*rows: tuple[str, str, str]) -> list[Item]:
    """(id, references, subject); dates ascend."""
    found = []
    for number, (name, refer, subject) in enumerate(rows, 1):
        base, reply = base_subject(subject)
        found.append(Item(number, name, tuple(refer.split()), base, reply, float(number)))
    return found


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], b""),
        ([("a", "", "x")], b"(1)"),
        ([("a", "", "x"), ("b", "a", "Re: x"), ("c", "a b", "Re: x")], b"(1 2 3)"),
        ([("a", "", "x"), ("b", "a", "Re: x"), ("c", "a", "Re: x")], b"(1 (2)(3))"),
        # the example of RFC 5256 4: (3 6 (4 23)(44 7 96)) as a shape
        ([("a", "", "x"), ("b", "a", ""), ("c", "a b", ""), ("d", "a b c", ""), ("e", "a b", ""), ("f", "a b e", "")],
         b"(1 2 (3 4)(5 6))"),
        # a parent that is not there holds two together ...
        ([("b", "gone", "y"), ("c", "gone", "z")], b"((1)(2))"),
        # ... but not one alone, and not within a thread
        ([("b", "gone", "y")], b"(1)"),
        ([("a", "", "x"), ("b", "a gone", "p"), ("c", "a gone", "q")], b"(1 (2)(3))"),
        # by subject: a reply goes below what it answers
        ([("a", "", "x"), ("b", "", "Re: x")], b"(1 2)"),
        ([("b", "", "Re: x"), ("a", "", "x")], b"(2 1)"),
        # two that are no replies, or two that are, are held together by a dummy
        ([("a", "", "x"), ("b", "", "x")], b"((1)(2))"),
        ([("a", "", "Re: x"), ("b", "", "Re: x")], b"((1)(2))"),
        ([("a", "", "x"), ("b", "", "x"), ("c", "", "Re: x"), ("d", "", "x")], b"((1)(2)(3)(4))"),
        # an empty subject gathers nothing
        ([("a", "", ""), ("b", "", "Re:")], b"(1)(2)"),
        # a loop of references, and oneself
        ([("a", "b", "x"), ("b", "a", "y")], b"(2 1)"),
        ([("a", "a", "x")], b"(1)"),
        # what was said first stays; what would close the loop is not done
        ([("a", "", "x"), ("b", "c a", "y"), ("c", "b", "z")], b"(3 1 2)"),
        ([("b", "c a", "y"), ("c", "b", "z")], b"(2 1)"),
        ([("a", "", "x"), ("b", "a", "y"), ("c", "d b", "z"), ("d", "c", "w"), ("e", "", "v")], b"(1 2 3 4)(5)"),
        # two with one id
        ([("a", "", "x"), ("a", "", "y"), ("c", "a", "z")], b"(1 3)(2)"),
        # none has an id
        ([("", "", "x"), ("", "", "y")], b"(1)(2)"),
    ],
)  # fmt: skip
def test_references(rows: list[tuple[str, str, str]], expected: bytes) -> None:
    assert references(items(*rows)) == expected


def test_siblings_and_threads_go_by_date() -> None:
    late = Item(1, "a", (), "X", False, 9.0)
    early = Item(2, "b", ("a",), "Y", True, 1.0)
    other = Item(3, "c", ("a",), "Z", True, 0.5)
    alone = Item(4, "d", (), "W", False, 2.0)
    assert references([late, early, other, alone]) == b"(4)(1 (3)(2))"
    assert references([Item(7, "x", (), "P", False, 1.0), Item(5, "y", (), "Q", False, 1.0)]) == b"(5)(7)"


def test_ordered_subject() -> None:
    rows = items(("a", "", "x"), ("b", "", "y"), ("c", "", "Re: x"), ("d", "", "[l] x"), ("e", "", "fwd: y"))
    assert ordered_subject(rows) == b"(1 (3)(4))(2 5)"


def test_refs_ends_with_the_thread_last_written_to() -> None:
    rows = items(("a", "", "x"), ("b", "", "x"), ("c", "a", "Re: x"))
    assert refs(rows) == b"(2)(1 3)"


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_message_is_in_it_once(name: str) -> None:
    count = 20_000
    rows = [
        Item(n, f"i{n}", (f"i{n - 1}",) if n % 7 else (f"lost{n % 50}",), f"S{n % 100}", bool(n % 3), float(-n))
        for n in range(1, count + 1)
    ]
    out = run(ALGORITHMS[name], rows)
    numbers = out.replace(b"(", b" ").replace(b")", b" ").split()
    assert sorted(map(int, numbers)) == list(range(1, count + 1))
    assert out.count(b"(") == out.count(b")")


def test_a_chain_of_a_hundred_thousand() -> None:
    count = 100_000
    rows = [Item(n, f"i{n}", (f"i{n - 1}",), "S", True, float(n)) for n in range(1, count + 1)]
    assert references(rows).count(b"(") == 1
