"""The published weights: reservoir matrices and read-outs as one block of bytes, by generation, immutable
once published.

The trainer publishes; classifiers compare `generation` for every batch (0.3 us) and look at the block where it
stands (`view`), asking afterwards whether it stayed (`intact`); so it is in memory once for all of them. See
`layout.TwoSlot` for how a read is never torn. The block's format is its users' matter.
"""

from __future__ import annotations

from shm.layout import TwoSlot, publication_size

CAPACITY = 4 * 1024 * 1024  # bytes of one generation; memory is taken only as far as it is written


def weights_size(capacity: int = CAPACITY) -> int:
    """Bytes of memory that a WeightBuffer needs."""
    return publication_size(capacity)


class WeightBuffer:
    """Weights in shared memory: `WeightBuffer(segment.memory)`, or over a bytearray for one process."""

    __slots__ = ("_slots",)

    def __init__(self, memory: memoryview) -> None:
        self._slots = TwoSlot(memory)

    @property
    def generation(self) -> int:
        """0 until the first publication."""
        return self._slots.generation

    @property
    def capacity(self) -> int:
        return self._slots.capacity

    def publish(self, data: bytes | bytearray | memoryview) -> int:
        """The trainer only: makes `data` the next generation, returns its number. Raises layout.TooLarge."""
        return self._slots.publish(data)

    def read(self) -> tuple[int, bytes]:
        """(generation, a copy of its bytes); (0, b"") before the first publication."""
        return self._slots.read()

    def view(self) -> tuple[int, memoryview]:
        """(generation, its bytes where they stand, read-only); good while `intact(generation)`, asked after use."""
        return self._slots.view()

    def intact(self, generation: int) -> bool:
        """Whether that generation has not been overwritten."""
        return self._slots.intact(generation)

    def release(self) -> None:
        self._slots.release()
