"""From a recorded run (strace) to what may stand on the disk after a power cut at any moment of it.

The model is stricter than ext4: data of a file is on disk when the file was synced after the write; a name, or its
removal, when its directory was; syncfs brings everything. What was not synced may be on disk or not, each write (in
pages of 4 KiB) and each name by itself: none of it, all of it, or any part.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

CALLS = (
    "openat,write,pwrite64,ftruncate,fsync,fdatasync,syncfs,link,linkat,rename,renameat,renameat2,unlink,unlinkat,"
    "mkdir,mkdirat,close,dup"
)
PAGE = 4096
_LINE = re.compile(r"(\d+) +(?:<\.\.\. )?(\w+)(?: resumed>|\()?(.*)", re.S)
_RESULT = re.compile(r"^(.*)\) += (-?\d+)", re.S)
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_NOTE = re.compile(r"<[^<>]*>")


@dataclass(frozen=True, slots=True)
class Call:
    """start, end: places in the trace."""

    start: int
    end: int
    name: str
    arguments: str
    result: int

    @property
    def strings(self) -> list[bytes]:
        return [bytes.fromhex(found.replace("\\x", "")) for found in _STRING.findall(self.arguments)]

    @property
    def descriptor(self) -> int:
        return int(self.arguments.split(",")[0])


def read_calls(trace: Path) -> Iterator[Call]:
    """The calls that succeeded, in the order in which they ended."""
    begun: dict[str, tuple[int, str]] = {}
    with trace.open(encoding="ascii", errors="replace") as lines:
        for place, line in enumerate(lines):
            found = _LINE.match(line)
            if found is None:
                continue
            thread, name, rest = found.groups()
            if "<unfinished" in rest:
                begun[thread] = place, rest[: rest.index("<unfinished")]
                continue
            start, before = begun.pop(thread, (place, "")) if "resumed>" in line[:60] else (place, "")
            ended = _RESULT.match(_NOTE.sub("", before + rest))
            if ended is not None and int(ended[2]) >= 0:
                yield Call(start, place, name, ended[1], int(ended[2]))


@dataclass(eq=False, slots=True)
class Node:
    """A file (data) or directory (names). pending: changes that are not synced, as (place, change)."""

    is_directory: bool
    data: bytearray = field(default_factory=bytearray)
    names: dict[str, Node] = field(default_factory=dict)
    disk_data: bytearray = field(default_factory=bytearray)
    disk_names: dict[str, Node] = field(default_factory=dict)
    pending: list[tuple[int, Change]] = field(default_factory=list)

    def change(self, place: int, change: Change) -> None:
        change.apply(self.data, self.names)
        self.pending.append((place, change))

    def sync(self, before: int) -> None:
        for place, change in self.pending:
            if place < before:
                change.apply(self.disk_data, self.disk_names)
        self.pending = [item for item in self.pending if item[0] >= before]


@dataclass(frozen=True, slots=True)
class Change:
    """One of: data at offset, a new length (data None, name ""), a name set (node) or removed (node None)."""

    offset: int = 0
    data: bytes | None = None
    name: str = ""
    node: Node | None = None

    def apply(self, data: bytearray, names: dict[str, Node]) -> None:
        if self.name:
            if self.node is None:
                names.pop(self.name, None)
            else:
                names[self.name] = self.node
        elif self.data is None:
            data[self.offset :] = bytes(max(0, self.offset - len(data)))
        else:
            data.extend(bytes(max(0, self.offset - len(data))))
            data[self.offset : self.offset + len(self.data)] = self.data

    def pieces(self) -> Iterator[Change]:
        if self.data is None:
            yield self
            return
        start = 0
        while start < len(self.data):
            end = start + PAGE - (self.offset + start) % PAGE
            yield Change(self.offset + start, self.data[start:end])
            start = end


class World:
    """The tree below `root`, fed call by call. said: what was written to standard output."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self.top = _load(root)
        self.said = ""
        self._open: dict[int, Node] = {}
        self._positions: dict[int, int] = {}

    def _find(self, path: str) -> tuple[Node, str] | None:
        """(directory, name); None for what is not below root."""
        if not path.startswith(self.root + "/"):
            return None
        *folders, name = path[len(self.root) + 1 :].rstrip("/").split("/")
        node = self.top
        for folder in folders:
            node = node.names[folder]
        return node, name

    def feed(self, call: Call) -> None:
        handler = _HANDLERS.get(call.name)
        if handler is not None:
            handler(self, call)

    def _openat(self, call: Call) -> None:
        path = call.strings[0].decode()
        if path == self.root:
            self._open[call.result] = self.top
            return
        found = self._find(path)
        self._open.pop(call.result, None)
        if found is None:
            return
        directory, name = found
        if name not in directory.names:
            directory.change(call.end, Change(name=name, node=Node(False)))
        node = directory.names[name]
        if "O_TRUNC" in call.arguments and node.data:
            node.change(call.end, Change(0))
        self._open[call.result] = node
        self._positions[call.result] = len(node.data) if "O_APPEND" in call.arguments else 0

    def _write(self, call: Call) -> None:
        data = call.strings[0][: call.result]
        node = self._open.get(call.descriptor)
        if node is not None:
            node.change(call.end, Change(self._positions[call.descriptor], data))
            self._positions[call.descriptor] += len(data)
        elif call.descriptor == 1:
            self.said += data.decode()

    def _pwrite(self, call: Call) -> None:
        node = self._open.get(call.descriptor)
        if node is not None:
            offset = int(call.arguments.rsplit(",", 1)[1])
            node.change(call.end, Change(offset, call.strings[0][: call.result]))

    def _truncate(self, call: Call) -> None:
        node = self._open.get(call.descriptor)
        if node is not None:
            node.change(call.end, Change(int(call.arguments.rsplit(",", 1)[1])))

    def _sync(self, call: Call) -> None:
        node = self._open.get(call.descriptor)
        if node is not None:
            node.sync(call.start)

    def _syncfs(self, call: Call) -> None:
        if call.descriptor in self._open:
            for node in _all(self.top):
                node.sync(call.start)

    def _mkdir(self, call: Call) -> None:
        found = self._find(call.strings[0].decode())
        if found is not None:
            found[0].change(call.end, Change(name=found[1], node=Node(True)))

    def _link(self, call: Call) -> None:
        source, target = (self._find(path.decode()) for path in call.strings)
        assert source is not None and target is not None
        target[0].change(call.end, Change(name=target[1], node=source[0].names[source[1]]))

    def _rename(self, call: Call) -> None:
        source = self._find(call.strings[0].decode())
        self._link(call)
        assert source is not None
        source[0].change(call.end, Change(name=source[1]))

    def _unlink(self, call: Call) -> None:
        found = self._find(call.strings[0].decode())
        if found is not None:
            found[0].change(call.end, Change(name=found[1]))

    def _close(self, call: Call) -> None:
        self._open.pop(call.descriptor, None)

    def _dup(self, call: Call) -> None:
        node = self._open.get(call.descriptor)
        if node is not None:
            self._open[call.result] = node
            self._positions[call.result] = self._positions[call.descriptor]

    def write_disk(self, target: Path, choose: Callable[[], bool]) -> None:
        """What is on disk, with each unsynced change that `choose` wants."""
        _store(self.top, target, choose, {})


_HANDLERS: dict[str, Callable[[World, Call], None]] = {
    "openat": World._openat,
    "write": World._write,
    "pwrite64": World._pwrite,
    "ftruncate": World._truncate,
    "fsync": World._sync,
    "fdatasync": World._sync,
    "syncfs": World._syncfs,
    "mkdir": World._mkdir,
    "mkdirat": World._mkdir,
    "link": World._link,
    "linkat": World._link,
    "rename": World._rename,
    "renameat": World._rename,
    "renameat2": World._rename,
    "unlink": World._unlink,
    "unlinkat": World._unlink,
    "close": World._close,
    "dup": World._dup,
}


def _load(path: Path) -> Node:
    """The tree as it stands, all of it on disk."""
    if path.is_dir():
        names = {entry.name: _load(entry) for entry in path.iterdir()}
        return Node(True, names=names, disk_names=dict(names))
    data = path.read_bytes()
    return Node(False, bytearray(data), disk_data=bytearray(data))


def _all(top: Node) -> Iterator[Node]:
    """Every node that has or had a name."""
    seen: set[int] = set()
    waiting = [top]
    while waiting:
        node = waiting.pop()
        if id(node) not in seen:
            seen.add(id(node))
            yield node
            waiting += [*node.names.values(), *node.disk_names.values()]
            waiting += [change.node for _, change in node.pending if change.node is not None]


def _store(node: Node, path: Path, choose: Callable[[], bool], made: dict[int, Path]) -> None:
    if id(node) in made:
        path.hardlink_to(made[id(node)])
        return
    data, names = bytearray(node.disk_data), dict(node.disk_names)
    for _, change in node.pending:
        for piece in change.pieces():
            if choose():
                piece.apply(data, names)
    if not node.is_directory:
        made[id(node)] = path
        path.write_bytes(data)
        return
    path.mkdir(exist_ok=True)
    for name, child in names.items():
        if not name.endswith("-shm"):
            _store(child, path / name, choose, made)


def nothing() -> bool:
    return False


def everything() -> bool:
    return True


def some(seed: int) -> Callable[[], bool]:
    generator = random.Random(seed)
    return lambda: generator.random() < 0.5
