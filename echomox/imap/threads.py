"""Threads: ORDEREDSUBJECT and REFERENCES of RFC 5256 3, and REFS, which is REFERENCES without the gathering by
subject and with the thread last written to at the end.

Nodes are numbers: 0 to n - 1 are the messages in the order given, higher ones stand for messages that are only
referred to, and for the dummies that hold threads of one subject together. Nothing recurses: a chain of a hundred
thousand replies is a thread like any other. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

REFERENCES = 1000
"""Most references of one message that are followed."""


class Item(NamedTuple):
    """What threading needs of a message. number: as the response names it. references: message ids, oldest first;
    of References, or the first of In-Reply-To when there are none. subject, reply: of
    `message.subject.base_subject`. sent: seconds; the internal date where the message has none."""

    number: int
    message_id: str
    references: Sequence[str]
    subject: str
    reply: bool
    sent: float


class Forest:
    """parent: -1 for none. children: by node, in order. sent: of dummies, that of their first child."""

    __slots__ = ("children", "items", "parent")

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = items
        self.parent: list[int] = [-1] * len(items)
        self.children: dict[int, list[int]] = {}

    def is_dummy(self, node: int) -> bool:
        return node >= len(self.items)

    def new(self) -> int:
        self.parent.append(-1)
        return len(self.parent) - 1

    def adopt(self, parent: int, child: int) -> None:
        """child: a root until now."""
        self.parent[child] = parent
        self.children.setdefault(parent, []).append(child)

    def first(self, node: int) -> int:
        """The message itself, or of a dummy its first child."""
        return self.children[node][0] if self.is_dummy(node) else node

    def when(self, node: int) -> tuple[float, int]:
        """By sent date, then by number (RFC 5256 2.2)."""
        item = self.items[self.first(node)]
        return item.sent, item.number


def ordered_subject(items: Sequence[Item]) -> bytes:
    """RFC 5256 3, ORDEREDSUBJECT: all of one base subject, the first above all others."""
    groups: dict[str, list[Item]] = {}
    for item in sorted(items, key=lambda item: (item.sent, item.number)):
        groups.setdefault(item.subject, []).append(item)
    return b"".join(_flat([item.number for item in group]) for group in groups.values())


def _flat(numbers: list[int]) -> bytes:
    if len(numbers) < 3:
        return b"(%b)" % b" ".join(b"%d" % number for number in numbers)
    return b"(%d %b)" % (numbers[0], b"".join(b"(%d)" % number for number in numbers[1:]))


def references(items: Sequence[Item]) -> bytes:
    """RFC 5256 3, REFERENCES, steps 1 to 6."""
    forest = Forest(items)
    roots = prune(forest, link(forest))
    sort_children(forest)
    roots = gather(forest, sorted(roots, key=forest.when))
    sort_children(forest)
    return text(forest, sorted(roots, key=forest.when))


def refs(items: Sequence[Item]) -> bytes:
    forest = Forest(items)
    roots = prune(forest, link(forest))
    sort_children(forest)
    return text(forest, sorted(roots, key=lambda root: latest(forest, root)))


ALGORITHMS: Mapping[str, Callable[[Sequence[Item]], bytes]] = {
    "ORDEREDSUBJECT": ordered_subject,
    "REFERENCES": references,
    "REFS": refs,
}


def link(forest: Forest) -> list[int]:
    """Steps 1 and 2: parents and children by message ids. Returns the roots.

    What a message says of itself comes before what others say of it, so the last references are looked at first: then
    no node is ever moved, and whether a link would close a loop is a question of roots only."""
    nodes: dict[str, int] = {}
    for node, item in enumerate(forest.items):
        if item.message_id:
            nodes.setdefault(item.message_id, node)  # of several with one id the first has it
    tops: list[int] = list(range(len(forest.items)))

    def node_of(name: str) -> int:
        found = nodes.get(name)
        if found is None:
            found = nodes[name] = forest.new()
            tops.append(found)
        return found

    def join(above: int, below: int) -> None:
        if forest.parent[below] < 0 and top(tops, above) != below:
            forest.adopt(above, below)
            tops[below] = above

    for node, item in enumerate(forest.items):
        if item.references:
            join(node_of(item.references[-1]), node)
    for item in forest.items:
        chain = [node_of(name) for name in item.references[-REFERENCES:]]
        for above, below in pairwise(chain):
            join(above, below)
    return [node for node in range(len(forest.parent)) if forest.parent[node] < 0]


def top(tops: list[int], node: int) -> int:
    """The root above a node; shortens the way for the next one who asks."""
    while tops[node] != node:
        tops[node] = tops[tops[node]]
        node = tops[node]
    return node


def prune(forest: Forest, roots: list[int]) -> list[int]:
    """Step 3: messages that are not there go, and their children take their place; at the root one stays when it
    holds several."""
    count = len(forest.items)
    for node in reversed(postorder(forest, roots)):  # parents first, so that children move up at most once
        if node < count or forest.parent[node] < 0:
            continue
        parent, below = forest.parent[node], forest.children.pop(node, [])
        siblings = forest.children[parent]
        place = siblings.index(node)
        siblings[place : place + 1] = below
        for child in below:
            forest.parent[child] = parent
    kept = []
    for root in roots:
        below = forest.children.get(root, [])
        if root < count or len(below) > 1:
            kept.append(root)
        elif below:
            forest.parent[below[0]] = -1
            kept.append(below[0])
            del forest.children[root]
    return kept


def postorder(forest: Forest, roots: Iterable[int]) -> list[int]:
    """All nodes, children before their parents."""
    order, stack = [], list(roots)
    while stack:
        node = stack.pop()
        order.append(node)
        stack += forest.children.get(node, ())
    order.reverse()
    return order


def sort_children(forest: Forest) -> None:
    """Steps 4 and 6, of siblings. Below the roots there are no dummies."""
    for below in forest.children.values():
        if len(below) > 1:
            below.sort(key=forest.when)


def gather(forest: Forest, roots: list[int]) -> list[int]:
    """Step 5: threads of one base subject become one. roots: by date."""
    table: dict[str, int] = {}
    for root in roots:
        subject, reply = subject_of(forest, root)
        if not subject:
            continue
        known = table.get(subject)
        if known is None or (
            not forest.is_dummy(known)
            and (forest.is_dummy(root) or (subject_of(forest, known)[1] and not reply))
        ):
            table[subject] = root
    kept: dict[int, None] = dict.fromkeys(roots)
    for root in roots:
        subject, reply = subject_of(forest, root)
        known = table.get(subject, root) if subject else root
        if known == root:
            continue
        if forest.is_dummy(known) and forest.is_dummy(root):
            for child in forest.children.pop(root):
                forest.adopt(known, child)
        elif forest.is_dummy(known) or (reply and not subject_of(forest, known)[1]):
            forest.adopt(known, root)
        else:
            dummy = forest.new()
            forest.adopt(dummy, known)
            forest.adopt(dummy, root)
            kept.pop(known)
            kept[dummy] = None
            table[subject] = dummy
        kept.pop(root)
    return list(kept)


def subject_of(forest: Forest, root: int) -> tuple[str, bool]:
    """Base subject, and whether it is of a reply or forwarded."""
    item = forest.items[forest.first(root)]
    return item.subject, item.reply


def latest(forest: Forest, root: int) -> tuple[float, int]:
    count = len(forest.items)
    found = (forest.items[node] for node in postorder(forest, (root,)) if node < count)
    return max((item.sent, item.number) for item in found)


def text(forest: Forest, roots: Iterable[int]) -> bytes:
    """The threads as in the response (RFC 5256 4, thread-list): a line of only children is a row of numbers, several
    children are lists."""
    out: list[bytes] = []
    for root in roots:
        stack: list[int | bytes] = [b")", root, b"("]
        space = False
        while stack:
            one = stack.pop()
            if isinstance(one, bytes):
                out.append(one)
                space = False
                continue
            if not forest.is_dummy(one):
                out.append(b" %d" % forest.items[one].number if space else b"%d" % forest.items[one].number)
                space = True
            below = forest.children.get(one, ())
            if len(below) == 1:
                stack.append(below[0])
            elif below:
                if space:
                    out.append(b" ")
                for child in reversed(below):
                    stack += (b")", child, b"(")
    return b"".join(out)
