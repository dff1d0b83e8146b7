"""The shapes that stand in shared memory: cells of eight bytes, and a publication of two slots. Pure: it
works on any memoryview.

A *cell* is eight aligned bytes, read and written in one piece, as an unsigned number (`Q`) or a float
(`d`). There are no locks: every cell has one writer, all others read.

A *publication* (`TwoSlot`) carries a block of bytes that is replaced as a whole:

    cell 0            generation: 0 before the first publication, then 1, 2, 3 …
    cells 1, 2, 3     slot 0: generation (0 while it is written), length, CRC32
    cells 4, 5, 6     slot 1: the same
    from byte 64      data of slot 0, then data of slot 1

Generation g stands in slot g mod 2, so the writer never touches what readers of the current generation
read. A reader that was overtaken twice sees the slot's generation change, or the CRC fail, and reads again.
A writer that dies half-way leaves the published generation whole.
"""

from __future__ import annotations

import zlib

CELL = 8
PUBLICATION_HEADER = 64  # bytes; a cache line
PAGE = 4096
READ_ATTEMPTS = 100_000


class TornRead(RuntimeError):
    """A reader was overtaken READ_ATTEMPTS times in a row: the writer does nothing but publish."""


class TooLarge(ValueError):
    """More bytes than a slot holds; str() says how many and how many fit."""


def align(size: int, unit: int = CELL) -> int:
    """The next multiple of `unit` (a power of two) that is not below `size`."""
    return (size + unit - 1) & ~(unit - 1)


def offsets(names: tuple[str, ...]) -> dict[str, int]:
    """Cell number of each name, in order; a name `x:3` takes three cells."""
    found: dict[str, int] = {}
    place = 0
    for entry in names:
        name, _, cells = entry.partition(":")
        found[name] = place
        place += int(cells or 1)
    return found


def cells_of(names: tuple[str, ...]) -> int:
    """How many cells `offsets` lays out."""
    return sum(int(entry.partition(":")[2] or 1) for entry in names)


def publication_size(capacity: int) -> int:
    """Bytes of memory for a publication of blocks up to `capacity` bytes."""
    return PUBLICATION_HEADER + 2 * align(capacity)


class TwoSlot:
    """A publication in `memory` (of `publication_size(capacity)` bytes, zeroed at first). One process
    publishes, any number reads.
    """

    __slots__ = ("_cells", "_data", "capacity")

    def __init__(self, memory: memoryview) -> None:
        half = (len(memory) - PUBLICATION_HEADER) // 2 & ~(CELL - 1)
        self.capacity = half
        self._cells = memory[:PUBLICATION_HEADER].cast("Q")
        start = PUBLICATION_HEADER
        self._data = (memory[start : start + half], memory[start + half : start + 2 * half])

    @property
    def generation(self) -> int:
        """The published generation; cheap enough to ask for every batch."""
        return self._cells[0]

    def publish(self, data: bytes | bytearray | memoryview) -> int:
        """Makes `data` the next generation and returns its number. Raises TooLarge."""
        length = len(data)
        if length > self.capacity:
            raise TooLarge(f"{length} bytes; a slot holds {self.capacity}")
        cells = self._cells
        generation = cells[0] + 1
        slot = generation & 1
        base = 1 + 3 * slot
        cells[base] = 0  # whoever still reads two generations ago now knows
        self._data[slot][:length] = data
        cells[base + 1] = length
        cells[base + 2] = zlib.crc32(data)
        cells[base] = generation
        cells[0] = generation
        return generation

    def read(self) -> tuple[int, bytes]:
        """(generation, a copy of its bytes), whole; (0, b"") before the first publication."""
        cells = self._cells
        for _ in range(READ_ATTEMPTS):
            generation = cells[0]
            if generation == 0:
                return 0, b""
            slot = generation & 1
            base = 1 + 3 * slot
            length, crc = cells[base + 1], cells[base + 2]
            if cells[base] != generation or length > self.capacity:
                continue
            data = bytes(self._data[slot][:length])
            if cells[base] == generation and zlib.crc32(data) == crc:
                return generation, data
        raise TornRead(f"overtaken {READ_ATTEMPTS} times")

    def view(self) -> tuple[int, memoryview]:
        """(generation, its bytes where they stand, read-only); (0, empty) before the first publication. To be used
        only as long as `intact` says so, asked after the use: then nothing has been overwritten under the reader."""
        generation = self._cells[0]
        slot = generation & 1
        length = min(self._cells[2 + 3 * slot], self.capacity) if generation else 0
        return generation, self._data[slot][:length].toreadonly()

    def intact(self, generation: int) -> bool:
        """Whether the bytes of this generation still stand in their slot: until the next but one is published."""
        return self._cells[1 + 3 * (generation & 1)] == generation

    def release(self) -> None:
        """Lets go of the memory; the object cannot be used any more."""
        self._cells.release()
        for part in self._data:
            part.release()
