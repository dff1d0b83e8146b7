"""Threads: ORDEREDSUBJECT and REFERENCES of RFC 5256 3, and REFS, which is REFERENCES without the gathering by
subject and with the thread last written to at the end.

All is done with arrays of numbers, so that a hundred thousand messages take tenths of a second: message ids and base
subjects come as numbers too (equal ones for equal texts). Nodes are 0 to n - 1 for the messages in the order given,
and higher ones for messages that are only referred to, which stay as dummies where they hold several threads together.
What cannot be said of all nodes at once (loops of references, the gathering by subject) is a loop over those that it
is about; where references make a loop, the messages around it are linked one after the other, as the RFC says it, as
far as that is worth WALK steps. Nothing recurses. Each algorithm gives way now and then (it is a generator), and
returns the threads as they stand in the response. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.signedinteger[Any]]
Steps = Generator[None, None, bytes]
TURN = 2000
"""Threads between two pauses."""
WALK = 2_000_000
"""Steps from a message to those above it that loops of references are worth."""
NONE = -1


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


class Items(NamedTuple):
    """Many of them as columns. names: 0 for none. references: of all messages, one after the other; counts: how many
    each has. subjects: 0 for an empty one."""

    numbers: Numbers
    names: Numbers
    references: Numbers
    counts: Numbers
    subjects: Numbers
    replies: npt.NDArray[np.bool_]
    sent: Numbers


def columns(items: Sequence[Item]) -> Items:
    known: dict[str, int] = {"": 0}

    def number(text: str) -> int:
        return known.setdefault(text, len(known))

    def row(values: list[int]) -> Numbers:
        return np.array(values, np.int64)

    return Items(
        row([item.number for item in items]),
        row([number("<" + item.message_id) if item.message_id else 0 for item in items]),
        row([number("<" + name) for item in items for name in item.references]),
        row([len(item.references) for item in items]),
        row([number(item.subject) for item in items]),
        np.array([item.reply for item in items], np.bool_),
        row([int(item.sent * 1000) for item in items]),
    )


def ordered_subject(items: Items) -> Steps:
    """RFC 5256 3, ORDEREDSUBJECT: all of one base subject, the first above all others."""
    if not len(items.numbers):
        return b""
    rank = ranks(items)
    order = np.lexsort((rank, items.subjects))
    starts = np.flatnonzero(np.diff(items.subjects[order], prepend=items.subjects[order[0]] - 1))
    numbers = items.numbers[order].tolist()
    ends = [*starts[1:].tolist(), len(numbers)]
    begins = starts.tolist()
    yield
    out = []
    for count, group in enumerate(np.argsort(rank[order[starts]]).tolist(), 1):
        out.append(_flat(numbers[begins[group] : ends[group]]))
        if not count % TURN:
            yield
    return b"".join(out)


def _flat(numbers: list[int]) -> bytes:
    if len(numbers) < 3:
        return b"(%b)" % b" ".join([b"%d" % number for number in numbers])
    return b"(%d %b)" % (numbers[0], b"".join([b"(%d)" % number for number in numbers[1:]]))


def references(items: Items) -> Steps:
    """RFC 5256 3, REFERENCES, steps 1 to 6."""
    forest = yield from build(items)
    yield from forest.gather()
    return (yield from forest.text(sorted(forest.roots, key=forest.rank_of)))


def refs(items: Items) -> Steps:
    forest = yield from build(items)
    latest = forest.latest()
    return (yield from forest.text(sorted(forest.roots, key=latest.__getitem__)))


ALGORITHMS: Mapping[str, Callable[[Items], Steps]] = {
    "ORDEREDSUBJECT": ordered_subject,
    "REFERENCES": references,
    "REFS": refs,
}


def ranks(items: Items) -> Numbers:
    """The place of each by sent date, then by number (RFC 5256 2.2)."""
    rank = np.empty(len(items.numbers), np.int64)
    rank[np.lexsort((items.numbers, items.sent))] = np.arange(len(rank))
    return rank


# -- steps 1 to 4: the trees -------------------------------------------------------


def build(items: Items) -> Generator[None, None, Forest]:
    """Trees by references, pruned, with siblings in order."""
    parent = yield from link(items)
    yield
    parent = prune(parent, len(items.numbers))
    yield
    return Forest(items, parent)


def link(items: Items) -> Generator[None, None, Numbers]:
    """Steps 1 and 2: the parent of each node. What a message says of itself comes before what others say of it, so the
    last references are looked at first: then no link is ever taken back."""
    refer, total = nodes(items)
    yield
    parent = np.full(total, NONE, np.int64)
    ends = np.cumsum(items.counts)
    has = np.flatnonzero(items.counts)
    parent[has] = refer[ends[has] - 1]
    parent[parent == np.arange(total)] = NONE
    inner = np.ones(len(refer), np.bool_)
    inner[ends[has] - 1] = False  # the last of each message has none after it
    above = np.flatnonzero(inner)
    pairs = np.stack((refer[above], refer[above + 1])) if len(above) else np.zeros((2, 0), np.int64)
    tangled = yield from tangle(parent, pairs)
    yield
    if len(tangled):
        exact = yield from in_order(items, refer, total, tangled)
        if exact is not None:
            fixed = np.zeros(total, np.bool_)
            fixed[tangled] = True
            parent[tangled] = exact[tangled]
            pairs = pairs[:, ~fixed[pairs[1]]]
    break_loops(parent)
    yield
    pairs = pairs[:, (parent[pairs[1]] == NONE) & (pairs[0] != pairs[1])]
    _, first = np.unique(pairs[1] * (total + 1) + pairs[0], return_index=True)
    pairs = pairs[:, np.sort(first)]
    _, first = np.unique(pairs[1], return_index=True)
    guess = parent.copy()
    guess[pairs[1][first]] = pairs[0][first]
    if len(looping(guess)):
        join(parent, pairs)
    else:
        parent = guess
    return parent


def nodes(items: Items) -> tuple[Numbers, int]:
    """(the nodes of all references, how many nodes there are). Of several messages with one id the first has it."""
    count = len(items.numbers)
    unique, inverse = np.unique(np.concatenate((items.names, items.references)), return_inverse=True)
    node = np.full(len(unique), NONE, np.int64)
    named = np.flatnonzero(items.names)[::-1]
    node[inverse[named]] = named
    lost = np.unique(inverse[count:])
    lost = lost[node[lost] == NONE]
    node[lost] = count + np.arange(len(lost))
    return node[inverse[count:]], count + len(lost)


def tangle(parent: Numbers, pairs: Numbers) -> Generator[None, None, Numbers]:
    """The nodes that hang together with a loop of references; none if there is none."""
    free = pairs[:, (parent[pairs[1]] == NONE) & (pairs[0] != pairs[1])]
    guess = parent.copy()
    guess[free[1][::-1]] = free[0][::-1]  # of several, the first
    loops = looping(guess)
    if not len(loops):
        return loops
    said = np.flatnonzero(parent != NONE)
    tops = list(range(len(parent)))
    ends = np.concatenate((pairs, np.stack((parent[said], said))), axis=1)
    for begin in range(0, ends.shape[1], 4 * TURN):
        for one, other in ends[:, begin : begin + 4 * TURN].T.tolist():
            tops[_top(tops, one)] = _top(tops, other)
        yield
    wanted = {_top(tops, node) for node in loops.tolist()}
    return np.array([node for node in range(len(tops)) if _top(tops, node) in wanted], np.int64)


def in_order(items: Items, refer: Numbers, total: int, among: Numbers) -> Generator[None, None, Numbers | None]:
    """Step 1 word for word, for the messages among these nodes; None if it takes too long."""
    parent = [NONE] * total
    left = WALK
    starts = np.concatenate(([0], np.cumsum(items.counts))).tolist()

    def is_below(node: int, other: int) -> bool:
        nonlocal left
        while node != NONE and node != other:
            node = parent[node]
            left -= 1
        return node == other

    for done, message in enumerate(among[among < len(items.numbers)].tolist(), 1):
        named = refer[starts[message] : starts[message + 1]].tolist()
        for upper, lower in pairwise(named):
            if left > 0 and parent[lower] == NONE and not is_below(upper, lower):
                parent[lower] = upper
        if named:
            parent[message] = NONE
            if not is_below(named[-1], message):
                parent[message] = named[-1]
        if left < 0:
            return None
        if not done % TURN:
            yield
    return np.array(parent, np.int64)


def looping(parent: Numbers) -> Numbers:
    """Nodes of loops; none if there are none."""
    ahead, steps = parent, 1
    while steps <= len(parent) and (ahead != NONE).any():
        ahead = np.where(ahead == NONE, NONE, ahead[ahead])
        steps *= 2
    return np.unique(ahead[ahead != NONE])


def break_loops(parent: Numbers) -> None:
    """What `in_order` has left: of each loop the link of its last node is not made."""
    left = set(looping(parent).tolist())
    while left:
        start = node = left.pop()
        loop = [node]
        while (node := int(parent[node])) != start:
            loop.append(node)
            left.discard(node)
        parent[max(loop)] = NONE


def join(parent: Numbers, pairs: Numbers) -> None:
    """One link after the other: those that would close a loop are left out."""
    tops = np.where(parent == NONE, np.arange(len(parent)), parent).tolist()
    for above, below in pairs.T.tolist():
        if parent[below] == NONE and _top(tops, above) != below:
            parent[below] = tops[below] = above


def _top(tops: list[int], node: int) -> int:
    """The root above a node; shortens the way for the next one who asks."""
    while tops[node] != node:
        tops[node] = tops[tops[node]]
        node = tops[node]
    return node


def prune(parent: Numbers, count: int) -> Numbers:
    """Step 3: messages that are not there go, and their children take their place; at the root one stays when it
    holds several."""
    nodes_ = np.arange(len(parent))
    skip = np.where((nodes_ >= count) & (parent != NONE), parent, nodes_)
    while (further := skip[skip] != skip).any():
        skip = np.where(further, skip[skip], skip)
    kept = np.full(len(parent), NONE, np.int64)
    kept[:count] = np.where(parent[:count] == NONE, NONE, skip[parent[:count]])
    children = np.bincount(kept[:count] + 1, minlength=len(parent) + 1)[1:]
    alone = (kept >= count) & (children[kept] == 1)
    kept[alone] = NONE
    return kept


class Forest:
    """parent: after `prune`. roots: messages and dummies. changed: children of nodes that `gather` has given more."""

    __slots__ = ("_begins", "_children", "_items", "_numbers", "_rank", "changed", "count", "parent", "roots")

    def __init__(self, items: Items, parent: Numbers) -> None:
        self._items = items
        self.parent = parent
        self.count = len(items.numbers)
        rank = ranks(items)
        below = np.flatnonzero(parent != NONE)
        below = below[np.lexsort((rank[below], parent[below]))]  # step 4
        begins = np.searchsorted(parent[below], np.arange(len(parent) + 1))
        self._children: list[int] = below.tolist()
        self._begins: list[int] = begins.tolist()
        self._numbers: list[int] = items.numbers.tolist()
        self._rank: list[int] = rank.tolist()
        dummies = self.count + np.flatnonzero(np.diff(begins)[self.count :])
        self.roots: list[int] = np.flatnonzero(parent[: self.count] == NONE).tolist() + dummies.tolist()
        self.changed: dict[int, list[int]] = {}

    def children(self, node: int) -> list[int]:
        known = self.changed.get(node)
        return self._children[self._begins[node] : self._begins[node + 1]] if known is None else known

    def first(self, node: int) -> int:
        """The message itself, or of a dummy its first child."""
        return node if node < self.count else self.children(node)[0]

    def rank_of(self, node: int) -> int:
        return self._rank[self.first(node)]

    def latest(self) -> dict[int, int]:
        """By root, the rank of its thread's last message."""
        top = np.where(self.parent == NONE, np.arange(len(self.parent)), self.parent)
        while (further := top[top] != top).any():
            top = np.where(further, top[top], top)
        found = np.zeros(len(self.parent), np.int64)
        np.maximum.at(found, top[: self.count], np.array(self._rank, np.int64))
        return dict(zip(self.roots, found[self.roots].tolist()))

    def gather(self) -> Generator[None, None, None]:
        """Steps 5 and 6: threads of one base subject become one."""
        roots = sorted(self.roots, key=self.rank_of)
        subjects, replies = self._items.subjects.tolist(), self._items.replies.tolist()
        firsts = list(map(self.first, roots))
        yield
        table: dict[int, int] = {}
        for done, (root, first) in enumerate(zip(roots, firsts), 1):
            subject = subjects[first]
            if not done % (4 * TURN):
                yield
            if subject:
                known = table.get(subject)
                if known is None or (
                    known < self.count and (root >= self.count or (replies[known] and not replies[first]))
                ):
                    table[subject] = root
        yield
        kept = dict.fromkeys(roots)
        fresh = len(self.parent)
        for done, (root, first) in enumerate(zip(roots, firsts), 1):
            subject = subjects[first]
            if not done % (4 * TURN):
                yield
            known = table[subject] if subject else root
            if known == root:
                continue
            if known >= self.count and root >= self.count:
                self.changed[known] = self.children(known) + self.children(root)
            elif known >= self.count or (replies[first] and not replies[known]):
                self.changed[known] = [*self.children(known), root]
            else:
                self.changed[fresh] = [known, root]
                del kept[known]
                kept[fresh] = None
                table[subject] = fresh
                fresh += 1
            del kept[root]
        for done, below in enumerate(self.changed.values(), 1):
            below.sort(key=self.rank_of)
            if not done % TURN:
                yield
        self.roots = list(kept)
        yield

    def text(self, roots: Sequence[int]) -> Steps:
        """The threads as in the response (RFC 5256 4, thread-list): a line of only children is a row of numbers,
        several children are lists."""
        out: list[bytes] = []
        numbers, count, children = self._numbers, self.count, self.children
        for done, root in enumerate(roots, 1):
            if not done % TURN:
                yield
            if root < count and not children(root):
                out.append(b"(%d)" % numbers[root])
                continue
            stack: list[int] = [NONE, root]
            out.append(b"(")
            space = b""
            while stack:
                node = stack.pop()
                if node == NONE:
                    out.append(b")")
                    continue
                if node < NONE:
                    out.append(b"(")
                    node, space = -2 - node, b""
                if node < count:
                    out.append(b"%b%d" % (space, numbers[node]))
                    space = b" "
                below = children(node)
                if len(below) == 1:
                    stack.append(below[0])
                elif below:
                    out.append(space)
                    for child in reversed(below):
                        stack += (NONE, -2 - child)
        return b"".join(out)
